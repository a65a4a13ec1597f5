//! What the store keeps beside its records, and how a store of many records is opened.

use std::time::Duration;

use keyward::base::Timestamp;
use keyward::base::bounds;
use keyward::cert::lifecycle::Phase;
use keyward::cert::record::Certificate;
use keyward::cert::spec::CertificateId;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::store::OpenError;
use keyward::store::Store;
use keyward::store::scrub;

use crate::entry;
use crate::holding;
use crate::key;
use crate::ordering;
use crate::put;
use crate::spec;

/// A certificate that was brought for `name`, to be renewed at `renew_at`.
fn brought(name: &str, number: u32, renew_at: u64) -> Certificate {
    let of_site = holding(name, &key(number));
    let names = of_site.spec.names().to_vec();
    let spec =
        Specification::new(names, IssuerName::Imported, of_site.spec.key, None, Role::Imported);
    let Phase::Holding { window, .. } = of_site.phase else { panic!("it is held") };
    let renew_at = Timestamp::from_unix(renew_at);
    let phase = Phase::Holding { renew_at, window, recheck_at: None };
    Certificate { spec, phase, ..of_site }
}

#[tokio::test]
async fn imported_certificates_are_found_by_their_time_and_the_others_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut ids = Vec::new();
    for (number, at) in [(1, 300), (2, 100), (3, 200)] {
        let record = brought(&format!("i{number}.example"), number, at);
        ids.push(put(&store, record, &key(number)).await.id());
    }
    let site = put(&store, ordering("site.example", &key(4)), &key(4)).await;
    let at = Timestamp::from_unix;
    assert_eq!(store.driven().await.unwrap(), std::slice::from_ref(&site));
    assert_eq!(store.due(at(99), 10).await.unwrap(), (vec![], Some(at(100))));
    let (due, next) = store.due(at(200), 10).await.unwrap();
    assert_eq!((due, next), (vec![ids[1], ids[2]], Some(at(300))));
    let (due, next) = store.due(at(200), 1).await.unwrap();
    assert_eq!((due, next), (vec![ids[1]], Some(at(200))), "there is more at once");
    assert_eq!(store.imported().await.unwrap(), [("holding".to_owned(), 3)].into());

    // A changed record is found by its new time alone, and counted in its new phase.
    let mut second = store.certificate(ids[1]).await.unwrap().unwrap();
    second.phase = Phase::Retiring { until: at(250) };
    store.update(second, vec![]).await.unwrap();
    let (due, next) = store.due(at(249), 10).await.unwrap();
    assert_eq!((due, next), (vec![ids[2]], Some(at(250))));
    let counted = [("holding".to_owned(), 2), ("retiring".to_owned(), 1)];
    assert_eq!(store.imported().await.unwrap(), counted.into());

    store.remove(ids[2], vec![]).await.unwrap();
    store.remove(site.id(), vec![]).await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.driven().await.unwrap(), []);
    assert_eq!(store.due(at(300), 10).await.unwrap(), (vec![ids[1], ids[0]], None));
}

#[tokio::test]
async fn many_are_added_whole_or_not_at_all_and_read_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let many: Vec<_> =
        (0..25).map(|n| Certificate::wanted(spec(&format!("n{n}.example")))).collect();
    store.add_all(many.clone(), vec![], vec![entry("many")]).await.unwrap();
    let one = Certificate::wanted(spec("one.example"));
    let again = vec![one.clone(), many[3].clone()];
    assert!(store.add_all(again, vec![], vec![entry("never")]).await.is_err());
    let ordered = [ordering("k.example", &key(1)), ordering("l.example", &key(1))];
    assert!(store.add_all(ordered.to_vec(), vec![], vec![]).await.is_err(), "without its key");
    assert_eq!(store.certificate(ordered.first().unwrap().id()).await.unwrap(), None);
    assert_eq!(store.certificate(one.id()).await.unwrap(), None);
    assert_eq!(store.journal(0, 10).await.unwrap().len(), 1);

    let mut ids: Vec<CertificateId> = many.iter().map(Certificate::id).collect();
    ids.sort();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(after, 10).await.unwrap();
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        after = Some(last.id());
        read.extend(page.iter().map(Certificate::id));
    }
    assert_eq!(read, ids);
    assert_eq!(store.driven().await.unwrap().len(), 25);

    // With the key that two share, both are there, and it goes with the second.
    let [one, two] = &ordered;
    store.add_all(ordered.to_vec(), vec![key(1)], vec![]).await.unwrap();
    store.remove(one.id(), vec![]).await.unwrap();
    assert!(store.key(key(1).id).await.unwrap().is_some());
    store.remove(two.id(), vec![]).await.unwrap();
    assert_eq!(store.key(key(1).id).await.unwrap(), None);
}

#[tokio::test]
async fn who_uses_a_key_is_found_by_the_beginning_of_its_name_until_nobody_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let shared = key(1);
    let one = put(&store, brought("one.example", 1, 100), &shared).await;
    let two = put(&store, brought("two.example", 1, 200), &shared).await;
    let site = put(&store, ordering("site.example", &key(2)), &key(2)).await;
    let head = |key: &keyward::cert::key::KeyHandle| *key.id.0.first_chunk::<8>().unwrap();
    let found = store.user_of(head(&shared)).await.unwrap().unwrap();
    assert!(found == one || found == two, "{found:?}");
    assert_eq!(store.user_of(head(&key(2))).await.unwrap(), Some(site), "also one in flight");
    assert_eq!(store.user_of(head(&key(3))).await.unwrap(), None);
    store.remove(found.id(), vec![]).await.unwrap();
    let other = if found == one { &two } else { &one };
    assert_eq!(store.user_of(head(&shared)).await.unwrap().as_ref(), Some(other));
    store.remove(other.id(), vec![]).await.unwrap();
    assert_eq!(store.user_of(head(&shared)).await.unwrap(), None);
    assert_eq!(store.key(shared.id).await.unwrap(), None);
}

#[tokio::test]
async fn many_are_changed_as_they_were_read_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut all = Vec::new();
    for number in 1..=3 {
        let record = brought(&format!("i{number}.example"), number, 100);
        all.push(put(&store, record, &key(number)).await);
    }
    let at = Timestamp::from_unix;
    let changed = |record: &Certificate| {
        let phase = Phase::Retiring { until: at(500) };
        Certificate { phase, ..record.clone() }
    };
    let [first, second, third] = all.as_slice() else { panic!() };
    store.update(changed(third), vec![]).await.unwrap();
    let before = store.journal(0, 100).await.unwrap().len();
    // The third was changed since it was read.
    let refused = store.update_all(all.iter().map(changed).collect(), vec![entry("never")]).await;
    assert!(refused.is_err());
    assert_eq!(store.due(at(100), 10).await.unwrap().0.len(), 2, "the first two are as they were");
    assert_eq!(store.journal(0, 100).await.unwrap().len(), before);
    store.update_all(vec![changed(first), changed(second)], vec![entry("two")]).await.unwrap();
    assert_eq!(store.due(at(100), 10).await.unwrap(), (vec![], Some(at(500))));
    assert_eq!(store.journal(0, 100).await.unwrap().len(), before + 1);
    let read = store.certificate(first.id()).await.unwrap().unwrap();
    assert_eq!((read.revision, read.phase.word()), (first.revision + 1, "retiring"));
    assert_eq!(store.imported().await.unwrap(), [("retiring".to_owned(), 3)].into());

    // Some of them are found by how their names begin.
    let (low, high) = (CertificateId([0; 8]), CertificateId([255; 8]));
    assert_eq!(store.between(low, high, 10).await.unwrap().len(), 3);
    assert_eq!(store.between(low, high, 2).await.unwrap().len(), 2);
    assert_eq!(store.between(second.id(), second.id(), 10).await.unwrap().len(), 1);
    assert_eq!(store.count().await.unwrap(), 3);
}

#[tokio::test]
async fn a_long_store_is_opened_unread_and_its_damage_is_found_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let count = u32::try_from(bounds::STORE_INSPECTED).unwrap();
    let names = (0..count).map(|n| Certificate::wanted(spec(&format!("many-{n}.example"))));
    let names: Vec<_> = names.collect();
    store.add_all(names.clone(), vec![], vec![]).await.unwrap();
    drop(store);
    let path = dir.path().join("keyward.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let needle = b"many-77.example";
    let found: Vec<_> = whole
        .windows(needle.len())
        .enumerate()
        .filter_map(|(at, window)| (window == needle).then_some(at))
        .collect();
    assert!(!found.is_empty());
    found.iter().for_each(|at| damaged[at + 5] ^= 1);
    std::fs::write(&path, &damaged).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "a short one is read: {error}");

    // One more record, and it is long.
    std::fs::write(&path, &whole).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.add_all(vec![Certificate::wanted(spec("last.example"))], vec![], vec![]).await.unwrap();
    scrub::once(&store, Duration::ZERO).await;
    assert_eq!(store.damage(), None);
    drop(store);
    let mut damaged = std::fs::read(&path).unwrap();
    let places: Vec<_> = damaged
        .windows(needle.len())
        .enumerate()
        .filter_map(|(at, window)| (window == needle).then_some(at))
        .collect();
    places.iter().for_each(|at| damaged[at + 5] ^= 1);
    std::fs::write(&path, &damaged).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.damage(), None);
    scrub::once(&store, Duration::ZERO).await;
    let told = store.damage().unwrap();
    let id = names[77].id().to_string();
    assert!(told.starts_with("1 damaged, the first: ") && told.contains(&id), "{told}");
    // Everything else is read and written as before.
    assert!(store.certificate(names[77].id()).await.is_err());
    assert!(store.certificate(names[78].id()).await.unwrap().is_some());
    store.check_writable().await.unwrap();
    assert_eq!(store.trouble(), None);
}
