//! A clock that was stepped backwards: nothing is ordered, and status says so.

use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::cert::journal::Entry;
use keyward::cert::journal::EntryKind;
use keyward::cert::journal::Level;
use keyward::store::Store;

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn a_clock_behind_the_store_orders_nothing_until_somebody_vouches_for_it() {
    let mut scene = Scene::new("early.example");
    // A store that has seen tomorrow, as after a start with a clock a day ahead.
    std::fs::create_dir_all(scene.keyward.state()).unwrap();
    let tomorrow = SystemClock.now().plus(Duration::from_secs(24 * 3600));
    let store = Store::open(&scene.keyward.state().join("store")).unwrap();
    let entry = Entry::about_house(tomorrow, EntryKind::Stopping, Level::Info, "ends".to_owned());
    crate::scene::runtime().block_on(store.append(vec![entry])).unwrap();
    drop(store);
    // The master key is made with the store; this store is younger than its key.
    let vault = scene.keyward.state().join("vault");
    std::fs::create_dir_all(&vault).unwrap();
    std::fs::write(vault.join("master.key"), [7; 32]).unwrap();
    let only_us = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(vault.join("master.key"), only_us).unwrap();

    scene.keyward.start();
    let degraded = eventually("status says it", Duration::from_secs(10), || {
        let status = scene.keyward.cli(&["status", "--json"]).json();
        status["degraded"].as_str().map(str::to_owned)
    });
    assert!(degraded.contains("the clock says") && degraded.contains("nothing is ordered"));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.pebble.orders(), 0);
    scene.keyward.cli(&["renew", "early.example"]).ok();
    scene.keyward.wait_issued("early.example");
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["degraded"], serde_json::Value::Null, "{status:#}");
}
