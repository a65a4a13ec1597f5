//! How a start goes: refused with the place in the file, steered by the environment, and fast
//! after a crash.

use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::daemon::BINARY;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::load::Load;
use crate::load::client_config;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn a_broken_file_is_refused_at_the_start_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keyward.toml");
    std::fs::write(&file, "[acme]\nacept_terms = true\n\n[[site]]\nnames = [\"a b\"]\n").unwrap();
    let said = run(Command::new(BINARY).args(["run", "--config"]).arg(&file));
    assert_eq!(said.status.code(), Some(78), "{said:#?}");
    assert!(said.out.is_empty(), "{said:#?}");
    for line in [2, 5] {
        assert!(said.err.contains(&format!("{}:{line}", file.display())), "{}", said.err);
    }
    assert!(said.err.contains("accept_terms"), "what to try: {}", said.err);
    let gone = run(Command::new(BINARY).args(["run", "--config", "/nonexistent/keyward.toml"]));
    assert_eq!(gone.status.code(), Some(78), "{gone:#?}");
    assert!(gone.err.contains("/nonexistent/keyward.toml"), "{}", gone.err);
}

#[test]
fn the_environment_wins_over_the_file() {
    let mut scene = Scene::new("env.example");
    let port = free_port();
    let kept = scene.keyward.https;
    scene.keyward.with_env("KEYWARD_LISTEN__HTTPS", &format!("127.0.0.1:{kept},127.0.0.1:{port}"));
    scene.keyward.start();
    scene.keyward.wait_issued("env.example");
    let root = scene.root();
    scene.keyward.https = port;
    assert_eq!(scene.keyward.curl(&root, "env.example", "/", &[]).ok(), "ok");
}

#[test]
fn after_a_kill_under_load_the_next_start_serves_before_it_asks_anybody() {
    let mut scene = Scene::issued("again.example");
    let target = scene.target(false);
    let runtime = runtime();
    let _inside = runtime.enter();
    let serial = scene.keyward.served_serial("again.example");
    scene.pebble.stop();
    for round in 1..=3 {
        let load = Load::start(&target, 4);
        runtime.block_on(load.progress(100));
        scene.keyward.kill9();
        runtime.block_on(load.stop());
        let begin = Instant::now();
        scene.keyward.spawn();
        let config = client_config(&target.root, &[b"http/1.1"]);
        runtime.block_on(async {
            while crate::load::connect(&config, target.address, "again.example").await.is_err() {
                assert!(begin.elapsed() < Duration::from_secs(10), "{}", scene.keyward.log());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let took = begin.elapsed();
        println!("round {round}: a handshake succeeded {took:?} after the start");
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(scene.keyward.served_serial("again.example"), serial);
    }
}

#[test]
fn a_stop_waits_for_no_task_that_itself_waits_for_the_stop() {
    let mut scene = Scene::issued("brief.example");
    assert!(scene.keyward.terminate().success());
    let log = scene.keyward.log();
    assert!(log.contains("the end begins"), "{log}");
    assert!(!log.contains("did not end in time"), "{log}");
    // What was published last is in the copy that the next start serves from.
    scene.pebble.stop();
    scene.keyward.start();
    assert!(scene.keyward.served_serial("brief.example").is_some());
}
