//! A look at every record, in steps, so that damage shows while there is time and not at night.
//!
//! Short stores are looked through when they are opened; of long ones the same look is taken
//! step by step while the house is at work.

use std::ops::Bound;

use redb::ReadTransaction;
use redb::ReadableTable;
use redb::ReadableTableMetadata as _;

use super::books;
use super::claims;
use super::codec;
use super::error::StoreError;
use super::index;
use super::index::keys_of;
use super::tables::ACCOUNTS;
use super::tables::CERTIFICATES;
use super::tables::INTERNAL_CA;
use super::tables::JOURNAL;
use super::tables::KEYS;
use super::tables::LEDGER;
use super::tables::PACKS;
use crate::base::bounds;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// Where a look at everything stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Place {
    /// At the first record.
    #[default]
    Start,
    /// Behind this certificate.
    Certificate([u8; 8]),
    /// Behind the last certificate.
    Keys,
    /// Behind this key.
    Key([u8; 32]),
    /// Behind this entry of the journal.
    Journal(u64),
    /// Behind this entry of the ledger.
    Ledger(u64),
    /// Behind this pack.
    Pack(u64),
    /// Behind the books.
    Shelves,
}

/// Whether the whole file is short enough to be looked through when it is opened.
pub(super) fn is_short(txn: &ReadTransaction) -> Result<bool, StoreError> {
    let count = txn.open_table(CERTIFICATES)?.len()?.saturating_add(txn.open_table(KEYS)?.len()?);
    let count = count.saturating_add(txn.open_table(LEDGER)?.len()?);
    Ok(count <= bounds::STORE_INSPECTED)
}

/// Reads everything.
///
/// # Errors
/// Names the first record that is not as it was written, or a key that is missing.
pub(super) fn inspect(txn: &ReadTransaction) -> Result<(), StoreError> {
    let mut place = Some(Place::Start);
    while let Some(at) = place {
        let mut first = None;
        place = step(txn, at, bounds::STORE_STEP, |damage| {
            first.get_or_insert(damage);
        })?;
        if let Some(damage) = first {
            return Err(damage);
        }
    }
    Ok(())
}

/// Reads some `limit` records from `place` on, and says where to go on; `None` behind the last.
///
/// # Errors
/// When the file itself cannot be read. A record that is not as it was written is told to
/// `damaged`, and the next one is read.
pub(super) fn step(
    txn: &ReadTransaction,
    place: Place,
    limit: usize,
    mut damaged: impl FnMut(StoreError),
) -> Result<Option<Place>, StoreError> {
    match place {
        Place::Start | Place::Certificate(_) => {
            let from = match &place {
                Place::Certificate(id) => Bound::Excluded(id),
                _ => Bound::Unbounded,
            };
            let keys = txn.open_table(KEYS)?;
            let (mut last, mut count) = (None, 0);
            let table = txn.open_table(CERTIFICATES)?;
            for row in table.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
                let (id, value) = row?;
                (last, count) = (Some(*id.value()), count + 1);
                match certificate(*id.value(), value.value()) {
                    Ok(record) => consider(txn, &keys, &record, &mut damaged)?,
                    Err(error) => damaged(error),
                }
            }
            let next = last.filter(|_| count == limit).map(Place::Certificate);
            Ok(next.or(Some(Place::Keys)))
        }
        Place::Keys | Place::Key(_) => {
            let from = match &place {
                Place::Key(id) => Bound::Excluded(id),
                _ => Bound::Unbounded,
            };
            let (mut last, mut count) = (None, 0);
            let table = txn.open_table(KEYS)?;
            for row in table.range::<&[u8; 32]>((from, Bound::Unbounded))?.take(limit) {
                let (id, value) = row?;
                (last, count) = (Some(*id.value()), count + 1);
                if let Err(error) = key_handle(*id.value(), value.value()) {
                    damaged(error);
                }
            }
            Ok(last.filter(|_| count == limit).map(Place::Key).or(Some(Place::Journal(0))))
        }
        Place::Journal(after) => {
            let (mut last, mut count) = (None, 0);
            let table = txn.open_table(JOURNAL)?;
            for row in table.range(after.saturating_add(1)..)?.take(limit) {
                let (seq, value) = row?;
                (last, count) = (Some(seq.value()), count + 1);
                if let Err(error) = entry(seq.value(), value.value()) {
                    damaged(error);
                }
            }
            Ok(last.filter(|_| count == limit).map(Place::Journal).or(Some(Place::Ledger(0))))
        }
        Place::Ledger(after) => {
            let (mut last, mut count) = (None, 0);
            let table = txn.open_table(LEDGER)?;
            for row in table.range(after.saturating_add(1)..)?.take(limit) {
                let (seq, value) = row?;
                (last, count) = (Some(seq.value()), count + 1);
                if let Err(error) = books::entry(seq.value(), value.value()) {
                    damaged(error);
                }
            }
            Ok(last.filter(|_| count == limit).map(Place::Ledger).or(Some(Place::Pack(0))))
        }
        Place::Pack(after) => {
            let (mut last, mut count) = (None, 0);
            let table = txn.open_table(PACKS)?;
            for row in table.range(after.saturating_add(1)..)?.take(limit) {
                let (id, value) = row?;
                (last, count) = (Some(id.value()), count + 1);
                if let Err(error) = books::pack(id.value(), value.value()) {
                    damaged(error);
                }
            }
            Ok(last.filter(|_| count == limit).map(Place::Pack).or(Some(Place::Shelves)))
        }
        // A few values, however many certificates there are.
        Place::Shelves => {
            for (table, word) in [(ACCOUNTS, "accounts"), (INTERNAL_CA, "internal_ca")] {
                for row in txn.open_table(table)?.iter()? {
                    let (name, value) = row?;
                    let name = || name.value().to_owned();
                    if let Err(error) = codec::decode::<Vec<u8>>(word, name, value.value()) {
                        damaged(error);
                    }
                }
            }
            Ok(None)
        }
    }
}

/// Whether what a readable record refers to is there.
fn consider(
    txn: &ReadTransaction,
    keys: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    record: &Certificate,
    damaged: &mut impl FnMut(StoreError),
) -> Result<(), StoreError> {
    for key in keys_of(record) {
        if keys.get(&key.0)?.is_none() {
            damaged(StoreError::MissingKey { id: record.id(), key });
        }
    }
    if let Err(reason) = index::agrees(txn, record).and_then(|()| claims::agrees(txn, record)) {
        let (table, key) = ("certificates", record.id().to_string());
        damaged(StoreError::Unreadable { table, key, reason });
    }
    Ok(())
}

/// The certificate that lies under `id`.
pub(super) fn certificate(id: [u8; 8], bytes: &[u8]) -> Result<Certificate, StoreError> {
    let table = "certificates";
    let key = || CertificateId(id).to_string();
    let record = super::pack::unpack(table, key, bytes)?;
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
