//! Packs, which extend what a client may have, and the entries of the ledger: the rules by which they
//! are used up, given back and taken away.
//!
//! Facts and rules only; the store keeps them, in the transactions that change certificates.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::allowance::Balance;
use super::allowance::Class;
use super::client::ClientName;
use super::spec::CertificateId;
use crate::base::Timestamp;

/// The number of a pack, counted from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackId(pub u64);

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Certificates of one class that an operator granted to a client, beside those that are free.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    /// Its number.
    pub id: PackId,
    /// Whose it is.
    pub client: ClientName,
    /// What may be had for it.
    pub class: Class,
    /// How many there were.
    pub count: u64,
    /// How many are neither reserved nor issued, while it is good.
    pub left: u64,
    /// From when on nothing may be had for it any more; `None` for never.
    pub until: Option<Timestamp>,
    /// What the operator noted.
    pub note: String,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// By whom.
    pub by: String,
    /// Set once it is over, and never taken back: not by a clock that was set back either.
    pub over: Option<Over>,
}

/// Why nothing may be had for a pack any more.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Its time had come.
    Expired {
        /// When that was noted.
        at: Timestamp,
    },
    /// An operator took back what was left of it.
    Revoked {
        /// When.
        at: Timestamp,
        /// Who.
        by: String,
    },
}

impl Over {
    /// What becomes of what comes back to such a pack.
    pub const fn what(&self) -> What {
        match self {
            Self::Expired { .. } => What::Expired,
            Self::Revoked { .. } => What::Revoked,
        }
    }
}

impl Pack {
    /// Whether its time has come at `now` and nobody has noted it yet.
    pub fn expires(&self, now: Timestamp) -> bool {
        self.over.is_none() && self.until.is_some_and(|until| until <= now)
    }

    /// How it stands, in a word.
    pub const fn state(&self) -> &'static str {
        match &self.over {
            Some(Over::Expired { .. }) => "expired",
            Some(Over::Revoked { .. }) => "revoked",
            None if self.left == 0 => "used up",
            None => "open",
        }
    }

    /// The order in which packs are used up: what is over first, first; those that last for ever
    /// in the order in which they were granted. What is free lasts for ever and comes behind all.
    pub fn turn(&self) -> (u64, PackId) {
        (self.until.map_or(u64::MAX, Timestamp::as_unix), self.id)
    }
}

/// What a client has of one class for nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Free {
    /// How many it was given.
    pub granted: u64,
    /// How many of them are neither reserved nor issued.
    pub left: u64,
}

impl Free {
    /// What the configuration says is `target` from now on: how many are given (`Granted`) or taken
    /// back (`Revoked`) so that it is, as far as they are not used: what is used is never taken.
    #[must_use]
    pub const fn aim(self, target: u64) -> (Self, Option<(What, u64)>) {
        let used = self.granted.saturating_sub(self.left);
        let granted = if target > used { target } else { used };
        let next = Self { granted, left: granted.saturating_sub(used) };
        let change = if granted > self.granted {
            Some((What::Granted, granted.saturating_sub(self.granted)))
        } else if granted < self.granted {
            Some((What::Revoked, self.granted.saturating_sub(granted)))
        } else {
            None
        };
        (next, change)
    }
}

/// What an entry of the ledger tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// More may be had.
    Granted,
    /// A certificate is being ordered.
    Reserved,
    /// It was issued.
    Consumed,
    /// It was not, and what was reserved for it may be had again.
    Refunded,
    /// What was left of a pack may not be had any more.
    Expired,
    /// An operator, or the configuration, took back what was left.
    Revoked,
}

impl What {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Reserved => "reserved",
            Self::Consumed => "consumed",
            Self::Refunded => "refunded",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One entry of the ledger, which only ever grows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Counted from 1 without gaps.
    pub seq: u64,
    /// When, as the clock said then.
    pub at: Timestamp,
    /// Whose.
    pub client: ClientName,
    /// Of which class.
    pub class: Class,
    /// What happened.
    pub what: What,
    /// How many.
    pub amount: u64,
    /// Of which pack; `None` for what is free.
    pub pack: Option<PackId>,
    /// For which certificate.
    pub certificate: Option<CertificateId>,
    /// By whom, in words.
    pub by: String,
    /// In words.
    pub note: String,
    /// What the client has of the class after it.
    pub balance: Balance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_first_is_used_up_first() {
        let pack = |id, until: Option<u64>| Pack {
            id: PackId(id),
            client: ClientName::parse("a").unwrap(),
            class: Class::Single,
            count: 1,
            left: 1,
            until: until.map(Timestamp::from_unix),
            note: String::new(),
            granted_at: Timestamp::from_unix(0),
            by: "root".to_owned(),
            over: None,
        };
        let mut packs = [pack(1, None), pack(2, Some(9)), pack(3, Some(5)), pack(4, None)];
        packs.sort_by_key(Pack::turn);
        assert_eq!(packs.each_ref().map(|pack| pack.id.0), [3, 2, 1, 4]);
        assert!(!pack(1, Some(9)).expires(Timestamp::from_unix(8)));
        assert!(pack(1, Some(9)).expires(Timestamp::from_unix(9)));
        let over = Some(Over::Expired { at: Timestamp::from_unix(9) });
        assert!(!Pack { over, ..pack(1, Some(9)) }.expires(Timestamp::from_unix(9)));
    }

    #[test]
    fn a_changed_file_gives_and_takes_the_difference_but_nothing_that_is_used() {
        let free = |granted, left| Free { granted, left };
        for (before, target, after, change) in [
            (free(0, 0), 20, free(20, 20), Some((What::Granted, 20))),
            (free(20, 5), 20, free(20, 5), None),
            (free(20, 5), 30, free(30, 15), Some((What::Granted, 10))),
            (free(20, 5), 17, free(17, 2), Some((What::Revoked, 3))),
            (free(20, 5), 3, free(15, 0), Some((What::Revoked, 5))),
            (free(15, 0), 3, free(15, 0), None),
            (free(15, 0), 18, free(18, 3), Some((What::Granted, 3))),
            // One came back while less is given than was used.
            (free(15, 1), 3, free(14, 0), Some((What::Revoked, 1))),
        ] {
            assert_eq!(before.aim(target), (after, change), "{before:?} {target}");
        }
    }
}
