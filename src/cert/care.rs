//! What is to become of a certificate beyond its being wanted: whether its owner has it hosted,
//! whether it is being taken over, and what of it is to be revoked.
//!
//! Facts and decisions only. What follows from them is the scheduler's business.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::issue::Issue;
use super::spec::IssuerName;
use super::standby::Standby;
use crate::base::Timestamp;

/// Everything that is kept of that; the usual certificate has none of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Care {
    /// Whether its successors have to be like it.
    pub hosting: Hosting,
    /// The announcement that a free one takes its place.
    pub take_over: Option<TakeOver>,
    /// Who issues its successors, where it was brought from elsewhere.
    pub source: Option<IssuerName>,
    /// What is to be revoked as soon as something else is served.
    pub revoking: Option<Revoking>,
    /// What was revoked last.
    pub revoked: Option<Revoked>,
    /// Which CA of several is asked. The store keeps it behind the rest, where there is any.
    #[serde(skip)]
    pub choice: Choice,
    /// How it stands to the other one, where its site keeps two; behind all of that.
    #[serde(skip)]
    pub standby: Option<Standby>,
    /// For whom it was issued, if for a client; behind all of that.
    #[serde(skip)]
    pub issue: Option<Issue>,
}

/// Whether the owner has a certificate hosted: renewed with the same specification.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Hosting {
    /// Nobody asked for it.
    #[default]
    Not,
    /// It is.
    Hosted {
        /// Since when.
        since: Timestamp,
        /// The differences that its owner agreed to.
        accept: Accept,
    },
    /// It was, until its successor would have been another kind of certificate.
    Ended {
        /// Since when it is not.
        since: Timestamp,
        /// The difference, in plain words.
        difference: String,
    },
}

/// Differences between a certificate and its successor that the owner agreed to beforehand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Accept {
    /// The successor may vouch for the name alone, and not for the organisation.
    pub dv: bool,
    /// Somebody else may have issued it.
    pub issuer: bool,
}

/// A free certificate is to take the place of one that was brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TakeOver {
    /// When that was announced.
    pub announced: Timestamp,
    /// When it is ordered.
    pub at: Timestamp,
}

/// A certificate that is to be revoked once its replacement is served.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Revoking {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// Why.
    pub reason: Reason,
    /// When it was asked for.
    pub asked: Timestamp,
    /// Times that the CA did not take it.
    pub attempt: u32,
    /// When the CA is told next, at the earliest.
    pub next: Timestamp,
    /// What the CA said last.
    pub detail: Option<String>,
}

/// A certificate that is revoked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// When that was done, or first seen.
    pub at: Timestamp,
    /// Why, where we asked for it.
    pub reason: Option<Reason>,
}

/// Reasons that the owner of a certificate may give (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// None is given.
    Unspecified,
    /// Somebody else has the private key, or may have it.
    KeyCompromise,
    /// What it says of the organisation is not so any more.
    AffiliationChanged,
    /// Another one is in its place.
    Superseded,
    /// The names are not used any more.
    CessationOfOperation,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
    ];

    /// The word of RFC 5280.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
        }
    }

    /// Reads such a word, however it is written: `keyCompromise`, `key-compromise`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        Self::ALL.into_iter().find(|reason| plain(reason.word()) == plain(text))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Accept {
    /// The words by which differences are agreed to.
    pub const WORDS: [&'static str; 2] = ["dv", "issuer"];

    /// Agrees to one more; `None` for a word that is none.
    #[must_use]
    pub fn with(self, word: &str) -> Option<Self> {
        match word {
            "dv" => Some(Self { dv: true, ..self }),
            "issuer" => Some(Self { issuer: true, ..self }),
            _ => None,
        }
    }

    /// What is agreed to, as words.
    pub fn words(self) -> Vec<&'static str> {
        let all = [(self.dv, "dv"), (self.issuer, "issuer")];
        all.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect()
    }

    /// What either of both agrees to.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { dv: self.dv || other.dv, issuer: self.issuer || other.issuer }
    }
}

impl Hosting {
    /// What was agreed to, while it is hosted.
    pub const fn accept(&self) -> Option<Accept> {
        match self {
            Self::Hosted { accept, .. } => Some(*accept),
            Self::Not | Self::Ended { .. } => None,
        }
    }
}

impl Care {
    /// Whether the house sees to successors of a certificate that was brought.
    pub const fn is_succeeded_here(&self) -> bool {
        matches!(self.hosting, Hosting::Hosted { .. }) || self.take_over.is_some()
    }

    /// Whether the certificate with this serial number is revoked, as far as is known.
    pub fn is_revoked(&self, serial: &str) -> bool {
        self.revoked.as_ref().is_some_and(|revoked| revoked.serial == serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_however_people_write_it_and_nothing_else_is() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.word()), Some(reason));
        }
        for text in ["key-compromise", "KEYCOMPROMISE", "key_compromise"] {
            assert_eq!(Reason::parse(text), Some(Reason::KeyCompromise));
        }
        assert_eq!(Reason::parse("removeFromCRL"), None);
        assert_eq!(Reason::parse(""), None);
    }

    #[test]
    fn what_is_agreed_to_adds_up() {
        let both = Accept::WORDS.iter().try_fold(Accept::default(), |a, word| a.with(word));
        assert_eq!(both.unwrap().words(), Accept::WORDS);
        assert_eq!(Accept::default().with("ov"), None);
        let one = Accept { dv: true, issuer: false };
        assert_eq!(one.or(Accept { dv: false, issuer: true }), both.unwrap());
    }
}
