//! New names for records whose specification is called otherwise than when they were stored: up to
//! schema 3 an imported certificate was called the same whatever kind its key was of.
//!
//! Everything that is found by the name follows in the same transaction: the key, the wake time,
//! the journal, and what the second copy has to be brought.

use std::collections::BTreeMap;

use redb::ReadableTable as _;
use redb::WriteTransaction;

use super::codec;
use super::error::StoreError;
use super::index;
use super::tables::CERTIFICATES;
use super::tables::JOURNAL;
use super::tables::KEY_USERS;
use super::tables::PENDING;
use super::tables::WAKES;
use crate::cert::journal::Entry;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// Puts every record under the name that its specification has now.
pub(super) fn rename(txn: &WriteTransaction) -> Result<(), StoreError> {
    let mut moved = BTreeMap::new();
    for row in txn.open_table(CERTIFICATES)?.iter()? {
        let (id, value) = row?;
        let (from, to) = (CertificateId(*id.value()), record(*id.value(), value.value())?.id());
        if from != to {
            moved.insert(from, to);
        }
    }
    for (from, to) in &moved {
        let mut records = txn.open_table(CERTIFICATES)?;
        let taken = records.remove(&from.0)?.map(|value| record(from.0, value.value()));
        let Some(mut record) = taken.transpose()? else { continue };
        // The second copy has to be told of both, and takes no revision twice.
        record.revision = record.revision.saturating_add(1);
        records.insert(&to.0, codec::encode(&record).as_slice())?;
        let mut users = txn.open_table(KEY_USERS)?;
        for key in index::keys_of(&record) {
            if users.remove((&key.0, &from.0))?.is_some() {
                users.insert((&key.0, &to.0), ())?;
            }
        }
        let mut wakes = txn.open_table(WAKES)?;
        if let Some(at) = index::wake(&record)
            && wakes.remove((at, &from.0))?.is_some()
        {
            wakes.insert((at, &to.0), ())?;
        }
        let mut pending = txn.open_table(PENDING)?;
        pending.insert(&from.0, record.revision)?;
        pending.insert(&to.0, record.revision)?;
    }
    if moved.is_empty() { Ok(()) } else { rename_in_journal(txn, &moved) }
}

fn rename_in_journal(
    txn: &WriteTransaction,
    moved: &BTreeMap<CertificateId, CertificateId>,
) -> Result<(), StoreError> {
    let mut journal = txn.open_table(JOURNAL)?;
    let mut changed = Vec::new();
    for row in journal.iter()? {
        let (seq, value) = row?;
        let seq = seq.value();
        let mut entry: Entry = super::inspect::entry(seq, value.value())?;
        if let Some(to) = entry.certificate.and_then(|from| moved.get(&from)) {
            entry.certificate = Some(*to);
            changed.push((seq, entry));
        }
    }
    for (seq, entry) in changed {
        journal.insert(seq, codec::encode(&entry).as_slice())?;
    }
    Ok(())
}

/// A record, whatever it is called.
fn record(id: [u8; 8], bytes: &[u8]) -> Result<Certificate, StoreError> {
    codec::decode("certificates", || CertificateId(id).to_string(), bytes)
}

#[cfg(test)]
mod tests {
    use redb::Database;
    use redb::ReadableDatabase as _;

    use super::*;
    use crate::base::Timestamp;
    use crate::cert::journal::EntryKind;
    use crate::cert::journal::Level;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyHandle;
    use crate::cert::lifecycle::Phase;
    use crate::store::Store;
    use crate::store::properties::served;
    use crate::store::tables::META;
    use crate::store::tables::META_SCHEMA;
    use crate::store::tables::SCHEMA;

    /// As an earlier version stored it: under the name that one with an ECDSA key has.
    fn put_back(path: &std::path::Path, now: CertificateId, then: CertificateId) {
        let db = Database::open(path).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut records = txn.open_table(CERTIFICATES).unwrap();
            let bytes = records.remove(&now.0).unwrap().unwrap().value().to_vec();
            records.insert(&then.0, bytes.as_slice()).unwrap();
            let found = record(then.0, &bytes).unwrap();
            let mut users = txn.open_table(KEY_USERS).unwrap();
            for key in index::keys_of(&found) {
                users.remove((&key.0, &now.0)).unwrap().unwrap();
                users.insert((&key.0, &then.0), ()).unwrap();
            }
            let mut wakes = txn.open_table(WAKES).unwrap();
            let at = index::wake(&found).unwrap();
            wakes.remove((at, &now.0)).unwrap().unwrap();
            wakes.insert((at, &then.0), ()).unwrap();
            txn.open_table(META).unwrap().insert(META_SCHEMA, 3).unwrap();
        }
        txn.commit().unwrap();
    }

    #[tokio::test]
    async fn an_rsa_certificate_that_was_imported_before_keeps_its_key_and_its_history() {
        let dir = tempfile::tempdir().unwrap();
        let (place, copy) = (dir.path().join("store"), dir.path().join("served"));
        let one = served("one.example");
        let mut spec = one.spec.clone();
        let then = spec.id();
        spec.key = KeyAlgorithm::Rsa2048;
        let now = spec.id();
        assert_ne!(now, then);
        let mut brought = Certificate::wanted(spec);
        brought.installed = Some(one.installed.clone());
        let wake = Timestamp::from_unix(1_900_000_000);
        brought.phase = Phase::Retiring { until: wake };
        let key = KeyHandle { algorithm: KeyAlgorithm::Rsa2048, ..one.key.clone() };
        let entry = Entry {
            seq: 0,
            at: wake,
            kind: EntryKind::Started,
            level: Level::Info,
            certificate: Some(then),
            name: None,
            message: "it was brought".to_owned(),
        };
        let store = Store::open(&place).unwrap();
        store.add_with_key(brought.clone(), key.clone(), vec![entry]).await.unwrap();
        drop(store.catalog(&copy).await.unwrap());
        drop(store);
        put_back(&place.join("keyward.redb"), now, then);

        let store = Store::open(&place).unwrap();
        assert_eq!(store.certificate(then).await.unwrap(), None);
        let found = store.certificate(now).await.unwrap().unwrap();
        assert_eq!(found.installed, brought.installed);
        assert_eq!(store.key(key.id).await.unwrap(), Some(key.clone()));
        let (due, _) = store.due(wake, 9).await.unwrap();
        assert_eq!(due, [now]);
        let told = store.journal(0, 9).await.unwrap();
        assert_eq!(told[0].certificate, Some(now));
        let catalog = store.catalog(&copy).await.unwrap();
        assert_eq!(catalog.page(None, 9).unwrap(), [now]);
        // Its key goes with it, and not before.
        store.remove(now, vec![]).await.unwrap();
        assert_eq!(store.key(key.id).await.unwrap(), None);
        drop((store, catalog));
        let db = Database::open(place.join("keyward.redb")).unwrap();
        let schema = db.begin_read().unwrap().open_table(META).unwrap();
        assert_eq!(schema.get(META_SCHEMA).unwrap().unwrap().value(), u64::from(SCHEMA));
    }
}
