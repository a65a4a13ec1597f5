//! What is kept beside the records so that nobody has to read all of them: which ones refer to a
//! key, which ones are driven, when the imported ones wake, and how many of those are in which
//! phase.
//!
//! It changes in the transaction that changes a record, and only here. Deliberately absent: names,
//! which are found in the second copy.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use redb::ReadTransaction;
use redb::ReadableTable;
use redb::WriteTransaction;

use super::error::StoreError;
use super::tables::CERTIFICATES;
use super::tables::DRIVEN;
use super::tables::IMPORTED;
use super::tables::KEY_USERS;
use super::tables::KEY_USES;
use super::tables::KEYS;
use super::tables::PENDING;
use super::tables::WAKES;
use super::turns;
use crate::base::Timestamp;
use crate::base::bounds::allowance::DUE_AT_ONCE;
use crate::cert::issue::Claim;
use crate::cert::key::KeyId;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// Makes the tables.
pub(super) fn make_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(KEY_USERS)?;
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
    let uses = |record: &Certificate| {
        let id = record.id();
        keys_of(record).map(move |key| (key, id))
    };
    let before: BTreeSet<_> = old.into_iter().flat_map(uses).collect();
    let after: BTreeSet<_> = new.into_iter().flat_map(uses).collect();
    if before != after {
        let mut users = txn.open_table(KEY_USERS)?;
        for (key, id) in after.difference(&before) {
            users.insert((&key.0, &id.0), ())?;
        }
        for (key, id) in before.difference(&after) {
            users.remove((&key.0, &id.0))?;
            if users_of(&users, *key)?.is_empty() {
                unused.push(*key);
            }
        }
    }
    let driven = |record: &Certificate| record.spec.role.is_driven();
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
    let phase =
        |record: &Certificate| record.claim().map_or_else(|| record.phase.word(), Claim::word);
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
    let users = txn.open_table(KEY_USERS).map_err(|_| "the list of used keys is missing")?;
    for key in keys_of(record) {
        if users.get((&key.0, &id.0)).map_err(unreadable)?.is_none() {
            return Err("its key is not entered as used");
        }
    }
    let driven = txn.open_table(DRIVEN).map_err(|_| "the list of driven records is missing")?;
    let listed = driven.get(&id.0).map_err(unreadable)?.is_some();
    if listed != record.spec.role.is_driven() {
        return Err("it is entered as driven and is not, or the other way round");
    }
    if !record.spec.role.is_driven()
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
    txn.open_table(KEY_USERS)?.retain(|_, _| false)?;
    txn.open_table(DRIVEN)?.retain(|_, _| false)?;
    txn.open_table(WAKES)?.retain(|_, _| false)?;
    txn.open_table(IMPORTED)?.retain(|_, _| false)?;
    for row in txn.open_table(CERTIFICATES)?.iter()? {
        let (id, value) = row?;
        let record = super::inspect::certificate(*id.value(), value.value())?;
        follow(txn, None, Some(&record))?;
    }
    let users = txn.open_table(KEY_USERS)?;
    let mut orphans = Vec::new();
    let mut keys = txn.open_table(KEYS)?;
    for row in keys.iter()? {
        let (id, value) = row?;
        let key = super::inspect::key_handle(*id.value(), value.value())?;
        if key.usage.is_tls() && users_of(&users, key.id)?.is_empty() {
            orphans.push(key.id);
        }
    }
    for key in orphans {
        keys.remove(&key.0)?;
    }
    Ok(())
}

/// Names the users of each key, where they used to be counted.
pub(super) fn name_users(txn: &WriteTransaction) -> Result<(), StoreError> {
    let mut users = txn.open_table(KEY_USERS)?;
    for row in txn.open_table(CERTIFICATES)?.iter()? {
        let (id, value) = row?;
        let record = super::inspect::certificate(*id.value(), value.value())?;
        for key in keys_of(&record) {
            users.insert((&key.0, id.value()), ())?;
        }
    }
    txn.delete_table(KEY_USES)?;
    Ok(())
}

/// The certificates that refer to a key.
pub(super) fn users_of(
    users: &impl ReadableTable<(&'static [u8; 32], &'static [u8; 8]), ()>,
    key: KeyId,
) -> Result<Vec<CertificateId>, StoreError> {
    let mut found = Vec::new();
    for row in users.range((&key.0, &[0; 8])..=(&key.0, &[u8::MAX; 8]))? {
        found.push(CertificateId(*row?.0.value().1));
    }
    Ok(found)
}

/// The certificates whose turn it is, up to half of `limit`, and the imported ones whose time has come at
/// `now`, the earliest first; and the moment at which the next one's comes.
pub(super) fn due(
    txn: &ReadTransaction,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<CertificateId>, Option<Timestamp>), StoreError> {
    let (turns, more) = turns::next(txn, limit.div_ceil(2).min(DUE_AT_ONCE / 2))?;
    let room = limit.saturating_sub(turns.len());
    let mut next = more.then_some(now);
    let (table, mut found) = (txn.open_table(WAKES)?, Vec::new());
    for row in table.iter()? {
        let (key, _) = row?;
        let (at, id) = key.value();
        let at = Timestamp::from_unix(at);
        if at > now || found.len() == room {
            next = next.or_else(|| Some(at.max(now)));
            break;
        }
        found.push(CertificateId(*id));
    }
    // One by one, so that neither keeps the other waiting.
    let (mut times, mut both) = (found.into_iter(), Vec::new());
    for turn in turns {
        both.push(turn);
        both.extend(times.next());
    }
    both.extend(times);
    Ok((both, next))
}

/// How many imported certificates are in which phase; or of those that clients asked for, how many have
/// which claim.
pub(super) fn imported(
    txn: &ReadTransaction,
    of_clients: bool,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut found = BTreeMap::new();
    for row in txn.open_table(IMPORTED)?.iter()? {
        let (word, count) = row?;
        let claim = Claim::ALL.iter().any(|claim| claim.word() == word.value());
        if count.value() > 0 && claim == of_clients {
            found.insert(word.value().to_owned(), count.value());
        }
    }
    Ok(found)
}

/// The keys a record refers to: installed and in flight. Those of a client that signed its request itself
/// are elsewhere, and the one exception to that they must be here.
pub(super) fn keys_of(record: &Certificate) -> impl Iterator<Item = KeyId> + use<> {
    let here = record.client_request().is_none();
    let installed = record.installed.as_ref().map(|installed| installed.key);
    let in_flight = record.phase.in_flight().map(|in_flight| in_flight.key);
    let in_flight = in_flight.filter(|key| Some(*key) != installed);
    installed.into_iter().chain(in_flight).filter(move |_| here)
}

/// When a record wants to be looked at; what is due is due since ever.
pub(super) fn wake(record: &Certificate) -> Option<u64> {
    let phase = match record.order_ended() {
        // It waits for its turn, and not for its time.
        _ if turns::place(record).is_some() => None,
        Some(over) => Some(over),
        None => record.phase.wake_at(Timestamp::from_unix(0)),
    };
    phase.into_iter().chain(record.revocation_due()).min().map(Timestamp::as_unix)
}
