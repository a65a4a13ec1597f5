//! Proofs by DNS (RFC 8555, section 8.4), and the port through which zones are changed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::challenge::BoxFuture;

/// A TXT record that proves control over a name, and everything by which it can be set and removed.
#[derive(Clone, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub struct ZoneRecord {
    /// The account that may change the zone.
    pub account: String,
    /// The zone, lower case, without the last dot.
    pub zone: String,
    /// Where the record is, in the same form.
    pub record: String,
    /// What it says: SHA-256 of the key authorization in base64url.
    pub value: String,
    /// The name that is proven, without the `*.` of a wildcard.
    pub name: String,
    /// The CA's token.
    pub token: String,
    /// Token, dot, account key thumbprint (RFC 8555, section 8.1).
    pub key_authorization: String,
}

impl fmt::Debug for ZoneRecord {
    /// Without token and key authorization, which have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZoneRecord({} by {})", self.record, self.account)
    }
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneChange {
    /// It is to be there, beside others of its name.
    Set,
    /// It is to be gone; others of its name stay.
    Remove,
}

/// Who changes zones: a process that knows the secrets of accounts, which main does not.
pub trait ZoneKeeper: Send + Sync + fmt::Debug {
    /// Makes one change. Repeating it does no harm.
    ///
    /// # Errors
    /// In the words of the provider, which hold no secret.
    fn change<'a>(
        &'a self,
        what: ZoneChange,
        record: &'a ZoneRecord,
    ) -> BoxFuture<'a, Result<(), String>>;
}
