//! What the scheduler publishes and the edge serves: every installed certificate with its sealed
//! key, as one snapshot that is swapped whole.

use std::collections::HashMap;
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

/// A [`Snapshot`] by name.
#[derive(Clone, Debug, Default)]
pub struct Index {
    by_name: HashMap<Identifier, Vec<Arc<Served>>>,
    by_id: HashMap<CertificateId, Arc<Served>>,
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

impl Index {
    /// Of what is in `snapshot`.
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut index = Self::default();
        for served in &snapshot.certificates {
            for name in served.spec.names() {
                index.by_name.entry(name.clone()).or_default().push(Arc::clone(served));
            }
            index.by_id.insert(served.id, Arc::clone(served));
        }
        index
    }

    /// The names about which `self` says something else than `former`: those of certificates that
    /// came, went or changed.
    pub fn differences(&self, former: &Self) -> Vec<Identifier> {
        let lacks = |index: &Self, one: &Arc<Served>| {
            index.by_id.get(&one.id).is_none_or(|two| !Arc::ptr_eq(one, two) && one != two)
        };
        let new = self.by_id.values().filter(|served| lacks(former, served));
        let gone = former.by_id.values().filter(|served| lacks(self, served));
        let mut names: Vec<_> =
            new.chain(gone).flat_map(|served| served.spec.names()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Catalog for Index {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        let mut found: Vec<_> = self.by_name.get(host).into_iter().flatten().cloned().collect();
        if let Some(wildcard) = host.wildcard() {
            found.extend(self.by_name.get(&wildcard).into_iter().flatten().cloned());
        }
        // A certificate may have both names.
        found.sort_by_key(|served| served.id);
        found.dedup_by_key(|served| served.id);
        Ok(found)
    }
}

impl Served {
    /// Orders certificates by how good they are for `host` at `now`.
    pub fn rank(&self, host: &Identifier, now: Timestamp) -> impl Ord + use<> {
        (self.installed.rank(&self.spec, host, now), self.id)
    }
}
