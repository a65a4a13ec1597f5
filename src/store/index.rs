//! What is kept beside the records so that nobody has to read all of them: how many refer to a
//! key, which ones are driven, when the imported ones wake, and how many of those are in which
//! phase.
//!
//! It changes in the transaction that changes a record, and only here. Deliberately absent: names,
//! which are found in the second copy.

use std::collections::BTreeMap;

use redb::ReadTransaction;
use redb::ReadableTable;
use redb::WriteTransaction;

use super::error::StoreError;
use super::tables::CERTIFICATES;
use super::tables::DRIVEN;
use super::tables::IMPORTED;
use super::tables::KEY_USES;
use super::tables::KEYS;
use super::tables::PENDING;
use super::tables::WAKES;
use crate::base::Timestamp;
use crate::cert::key::KeyId;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;

/// Makes the tables.
pub(super) fn make_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(KEY_USES)?;
    txn.open_table(DRIVEN)?;
    txn.open_table(WAKES)?;
    txn.open_table(IMPORTED)?;
    txn.open_table(PENDING)?;
    Ok(())
}

/// Follows the change of one record from `old` to `new`, and returns the keys to which no record
/// refers any more.
pub(super) fn follow(
    txn: &WriteTransaction,
    old: Option<&Certificate>,
    new: Option<&Certificate>,
) -> Result<Vec<KeyId>, StoreError> {
    let mut unused = Vec::new();
    let mut changed: BTreeMap<KeyId, (u64, u64)> = BTreeMap::new();
    for key in old.into_iter().flat_map(keys_of) {
        changed.entry(key).or_default().0 += 1;
    }
    for key in new.into_iter().flat_map(keys_of) {
        changed.entry(key).or_default().1 += 1;
    }
    let mut uses = txn.open_table(KEY_USES)?;
    for (key, (less, more)) in changed.into_iter().filter(|(_, (less, more))| less != more) {
        let count = uses.get(&key.0)?.map_or(0, |count| count.value());
        let count = count.saturating_add(more).saturating_sub(less);
        if count == 0 {
            uses.remove(&key.0)?;
            unused.push(key);
        } else {
            uses.insert(&key.0, count)?;
        }
    }
    let driven = |record: &Certificate| record.spec.role != Role::Imported;
    let (was, is) = (old.filter(|one| driven(one)), new.filter(|one| driven(one)));
    if was.is_some() != is.is_some() {
        let mut table = txn.open_table(DRIVEN)?;
        match (was, is) {
            (_, Some(record)) => drop(table.insert(&record.id().0, ())?),
            (Some(record), None) => drop(table.remove(&record.id().0)?),
            (None, None) => {}
        }
    }
    let (was, is) = (old.filter(|one| !driven(one)), new.filter(|one| !driven(one)));
    let wakes = |record: &Certificate| wake(record).map(|at| (at, record.id()));
    let (before, after) = (was.and_then(wakes), is.and_then(wakes));
    if before != after {
        let mut table = txn.open_table(WAKES)?;
        if let Some((at, id)) = before {
            table.remove((at, &id.0))?;
        }
        if let Some((at, id)) = after {
            table.insert((at, &id.0), ())?;
        }
    }
    let phase = |record: &Certificate| record.phase.word();
    let (before, after) = (was.map(phase), is.map(phase));
    if before != after {
        let mut table = txn.open_table(IMPORTED)?;
        for (word, more) in before.map(|w| (w, false)).into_iter().chain(after.map(|w| (w, true))) {
            let count = table.get(word)?.map_or(0, |count| count.value());
            let count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
            table.insert(word, count)?;
        }
    }
    Ok(unused)
}

/// Whether `record` is entered as it must be. `word` says what is not.
pub(super) fn agrees(txn: &ReadTransaction, record: &Certificate) -> Result<(), &'static str> {
    let unreadable = |_| "the index beside it cannot be read";
    let id = record.id();
    let uses = txn.open_table(KEY_USES).map_err(|_| "the count of keys is missing")?;
    for key in keys_of(record) {
        if uses.get(&key.0).map_err(unreadable)?.is_none() {
            return Err("its key is not counted as used");
        }
    }
    let driven = txn.open_table(DRIVEN).map_err(|_| "the list of driven records is missing")?;
    let listed = driven.get(&id.0).map_err(unreadable)?.is_some();
    if listed == (record.spec.role == Role::Imported) {
        return Err("it is entered as driven and is not, or the other way round");
    }
    if record.spec.role == Role::Imported
        && let Some(at) = wake(record)
    {
        let wakes = txn.open_table(WAKES).map_err(|_| "the list of wake times is missing")?;
        if wakes.get((at, &id.0)).map_err(unreadable)?.is_none() {
            return Err("its wake time is not entered");
        }
    }
    Ok(())
}

/// Makes everything anew from the records, and takes away keys of sites that none refers to.
pub(super) fn rebuild(txn: &WriteTransaction) -> Result<(), StoreError> {
    make_tables(txn)?;
    txn.open_table(KEY_USES)?.retain(|_, _| false)?;
    txn.open_table(DRIVEN)?.retain(|_, _| false)?;
    txn.open_table(WAKES)?.retain(|_, _| false)?;
    txn.open_table(IMPORTED)?.retain(|_, _| false)?;
    for row in txn.open_table(CERTIFICATES)?.iter()? {
        let (id, value) = row?;
        let record = super::inspect::certificate(*id.value(), value.value())?;
        follow(txn, None, Some(&record))?;
    }
    let uses = txn.open_table(KEY_USES)?;
    let mut orphans = Vec::new();
    let mut keys = txn.open_table(KEYS)?;
    for row in keys.iter()? {
        let (id, value) = row?;
        let key = super::inspect::key_handle(*id.value(), value.value())?;
        if key.usage.is_tls() && uses.get(&key.id.0)?.is_none() {
            orphans.push(key.id);
        }
    }
    for key in orphans {
        keys.remove(&key.0)?;
    }
    Ok(())
}

/// The imported certificates whose time has come at `now`, the earliest first, and the moment at
/// which the next one's comes.
pub(super) fn due(
    txn: &ReadTransaction,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<CertificateId>, Option<Timestamp>), StoreError> {
    let table = txn.open_table(WAKES)?;
    let mut found = Vec::new();
    for row in table.iter()? {
        let (key, _) = row?;
        let (at, id) = key.value();
        let at = Timestamp::from_unix(at);
        if at > now {
            return Ok((found, Some(at)));
        }
        if found.len() == limit {
            return Ok((found, Some(now)));
        }
        found.push(CertificateId(*id));
    }
    Ok((found, None))
}

/// How many imported certificates are in which phase.
pub(super) fn imported(txn: &ReadTransaction) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut found = BTreeMap::new();
    for row in txn.open_table(IMPORTED)?.iter()? {
        let (word, count) = row?;
        if count.value() > 0 {
            found.insert(word.value().to_owned(), count.value());
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

/// When a record wants to be looked at; what is due is due since ever.
fn wake(record: &Certificate) -> Option<u64> {
    record.phase.wake_at(Timestamp::from_unix(0)).map(Timestamp::as_unix)
}
