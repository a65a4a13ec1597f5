//! Files that are damaged, of a newer version, or of the first: what is read of them, and what is
//! left alone.

use std::path::Path;
use std::path::PathBuf;

use keyward::cert::journal::Entry;
use keyward::cert::key::KeyHandle;
use keyward::cert::ports::Book as _;
use keyward::cert::ports::Shelf;
use keyward::store::OpenError;
use keyward::store::Store;

use crate::books;
use crate::entry;
use crate::holding;
use crate::key;
use crate::ordering;
use crate::put;
use crate::spec;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
/// One for each schema there was, oldest first; the last is the one that can be remade.
const FILES: [&str; 6] = [
    "store-v1.redb",
    "store-v2.redb",
    "store-v3.redb",
    "store-v4.redb",
    "store-v5.redb",
    "store-v6.redb",
];
const REMAKE: &str = "KEYWARD_REMAKE_FIXTURES";

/// A directory with a closed store of several records, and the file's bytes.
async fn filled() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..20 {
        let key = key(number);
        put(&store, holding(&format!("n{number}.example"), &key), &key).await;
    }
    drop(store);
    let path = dir.path().join("keyward.redb");
    let bytes = std::fs::read(&path).unwrap();
    (dir, path, bytes)
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let (dir, path, whole) = filled().await;
    let positions = |needle: &[u8]| -> Vec<usize> {
        let found = whole.windows(needle.len()).enumerate();
        found.filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
    };
    let mut damages: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("another file", b"this is not a database at all".repeat(400)),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("a zeroed header", [vec![0; 512], whole[512..].to_vec()].concat()),
    ];
    // A flipped bit in every place where a record of one site lies.
    let mut flipped = whole.clone();
    let places = positions(b"n7.example");
    assert!(!places.is_empty());
    places.iter().for_each(|at| flipped[*at + 1] ^= 1);
    damages.push(("a flipped bit in a record", flipped));
    for (what, bytes) in damages {
        std::fs::write(&path, &bytes).unwrap();
        let error = Store::open(dir.path()).expect_err(what);
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("keyward.redb"), "{error}");
        let after = std::fs::read(&path).unwrap();
        assert!(after == bytes, "{what}: the damaged file was changed");
    }
    std::fs::write(&path, &whole).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.certificates().await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_with_both_versions() {
    use redb::ReadableDatabase as _;
    const META: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    let (dir, path, _) = filled().await;
    let db = redb::Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(META).unwrap().insert("schema", 77).unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 77, known: 6, .. }), "{error:?}");
    assert!(error.to_string().ends_with("has schema 77, and this version knows up to 6"));
    let db = redb::Database::open(&path).unwrap();
    let table = db.begin_read().unwrap().open_table(META).unwrap();
    assert_eq!(table.get("schema").unwrap().unwrap().value(), 77);
}

/// The keys of the records in the fixture.
fn fixture_keys() -> (KeyHandle, KeyHandle) {
    (key(1001), key(1002))
}

#[tokio::test]
async fn a_file_of_every_schema_opens_with_everything_in_it() {
    let (installed, in_flight) = fixture_keys();
    if std::env::var_os(REMAKE).is_some() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        put(&store, holding("installed.example", &installed), &installed).await;
        put(&store, ordering("ordered.example", &in_flight), &in_flight).await;
        store.put(Shelf::Accounts, "https://ca.example/dir", b"account".to_vec()).await.unwrap();
        store.put(Shelf::InternalCa, "root", b"root".to_vec()).await.unwrap();
        books::a_little(&store).await;
        drop(store);
        let mut db = redb::Database::open(dir.path().join("keyward.redb")).unwrap();
        db.compact().unwrap();
        drop(db);
        std::fs::copy(dir.path().join("keyward.redb"), Path::new(FIXTURES).join(FILES[5])).unwrap();
    }
    for file in FILES {
        opens(file, &installed, &in_flight).await;
    }
}

async fn opens(file: &str, installed: &KeyHandle, in_flight: &KeyHandle) {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(FIXTURES).join(file);
    std::fs::copy(fixture, dir.path().join("keyward.redb")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let catalog = store.catalog(&dir.path().join("served")).await.unwrap();
    let served = crate::catalog::all(&catalog);
    let [one] = served.as_slice() else { panic!("{file}: {served:?}") };
    assert_eq!(one.spec, spec("installed.example"));
    assert_eq!(one.key, *installed);
    let leaf = one.installed.chain.leaf().unwrap();
    assert_eq!(leaf.names, spec("installed.example").names());
    assert_eq!(leaf.serial, one.installed.serial);
    let wanted = ordering("ordered.example", in_flight);
    assert_eq!(store.certificate(wanted.id()).await.unwrap(), Some(wanted));
    assert_eq!(store.key(in_flight.id).await.unwrap(), Some(in_flight.clone()));
    let journal = store.journal(0, 2).await.unwrap();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal.last(), Some(&Entry { seq: 2, ..entry("added") }));
    let account = store.get(Shelf::Accounts, "https://ca.example/dir").await.unwrap();
    assert_eq!(account.as_deref(), Some(&b"account"[..]));
    let root = store.get(Shelf::InternalCa, "root").await.unwrap();
    assert_eq!(root.as_deref(), Some(&b"root"[..]));
    store.check_writable().await.unwrap();
    // What is kept beside the records is there as well, and there is room for onboarded names.
    assert_eq!(store.count_guests().await.unwrap(), 0, "{file}");
    assert_eq!(store.driven().await.unwrap().len(), 2, "{file}");
    // So are the books, or there is room for them.
    books::holds_a_little(&store, file == FILES[5]).await;
    store.remove(one.id, vec![]).await.unwrap();
    assert_eq!(store.key(installed.id).await.unwrap(), None, "{file}");
    assert!(store.key(in_flight.id).await.unwrap().is_some(), "{file}");
}
