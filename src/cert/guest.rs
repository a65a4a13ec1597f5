//! A name that no site of the file has and that is served all the same, because it leads here.
//!
//! Which names may become one is decided elsewhere; its certificate is a record like others.

use serde::{Deserialize, Serialize};

use super::spec::CertificateId;
use crate::base::Timestamp;

/// What is kept of an onboarded name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Its certificate.
    pub certificate: CertificateId,
    /// Its own origin, as it was written; the one of the configuration where there is none.
    pub origin: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Whether somebody asked for it, and not a client's handshake: it is held to the DNS alone.
    pub by_hand: bool,
    /// Whether somebody had it offboarded: it has no certificate, and does not come back by itself.
    pub barred: bool,
}
