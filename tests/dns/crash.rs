//! `kill -9` while a record is there: the next start removes it, whether or not it goes on with the
//! order.

use std::time::Duration;

use crate::daemon::was_killed;
use crate::scene::Scene;

const NAME: &str = "_acme-challenge.corp.example";

fn killed_at(point: &str) -> Scene {
    let mut scene = Scene::new(&[("corp.example", "")]);
    let account = scene.bind.account("corp.example");
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.with_env("KEYWARD_CRASH_AT", point);
    scene.keyward.spawn();
    let ended = scene.keyward.wait_end(Duration::from_secs(120));
    assert!(was_killed(ended), "{point}: {ended}\n{}", scene.keyward.log());
    scene.keyward.without_env("KEYWARD_CRASH_AT");
    scene
}

#[test]
fn a_record_that_nobody_needs_any_more_is_removed_by_the_next_start() {
    let mut scene = killed_at("dns:record-set");
    assert_eq!(scene.bind.ask("TXT", NAME).len(), 1);
    // The site is gone, the account is not.
    scene.configure(&scene.bind.account("corp.example"));
    scene.keyward.start();
    scene.wait_gone(NAME);
    assert_eq!(scene.pebble.certificates(), 0);
}

#[test]
fn the_order_is_gone_on_with_and_its_record_is_removed_at_its_end() {
    for point in ["dns:record-noted", "dns:record-set", "challenge-valid"] {
        let mut scene = killed_at(point);
        let there = usize::from(point != "dns:record-noted");
        assert_eq!(scene.bind.ask("TXT", NAME).len(), there, "{point}");
        scene.keyward.start();
        scene.keyward.wait_issued("*.corp.example");
        scene.wait_gone(NAME);
        assert_eq!(scene.pebble.orders(), 1, "{point}: {}", scene.pebble.output());
    }
}
