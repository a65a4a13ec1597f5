//! A reload under load: sites come and go, and nobody else notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::StreamExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::load;
use crate::load::Load;
use crate::load::Target;
use crate::origin::Origin;
use crate::scene::Scene;
use crate::scene::runtime;
use crate::upgrade::fetch;

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

#[test]
fn what_is_open_survives_a_reload_that_changes_its_site_or_takes_it_away() {
    let (origin, chat) = (Origin::start(), Origin::websocket());
    let site = |name: &str, origin: SocketAddr| {
        format!("[[site]]\nnames = [\"{name}\"]\norigin = \"http://{origin}\"\n")
    };
    let goes = site("goes.internal", origin.address);
    let talks = site("talks.internal", chat.address);
    let mut keyward = Keyward::new("", &format!("{goes}{talks}"));
    keyward.start();
    keyward.wait_issued("goes.internal");
    keyward.wait_issued("talks.internal");
    let root = keyward.cli(&["trust", "--print"]).ok();
    let root =
        keyward::cert::chain::Chain::from_pem(root.as_bytes()).unwrap().to_rustls().remove(0);
    let config = load::client_config(&root, &[b"http/1.1"]);
    let target = Target {
        address: SocketAddr::from(([127, 0, 0, 1], keyward.https)),
        name: "goes.internal".to_owned(),
        path: String::new(),
        root,
        h2: false,
        per_connection: 1,
    };
    let runtime = runtime();
    let download = runtime.spawn({
        let (config, target) = (Arc::clone(&config), target.clone());
        async move { fetch(&config, &target, "/drip/40/100", Vec::new()).await }
    });
    let mut socket = runtime.block_on(async {
        let stream = load::connect(&config, target.address, "talks.internal").await.unwrap();
        tokio_tungstenite::client_async("wss://talks.internal/", stream).await.unwrap().0
    });
    let mut echo = |text: &str| {
        runtime.block_on(async {
            socket.send(Message::text(text)).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
            assert_eq!(heard.unwrap().unwrap().unwrap(), Message::text(text));
        });
    };
    echo("before");
    eventually("the download is under way", Duration::from_secs(10), || {
        (origin.seen() > 0).then_some(())
    });
    // One is gone, the other leads elsewhere.
    keyward.configure("", &site("talks.internal", origin.address));
    let said = keyward.cli(&["reload", "--json"]).json();
    assert_eq!(said["removed"], serde_json::json!(["goes.internal"]), "{said:#}");
    assert_eq!(said["changed"], serde_json::json!(["talks.internal"]), "{said:#}");
    echo("after");
    let (body, _) = runtime.block_on(download).unwrap().unwrap();
    assert_eq!(body.len(), 40, "the site is gone, the download is not");
    echo("later");
    let refused = runtime.block_on(fetch(&config, &target, "/", Vec::new()));
    assert!(refused.is_err(), "{refused:?}");
    let target = Target { name: "talks.internal".to_owned(), ..target };
    let (body, _) = runtime.block_on(fetch(&config, &target, "/", Vec::new())).unwrap();
    assert_eq!(body, b"ok", "who is new goes where the file says");
}
