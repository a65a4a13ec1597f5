//! How the second copy follows the store: made from it, brought up to date after a crash, and told
//! apart from the copy of another store.
//!
//! A change of what is shown is marked in the very transaction that makes it. The mark goes
//! once the copy has the change; after a crash the marks say what the copy may lack.

use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::ReadableTableMetadata as _;
use redb::WriteTransaction;

use super::catalog::Catalog;
use super::disk::Disk;
use super::error::StoreError;
use super::open;
use super::tables::META;
use super::tables::META_LINEAGE;
use super::tables::PENDING;
use crate::base::bounds;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// What the copy has by now: certificates, each with the revision of its record.
pub(super) type Settled = Vec<(CertificateId, u64)>;

/// Takes the marks of what is `settled` away, and makes one if the change from `old` to `new`
/// changes what is shown.
pub(super) fn mark(
    txn: &WriteTransaction,
    settled: &Settled,
    old: Option<&Certificate>,
    new: Option<&Certificate>,
) -> Result<(), StoreError> {
    let mut pending = txn.open_table(PENDING)?;
    for (id, revision) in settled {
        let marked = pending.get(&id.0)?.map(|mark| mark.value());
        // Another revision is another change.
        if marked == Some(*revision) {
            pending.remove(&id.0)?;
        }
    }
    if old.and_then(Certificate::shown) != new.and_then(Certificate::shown) {
        let gone = || old.map(|record| (record.id(), record.revision.saturating_add(1)));
        let change = new.map(|record| (record.id(), record.revision)).or_else(gone);
        if let Some((id, revision)) = change {
            pending.insert(&id.0, revision)?;
        }
    }
    Ok(())
}

impl Disk {
    /// The second copy in `dir`, with everything that is installed. Where it has to be made anew,
    /// nothing is in it yet, and what can be read of a damaged one is shown until it is filled.
    pub(super) fn catalog(&mut self, dir: &Path) -> Result<Catalog, StoreError> {
        let mut remains = None;
        if let Some(lineage) = self.lineage()? {
            match Catalog::open(dir, lineage) {
                Ok(Some(catalog)) => {
                    if self.catch_up(&catalog)? {
                        return Ok(catalog);
                    }
                    tracing::info!("the second copy is far behind the store, making it anew");
                }
                Ok(None) => tracing::info!("there is no second copy of this store, making it"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the second copy is not usable, making it anew"
                    );
                    remains = Catalog::remains(dir, lineage);
                }
            }
        }
        // What has changed since, it must not show: too much of that, and it is of no use.
        let behind = self.pending()?.is_none();
        let remains = remains.filter(|_| !behind);
        let has_remains = remains.is_some();
        // Told apart, not kept secret.
        let catalog = Catalog::unmade(dir, fastrand::u64(1..), remains);
        if has_remains {
            self.stage_pending(&catalog)?;
        }
        if let Err(error) = self.end_lineage() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the former second copy cannot be disowned, going on"
            );
        }
        Ok(catalog)
    }

    /// Has the marks of these go with the next transaction.
    pub(super) fn settle(&mut self, settled: Settled) {
        self.settled.extend(settled);
    }

    /// Brings `catalog` what a crash kept from it; whether that was little enough.
    fn catch_up(&mut self, catalog: &Catalog) -> Result<bool, StoreError> {
        if !self.stage_pending(catalog)? {
            return Ok(false);
        }
        match catalog.flush() {
            Ok(settled) => self.settle(settled),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the second copy cannot be written, serving goes on"
            ),
        }
        Ok(true)
    }

    /// Stages what `catalog` may lack; nothing if that is too much to be held in memory.
    fn stage_pending(&self, catalog: &Catalog) -> Result<bool, StoreError> {
        let Some(pending) = self.pending()? else { return Ok(false) };
        for (id, revision) in pending {
            match self.served(id) {
                Ok(served) => catalog.stage(id, served.map(Arc::new), revision),
                // It stays as the copy has it.
                Err(error) => tracing::error!(%error, "a changed certificate cannot be read"),
            }
        }
        Ok(true)
    }

    /// What the copy may lack; `None` if that is more than [`bounds::CATALOG_BEHIND`].
    fn pending(&self) -> Result<Option<Settled>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(PENDING)?;
        if table.len()? > bounds::CATALOG_BEHIND {
            return Ok(None);
        }
        let mut pending = Vec::new();
        for row in table.iter()? {
            let (id, revision) = row?;
            pending.push((CertificateId(*id.value()), revision.value()));
        }
        Ok(Some(pending))
    }

    fn lineage(&self) -> Result<Option<u64>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let meta = txn.open_table(META)?;
        Ok(meta.get(META_LINEAGE)?.map(|lineage| lineage.value()))
    }

    /// Has a copy that is damaged made anew from now on.
    pub(super) fn begin_anew(&self, catalog: &Catalog) -> Result<(), StoreError> {
        // Before the copy takes changes only in its new file: until that is whole, there is none.
        self.end_lineage()?;
        catalog.begin_anew(fastrand::u64(1..));
        Ok(())
    }

    /// From now on there is no copy of this store, and nothing that one lacks.
    fn end_lineage(&self) -> Result<(), StoreError> {
        let txn = open::begin(self.db()?, self.is_long())?;
        txn.open_table(META)?.remove(META_LINEAGE)?;
        // At once, however many marks there are.
        txn.delete_table(PENDING)?;
        txn.open_table(PENDING)?;
        txn.commit()?;
        Ok(())
    }

    /// From now on the copy of this lineage is the one of this store. What it lacks is marked.
    pub(super) fn begin_lineage(&mut self, lineage: u64) -> Result<(), StoreError> {
        let txn = open::begin(self.db()?, self.is_long())?;
        txn.open_table(META)?.insert(META_LINEAGE, lineage)?;
        txn.commit()?;
        Ok(())
    }
}

impl Drop for Disk {
    /// Takes the last marks away; what is left only costs the next start a moment.
    fn drop(&mut self) {
        if !self.settled.is_empty()
            && self.db().is_ok()
            && let Err(error) = self.run(Self::take_marks_away)
        {
            tracing::debug!(%error, "marks of the second copy are left");
        }
    }
}
