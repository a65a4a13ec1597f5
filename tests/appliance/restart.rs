//! A restart serves from the store, whatever the CA does.

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
