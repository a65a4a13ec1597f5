//! Where the edge finds certificates while everything that is installed is one snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::cert::identifier::Identifier;
use crate::cert::ports::Catalog;
use crate::cert::served::Index;
use crate::cert::served::Served;
use crate::cert::served::Snapshot;

/// The newest snapshot by name.
#[derive(Debug)]
pub(super) struct Showcase(ArcSwap<Index>);

impl Showcase {
    pub(super) fn new(first: &Snapshot) -> Self {
        Self(ArcSwap::from_pointee(Index::new(first)))
    }

    /// Shows `snapshot` from now on, and says for which names that makes a difference.
    pub(super) fn show(&self, snapshot: &Snapshot) -> Vec<Identifier> {
        let index = Arc::new(Index::new(snapshot));
        let former = self.0.swap(Arc::clone(&index));
        index.differences(&former)
    }
}

impl Catalog for Showcase {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        self.0.load().candidates(host)
    }
}
