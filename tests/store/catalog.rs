//! The second copy: what is found in it, what damage costs, and what it has after a crash.

use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::Timestamp;
use keyward::base::bounds;
use keyward::cert::chain::Chain;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::ports::Catalog as _;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::served::Served;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::store::Catalog;
use keyward::store::Store;
use keyward::store::scrub;
use keyward::store::scrub::Mend;
use redb::ReadableDatabase as _;
use redb::ReadableTableMetadata as _;

use crate::holding;
use crate::key;

/// A record that is installed for `names` with `key`, by an intermediate that many share.
fn signed(
    names: &[&str],
    key: &KeyHandle,
    issuer: &rcgen::CertifiedIssuer<'_, rcgen::KeyPair>,
) -> Certificate {
    let pair = rcgen::KeyPair::generate().unwrap();
    let text: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = rcgen::CertificateParams::new(text).unwrap();
    let leaf = params.signed_by(&pair, issuer).unwrap().der().to_vec();
    let chain = Chain::from_der(vec![leaf, issuer.der().to_vec()]).unwrap();
    let at = Timestamp::from_unix(1_800_000_000);
    let mut installed = Installed::read(chain, at).unwrap();
    installed.key = key.id;
    let names = names.iter().map(|name| Identifier::parse(name).unwrap()).collect();
    let spec =
        Specification::new(names, IssuerName::Imported, KeyAlgorithm::P256, None, Role::Imported);
    let phase = holding("phase.example", key).phase;
    Certificate { phase, installed: Some(installed), ..Certificate::wanted(spec) }
}

fn issuer() -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
}

/// Serials of what is found for `host`.
fn found(catalog: &Catalog, host: &str) -> Vec<String> {
    let host = Identifier::parse(host).unwrap();
    let mut found: Vec<_> = catalog
        .candidates(&host)
        .unwrap()
        .iter()
        .map(|served| served.installed.serial.clone())
        .collect();
    found.sort();
    found
}

/// Everything that can be read of it.
pub(crate) fn all(catalog: &Catalog) -> Vec<Arc<Served>> {
    let ids = catalog.page(None, 1000).unwrap();
    ids.into_iter().filter_map(|id| catalog.get(id).ok().flatten()).collect()
}

fn serial(record: &Certificate) -> String {
    record.installed.as_ref().unwrap().serial.clone()
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all
}

fn times(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

fn pending(dir: &Path) -> u64 {
    const PENDING: redb::TableDefinition<'_, &[u8; 8], u64> = redb::TableDefinition::new("pending");
    let db = redb::Database::open(dir.join("keyward.redb")).unwrap();
    let table = db.begin_read().unwrap().open_table(PENDING).unwrap();
    table.len().unwrap()
}

#[tokio::test]
async fn names_are_found_exactly_and_by_the_wildcard_and_issuers_lie_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let (state, served) = (dir.path().join("store"), dir.path().join("served"));
    let store = Store::open(&state).unwrap();
    let issuer = issuer();
    let mut records = Vec::new();
    for (number, names) in
        [&["a.shop.example", "shop.example"][..], &["*.shop.example"], &["b.example"]]
            .into_iter()
            .enumerate()
    {
        let key = key(u32::try_from(number).unwrap());
        let record = signed(names, &key, &issuer);
        store.add_with_key(record.clone(), key, vec![]).await.unwrap();
        records.push(record);
    }
    let catalog = store.catalog(&served).await.unwrap();
    let both = sorted(vec![serial(&records[0]), serial(&records[1])]);
    assert_eq!(found(&catalog, "a.shop.example"), both);
    assert_eq!(found(&catalog, "c.shop.example"), [serial(&records[1])]);
    assert_eq!(found(&catalog, "shop.example"), [serial(&records[0])]);
    assert_eq!(found(&catalog, "b.example"), [serial(&records[2])]);
    assert!(found(&catalog, "c.example").is_empty());
    assert!(found(&catalog, "x.a.shop.example").is_empty(), "a wildcard covers one label");
    let mode = std::fs::metadata(served.join("catalog.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // What is found is what the store has, chain and key.
    let host = Identifier::parse("b.example").unwrap();
    let one = catalog.candidates(&host).unwrap().remove(0);
    assert_eq!(Some(&one.installed), records[2].installed.as_ref());
    assert_eq!((one.key.clone(), one.spec.clone()), (key(2), records[2].spec.clone()));

    // A change is seen at once, and is in the file after the flush.
    let mut other = (*one).clone();
    other.installed.serial = "00ff".to_owned();
    catalog.stage(one.id, Some(other.into()), 1);
    assert_eq!(found(&catalog, "b.example"), ["00ff"]);
    assert!(!catalog.is_flushed());
    catalog.stage(records[1].id(), None, 1);
    assert!(found(&catalog, "c.shop.example").is_empty());
    assert_eq!(catalog.flush().unwrap().len(), 2);
    assert!(catalog.is_flushed());
    assert_eq!(found(&catalog, "b.example"), ["00ff"]);
    assert!(found(&catalog, "c.shop.example").is_empty());
    assert_eq!(found(&catalog, "a.shop.example"), [serial(&records[0])]);
    assert!(!catalog.shows(records[1].id()).unwrap() && catalog.shows(one.id).unwrap());
    drop(catalog);
    let fresh = store.catalog(&dir.path().join("fresh")).await.unwrap();
    drop(fresh);
    let file = std::fs::read(dir.path().join("fresh/catalog.redb")).unwrap();
    assert_eq!(times(&file, issuer.der()), 1, "the issuer of three");
}

#[tokio::test]
async fn after_a_crash_the_copy_has_what_was_installed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (state, served) = (dir.path().join("store"), dir.path().join("served"));
    let store = Store::open(&state).unwrap();
    let (one, two) = (holding("one.example", &key(1)), holding("two.example", &key(2)));
    store.add_with_key(one.clone(), key(1), vec![]).await.unwrap();
    let catalog = store.catalog(&served).await.unwrap();
    assert_eq!(found(&catalog, "one.example"), [serial(&one)]);
    // The changes are durable in the store, and the copy never hears of them.
    store.add_with_key(two.clone(), key(2), vec![]).await.unwrap();
    store.remove(one.id(), vec![]).await.unwrap();
    // While it stands open, as a crash leaves it, it can be served from without a change.
    let before = std::fs::read(served.join("catalog.redb")).unwrap();
    let still = Catalog::open_still(&served).unwrap().unwrap();
    assert_eq!(found(&still, "one.example"), [serial(&one)]);
    drop(still);
    assert_eq!(std::fs::read(served.join("catalog.redb")).unwrap(), before);
    drop((catalog, store));
    assert_eq!(pending(&state), 2);

    let file = served.join("catalog.redb");
    let inode = std::fs::metadata(&file).unwrap().ino();
    let store = Store::open(&state).unwrap();
    let catalog = store.catalog(&served).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode, "it was not made anew");
    assert!(found(&catalog, "one.example").is_empty());
    assert_eq!(found(&catalog, "two.example"), [serial(&two)]);
    drop((catalog, store));
    assert_eq!(pending(&state), 0, "nothing is lacking any more");
    let still = Catalog::open_still(&served).unwrap().unwrap();
    assert_eq!(found(&still, "two.example"), [serial(&two)]);
}

#[tokio::test]
async fn the_copy_of_another_store_is_not_taken_and_a_missing_one_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let served = dir.path().join("served");
    let mut names = Vec::new();
    for number in [1, 2] {
        let store = Store::open(&dir.path().join(number.to_string())).unwrap();
        let name = format!("n{number}.example");
        let record = holding(&name, &key(number));
        store.add_with_key(record.clone(), key(number), vec![]).await.unwrap();
        // Each has made a copy of its own before.
        drop(store.catalog(&dir.path().join(format!("own-{number}"))).await.unwrap());
        let catalog = store.catalog(&served).await.unwrap();
        assert_eq!(found(&catalog, &name), [serial(&record)]);
        assert_eq!(catalog.count().unwrap(), 1, "nothing of the other store");
        names.push(name);
    }
    std::fs::remove_dir_all(&served).unwrap();
    assert!(Catalog::open_still(&served).unwrap().is_none());
    let store = Store::open(&dir.path().join("1")).unwrap();
    let catalog = store.catalog(&served).await.unwrap();
    assert_eq!(found(&catalog, &names[0]).len(), 1);
    drop(catalog);
    // Where there is no place for a file, it is kept in memory.
    let nowhere = dir.path().join("a-file");
    std::fs::write(&nowhere, b"").unwrap();
    let catalog = store.catalog(&nowhere).await.unwrap();
    assert_eq!(found(&catalog, &names[0]).len(), 1);
    let record = holding("later.example", &key(3));
    let later = Served {
        id: record.id(),
        spec: record.spec.clone(),
        installed: record.installed.clone().unwrap(),
        key: key(3),
    };
    catalog.stage(record.id(), Some(later.into()), 0);
    catalog.flush().unwrap();
    assert_eq!(found(&catalog, "later.example"), [serial(&record)]);
}

#[tokio::test]
async fn damage_costs_the_names_it_lies_under_and_the_copy_before_is_better() {
    let dir = tempfile::tempdir().unwrap();
    let (state, served) = (dir.path().join("store"), dir.path().join("served"));
    let store = Store::open(&state).unwrap();
    for number in 0..20 {
        let record = holding(&format!("n{number}.example"), &key(number));
        store.add_with_key(record, key(number), vec![]).await.unwrap();
    }
    drop(store.catalog(&served).await.unwrap());
    let newest = served.join("catalog.redb");
    let whole = std::fs::read(&newest).unwrap();
    // The serial number of one certificate, wherever it lies.
    let victim = store.certificate(holding("n7.example", &key(7)).id()).await.unwrap().unwrap();
    let needle = serial(&victim).into_bytes();
    let mut damaged = whole.clone();
    let places: Vec<_> = whole
        .windows(needle.len())
        .enumerate()
        .filter_map(|(at, window)| (window == needle).then_some(at))
        .collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| damaged[*at] ^= 1);
    std::fs::write(&newest, &damaged).unwrap();

    // Alone, it serves the nineteen others.
    let still = Catalog::open_still(&served).unwrap().unwrap();
    for number in 0..20 {
        let host = Identifier::parse(&format!("n{number}.example")).unwrap();
        let candidates = still.candidates(&host);
        if number == 7 {
            let told = candidates.unwrap_err();
            assert!(told.contains(&victim.id().to_string()), "{told}");
        } else {
            assert_eq!(candidates.unwrap().len(), 1, "{host}");
        }
    }
    assert_eq!(all(&still).len(), 19);
    drop(still);
    assert_eq!(std::fs::read(&newest).unwrap(), damaged, "it is left as it is");

    // With a whole one before it, that one is used.
    std::fs::write(served.join("catalog.redb.1"), &whole).unwrap();
    let still = Catalog::open_still(&served).unwrap().unwrap();
    assert_eq!(all(&still).len(), 20);
    drop(still);
    std::fs::write(&newest, b"junk").unwrap();
    let still = Catalog::open_still(&served).unwrap().unwrap();
    assert_eq!(all(&still).len(), 20);
    drop(still);
    // With both gone that is said, and never taken for "nothing was installed".
    std::fs::write(served.join("catalog.redb.1"), b"junk").unwrap();
    let error = Catalog::open_still(&served).unwrap_err();
    assert!(error.to_string().contains("catalog.redb"), "{error}");
    // Beside a whole store it is made anew.
    let catalog = store.catalog(&served).await.unwrap();
    assert_eq!(all(&catalog).len(), 20);
    drop(catalog);

    // A flipped bit anywhere never panics, and never shows what was not written.
    let all = all(&store.catalog(&served).await.unwrap());
    let whole = std::fs::read(&newest).unwrap();
    std::fs::remove_file(served.join("catalog.redb.1")).unwrap();
    for at in (0..whole.len()).step_by(509) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&newest, &damaged).unwrap();
        let Ok(Some(still)) = Catalog::open_still(&served) else { continue };
        for number in 0..20 {
            let host = Identifier::parse(&format!("n{number}.example")).unwrap();
            for one in still.candidates(&host).unwrap_or_default() {
                assert!(all.contains(&one), "octet {at}: {one:?}");
            }
        }
    }
}

#[tokio::test]
async fn damage_in_a_long_copy_is_found_at_work_and_mended_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (state, served) = (dir.path().join("store"), dir.path().join("served"));
    let store = Store::open(&state).unwrap();
    let count = u32::try_from(bounds::STORE_INSPECTED).unwrap() + 1;
    let pattern = holding("many-0.example", &key(0));
    let of = |n| Certificate { spec: crate::spec(&format!("many-{n}.example")), ..pattern.clone() };
    let mut records: Vec<_> = (0..count).map(of).collect();
    records[77] = holding("many-77.example", &key(77));
    store.add_all(records.clone(), vec![key(0), key(77)], vec![]).await.unwrap();
    drop(store.catalog(&served).await.unwrap());
    let file = served.join("catalog.redb");
    let mut damaged = std::fs::read(&file).unwrap();
    let needle = serial(&records[77]).into_bytes();
    let places: Vec<_> = damaged
        .windows(needle.len())
        .enumerate()
        .filter_map(|(at, window)| (window == needle).then_some(at))
        .collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| damaged[*at] ^= 1);
    std::fs::write(&file, &damaged).unwrap();

    let catalog = store.catalog(&served).await.unwrap();
    let victim = Identifier::parse("many-77.example").unwrap();
    assert!(catalog.candidates(&victim).is_err());
    catalog.stage(records[78].id(), None, 0);
    catalog.flush().unwrap();
    let (from, to) = (store.clone(), Arc::clone(&catalog));
    let mend: Mend = Arc::new(move |id| {
        let (store, catalog) = (from.clone(), Arc::clone(&to));
        Box::pin(async move {
            let record = store.certificate(id).await.unwrap().unwrap();
            let installed = record.installed.unwrap();
            let key = store.key(installed.key).await.unwrap().unwrap();
            let served = Served { id, spec: record.spec, installed, key };
            catalog.stage(id, Some(served.into()), record.revision);
            catalog.flush().is_ok()
        })
    });
    scrub::copy_once(&store, &catalog, &mend, Duration::ZERO).await.unwrap();
    let told = catalog.damage().unwrap();
    assert!(told.contains("2 damaged") && told.contains(&records[77].id().to_string()), "{told}");
    assert_eq!(found(&catalog, "many-77.example"), [serial(&records[77])]);
    assert_eq!(found(&catalog, "many-78.example"), [serial(&records[78])]);
    scrub::copy_once(&store, &catalog, &mend, Duration::ZERO).await.unwrap();
    assert_eq!(catalog.damage(), None, "a whole look has found nothing");
    drop((catalog, mend));

    // Where pages of the file are no pages any more, it is made anew.
    let junk = vec![0x5a; 64 * 1024];
    let opened = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    let length = opened.metadata().unwrap().len();
    let places = (64 * 1024..length).step_by(128 * 1024);
    places.for_each(|at| opened.write_all_at(&junk, at).unwrap());
    let again = store.catalog(&served).await.unwrap();
    assert_eq!(again.count().unwrap(), u64::from(count));
    assert_eq!(found(&again, "many-4711.example").len(), 1);
}

/// Where there was none before, and where there is none any more.
#[tokio::test]
async fn wildcards_are_found_from_the_first_to_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let issuer = issuer();
    let served = |number: u32, name: &str| {
        let key = key(number);
        let Certificate { spec, installed, .. } = signed(&[name], &key, &issuer);
        Served { id: spec.id(), spec, installed: installed.unwrap(), key }
    };
    let catalog = store.catalog(&dir.path().join("served")).await.unwrap();
    let (plain, address) = (served(1, "shop.example"), served(2, "192.0.2.1"));
    let (star, other) = (served(3, "*.shop.example"), served(4, "*.b.example"));
    let stage = |one: &Served, shown: bool, revision| {
        catalog.stage(one.id, shown.then(|| Arc::new(one.clone())), revision);
        catalog.flush().unwrap();
        let count = |host| found(&catalog, host).len();
        ["a.shop.example", "a.b.example", "shop.example", "192.0.2.1"].map(count)
    };
    assert_eq!(stage(&plain, true, 1), [0, 0, 1, 0]);
    assert_eq!(stage(&address, true, 1), [0, 0, 1, 1]);
    assert_eq!(stage(&star, true, 1), [1, 0, 1, 1]);
    assert_eq!(stage(&other, true, 1), [1, 1, 1, 1]);
    assert_eq!(stage(&star, false, 2), [0, 1, 1, 1]);
    assert_eq!(stage(&other, false, 2), [0, 0, 1, 1]);
}
