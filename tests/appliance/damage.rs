//! A damaged database is not an outage: the second copy is served, and nothing is overwritten.

use std::fs;
use std::time::Duration;

use crate::daemon::was_killed;
use crate::scene::Scene;

#[test]
fn a_damaged_database_is_left_alone_and_the_second_copy_is_served() {
    let mut scene = Scene::new("copy.example");
    scene.keyward.start();
    scene.keyward.wait_issued("copy.example");
    let root = scene.root();
    let serial = scene.keyward.served_serial("copy.example");
    scene.keyward.kill9();

    let path = scene.keyward.state().join("store/keyward.redb");
    let length = fs::metadata(&path).unwrap().len();
    let damage = vec![0x5a; usize::try_from(length).unwrap()];
    fs::write(&path, &damage).unwrap();

    scene.keyward.start();
    let said = scene.keyward.curl(&root, "copy.example", "/", &[]);
    assert_eq!(said.ok(), "ok");
    assert_eq!(scene.keyward.served_serial("copy.example"), serial);
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert!(status["degraded"].as_str().is_some_and(|t| t.contains("keyward.redb")), "{status:#}");
    let said = scene.keyward.cli(&["renew", "copy.example"]);
    assert!(!said.status.success(), "no order while nothing can be remembered: {said:#?}");
    assert!(scene.keyward.terminate().success());
    assert_eq!(fs::read(&path).unwrap(), damage, "the damaged file is evidence, not waste");
}

#[test]
fn damage_to_the_newest_second_copy_falls_back_to_the_one_before() {
    let mut scene = Scene::new("older.example");
    scene.keyward.start();
    scene.keyward.wait_issued("older.example");
    let root = scene.root();
    scene.keyward.kill9();
    let served = scene.keyward.state().join("served");
    fs::copy(served.join("catalog.redb"), served.join("catalog.redb.1")).unwrap();
    fs::write(served.join("catalog.redb"), b"not a copy").unwrap();
    fs::write(scene.keyward.state().join("store/keyward.redb"), b"not a database").unwrap();
    scene.keyward.start();
    let said = scene.keyward.curl(&root, "older.example", "/", &[]);
    assert_eq!(said.ok(), "ok");
}

#[test]
fn a_damaged_second_copy_is_made_anew_and_the_one_before_is_kept() {
    let mut scene = Scene::new("again.example");
    scene.keyward.start();
    scene.keyward.wait_issued("again.example");
    let serial = scene.keyward.served_serial("again.example");
    assert!(scene.keyward.terminate().success());
    let served = scene.keyward.state().join("served");
    fs::write(served.join("catalog.redb"), b"not a copy").unwrap();
    scene.keyward.start();
    assert_eq!(scene.keyward.served_serial("again.example"), serial);
    assert!(scene.keyward.terminate().success());
    // A start keeps what it found whole.
    scene.keyward.start();
    scene.keyward.kill9();
    fs::write(served.join("catalog.redb"), b"not a copy").unwrap();
    fs::write(scene.keyward.state().join("store/keyward.redb"), b"not a database").unwrap();
    scene.keyward.start();
    assert_eq!(scene.keyward.served_serial("again.example"), serial);
}

#[test]
fn a_kill_while_the_second_copy_is_made_anew_costs_nothing() {
    let mut scene = Scene::new("anew.example");
    scene.keyward.start();
    scene.keyward.wait_issued("anew.example");
    let serial = scene.keyward.served_serial("anew.example");
    assert!(scene.keyward.terminate().success());
    let served = scene.keyward.state().join("served");
    for point in keyward::base::crash::COPY_POINTS {
        fs::remove_file(served.join("catalog.redb")).unwrap();
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.spawn();
        let ended = scene.keyward.wait_end(Duration::from_secs(60));
        assert!(was_killed(ended), "{point}: {ended}\n{}", scene.keyward.log());
        assert_eq!(served.join("catalog.redb").exists(), *point == "copy-named", "{point}");
        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        assert_eq!(scene.keyward.served_serial("anew.example"), serial, "{point}");
        assert!(scene.keyward.terminate().success(), "{point}");
        // What is whole is gone on with: nobody makes it again.
        scene.keyward.with_env("KEYWARD_CRASH_AT", "copy-emptied");
        scene.keyward.start();
        assert!(scene.keyward.terminate().success(), "{point}");
    }
}
