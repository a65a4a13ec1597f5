//! The records that are driven, in memory, and the one way in which records change: the store
//! first, then here.
//!
//! Imported ones stay in the store, however many there are, and are read when somebody asks for
//! one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use super::transition::Change;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::store::Store;
use crate::store::StoreError;

/// How often a change is computed anew because somebody else was faster. Driver, job and a
/// person's request are the only writers, so the second try is the rule and the eighth unheard of.
const TRIES: usize = 8;

/// Every record, as the store has it: on the board those that the configuration asks for, each of
/// which is looked at again and again.
#[derive(Debug)]
pub(super) struct Records {
    store: Store,
    board: Mutex<BTreeMap<CertificateId, Arc<Certificate>>>,
    trouble: AtomicBool,
}

impl Records {
    /// Reads every record that is driven.
    pub(super) async fn load(store: Store) -> Result<Self, StoreError> {
        let records = store.driven().await?;
        let board = records.into_iter().map(|record| (record.id(), Arc::new(record))).collect();
        Ok(Self { store, board: Mutex::new(board), trouble: AtomicBool::new(false) })
    }

    /// The store beneath.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Every record but the imported ones, by name.
    pub(super) fn driven(&self) -> Vec<Arc<Certificate>> {
        self.board().values().map(Arc::clone).collect()
    }

    /// One record that is driven.
    pub(super) fn get(&self, id: CertificateId) -> Option<Arc<Certificate>> {
        self.board().get(&id).map(Arc::clone)
    }

    /// One record.
    pub(super) async fn find(
        &self,
        id: CertificateId,
    ) -> Result<Option<Arc<Certificate>>, StoreError> {
        match self.get(id) {
            Some(record) => Ok(Some(record)),
            None => Ok(self.store.certificate(id).await?.map(Arc::new)),
        }
    }

    /// Whether the disk failed since this was last asked.
    pub(super) fn take_trouble(&self) -> bool {
        self.trouble.swap(false, Ordering::Relaxed)
    }

    /// Notes that the disk failed, where `error` says so.
    pub(super) fn note(&self, error: &StoreError) {
        if error.is_disk() {
            self.trouble.store(true, Ordering::Relaxed);
        }
    }

    /// Adds records that are new, in one transaction.
    pub(super) async fn add(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (mut records, mut entries) = (Vec::new(), Vec::new());
        for change in changes {
            records.push(change.record);
            entries.extend(change.entries);
        }
        let added = self.store.add_all(records.clone(), Vec::new(), entries).await;
        added.inspect_err(|error| self.note(error))?;
        for record in records {
            self.put(record);
        }
        Ok(())
    }

    /// Changes many records in one transaction, each as it was read.
    pub(super) async fn change_all(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (mut records, mut entries) = (Vec::new(), Vec::new());
        for change in changes {
            records.push(change.record);
            entries.extend(change.entries);
        }
        let changed = self.store.update_all(records.clone(), entries).await;
        changed.inspect_err(|error| self.note(error))?;
        for mut record in records {
            record.revision = record.revision.saturating_add(1);
            self.put(record);
        }
        Ok(())
    }

    /// Reads a record again that somebody else has changed.
    pub(super) async fn refresh(&self, id: CertificateId) -> Result<(), StoreError> {
        if let Some(record) = self.store.certificate(id).await? {
            self.put(record);
        }
        Ok(())
    }

    /// Adds a record with its key, in one transaction.
    pub(super) async fn add_with_key(
        &self,
        change: Change,
        key: &KeyHandle,
    ) -> Result<(), StoreError> {
        let record = change.record.clone();
        let added = self.store.add_with_key(change.record, key.clone(), change.entries).await;
        added.inspect_err(|error| self.note(error))?;
        self.put(record);
        Ok(())
    }

    /// Changes a record as `change` says, with `key` in the same transaction. `change` may be
    /// asked more than once; when it declines, nothing happens and the record is `None`.
    ///
    /// When the future is dropped the change may or may not be stored; the board follows at the
    /// next change of the same record.
    pub(super) async fn change<F>(
        &self,
        id: CertificateId,
        key: Option<&KeyHandle>,
        mut change: F,
    ) -> Result<Option<Arc<Certificate>>, StoreError>
    where
        F: FnMut(&Certificate) -> Option<Change> + Send,
    {
        let mut current = self.find(id).await?.ok_or(StoreError::NotFound { id })?;
        for _ in 0..TRIES {
            let Some(Change { record, entries }) = change(&current) else { return Ok(None) };
            if record == *current && entries.is_empty() && key.is_none() {
                return Ok(Some(current));
            }
            let written = match key {
                Some(key) => self.store.update_with_key(record, key.clone(), entries).await,
                None => self.store.update(record, entries).await,
            };
            match written {
                Ok(record) => return Ok(Some(self.put(record))),
                Err(StoreError::Conflict { .. }) => {
                    let found = self.store.certificate(id).await?;
                    current = self.put(found.ok_or(StoreError::NotFound { id })?);
                }
                Err(error) => {
                    self.note(&error);
                    return Err(error);
                }
            }
        }
        let (expected, found) = (current.revision, current.revision);
        Err(StoreError::Conflict { id, expected, found })
    }

    /// Deletes a record and its keys.
    pub(super) async fn remove(&self, id: CertificateId, told: Entry) -> Result<(), StoreError> {
        let removed = self.store.remove(id, vec![told]).await;
        removed.inspect_err(|error| self.note(error))?;
        self.board().remove(&id);
        Ok(())
    }

    /// Deletes a record, and its keys, as long as it is as it was read.
    pub(super) async fn remove_as(
        &self,
        record: &Certificate,
        told: Entry,
    ) -> Result<(), StoreError> {
        let (id, revision) = (record.id(), record.revision);
        let removed = self.store.remove_as(id, revision, vec![told]).await;
        removed.inspect_err(|error| self.note(error))?;
        self.board().remove(&id);
        Ok(())
    }

    /// Two answers of the store may arrive in either order: the higher revision stays.
    fn put(&self, record: Certificate) -> Arc<Certificate> {
        let record = Arc::new(record);
        if !record.spec.role.is_driven() {
            return record;
        }
        let mut board = self.board();
        let slot = board.entry(record.id()).or_insert_with(|| Arc::clone(&record));
        if slot.revision <= record.revision {
            *slot = Arc::clone(&record);
        }
        record
    }

    fn board(&self) -> MutexGuard<'_, BTreeMap<CertificateId, Arc<Certificate>>> {
        // Every change under this lock is a single insertion or removal.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
