//! What the scheduler publishes and the edge serves: an installed certificate with its sealed key.

use serde::{Deserialize, Serialize};

use super::identifier::Identifier;
use super::key::KeyHandle;
use super::record::Installed;
use super::spec::{CertificateId, Specification};
use crate::base::Timestamp;

/// One installed certificate, ready to be served.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// The certificate's name.
    pub id: CertificateId,
    /// What it was ordered by.
    pub spec: Specification,
    /// Chain and validity.
    pub installed: Installed,
    /// The key, sealed.
    pub key: KeyHandle,
}

impl Served {
    /// Orders certificates by how good they are for `host` at `now`.
    pub fn rank(&self, host: &Identifier, now: Timestamp) -> impl Ord + use<> {
        (self.installed.rank(&self.spec, host, now), self.id)
    }
}
