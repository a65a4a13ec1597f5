//! A restart serves from the store, whatever the CA does.

use std::time::Duration;

use crate::scene::Scene;

#[test]
fn a_restart_serves_from_the_store_with_the_ca_switched_off() {
    let mut scene = Scene::new("still.example");
    scene.keyward.start();
    scene.keyward.wait_issued("still.example");
    let root = scene.root();
    let serial = scene.keyward.served_serial("still.example");
    scene.pebble.stop();
    let ended = scene.keyward.terminate();
    assert!(ended.success(), "{ended}\n{}", scene.keyward.log());
    scene.keyward.start();
    let said = scene.keyward.curl(&root, "still.example", "/", &[]);
    assert_eq!(said.ok(), "ok");
    assert_eq!(scene.keyward.served_serial("still.example"), serial);
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_with_a_clear_message() {
    let mut scene = Scene::new("one.example");
    scene.keyward.start();
    let other = crate::daemon::Keyward::new("", "");
    let text = std::fs::read_to_string(scene.keyward.config()).unwrap();
    let text = text
        .replace(&format!(":{}", scene.keyward.https), &format!(":{}", other.https))
        .replace(&format!(":{}", scene.keyward.http), &format!(":{}", other.http))
        .replace("run/admin.sock", "run/other.sock");
    std::fs::write(other.config(), text).unwrap();
    let said = crate::daemon::run(
        std::process::Command::new(crate::daemon::BINARY)
            .args(["run", "--config"])
            .arg(other.config()),
    );
    assert!(!said.status.success());
    assert!(said.err.contains("another keyward"), "{}", said.err);
    assert!(said.err.contains(&scene.keyward.pid().to_string()), "{}", said.err);
    // The first one is not disturbed.
    scene.keyward.wait_issued("one.example");
}

/// The key cache as status tells of it.
fn key_cache(scene: &Scene) -> serde_json::Value {
    scene.keyward.cli(&["status", "--json"]).json()["vault"]["figures"].clone()
}

#[test]
fn the_keys_that_were_busy_are_open_before_the_first_handshake_after_a_start() {
    let mut scene = Scene::issued("warm.example");
    let root = scene.root();
    let visit = |scene: &Scene| {
        assert_eq!(scene.keyward.curl(&root, "warm.example", "/", &[]).ok(), "ok");
    };
    for _ in 0..20 {
        visit(&scene);
    }
    let warmed = |scene: &Scene| {
        crate::daemon::eventually("the busy key is open", Duration::from_secs(20), || {
            let figures = key_cache(scene);
            (figures["warmed"] == 1 && figures["pinned"] == 1).then_some(figures)
        })
    };
    assert!(scene.keyward.terminate().success());
    scene.keyward.start();
    let before = warmed(&scene);
    assert_eq!((&before["open"], &before["misses"]), (&1.into(), &0.into()), "{before:#}");
    visit(&scene);
    let after = key_cache(&scene);
    assert_eq!((&after["hits"], &after["misses"]), (&1.into(), &0.into()), "{after:#}");
    let told = scene.keyward.cli(&["status"]).ok();
    assert!(told.contains("1 opened at the start for having been busy"), "{told}");

    // Another vault begins with the same.
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let pid = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(warmed(&scene)["misses"], 0);

    // A kill loses nothing of the list, and a list that is none costs nothing but its hints.
    scene.keyward.kill9();
    scene.keyward.start();
    assert_eq!(warmed(&scene)["misses"], 0);
    let list = scene.keyward.state().join("served/busiest");
    assert!(std::fs::read_to_string(&list).unwrap().starts_with("keyward busiest keys 1\n"));
    scene.keyward.kill9();
    std::fs::write(&list, "nonsense").unwrap();
    scene.keyward.start();
    visit(&scene);
    let log = scene.keyward.log();
    assert!(log.contains("the list of busy keys is no use") && log.contains("line 1"), "{log}");
    assert!(scene.keyward.terminate().success());
    assert!(std::fs::read_to_string(&list).unwrap().starts_with("keyward busiest keys 1\n"));
}
