//! How the second copy follows the store: made from it, brought up to date after a crash, and told
//! apart from the copy of another store.
//!
//! A change of what is installed is marked in the very transaction that makes it. The mark goes
//! once the copy has the change; after a crash the marks say what the copy may lack.

use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
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
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;

/// What the copy has by now: certificates, each with the revision of its record.
pub(super) type Settled = Vec<(CertificateId, u64)>;

/// Takes the marks of what is `settled` away, and makes one if the change from `old` to `new`
/// changes what is installed.
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
    let installed = |record: Option<&Certificate>| record.and_then(|one| one.installed.clone());
    if installed(old) != installed(new) {
        let gone = || old.map(|record| (record.id(), record.revision.saturating_add(1)));
        let change = new.map(|record| (record.id(), record.revision)).or_else(gone);
        if let Some((id, revision)) = change {
            pending.insert(&id.0, revision)?;
        }
    }
    Ok(())
}

impl Disk {
    /// The second copy in `dir`, with everything that is installed. Takes a moment for each
    /// thousand certificates where it has to be made anew.
    pub(super) fn catalog(&mut self, dir: &Path) -> Result<Catalog, StoreError> {
        if let Some(lineage) = self.lineage()? {
            match Catalog::open(dir, lineage) {
                Ok(Some(catalog)) => {
                    self.catch_up(&catalog)?;
                    return Ok(catalog);
                }
                Ok(None) => tracing::info!("there is no second copy of this store, making it"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the second copy is not usable, making it anew"
                ),
            }
        }
        // Told apart, not kept secret.
        let lineage = fastrand::u64(1..);
        let made = Catalog::make(dir, lineage, &mut self.portions());
        match made {
            Ok(catalog) => {
                self.begin_lineage(lineage)?;
                Ok(catalog)
            }
            Err(error) if error.is_disk() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the second copy cannot be written, serving from one in memory"
                );
                Catalog::make_in_memory(lineage, &mut self.portions())
            }
            Err(error) => Err(error),
        }
    }

    /// Has the marks of these go with the next transaction.
    pub(super) fn settle(&mut self, settled: Settled) {
        self.settled.extend(settled);
    }

    /// Brings `catalog` what a crash kept from it.
    fn catch_up(&mut self, catalog: &Catalog) -> Result<(), StoreError> {
        for (id, revision) in self.pending()? {
            match self.served(id) {
                Ok(served) => catalog.stage(id, served.map(Arc::new), revision),
                // It stays as the copy has it.
                Err(error) => tracing::error!(%error, "a changed certificate cannot be read"),
            }
        }
        match catalog.flush() {
            Ok(settled) => self.settle(settled),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the second copy cannot be written, serving goes on"
            ),
        }
        Ok(())
    }

    /// Everything that is installed, in portions that fit into memory.
    fn portions(&self) -> impl FnMut() -> Result<Vec<Served>, StoreError> + '_ {
        let mut after = Some(None);
        move || {
            while let Some(from) = after {
                let page = self.page_of_ids(from, bounds::CATALOG_PORTION)?;
                after = page.last().map(|last| Some(*last));
                let mut portion = Vec::with_capacity(page.len());
                for id in page {
                    match self.served(id) {
                        Ok(served) => portion.extend(served),
                        Err(error) if error.is_disk() => return Err(error),
                        Err(error) => tracing::error!(%error, "a certificate cannot be read"),
                    }
                }
                if !portion.is_empty() {
                    return Ok(portion);
                }
            }
            Ok(Vec::new())
        }
    }

    fn pending(&self) -> Result<Settled, StoreError> {
        let txn = self.db()?.begin_read()?;
        let mut pending = Vec::new();
        for row in txn.open_table(PENDING)?.iter()? {
            let (id, revision) = row?;
            pending.push((CertificateId(*id.value()), revision.value()));
        }
        Ok(pending)
    }

    fn lineage(&self) -> Result<Option<u64>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let meta = txn.open_table(META)?;
        Ok(meta.get(META_LINEAGE)?.map(|lineage| lineage.value()))
    }

    /// From now on the copy of this lineage is the one of this store, and lacks nothing.
    fn begin_lineage(&mut self, lineage: u64) -> Result<(), StoreError> {
        let txn = open::begin(self.db()?, self.is_long())?;
        txn.open_table(META)?.insert(META_LINEAGE, lineage)?;
        txn.open_table(PENDING)?.retain(|_, _| false)?;
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
