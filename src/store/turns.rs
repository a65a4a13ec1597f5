//! Whose turn it is among certificates that clients asked for and that are to be ordered: the clients one by
//! one, each with what it asked for first.
//!
//! Deliberately absent: everything else that wakes, which comes in the order of its time. A client that
//! asks for ten thousand must not keep another one waiting for all of them.

use std::ops::Bound;

use redb::ReadTransaction;
use redb::WriteTransaction;

use super::error::StoreError;
use super::tables::TURNS;
use crate::base::bounds::allowance::CLIENTS_LOOKED_AT;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// Makes the table.
pub(super) fn make_table(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(TURNS)?;
    Ok(())
}

/// Where a record stands that waits for its turn: its client, and since when.
pub(super) fn place(record: &Certificate) -> Option<(&str, u64)> {
    let issue = record.care.issue.as_ref()?;
    matches!(record.phase, Phase::Due { .. })
        .then(|| (issue.client.as_str(), issue.since.as_unix()))
}

/// Follows the change of one record from `old` to `new`.
pub(super) fn follow(
    txn: &WriteTransaction,
    old: Option<&Certificate>,
    new: Option<&Certificate>,
) -> Result<(), StoreError> {
    let (before, after) = (old.and_then(place), new.and_then(place));
    if before == after {
        return Ok(());
    }
    let mut table = txn.open_table(TURNS)?;
    if let (Some((client, since)), Some(record)) = (before, old) {
        table.remove((client, since, &record.id().0))?;
    }
    if let (Some((client, since)), Some(record)) = (after, new) {
        table.insert((client, since, &record.id().0), ())?;
    }
    Ok(())
}

/// Whether `record` is entered as it must be. `word` says what is not.
pub(super) fn agrees(txn: &ReadTransaction, record: &Certificate) -> Result<(), &'static str> {
    let Some((client, since)) = place(record) else { return Ok(()) };
    let table = txn.open_table(TURNS).map_err(|_| "the list of turns is missing")?;
    match table.get((client, since, &record.id().0)) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("its turn is not entered"),
        Err(_) => Err("the list of turns cannot be read"),
    }
}

/// At most `limit` of them, and whether there are more: the first one of each client, the client that has
/// waited longest first, then the second one of each, and so on.
pub(super) fn next(
    txn: &ReadTransaction,
    limit: usize,
) -> Result<(Vec<CertificateId>, bool), StoreError> {
    let table = txn.open_table(TURNS)?;
    let mut heads: Vec<(u64, String)> = Vec::new();
    while heads.len() < CLIENTS_LOOKED_AT {
        let last = heads.last().map(|(_, client)| (client.as_str(), u64::MAX, &[u8::MAX; 8]));
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = table.range::<(&str, u64, &[u8; 8])>((from, Bound::Unbounded))?;
        let Some(row) = rows.next() else { break };
        let (key, _) = row?;
        let (client, since, _) = key.value();
        heads.push((since, client.to_owned()));
    }
    heads.sort();
    let mut queues = Vec::with_capacity(heads.len());
    for (_, client) in heads.iter().take(limit.saturating_add(1)) {
        let client = client.as_str();
        let all = (client, 0, &[0; 8])..=(client, u64::MAX, &[u8::MAX; 8]);
        queues.push(table.range(all)?);
    }
    let mut found = Vec::new();
    while !queues.is_empty() {
        let mut left = Vec::with_capacity(queues.len());
        for mut queue in queues {
            let Some(row) = queue.next() else { continue };
            if found.len() == limit {
                return Ok((found, true));
            }
            found.push(CertificateId(*row?.0.value().2));
            left.push(queue);
        }
        queues = left;
    }
    Ok((found, false))
}
