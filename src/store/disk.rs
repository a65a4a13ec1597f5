//! What the store's thread does: one transaction for each call, synchronous.
//!
//! An index of how many records refer to each key is kept beside the file, so that a key can be
//! deleted in the transaction that takes away its last user, without reading every record.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use redb::Database;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::WriteTransaction;

use super::codec;
use super::error::OpenError;
use super::error::StoreError;
use super::inspect::certificate;
use super::inspect::entry;
use super::inspect::inspect;
use super::inspect::key_handle;
use super::inspect::keys_of;
use super::open;
use super::tables::ACCOUNTS;
use super::tables::CERTIFICATES;
use super::tables::INTERNAL_CA;
use super::tables::JOURNAL;
use super::tables::KEYS;
use super::tables::META;
use super::tables::META_PROBE;
use crate::base::bounds;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::ports::Shelf;
use crate::cert::record::Certificate;
use crate::cert::served::Served;
use crate::cert::served::Snapshot;
use crate::cert::spec::CertificateId;

/// The open file.
pub(super) struct Disk {
    path: PathBuf,
    /// `None` while the file must be opened anew after it was full.
    db: Option<Database>,
    /// How many records refer to a key.
    uses: HashMap<KeyId, usize>,
    /// Number of the newest journal entry.
    head: u64,
    /// Set after an error that must not be followed by further writes.
    broken: bool,
    /// Why nothing could be written since the last write that went well.
    trouble: Option<Arc<str>>,
    /// Dropped last: the lock outlives the database.
    _lock: open::Lock,
}

impl Disk {
    /// Opens the store below `dir` and reads everything once, so that damage shows now and not
    /// at night.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let lock = open::lock(dir)?;
        let path = open::path(dir);
        let db = open::open(dir)?;
        let mut disk = Self {
            path,
            db: Some(db),
            uses: HashMap::new(),
            head: 0,
            broken: false,
            trouble: None,
            _lock: lock,
        };
        let checked = guarded(|| disk.check());
        match checked {
            Ok(()) => Ok(disk),
            Err(error) => {
                Err(OpenError::Damaged { path: disk.path.clone(), reason: error.to_string() })
            }
        }
    }

    /// Number of the newest journal entry; 0 when there is none.
    pub(super) const fn head(&self) -> u64 {
        self.head
    }

    /// Why nothing can be written, as far as the last attempt showed.
    pub(super) const fn trouble(&self) -> Option<&Arc<str>> {
        self.trouble.as_ref()
    }

    /// Runs one call. A panic of the library becomes an error; a full disk makes the next call
    /// open the file anew; any other error of input or output ends all writing.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = guarded(|| {
            self.ready()?;
            work(self)
        });
        match &result {
            // Dropped, because the library refuses a file after an error until it is reopened.
            Err(StoreError::Full(_)) => self.db = None,
            Err(StoreError::Io(_) | StoreError::Damaged { .. }) => self.broken = true,
            _ => {}
        }
        if let Err(error) = &result
            && error.is_disk()
            && self.trouble.is_none()
        {
            // The first reason: what follows only says that there was one.
            self.trouble = Some(error.failure().detail.into());
        }
        result
    }

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

    pub(super) fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(CERTIFICATES)?;
        let found = table.get(&id.0)?;
        found.map(|value| certificate(id.0, value.value())).transpose()
    }

    pub(super) fn add(
        &mut self,
        record: &Certificate,
        key: Option<&KeyHandle>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let id = record.id();
        self.write(
            |txn| {
                let mut table = txn.open_table(CERTIFICATES)?;
                if table.get(&id.0)?.is_some() {
                    return Err(StoreError::Exists { id });
                }
                table.insert(&id.0, codec::encode(record).as_slice())?;
                Ok(())
            },
            None,
            Some(record),
            key,
            entries,
        )
    }

    /// Compare-and-swap: `record.revision` is the one that was read; the stored one is next.
    pub(super) fn update(
        &mut self,
        mut record: Certificate,
        key: Option<&KeyHandle>,
        entries: Vec<Entry>,
    ) -> Result<Certificate, StoreError> {
        let id = record.id();
        let old = self.certificate(id)?.ok_or(StoreError::NotFound { id })?;
        if old.revision != record.revision {
            let (expected, found) = (record.revision, old.revision);
            return Err(StoreError::Conflict { id, expected, found });
        }
        record.revision = record.revision.saturating_add(1);
        let new = record.clone();
        self.write(
            |txn| {
                let mut table = txn.open_table(CERTIFICATES)?;
                table.insert(&id.0, codec::encode(&new).as_slice())?;
                Ok(())
            },
            Some(&old),
            Some(&record),
            key,
            entries,
        )?;
        Ok(record)
    }

    pub(super) fn remove(
        &mut self,
        id: CertificateId,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let old = self.certificate(id)?.ok_or(StoreError::NotFound { id })?;
        self.write(
            |txn| {
                txn.open_table(CERTIFICATES)?.remove(&id.0)?;
                Ok(())
            },
            Some(&old),
            None,
            None,
            entries,
        )
    }

    pub(super) fn put_key(&mut self, key: &KeyHandle) -> Result<(), StoreError> {
        self.write(|_| Ok(()), None, None, Some(key), Vec::new())
    }

    pub(super) fn key(&self, id: KeyId) -> Result<Option<KeyHandle>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(KEYS)?;
        let found = table.get(&id.0)?;
        found.map(|value| key_handle(id.0, value.value())).transpose()
    }

    pub(super) fn append(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.write(|_| Ok(()), None, None, None, entries)
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

    /// Every installed certificate with its key.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let txn = self.db()?.begin_read()?;
        let records = txn.open_table(CERTIFICATES)?;
        let keys = txn.open_table(KEYS)?;
        let mut certificates = Vec::new();
        for row in records.iter()? {
            let (id, value) = row?;
            let record = certificate(*id.value(), value.value())?;
            let (id, spec) = (record.id(), record.spec);
            let Some(installed) = record.installed else { continue };
            let missing = StoreError::MissingKey { id, key: installed.key };
            let value = keys.get(&installed.key.0)?.ok_or(missing)?;
            let key = key_handle(installed.key.0, value.value())?;
            certificates.push(Arc::new(Served { id, spec, installed, key }));
        }
        Ok(Snapshot { certificates })
    }

    /// One small durable write.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        self.write(
            |txn| {
                let mut table = txn.open_table(META)?;
                let count = table.get(META_PROBE)?.map_or(0, |value| value.value());
                table.insert(META_PROBE, count.wrapping_add(1))?;
                Ok(())
            },
            None,
            None,
            None,
            Vec::new(),
        )
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
        };
        let found = table.get(name)?;
        found.map(|value| codec::decode(word, || name.to_owned(), value.value())).transpose()
    }

    pub(super) fn shelf_put(
        &mut self,
        shelf: Shelf,
        name: &str,
        value: &Vec<u8>,
    ) -> Result<(), StoreError> {
        self.write(
            |txn| {
                let mut table = match shelf {
                    Shelf::Accounts => txn.open_table(ACCOUNTS)?,
                    Shelf::InternalCa => txn.open_table(INTERNAL_CA)?,
                };
                table.insert(name, codec::encode(value).as_slice())?;
                Ok(())
            },
            None,
            None,
            None,
            Vec::new(),
        )
    }

    fn db(&self) -> Result<&Database, StoreError> {
        self.db.as_ref().ok_or(StoreError::Closed)
    }

    /// Opens the file anew if it was full, and refuses if it is broken.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.broken {
            let told = std::io::Error::other("an earlier read or write went wrong");
            return Err(StoreError::Io(told));
        }
        if self.db.is_none() {
            match open::open_existing(&self.path) {
                Ok(db) => self.db = Some(db),
                Err(OpenError::Io { source, .. }) => return Err(StoreError::Full(source)),
                Err(error) => return Err(StoreError::Damaged { reason: error.to_string() }),
            }
            self.check()?;
        }
        Ok(())
    }

    /// Reads every record, and takes away what a crash left without an owner.
    fn check(&mut self) -> Result<(), StoreError> {
        let found = inspect(&self.db()?.begin_read()?)?;
        self.head = found.head;
        self.uses = found.uses;
        if !found.orphans.is_empty() {
            let txn = open::begin(self.db()?)?;
            {
                let mut keys = txn.open_table(KEYS)?;
                for key in found.orphans {
                    keys.remove(&key.0)?;
                }
            }
            txn.commit()?;
            self.trouble = None;
        }
        Ok(())
    }

    /// One transaction: `change`, the key, the deletion of keys that `old` had and nothing needs
    /// any more, and the journal. Nothing here is remembered before the commit succeeded.
    fn write(
        &mut self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
        old: Option<&Certificate>,
        new: Option<&Certificate>,
        key: Option<&KeyHandle>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let counted = self.recount(old, new);
        let head = self.head;
        let next = head.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        let txn = open::begin(self.db()?)?;
        change(&txn)?;
        {
            let mut keys = txn.open_table(KEYS)?;
            if let Some(key) = key {
                keys.insert(&key.id.0, codec::encode(key).as_slice())?;
            }
            if let Some(record) = new {
                for key in keys_of(record) {
                    if keys.get(&key.0)?.is_none() {
                        return Err(StoreError::MissingKey { id: record.id(), key });
                    }
                }
            }
            for (key, count) in &counted {
                if *count == 0 {
                    keys.remove(&key.0)?;
                }
            }
        }
        if !entries.is_empty() {
            let mut journal = txn.open_table(JOURNAL)?;
            for (seq, mut entry) in (head + 1..).zip(entries) {
                entry.seq = seq;
                journal.insert(seq, codec::encode(&entry).as_slice())?;
            }
            let kept = u64::try_from(bounds::JOURNAL_ENTRIES).unwrap_or(u64::MAX);
            journal.retain_in(..next.saturating_sub(kept).saturating_add(1), |_, _| false)?;
        }
        txn.commit()?;
        self.trouble = None;
        self.head = next;
        for (key, count) in counted {
            if count == 0 {
                self.uses.remove(&key);
            } else {
                self.uses.insert(key, count);
            }
        }
        Ok(())
    }

    /// The new counts of every key that `old` or `new` refers to.
    fn recount(
        &self,
        old: Option<&Certificate>,
        new: Option<&Certificate>,
    ) -> HashMap<KeyId, usize> {
        let mut counted = HashMap::new();
        let now = |key: &KeyId| self.uses.get(key).copied().unwrap_or(0);
        for key in new.into_iter().flat_map(keys_of) {
            *counted.entry(key).or_insert_with_key(now) += 1;
        }
        for key in old.into_iter().flat_map(keys_of) {
            let count: &mut usize = counted.entry(key).or_insert_with_key(now);
            *count = count.saturating_sub(1);
        }
        counted
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(StoreError::Damaged { reason: open::panic_text(panic.as_ref()) }),
    }
}
