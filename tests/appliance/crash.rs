//! `kill -9` at every named step of an issuance: the next start goes on with the same key and the
//! same order, and no second order is opened.

use std::time::Duration;

use crate::daemon::was_killed;
use crate::scene::Scene;

#[test]
fn a_kill_at_any_step_costs_no_second_order_and_no_second_key() {
    for point in keyward::base::crash::POINTS {
        let mut scene = Scene::new("crash.example");
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.spawn();
        let ended = scene.keyward.wait_end(Duration::from_secs(60));
        assert!(was_killed(ended), "{point}: {ended}\n{}", scene.keyward.log());
        let key_before = stored_key(&scene.keyward.log());
        // The line is written right after the transaction, so its absence is certain only
        // before, and its presence only behind it.
        match *point {
            "leased" | "key-generated" => assert_eq!(key_before, None, "{point}"),
            "key-stored" => {}
            _ => assert!(key_before.is_some(), "{point}: an order before its key was durable"),
        }

        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        let view = scene.keyward.wait_issued("crash.example");
        assert_eq!(scene.pebble.orders(), 1, "{point}: {}", scene.pebble.output());
        if let Some(key) = key_before {
            let installed = view["installed"]["key"].as_str().unwrap();
            assert!(installed.starts_with(&key), "{point}: another key, {installed} for {key}");
        }
        let said = scene.keyward.curl(&scene.root(), "crash.example", "/", &[]);
        assert_eq!(said.ok(), "ok", "{point}");
    }
}

/// The first twelve digits of the key that the log calls stored.
fn stored_key(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("key stored for a new order"))?;
    let (_, rest) = line.split_once("key=")?;
    Some(rest.chars().take_while(char::is_ascii_hexdigit).collect())
}
