//! A reload under load: sites come and go, and nobody else notices.

use std::time::Duration;

use crate::daemon::eventually;
use crate::load::Load;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn ten_reloads_under_load_add_and_remove_a_site_and_fail_no_request() {
    let scene = Scene::issued("stays.example");
    let runtime = runtime();
    let _inside = runtime.enter();
    let loads = [Load::start(&scene.target(false), 4), Load::start(&scene.target(true), 4)];
    let (stays, comes) = (scene.site("stays.example"), scene.site("comes.example"));
    let root = scene.root();
    for round in 0..5 {
        runtime.block_on(loads[0].progress(100));
        scene.configure(&format!("{stays}\n{comes}"));
        if round % 2 == 0 {
            scene.keyward.hangup();
        } else {
            scene.keyward.cli(&["reload"]).ok();
        }
        scene.keyward.wait_issued("comes.example");
        let said = eventually("the new site is served", Duration::from_secs(10), || {
            let said = scene.keyward.curl(&root, "comes.example", "/", &[]);
            said.status.success().then_some(said)
        });
        assert_eq!(said.ok(), "ok");
        runtime.block_on(loads[1].progress(100));
        scene.configure(&stays);
        let said = scene.keyward.cli(&["reload", "--json"]).json();
        assert_eq!(said["removed"], serde_json::json!(["comes.example"]), "{said:#}");
        eventually("the old site is refused", Duration::from_secs(10), || {
            let said = scene.keyward.curl(&root, "comes.example", "/", &[]);
            (said.status.code() == Some(35)).then_some(())
        });
    }
    for load in loads {
        let seen = runtime.block_on(load.stop());
        let failures = seen.failures.lock().unwrap().clone();
        let good = seen.good.load(std::sync::atomic::Ordering::SeqCst);
        println!("{good} good requests, {} failed", failures.len());
        assert_eq!(failures, Vec::<String>::new());
    }
    // A site that comes back finds its certificate again: nothing was ordered twice.
    assert_eq!(scene.pebble.orders(), 2, "{}", scene.pebble.output());
}

#[test]
fn a_broken_file_changes_nothing_and_says_so() {
    let scene = Scene::issued("whole.example");
    let root = scene.root();
    std::fs::write(scene.keyward.config(), "[[site]]\nnames = [\"whole.example\"]\norigni = 1\n")
        .unwrap();
    let said = scene.keyward.cli(&["reload"]);
    assert_eq!(said.status.code(), Some(78), "{said:#?}");
    assert!(said.err.contains("origni") && said.err.contains("origin"), "{}", said.err);
    assert!(said.err.contains("keyward.toml"), "{}", said.err);
    scene.keyward.hangup();
    eventually("the log tells", Duration::from_secs(10), || {
        scene.keyward.log().contains("the configuration is refused").then_some(())
    });
    assert_eq!(scene.keyward.curl(&root, "whole.example", "/", &[]).ok(), "ok");
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert!(status["config"]["refused"].as_str().is_some_and(|t| t.contains("origni")));
    // Repaired, it is applied again and the refusal is forgotten.
    scene.configure(&scene.site("whole.example"));
    scene.keyward.cli(&["reload"]).ok();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["config"]["refused"], serde_json::Value::Null);
}
