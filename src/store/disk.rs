//! What the store's thread does: one transaction for each call, synchronous.
//!
//! Nothing here is held in memory for each record: what is asked of many is kept by [`index`] in
//! the file, in the transaction that changes a record.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use redb::Database;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::TableError;
use redb::WriteTransaction;

use super::claims;
use super::codec;
use super::custody::table_of;
use super::error::OpenError;
use super::error::StoreError;
use super::index;
use super::index::keys_of;
use super::inspect;
use super::inspect::Place;
use super::mirror;
use super::mirror::Settled;
use super::open;
use super::pack::pack;
use super::seals::Guard;
use super::tables::CERTIFICATES;
use super::tables::JOURNAL;
use super::tables::KEYS;
use super::tables::META;
use super::tables::META_PROBE;
use super::tables::WORN_KEYS;
use crate::base::bounds;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::ports::Shelf;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// The open file.
pub(super) struct Disk {
    path: PathBuf,
    /// `None` while the file must be opened anew after it was full.
    db: Option<Database>,
    /// Number of the newest journal entry.
    head: u64,
    /// Set after an error that must not be followed by further writes.
    broken: bool,
    /// Why nothing could be written since the last write that went well.
    trouble: Option<Arc<str>>,
    /// What the present look at all records has found so far.
    found: Damage,
    /// What is wrong with single records, in words.
    damage: Option<Arc<str>>,
    /// What sealed keys may be stored.
    pub(super) guard: Guard,
    /// What the second copy has and is still marked as lacking.
    pub(super) settled: Settled,
    /// Dropped last: the lock outlives the database.
    _lock: open::Lock,
}

/// Records that are not as they were written.
#[derive(Debug, Default)]
struct Damage {
    count: u64,
    first: Option<String>,
}

impl Disk {
    /// Opens the store below `dir`. A short one is read once, so that damage shows now and not at
    /// night; a long one is looked at later, by [`Self::scrub`].
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let lock = open::lock(dir)?;
        let path = open::path(dir);
        let db = open::open(dir)?;
        let mut disk = Self {
            path,
            db: Some(db),
            head: 0,
            broken: false,
            trouble: None,
            found: Damage::default(),
            damage: None,
            guard: Guard::default(),
            settled: Settled::new(),
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

    /// What is wrong with single records, as far as they were looked at.
    pub(super) const fn damage(&self) -> Option<&Arc<str>> {
        self.damage.as_ref()
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

    /// Every change is durable in the file when its transaction ends, and none is under way here.
    pub(super) fn copy_into(&mut self, mut target: File) -> Result<u64, StoreError> {
        let copied = File::open(&self.path)
            .and_then(|mut file| std::io::copy(&mut file, &mut target))
            .and_then(|copied| target.sync_all().map(|()| copied));
        // No error of this file, after which it would not be written to any more.
        copied.map_err(|source| StoreError::Copy { source })
    }

    /// Looks at some records behind `place`, and says where to go on; `None` behind the last.
    pub(super) fn scrub(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        if place == Place::Start {
            self.found = Damage::default();
        }
        let txn = self.db()?.begin_read()?;
        let found = &mut self.found;
        let next = inspect::step(&txn, place, bounds::STORE_STEP, |error| {
            tracing::error!(%error, "a record of the store is damaged");
            found.count += 1;
            found.first.get_or_insert_with(|| error.to_string());
        })?;
        let known = self.damage.is_some();
        match &self.found.first {
            Some(first) => {
                let count = self.found.count;
                self.damage = Some(format!("{count} damaged, the first: {first}").into());
            }
            // Told until a whole look has found nothing.
            None if known && next.is_none() => self.damage = None,
            None => {}
        }
        Ok(next)
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
                table.insert(&id.0, pack(record).as_slice())?;
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
                table.insert(&id.0, pack(&new).as_slice())?;
                Ok(())
            },
            Some(&old),
            Some(&record),
            key,
            entries,
        )?;
        Ok(record)
    }

    /// `revision` is the one that was read, where it is to be that.
    pub(super) fn remove(
        &mut self,
        id: CertificateId,
        revision: Option<u64>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let old = self.certificate(id)?.ok_or(StoreError::NotFound { id })?;
        if let Some(expected) = revision.filter(|revision| *revision != old.revision) {
            return Err(StoreError::Conflict { id, expected, found: old.revision });
        }
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

    /// Marks those of `keys` that are there.
    pub(super) fn wear_out(
        &mut self,
        worn: &[KeyId],
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.write(
            |txn| {
                let keys = txn.open_table(KEYS)?;
                let mut marks = txn.open_table(WORN_KEYS)?;
                for key in worn {
                    if keys.get(&key.0)?.is_some() {
                        marks.insert(&key.0, ())?;
                    }
                }
                Ok(())
            },
            None,
            None,
            None,
            entries,
        )
    }

    pub(super) fn is_worn(&self, key: KeyId) -> Result<bool, StoreError> {
        match self.db()?.begin_read()?.open_table(WORN_KEYS) {
            Ok(marks) => Ok(marks.get(&key.0)?.is_some()),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the marks of what the second copy has away.
    pub(super) fn take_marks_away(&mut self) -> Result<(), StoreError> {
        self.write(|_| Ok(()), None, None, None, Vec::new())
    }

    pub(super) fn append(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.write(|_| Ok(()), None, None, None, entries)
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

    pub(super) fn shelf_put(
        &mut self,
        shelf: Shelf,
        name: &str,
        value: &Vec<u8>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let guard = self.guard.clone();
        self.write(
            |txn| {
                let anew = guard.on_shelf(shelf, value)?;
                let value = anew.as_ref().unwrap_or(value);
                txn.open_table(table_of(shelf).0)?.insert(name, codec::encode(value).as_slice())?;
                Ok(())
            },
            None,
            None,
            None,
            entries,
        )
    }

    pub(super) fn db(&self) -> Result<&Database, StoreError> {
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

    /// Reads every record of a short file, and the number of the newest entry of any.
    fn check(&mut self) -> Result<(), StoreError> {
        let txn = self.db()?.begin_read()?;
        if inspect::is_short(&txn)? {
            inspect::inspect(&txn)?;
        }
        self.head = txn.open_table(JOURNAL)?.last()?.map_or(0, |(seq, _)| seq.value());
        Ok(())
    }

    /// [`Self::write_telling`] for a change that has nothing more to tell than `entries`.
    pub(super) fn write(
        &mut self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
        old: Option<&Certificate>,
        new: Option<&Certificate>,
        key: Option<&KeyHandle>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let quiet = |txn: &WriteTransaction| change(txn).map(|()| Vec::new());
        self.write_telling(quiet, old, new, key, entries)
    }

    /// One transaction: `change`, the key, the deletion of keys that `old` had and nothing needs
    /// any more, the books, and the journal with what `change` tells besides. Nothing here is remembered before the commit succeeded.
    pub(super) fn write_telling(
        &mut self,
        change: impl FnOnce(&WriteTransaction) -> Result<Vec<Entry>, StoreError>,
        old: Option<&Certificate>,
        new: Option<&Certificate>,
        key: Option<&KeyHandle>,
        mut entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let head = self.head;
        let txn = open::begin(self.db()?, self.is_long())?;
        entries.extend(change(&txn)?);
        entries.extend(claims::follow(&txn, old, new, &entries)?);
        let next = head.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        let unused = index::follow(&txn, old, new)?;
        mirror::mark(&txn, &self.settled, old, new)?;
        if let Some(key) = key {
            self.guard.put_key(&txn, key)?;
        }
        {
            let mut keys = txn.open_table(KEYS)?;
            if let Some(record) = new {
                for key in keys_of(record) {
                    if keys.get(&key.0)?.is_none() {
                        return Err(StoreError::MissingKey { id: record.id(), key });
                    }
                }
            }
            for key in unused {
                keys.remove(&key.0)?;
                txn.open_table(WORN_KEYS)?.remove(&key.0)?;
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
        self.settled.clear();
        Ok(())
    }

    /// Whether the file is so long that a repair after a crash would be felt.
    pub(super) fn is_long(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() >= bounds::STORE_LONG)
    }
}

pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(StoreError::Damaged { reason: open::panic_text(panic.as_ref()) }),
    }
}
