//! The second copy as it is read: its tables at one moment, open as long as somebody asks.
//!
//! Knows nothing of changes: who has one made takes another view.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use redb::ReadOnlyTable;
use redb::ReadTransaction;
use redb::ReadableTable as _;
use redb::ReadableTableMetadata as _;

use super::file;
use super::file::entry;
use super::file::unreadable;
use crate::base::bounds;
use crate::cert::chain::Chain;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyHandle;
use crate::cert::key::SealedKey;
use crate::cert::record::Installed;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::store::error::StoreError;

/// The tables, open.
pub(super) struct View {
    names: ReadOnlyTable<&'static str, &'static [u8]>,
    entries: ReadOnlyTable<&'static [u8; 8], &'static [u8]>,
    issuers: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    /// Intermediates that were looked at and are as they were written: there are few, and each
    /// signs many.
    known: Mutex<BTreeMap<[u8; 32], Arc<[u8]>>>,
    /// Whether there is any wildcard, once somebody wanted to know.
    wild: OnceLock<bool>,
}

impl View {
    pub(super) fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            names: txn.open_table(file::NAMES)?,
            entries: txn.open_table(file::ENTRIES)?,
            issuers: txn.open_table(file::ISSUERS)?,
            known: Mutex::default(),
            wild: OnceLock::new(),
        })
    }

    /// How many certificates there are.
    pub(super) fn count(&self) -> Result<u64, StoreError> {
        Ok(self.entries.len()?)
    }

    /// Reads everything, where that is short.
    ///
    /// # Errors
    /// Names the first record that is not as it was written.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        if self.count()? > bounds::STORE_INSPECTED {
            return Ok(());
        }
        for row in self.entries.iter()? {
            let (id, value) = row?;
            self.consider(CertificateId(*id.value()), value.value())?;
        }
        Ok(())
    }

    /// Looks at some `limit` certificates behind `after`, and gives the last of them; `None` when
    /// there was none. One that is not as it was written is told to `damaged`.
    ///
    /// # Errors
    /// When the file itself cannot be read.
    pub(super) fn step(
        &self,
        after: Option<CertificateId>,
        limit: usize,
        mut damaged: impl FnMut(CertificateId, StoreError),
    ) -> Result<Option<CertificateId>, StoreError> {
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
        let mut last = None;
        for row in self.entries.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
            let (id, value) = row?;
            let id = CertificateId(*id.value());
            last = Some(id);
            match self.consider(id, value.value()) {
                Err(error) if error.is_disk() => return Err(error),
                Err(error) => damaged(id, error),
                Ok(()) => {}
            }
        }
        Ok(last)
    }

    /// Whether one can be read, and is found by its names.
    fn consider(&self, id: CertificateId, bytes: &[u8]) -> Result<(), StoreError> {
        let served = self.served(id, bytes)?;
        for name in served.spec.names() {
            if !self.named(name)?.contains(&id) {
                return Err(unreadable(id, "it is not found by its name"));
            }
        }
        Ok(())
    }

    /// The certificates that have this very name.
    fn named(&self, name: &Identifier) -> Result<Vec<CertificateId>, StoreError> {
        let found = self.names.get(&*name.text())?;
        Ok(found.map(|ids| file::ids_of(ids.value())).unwrap_or_default())
    }

    /// The certificates that have this very name, or the wildcard one label up.
    pub(super) fn covering(&self, host: &Identifier) -> Result<Vec<CertificateId>, StoreError> {
        let mut ids = self.named(host)?;
        if self.has_wildcards()?
            && let Some(star) = host.wildcard()
        {
            ids.extend(self.named(&star)?);
        }
        Ok(ids)
    }

    /// Whether to look for wildcards at all, which takes as long as to look for a name.
    fn has_wildcards(&self) -> Result<bool, StoreError> {
        if let Some(wild) = self.wild.get() {
            return Ok(*wild);
        }
        // The star comes before every letter, digit and colon.
        let wild = self.names.first()?.is_some_and(|(name, _)| name.value().starts_with("*."));
        Ok(*self.wild.get_or_init(|| wild))
    }

    /// One certificate with its intermediates.
    pub(super) fn get(&self, id: CertificateId) -> Result<Option<Served>, StoreError> {
        let found = self.entries.get(&id.0)?;
        found.map(|value| self.served(id, value.value())).transpose()
    }

    /// Whether there is one.
    pub(super) fn has(&self, id: CertificateId) -> Result<bool, StoreError> {
        Ok(self.entries.get(&id.0)?.is_some())
    }

    /// The names of at most `limit` certificates behind `after`, readable or not.
    pub(super) fn ids(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<CertificateId>, StoreError> {
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
        let mut ids = Vec::new();
        for row in self.entries.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
            ids.push(CertificateId(*row?.0.value()));
        }
        Ok(ids)
    }

    fn served(&self, id: CertificateId, bytes: &[u8]) -> Result<Served, StoreError> {
        let entry = entry(id, bytes)?;
        let mut chain = Vec::with_capacity(1 + entry.issuers.len());
        chain.push(entry.leaf.to_vec());
        for issuer in &entry.issuers {
            chain.push(self.issuer(id, issuer)?.to_vec());
        }
        let installed = Installed {
            chain: Chain::restored(chain),
            key: entry.key,
            validity: entry.validity,
            serial: entry.serial,
            ari_id: entry.ari_id,
            at: entry.at,
        };
        let key = KeyHandle {
            id: entry.key,
            algorithm: entry.algorithm,
            usage: entry.usage,
            spki: entry.spki.into(),
            sealed: SealedKey(entry.sealed.into()),
        };
        Ok(Served { id, spec: entry.spec, installed, key })
    }

    /// An intermediate of certificate `id`.
    fn issuer(&self, id: CertificateId, wanted: &[u8; 32]) -> Result<Arc<[u8]>, StoreError> {
        if let Some(known) = self.known().get(wanted) {
            return Ok(Arc::clone(known));
        }
        let found = self.issuers.get(wanted)?;
        let found = found.ok_or_else(|| unreadable(id, "its issuer is missing"))?;
        if file::digest(found.value()) != *wanted {
            return Err(unreadable(id, "its issuer is not as it was written"));
        }
        let issuer: Arc<[u8]> = found.value().into();
        let mut known = self.known();
        if known.len() < bounds::catalog::ISSUERS_KNOWN {
            known.insert(*wanted, Arc::clone(&issuer));
        }
        Ok(issuer)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], Arc<[u8]>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
