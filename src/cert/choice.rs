//! Which CA of several is asked for a certificate, why those before it are not, and who issued what is
//! there.
//!
//! Facts only: when one CA gives way to another is decided in the scheduler, and which ones there are
//! stands in the configuration.

use serde::{Deserialize, Serialize};

use super::failure::{Failure, FailureKind, Remedy};
use super::spec::IssuerName;
use crate::base::Timestamp;

/// All of that; the usual certificate has one CA, and none of it.
///
/// The CA that the specification names is the first one: it is meant wherever none is named here.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Who is asked now, in the place of the first.
    pub asked: Option<IssuerName>,
    /// Who issued what is installed, in the place of the first.
    pub issued: Option<IssuerName>,
    /// Failures in a row at the CA that is asked, of those that another may not have.
    pub trouble: Option<Trouble>,
    /// Those that were left since the first was asked last, in the order in which that was.
    pub left: Vec<Left>,
    /// Who issued what is to be revoked, in the place of the first.
    pub revoker: Option<IssuerName>,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// When the first of them was.
    pub since: Timestamp,
    /// How many.
    pub failures: u32,
}

/// A CA that was left for another.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// Which.
    pub issuer: IssuerName,
    /// When.
    pub at: Timestamp,
    /// What was wrong with it.
    pub kind: FailureKind,
    /// The same in its words.
    pub detail: String,
    /// When it may be asked again, if no other gives a certificate; `None` for not before somebody
    /// acts.
    pub again: Option<Timestamp>,
}

impl Left {
    /// Left at `now` because of this failure.
    pub fn because(issuer: IssuerName, failure: &Failure, now: Timestamp) -> Self {
        let again = match failure.remedy {
            Remedy::Retry => Some(now),
            Remedy::RetryAfter(moment) => Some(moment.max(now)),
            Remedy::Intervene => None,
        };
        Self { issuer, at: now, kind: failure.kind, detail: failure.to_string(), again }
    }

    /// Whether it named no moment before which it is not to be asked.
    pub fn is_free(&self) -> bool {
        self.again.is_some_and(|again| again <= self.at)
    }
}

impl Choice {
    /// A certificate of `issuer` is installed; `first` is the one that the specification names.
    pub fn settle(&mut self, issuer: &IssuerName, first: &IssuerName) {
        self.asked = None;
        self.trouble = None;
        self.issued = (issuer != first).then(|| issuer.clone());
        if self.issued.is_none() {
            self.left.clear();
        }
    }

    /// The first one is asked next.
    pub fn begin_anew(&mut self) {
        self.asked = None;
        self.trouble = None;
        self.left.clear();
    }
}
