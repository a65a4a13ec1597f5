//! Which of two certificates for the same names and kind of key clients are shown, where a site keeps one
//! of another CA ready.
//!
//! Facts only: when one takes the place of the other is decided in the scheduler, and which sites keep one
//! stands in the configuration.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::CertificateId;
use crate::base::Timestamp;

/// How one of the two stands to the other.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Standby {
    /// The other one.
    pub beside: CertificateId,
    /// Whether it is of the CA that the site prefers, and the other one of its standby.
    pub first: bool,
    /// Whether it is kept ready and not shown.
    pub back: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// Why one of the two is shown and the other one not.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Cause {
    /// The configuration prefers it.
    Preferred,
    /// Somebody had them switched, in words for the journal.
    Asked(String),
    /// There was nothing of the preferred CA to be shown; it is shown as soon as there is.
    Missing,
    /// The other one is revoked, or is to be.
    Revoked,
    /// The other one had run out.
    Expired,
    /// The other one was about to run out, and its CA gave no successor.
    Expiring,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preferred => f.write_str("its CA is the preferred one"),
            Self::Asked(who) => write!(f, "{who} had them switched"),
            Self::Missing => f.write_str("the preferred CA has issued none yet"),
            Self::Revoked => f.write_str("the other one is revoked"),
            Self::Expired => f.write_str("the other one ran out"),
            Self::Expiring => {
                f.write_str("the other one is about to run out and could not be renewed")
            }
        }
    }
}
