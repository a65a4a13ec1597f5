//! One look at every record, so that damage shows when the file is opened and not at night.

use std::collections::HashMap;

use redb::ReadTransaction;
use redb::ReadableTable;

use super::codec;
use super::error::StoreError;
use super::tables::ACCOUNTS;
use super::tables::CERTIFICATES;
use super::tables::INTERNAL_CA;
use super::tables::JOURNAL;
use super::tables::KEYS;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// How many records refer to a key.
    pub(super) uses: HashMap<KeyId, usize>,
    /// Keys of sites that no record refers to: a crash left them without an owner.
    pub(super) orphans: Vec<KeyId>,
    /// Number of the newest journal entry; 0 when there is none.
    pub(super) head: u64,
}

/// Reads everything.
///
/// # Errors
/// Names the first record that is not as it was written, or a key that is missing.
pub(super) fn inspect(txn: &ReadTransaction) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let keys = txn.open_table(KEYS)?;
    for row in txn.open_table(CERTIFICATES)?.iter()? {
        let (id, value) = row?;
        let record = certificate(*id.value(), value.value())?;
        for key in keys_of(&record) {
            if keys.get(&key.0)?.is_none() {
                return Err(StoreError::MissingKey { id: record.id(), key });
            }
            *found.uses.entry(key).or_insert(0) += 1;
        }
    }
    for row in keys.iter()? {
        let (id, value) = row?;
        let key = key_handle(*id.value(), value.value())?;
        if key.usage.is_tls() && !found.uses.contains_key(&key.id) {
            found.orphans.push(key.id);
        }
    }
    let journal = txn.open_table(JOURNAL)?;
    for row in journal.iter()? {
        let (seq, value) = row?;
        entry(seq.value(), value.value())?;
    }
    found.head = journal.last()?.map_or(0, |(seq, _)| seq.value());
    for (table, word) in [(ACCOUNTS, "accounts"), (INTERNAL_CA, "internal_ca")] {
        for row in txn.open_table(table)?.iter()? {
            let (name, value) = row?;
            let _: Vec<u8> = codec::decode(word, || name.value().to_owned(), value.value())?;
        }
    }
    Ok(found)
}

/// The keys a record refers to: installed and in flight.
pub(super) fn keys_of(record: &Certificate) -> impl Iterator<Item = KeyId> + use<> {
    let installed = record.installed.as_ref().map(|installed| installed.key);
    let in_flight = record.phase.in_flight().map(|in_flight| in_flight.key);
    let in_flight = in_flight.filter(|key| Some(*key) != installed);
    installed.into_iter().chain(in_flight)
}

/// The certificate that lies under `id`.
pub(super) fn certificate(id: [u8; 8], bytes: &[u8]) -> Result<Certificate, StoreError> {
    let table = "certificates";
    let key = || CertificateId(id).to_string();
    let record: Certificate = codec::decode(table, key, bytes)?;
    if record.id().0 == id {
        Ok(record)
    } else {
        let reason = "it lies under the name of another";
        Err(StoreError::Unreadable { table, key: key(), reason })
    }
}

/// The key that lies under `id`.
pub(super) fn key_handle(id: [u8; 32], bytes: &[u8]) -> Result<KeyHandle, StoreError> {
    let table = "keys";
    let key = || KeyId(id).to_string();
    let handle: KeyHandle = codec::decode(table, key, bytes)?;
    if handle.id.0 == id {
        Ok(handle)
    } else {
        let reason = "it lies under the name of another";
        Err(StoreError::Unreadable { table, key: key(), reason })
    }
}

/// The journal entry number `seq`.
pub(super) fn entry(seq: u64, bytes: &[u8]) -> Result<Entry, StoreError> {
    codec::decode("journal", || seq.to_string(), bytes)
}
