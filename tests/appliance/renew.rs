//! Renewals that nobody notices but the one who looks at the serial number.

use std::time::Duration;

use crate::daemon::eventually;
use crate::load::Load;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn a_renewal_under_load_fails_no_request_and_the_new_serial_is_seen() {
    let scene = Scene::issued("busy.example");
    let runtime = runtime();
    let _inside = runtime.enter();
    let loads = [Load::start(&scene.target(false), 4), Load::start(&scene.target(true), 4)];
    let mut serials = vec![scene.keyward.served_serial("busy.example").unwrap()];
    for _ in 0..3 {
        runtime.block_on(loads[0].progress(200));
        let serial = scene.renew();
        // What is installed is served from the next handshake on.
        let served = eventually("the new serial is served", Duration::from_secs(5), || {
            let served = scene.keyward.served_serial("busy.example").unwrap();
            (served == serial).then_some(served)
        });
        serials.push(served);
        runtime.block_on(loads[1].progress(200));
    }
    for load in loads {
        let seen = runtime.block_on(load.stop());
        let failures = seen.failures.lock().unwrap().clone();
        let good = seen.good.load(std::sync::atomic::Ordering::SeqCst);
        println!("{good} good requests, {} failed", failures.len());
        assert_eq!(failures, Vec::<String>::new());
        let known = seen.serials.lock().unwrap().clone();
        assert!(serials.iter().all(|s| known.contains(s)), "{serials:?} {known:?}");
    }
}

#[test]
fn a_short_life_is_renewed_by_itself_at_its_drawn_moment_and_names_what_it_replaces() {
    // Forty seconds of life: renewed from second 20 on, within two.
    let scene = Scene::custom("short.example", "profile = \"short\"\n", |settings| {
        settings.profiles = vec![("short".to_owned(), 40), ("other".to_owned(), 90 * 86_400)];
    });
    let mut scene = scene;
    scene.keyward.start();
    let view = scene.keyward.wait_issued("short.example");
    let moment = |text: &serde_json::Value| -> i64 {
        text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
    };
    let not_before = moment(&view["installed"]["not_before"]);
    let life = moment(&view["installed"]["not_after"]) - not_before;
    let drawn = moment(&view["renew_at"]) - not_before;
    assert!((39..=40).contains(&life), "{view:#}");
    assert!(drawn <= life - life / 20, "invariant 7: {view:#}");
    let first = view["installed"]["serial"].clone();
    let view = eventually("it renews itself", Duration::from_secs(60), || {
        let view = scene.keyward.wait_issued("short.example");
        (view["installed"]["serial"] != first).then_some(view)
    });
    let began = moment(&view["installed"]["not_before"]) - not_before;
    assert!(began >= drawn - 2 && began <= drawn + 6, "drawn {drawn}, renewed at {began}");
    assert!(scene.pebble.output().contains(" is a replacement of "), "{}", scene.pebble.output());
}
