//! `kill -9` at every named step of an issuance: the next start goes on with the same key and the
//! same order, and no second order is opened.

use std::time::Duration;

use keyward::cert::lifecycle::InFlight;
use keyward::cert::spec::Role;
use keyward::store::Store;

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
        let before = in_flight(&scene);
        match *point {
            "leased" | "key-generated" => assert_eq!(before, None, "{point}"),
            "key-stored" | "order-opened" => {
                let before = before.as_ref().unwrap_or_else(|| panic!("{point}: no key is stored"));
                assert_eq!(before.order, None, "{point}");
            }
            // The phase has moved on; what is installed is checked below.
            "installed" | "published" => assert_eq!(before, None, "{point}"),
            _ => {
                let order = before.as_ref().and_then(|before| before.order.as_ref());
                assert!(order.is_some(), "{point}: the order is not stored: {before:?}");
            }
        }

        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        let view = scene.keyward.wait_issued("crash.example");
        assert_eq!(scene.pebble.orders(), 1, "{point}: {}", scene.pebble.output());
        if let Some(before) = before {
            let key = before.key.to_hex();
            assert_eq!(view["installed"]["key"], key.as_str(), "{point}: another key");
        }
        let said = scene.keyward.curl(&scene.root(), "crash.example", "/", &[]);
        assert_eq!(said.ok(), "ok", "{point}");
    }
}

/// What is durable of the site's issuance, read from the database of a daemon that is gone.
fn in_flight(scene: &Scene) -> Option<InFlight> {
    let store = Store::open(&scene.keyward.state().join("store")).unwrap();
    let runtime = crate::scene::runtime();
    let records = runtime.block_on(store.certificates()).unwrap();
    let of_site = records.iter().find(|record| record.spec.role == Role::Primary);
    of_site.and_then(|record| record.phase.in_flight()).cloned()
}

#[test]
fn a_kill_while_the_bridge_is_made_costs_nothing() {
    for step in ["leased", "key-generated", "key-stored", "installed", "published"] {
        let mut scene = Scene::new("ford.example");
        scene.keyward.with_env("KEYWARD_CRASH_AT", &format!("bridge:{step}"));
        scene.keyward.spawn();
        let ended = scene.keyward.wait_end(Duration::from_secs(60));
        assert!(was_killed(ended), "{step}: {ended}\n{}", scene.keyward.log());
        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        scene.keyward.wait_issued("ford.example");
        let said = scene.keyward.curl(&scene.root(), "ford.example", "/", &[]);
        assert_eq!(said.ok(), "ok", "{step}");
    }
}
