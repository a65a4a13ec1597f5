//! The CA moves the moment of a renewal (RFC 9773), and learns what the new certificate replaces.

use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::cert::lifecycle::Phase;
use keyward::cert::spec::Role;
use keyward::store::Store;

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn a_window_of_the_ca_that_has_passed_renews_at_once_and_names_what_it_replaces() {
    let mut scene = Scene::new("moved.example");
    scene.keyward.start();
    let first = scene.keyward.wait_issued("moved.example");
    assert!(!first["recheck_at"].is_null(), "the CA offers renewal information: {first:#}");
    assert!(scene.keyward.terminate().success());

    // The CA says "in six hours" at first. That moment is put into the past here, in the store,
    // and the window that the CA will name then as well.
    let store = Store::open(&scene.keyward.state().join("store")).unwrap();
    let runtime = crate::scene::runtime();
    let leaf = runtime.block_on(async {
        let records = store.certificates().await.unwrap();
        let mut records = records.into_iter().filter(|r| r.spec.role == Role::Primary);
        let mut record = records.next().unwrap();
        let leaf = record.installed.as_ref().unwrap().chain.to_pem();
        match &mut record.phase {
            Phase::Holding { recheck_at, .. } => *recheck_at = Some(SystemClock.now()),
            other => panic!("{other:?}"),
        }
        store.update(record, Vec::new()).await.unwrap();
        leaf
    });
    drop(store);
    let end = leaf.find("-----END").unwrap();
    let end = end + leaf[end..].find('\n').unwrap() + 1;
    let window = r#"{"suggestedWindow": {"start": "2026-01-02T03:04:05Z",
                     "end": "2026-01-03T03:04:05Z"}}"#;
    scene.pebble.set_renewal_info(&leaf[..end], window);

    scene.keyward.start();
    eventually("it is renewed", Duration::from_secs(30), || {
        let view = scene.keyward.wait_issued("moved.example");
        (view["installed"]["serial"] != first["installed"]["serial"]).then_some(())
    });
    let events = scene.keyward.cli(&["events"]).ok();
    assert!(events.contains("window-moved"), "{events}");
    assert!(scene.pebble.output().contains(" is a replacement of "), "{}", scene.pebble.output());
    assert_eq!(scene.pebble.orders(), 2);
}
