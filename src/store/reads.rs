//! What is read of the store: one read transaction for each call, of single records or of a page,
//! and of all only where they are few.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::ReadableTableMetadata as _;
use redb::TableError;

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::index;
use super::inspect::certificate;
use super::inspect::entry;
use super::inspect::key_handle;
use super::tables::ACCOUNTS;
use super::tables::CERTIFICATES;
use super::tables::DRIVEN;
use super::tables::INTERNAL_CA;
use super::tables::JOURNAL;
use super::tables::KEY_USERS;
use super::tables::KEYS;
use super::tables::PROOFS;
use crate::base::Timestamp;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::ports::Shelf;
use crate::cert::record::Certificate;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;

impl Disk {
    pub(super) fn certificates(&self) -> Result<Vec<Certificate>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(CERTIFICATES)?;
        let mut all = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            all.push(certificate(*key.value(), value.value())?);
        }
        Ok(all)
    }

    /// At most `limit` certificates behind `after`, in the order of their names.
    pub(super) fn page(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<Certificate>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(CERTIFICATES)?;
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
        let mut page = Vec::new();
        for row in table.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
            let (key, value) = row?;
            page.push(certificate(*key.value(), value.value())?);
        }
        Ok(page)
    }

    /// Every certificate but the imported ones.
    pub(super) fn driven(&self) -> Result<Vec<Certificate>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(CERTIFICATES)?;
        let mut all = Vec::new();
        for row in txn.open_table(DRIVEN)?.iter()? {
            let (id, _) = row?;
            let missing = StoreError::NotFound { id: CertificateId(*id.value()) };
            let value = table.get(id.value())?.ok_or(missing)?;
            all.push(certificate(*id.value(), value.value())?);
        }
        Ok(all)
    }

    pub(super) fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CertificateId>, Option<Timestamp>), StoreError> {
        index::due(&self.db()?.begin_read()?, now, limit)
    }

    pub(super) fn imported(&self, of_clients: bool) -> Result<BTreeMap<String, u64>, StoreError> {
        index::imported(&self.db()?.begin_read()?, of_clients)
    }

    /// At most `limit` certificates whose names lie between `first` and `last`, both included.
    pub(super) fn between(
        &self,
        first: CertificateId,
        last: CertificateId,
        limit: usize,
    ) -> Result<Vec<Certificate>, StoreError> {
        let table = self.db()?.begin_read()?.open_table(CERTIFICATES)?;
        let mut found = Vec::new();
        for row in table.range::<&[u8; 8]>(&first.0..=&last.0)?.take(limit) {
            let (key, value) = row?;
            found.push(certificate(*key.value(), value.value())?);
        }
        Ok(found)
    }

    /// One certificate that refers to a key whose name begins with `head`.
    pub(super) fn user_of(&self, head: [u8; 8]) -> Result<Option<Certificate>, StoreError> {
        let users = self.db()?.begin_read()?.open_table(KEY_USERS)?;
        let mut ends = ([0; 32], [u8::MAX; 32]);
        for (end, from) in ends.0.iter_mut().zip(head).chain(ends.1.iter_mut().zip(head)) {
            *end = from;
        }
        let mut found = users.range((&ends.0, &[0; 8])..=(&ends.1, &[u8::MAX; 8]))?;
        let Some(row) = found.next() else { return Ok(None) };
        let id = CertificateId(*row?.0.value().1);
        self.certificate(id)
    }

    pub(super) fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(CERTIFICATES)?;
        let found = table.get(&id.0)?;
        found.map(|value| certificate(id.0, value.value())).transpose()
    }

    pub(super) fn key(&self, id: KeyId) -> Result<Option<KeyHandle>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(KEYS)?;
        let found = table.get(&id.0)?;
        found.map(|value| key_handle(id.0, value.value())).transpose()
    }

    pub(super) fn journal(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(JOURNAL)?;
        let mut found = Vec::new();
        for row in table.range(after.saturating_add(1)..)?.take(limit) {
            let (seq, value) = row?;
            found.push(entry(seq.value(), value.value())?);
        }
        Ok(found)
    }

    /// What clients are shown of a certificate, with its key.
    pub(super) fn served(&self, id: CertificateId) -> Result<Option<Served>, StoreError> {
        let Some(record) = self.certificate(id)? else { return Ok(None) };
        let Some(installed) = record.shown().cloned() else { return Ok(None) };
        let missing = StoreError::MissingKey { id, key: installed.key };
        let key = self.key(installed.key)?.ok_or(missing)?;
        Ok(Some(Served { id, spec: record.spec, installed, key }))
    }

    /// How many certificates there are.
    pub(super) fn count(&self) -> Result<u64, StoreError> {
        Ok(self.db()?.begin_read()?.open_table(CERTIFICATES)?.len()?)
    }

    /// The names of at most `limit` certificates behind `after` that are driven.
    pub(super) fn page_of_driven(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<CertificateId>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(DRIVEN)?;
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
        let mut page = Vec::new();
        for row in table.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
            page.push(CertificateId(*row?.0.value()));
        }
        Ok(page)
    }

    /// The names of at most `limit` certificates behind `after`, readable or not.
    pub(super) fn page_of_ids(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<CertificateId>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(CERTIFICATES)?;
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
        let mut page = Vec::new();
        for row in table.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
            page.push(CertificateId(*row?.0.value()));
        }
        Ok(page)
    }

    pub(super) fn shelf_get(
        &self,
        shelf: Shelf,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let (table, word) = match shelf {
            Shelf::Accounts => (txn.open_table(ACCOUNTS)?, "accounts"),
            Shelf::InternalCa => (txn.open_table(INTERNAL_CA)?, "internal_ca"),
            Shelf::Proofs => match txn.open_table(PROOFS) {
                Ok(table) => (table, "proofs"),
                // Not there before the first proof.
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        let found = table.get(name)?;
        found.map(|value| codec::decode(word, || name.to_owned(), value.value())).transpose()
    }
}
