//! `keyward rotate`: new keys, at the next renewal or at once, whenever the house is killed.

use std::time::Duration;

use serde_json::Value;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::origin::Origin;
use crate::scene::Scene;

/// A site of the internal CA, which issues within milliseconds.
fn internal(origin: &Origin, more: &str) -> String {
    let origin = origin.address;
    format!("[[site]]\nnames = [\"pin.internal\"]\norigin = \"http://{origin}\"\n{more}")
}

fn key(view: &Value) -> String {
    view["installed"]["key"].as_str().unwrap().to_owned()
}

/// Waits until another certificate than `before` is installed.
fn after(keyward: &Keyward, before: &Value) -> Value {
    eventually("another certificate is installed", Duration::from_secs(30), || {
        let view = keyward.certificate("pin.internal")?;
        (view["installed"]["serial"] != before["installed"]["serial"] && view["phase"] == "holding")
            .then_some(view)
    })
}

#[test]
fn a_kept_key_stays_at_renewals_until_a_new_one_is_wanted_and_no_kill_forgets_the_wish() {
    let origin = Origin::start();
    let mut keyward = Keyward::new("", &internal(&origin, "reuse_key = true\n"));
    keyward.start();
    let first = keyward.wait_issued("pin.internal");
    keyward.cli(&["renew", "pin.internal"]).ok();
    let second = after(&keyward, &first);
    assert_eq!(key(&first), key(&second), "the key is kept");

    let said = keyward.cli(&["rotate", "keys", "pin.internal"]).ok();
    assert_eq!(said, "pin.internal gets a new key at its next renewal\n");
    keyward.kill9();
    // Killed at every step of the renewal that follows, too.
    let mut seen = second;
    for point in ["leased", "key-generated", "key-stored", "installed"] {
        keyward.with_env("KEYWARD_CRASH_AT", point);
        if point == "leased" {
            keyward.start();
            // The answer may be lost with the daemon.
            let _said = keyward.cli(&["renew", "pin.internal"]);
        } else {
            // What was begun goes on by itself.
            keyward.spawn();
        }
        let ended = keyward.wait_end(SOON);
        assert!(was_killed(ended), "{point}: {ended}");
    }
    keyward.without_env("KEYWARD_CRASH_AT");
    keyward.start();
    seen = after(&keyward, &seen);
    assert_ne!(key(&seen), key(&first), "the wish was forgotten");
    let kept = key(&seen);
    keyward.cli(&["renew", "pin.internal"]).ok();
    assert_eq!(key(&after(&keyward, &seen)), kept, "one new key was wanted, not two");

    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    assert_eq!(keyward.curl(&root, "pin.internal", "/", &[]).ok(), "ok");
}

const SOON: Duration = Duration::from_secs(30);

#[test]
fn all_keys_at_once_at_a_ca_on_the_network() {
    let scene = Scene::issued("turn.example");
    let before = scene.keyward.wait_issued("turn.example");
    let told = scene.keyward.cli(&["rotate", "keys", "--all", "--now", "--json"]).json();
    let when: Vec<_> = told["certificates"].as_array().unwrap().iter().collect();
    assert!(when.iter().any(|one| one["when"] == "now"), "{told:#}");
    eventually("a certificate for a new key is served", Duration::from_secs(60), || {
        let view = scene.keyward.certificate("turn.example")?;
        (view["installed"]["key"] != before["installed"]["key"]).then_some(())
    });
    let said = scene.keyward.curl(&scene.root(), "turn.example", "/", &[]);
    assert_eq!(said.ok(), "ok");
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert!(events.contains("wants another key, from the next renewal on"), "{events}");
}
