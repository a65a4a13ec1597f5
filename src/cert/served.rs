//! What the scheduler publishes and the edge serves: every installed certificate with its sealed
//! key, as one snapshot that is swapped whole.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::identifier::Identifier;
use super::key::KeyHandle;
use super::ports::Catalog;
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

/// Everything that is installed.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In no order; at most one entry for each certificate.
    pub certificates: Vec<Arc<Served>>,
}

impl Snapshot {
    /// The best certificate for `host`: one that is valid before one that is not, a any other
    /// before a bridge, an exact name before a wildcard, and then the one that lasts longest.
    ///
    /// An expired certificate is still better than none: clients then see what is wrong.
    pub fn best_for(&self, host: &Identifier, now: Timestamp) -> Option<&Arc<Served>> {
        self.certificates
            .iter()
            .filter(|served| served.spec.covers(host))
            .max_by_key(|served| served.rank(host, now))
    }
}

impl Catalog for Snapshot {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        let all = self.certificates.iter();
        Ok(all.filter(|served| served.spec.covers(host)).map(Arc::clone).collect())
    }
}

impl Served {
    /// Orders certificates by how good they are for `host` at `now`.
    pub fn rank(&self, host: &Identifier, now: Timestamp) -> impl Ord + use<> {
        (self.installed.rank(&self.spec, host, now), self.id)
    }
}
