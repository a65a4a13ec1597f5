//! Changes of many records at once: one transaction, and one wait for the disk.

use redb::ReadableTable as _;

use super::claims;
use super::disk::Disk;
use super::error::StoreError;
use super::index;
use super::index::keys_of;
use super::mirror;
use super::mirror::Settled;
use super::pack::pack;
use super::tables::CERTIFICATES;
use super::tables::KEY_USERS;
use super::tables::KEYS;
use super::tables::WORN_KEYS;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::record::Certificate;

impl Disk {
    /// Adds many records with the keys that they refer to, in one transaction.
    pub(super) fn add_all(
        &mut self,
        records: &[Certificate],
        keys: &[KeyHandle],
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let guard = self.guard.clone();
        let told = entries.clone();
        self.write_telling(
            |txn| {
                let mut news = Vec::new();
                for key in keys {
                    guard.put_key(txn, key)?;
                }
                let stored = txn.open_table(KEYS)?;
                let mut table = txn.open_table(CERTIFICATES)?;
                for record in records {
                    let id = record.id();
                    for key in keys_of(record) {
                        if stored.get(&key.0)?.is_none() {
                            return Err(StoreError::MissingKey { id, key });
                        }
                    }
                    if table.get(&id.0)?.is_some() {
                        return Err(StoreError::Exists { id });
                    }
                    table.insert(&id.0, pack(record).as_slice())?;
                    index::follow(txn, None, Some(record))?;
                    mirror::mark(txn, &Settled::new(), None, Some(record))?;
                    news.extend(claims::follow(txn, None, Some(record), &told)?);
                }
                Ok(news)
            },
            None,
            None,
            None,
            entries,
        )
    }

    /// Compare-and-swap of many: each as in [`Self::update`], all or none.
    pub(super) fn update_all(
        &mut self,
        records: Vec<Certificate>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let mut changes = Vec::with_capacity(records.len());
        for mut record in records {
            let id = record.id();
            let old = self.certificate(id)?.ok_or(StoreError::NotFound { id })?;
            if old.revision != record.revision {
                let (expected, found) = (record.revision, old.revision);
                return Err(StoreError::Conflict { id, expected, found });
            }
            record.revision = record.revision.saturating_add(1);
            changes.push((old, record));
        }
        let told = entries.clone();
        self.write_telling(
            |txn| {
                let mut news = Vec::new();
                let mut table = txn.open_table(CERTIFICATES)?;
                let mut stored = txn.open_table(KEYS)?;
                let mut unused = Vec::new();
                for (old, new) in &changes {
                    let id = new.id();
                    for key in keys_of(new) {
                        if stored.get(&key.0)?.is_none() {
                            return Err(StoreError::MissingKey { id, key });
                        }
                    }
                    table.insert(&id.0, pack(new).as_slice())?;
                    unused.extend(index::follow(txn, Some(old), Some(new))?);
                    mirror::mark(txn, &Settled::new(), Some(old), Some(new))?;
                    news.extend(claims::follow(txn, Some(old), Some(new), &told)?);
                }
                for key in unused {
                    // Another of them may have taken it over.
                    if !index::users_of(&txn.open_table(KEY_USERS)?, key)?.is_empty() {
                        continue;
                    }
                    stored.remove(&key.0)?;
                    txn.open_table(WORN_KEYS)?.remove(&key.0)?;
                }
                Ok(news)
            },
            None,
            None,
            None,
            entries,
        )
    }
}
