//! What is kept of a certificate that was issued for a client, beside the certificate itself: for whom
//! and how it was asked for.
//!
//! How it stands with what the client may have follows from the record, and is said there.

use serde::{Deserialize, Serialize};

use super::allowance::Class;
use super::client::ClientName;
use crate::base::Timestamp;

/// An order of a client, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// Whose it is.
    pub client: ClientName,
    /// What it counts as.
    pub class: Class,
    /// Whether its key may be handed out.
    pub exportable: bool,
    /// The request that the client signed itself, DER (RFC 2986): its key never comes here.
    pub csr: Option<Vec<u8>>,
    /// Digest of all that was asked for, so that the same key of idempotency for something else is
    /// noticed.
    pub request: [u8; 32],
    /// When it was asked for, the last time.
    pub since: Timestamp,
    /// When the order ends, if nothing was issued until then.
    pub give_up: Timestamp,
    /// By whom it was asked for, in words for the ledger.
    pub by: String,
}

/// How a certificate that a client asked for stands in the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// It is being ordered.
    Reserved,
    /// It was issued.
    Consumed,
    /// Its order ended without it.
    Refunded,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reserved, Self::Consumed, Self::Refunded];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Consumed => "consumed",
            Self::Refunded => "refunded",
        }
    }
}
