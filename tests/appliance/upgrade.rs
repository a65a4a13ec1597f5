//! A new process takes the place of the running one, and no client notices.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use keyward::base::crash::GIVING_POINTS;
use keyward::base::crash::TAKING_POINTS;
use tokio_tungstenite::tungstenite::Message;

use crate::daemon::BINARY;
use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::runs;
use crate::load;
use crate::load::Load;
use crate::load::Target;
use crate::origin::Origin;
use crate::scene::Scene;
use crate::scene::runtime;

const SOON: Duration = Duration::from_secs(30);

/// One request on a connection of its own: how long the answer is, and how hands were shaken.
pub(crate) async fn fetch(
    config: &Arc<rustls::ClientConfig>,
    target: &Target,
    path: &str,
    body: Vec<u8>,
) -> Result<(Vec<u8>, rustls::HandshakeKind), String> {
    let stream = load::connect(config, target.address, &target.name);
    let stream = stream.await.map_err(|error| format!("connect: {error}"))?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let shaken = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = shaken.map_err(|error| format!("h1: {error}"))?;
    tokio::task::spawn(connection);
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = http::Request::builder().method(method).uri(path).header("host", &target.name);
    let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.map_err(|e| format!("request: {e:?}"))?;
    if response.status() != 200 {
        return Err(format!("status {}", response.status()));
    }
    let body = response.into_body().collect().await.map_err(|e| format!("body: {e:?}"))?;
    Ok((body.to_bytes().to_vec(), kind))
}

#[test]
fn under_load_three_upgrades_fail_no_request_and_break_nothing_that_is_open() {
    let mut scene = Scene::new("up.example");
    let sockets = Origin::websocket();
    let site = scene.site("up.example");
    let chat =
        format!("[[site]]\nnames = [\"chat.internal\"]\norigin = \"http://{}\"\n", sockets.address);
    scene.configure(&format!("{site}\n{chat}"));
    scene.keyward.start();
    scene.keyward.wait_issued("up.example");
    scene.keyward.wait_issued("chat.internal");
    let runtime = runtime();
    let _inside = runtime.enter();
    let target = scene.target(false);
    let config = load::client_config(&target.root, &[b"http/1.1"]);
    let first = scene.keyward.pid();

    // What is open before the first upgrade and ends after the last.
    let slow = runtime.spawn({
        let (config, target) = (Arc::clone(&config), target.clone());
        async move { fetch(&config, &target, "/drip/150/100", Vec::new()).await }
    });
    let root = scene.keyward.cli(&["trust", "--print"]).ok();
    let root = keyward::cert::chain::Chain::from_pem(root.as_bytes()).unwrap();
    let internal = load::client_config(&root.to_rustls()[0], &[b"http/1.1"]);
    let mut socket = runtime.block_on(async {
        let stream = load::connect(&internal, target.address, "chat.internal").await.unwrap();
        tokio_tungstenite::client_async("wss://chat.internal/", stream).await.unwrap().0
    });
    let echo = |socket: &mut tokio_tungstenite::WebSocketStream<_>, text: &str| {
        runtime.block_on(async {
            socket.send(Message::text(text)).await.unwrap();
            let heard = tokio::time::timeout(SOON, socket.next()).await;
            assert_eq!(heard.unwrap().unwrap().unwrap(), Message::text(text));
        });
    };
    echo(&mut socket, "before");

    let loads = [Load::start(&target, 4), Load::start(&scene.target(true), 4)];
    let visit =
        |path: &str, body: Vec<u8>| runtime.block_on(fetch(&config, &target, path, body)).unwrap();
    visit("/", Vec::new());
    for round in 0..3 {
        for load in &loads {
            runtime.block_on(load.progress(50));
        }
        let before = scene.keyward.pid();
        let said = scene.keyward.upgrade();
        println!("upgraded: {said}");
        assert_eq!(said["former"], before);
        assert_ne!(said["pid"], before);
        let status = scene.keyward.cli(&["status", "--json"]).json();
        assert_eq!(status["pid"], said["pid"]);
        assert_eq!(status["degraded"], serde_json::Value::Null, "{status:#}");
        // Sessions go on, and so does what was open.
        assert_eq!(visit("/", Vec::new()).1, rustls::HandshakeKind::Resumed, "round {round}");
        assert_eq!(visit("/count", vec![7; 1 << 20]).0, b"1048576");
        echo(&mut socket, &format!("after {round}"));
        let told = status["notices"].to_string();
        assert!(told.contains("finish"), "the former ones are told: {told}");
    }
    // The house is whole: it renews, with the challenge answered by the process that serves now.
    scene.renew();
    let (body, _) = runtime.block_on(slow).unwrap().unwrap();
    assert_eq!(body.len(), 150, "a download that was begun before three upgrades");
    for load in loads {
        let seen = runtime.block_on(load.stop());
        let failures = seen.failures.lock().unwrap().clone();
        let good = seen.good.load(std::sync::atomic::Ordering::SeqCst);
        println!("{good} good requests, {} failed", failures.len());
        assert_eq!(failures, Vec::<String>::new());
    }
    // Former processes end with their last connection.
    runtime.block_on(async { socket.close(None).await }).unwrap();
    drop(socket);
    eventually("the former processes end", SOON, || {
        let status = scene.keyward.cli(&["status", "--json"]).json();
        (!status["notices"].to_string().contains("former process")).then_some(())
    });
    assert!(!runs(first), "the first process has ended");
}

/// A keyward with a certificate of its own CA, and that CA's root.
fn small(origin: &Origin) -> Keyward {
    let site = format!(
        "[[site]]\nnames = [\"s.internal\"]\norigin = \"http://{}\"\nissuer = \"internal\"\n",
        origin.address
    );
    Keyward::new("", &site)
}

fn root(keyward: &Keyward) -> PathBuf {
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    root
}

#[test]
fn a_new_process_that_cannot_serve_changes_nothing_and_says_why() {
    let origin = Origin::start();
    let mut keyward = small(&origin);
    let copy = keyward.dir.path().join("keyward");
    std::fs::copy(BINARY, &copy).unwrap();
    let script = format!("shift; exec {} \"$@\"", copy.display());
    keyward.spawn_through("sh", &["-c", &script, "sh"]);
    keyward.wait_ready();
    keyward.wait_issued("s.internal");
    let (root, pid) = (root(&keyward), keyward.pid());
    let well = |keyward: &Keyward| {
        assert_eq!(keyward.curl(&root, "s.internal", "/", &[]).ok(), "ok");
        let status = keyward.cli(&["status", "--json"]).json();
        assert_eq!(status["pid"], pid);
        assert_eq!(status["degraded"], serde_json::Value::Null, "{status:#}");
        // The store takes orders.
        keyward.cli(&["renew", "s.internal"]).ok();
        keyward.wait_issued("s.internal");
    };
    let refused = |keyward: &Keyward, why: &str| {
        let said = keyward.cli(&["upgrade"]);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(
            said.err.contains("this process goes on") && said.err.contains(why),
            "{}",
            said.err
        );
        well(keyward);
        let told = keyward.cli(&["events", "--json"]).ok();
        assert!(told.contains("upgrade-failed"), "{told}");
    };
    // A broken file.
    keyward.edit("names = [\"s.internal\"]", "naems = [\"s.internal\"]");
    refused(&keyward, "naems");
    keyward.edit("naems = [\"s.internal\"]", "names = [\"s.internal\"]");
    // A program that is none, one that does not know how to follow, and one that is not there.
    let aside = copy.with_extension("new");
    for program in ["nonsense", "#!/bin/sh\n"] {
        std::fs::write(&aside, program).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&aside, &copy).unwrap();
        refused(&keyward, "ended before");
    }
    std::fs::remove_file(&copy).unwrap();
    refused(&keyward, "could not be started");
    // A master key that is another one, which shows only when the store is open.
    let key = keyward.state().join("vault/master.key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::copy(BINARY, &aside).unwrap();
    std::fs::rename(&aside, &copy).unwrap();
    let lay = |bytes: &[u8]| {
        std::fs::remove_file(&key).unwrap();
        std::fs::write(&key, bytes).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o400)).unwrap();
    };
    lay(&[7; 32]);
    refused(&keyward, "the master key is another one");
    lay(&kept);
    // And a good one is welcome after all that.
    let said = keyward.upgrade();
    assert_eq!(said["former"], pid);
    assert_eq!(keyward.curl(&root, "s.internal", "/", &[]).ok(), "ok");
    keyward.cli(&["renew", "s.internal"]).ok();
    // SIGUSR2 does the same, and the log tells.
    let pid = keyward.pid();
    keyward.signal(nix::sys::signal::Signal::SIGUSR2);
    let status = eventually("another process serves", SOON, || {
        let said = keyward.cli(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        (status["pid"] != pid).then_some(status)
    });
    keyward.follow(&status["pid"]);
}

#[test]
fn a_former_process_keeps_no_door_open_when_the_one_after_it_is_killed() {
    let origin = Origin::start();
    let mut keyward = small(&origin);
    keyward.start();
    keyward.wait_issued("s.internal");
    let root = root(&keyward);
    let runtime = runtime();
    let chain = std::fs::read_to_string(&root).unwrap();
    let chain = keyward::cert::chain::Chain::from_pem(chain.as_bytes()).unwrap();
    let config = load::client_config(&chain.to_rustls()[0], &[b"http/1.1"]);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], keyward.https));
    let download = runtime.spawn({
        let config = Arc::clone(&config);
        let target = Target {
            address,
            name: "s.internal".to_owned(),
            path: String::new(),
            root: chain.to_rustls()[0].clone(),
            h2: false,
            per_connection: 1,
        };
        async move { fetch(&config, &target, "/drip/150/100", Vec::new()).await }
    });
    eventually("the download has begun", SOON, || origin.last().contains("/drip/").then_some(()));
    keyward.upgrade();
    assert_eq!(keyward.curl(&root, "s.internal", "/", &[]).ok(), "ok");
    let mut former = keyward.kill_heir();
    assert!(former.try_wait().unwrap().is_none(), "it finishes the download");
    // Nobody listens: a client is told so at once, and the next one may start.
    let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    eventually("the port is closed", SOON, || {
        std::net::TcpStream::connect(address).is_err_and(refused).then_some(())
    });
    keyward.start();
    assert_eq!(keyward.curl(&root, "s.internal", "/", &[]).ok(), "ok");
    assert!(former.try_wait().unwrap().is_none(), "it still does");
    let (body, _) = runtime.block_on(download).unwrap().unwrap();
    assert_eq!(body.len(), 150);
    assert!(former.wait().unwrap().success());
}

#[test]
fn a_kill_at_any_moment_leaves_one_that_serves() {
    let origin = Origin::start();
    for (points, the_new_one_serves) in [(GIVING_POINTS, true), (TAKING_POINTS, false)] {
        for point in points {
            let mut keyward = small(&origin);
            keyward.start();
            keyward.wait_issued("s.internal");
            let root = root(&keyward);
            keyward.kill9();
            keyward.with_env("KEYWARD_CRASH_AT", point);
            keyward.start();
            let pid = keyward.pid();
            let said = keyward.cli(&["upgrade"]);
            assert!(!said.status.success() || *point == "left", "{point}: {said:?}");
            let status = eventually(point, SOON, || {
                let said = keyward.cli(&["status", "--json"]);
                let status: serde_json::Value = serde_json::from_str(&said.out).ok()?;
                ((status["pid"] != pid) == the_new_one_serves).then_some(status)
            });
            if the_new_one_serves {
                keyward.follow(&status["pid"]);
            }
            let served = keyward.curl(&root, "s.internal", "/", &[]);
            assert_eq!(served.ok(), "ok", "after {point}");
            keyward.cli(&["renew", "s.internal"]).ok();
            keyward.wait_issued("s.internal");
            println!("{point}: process {} serves after {pid}", status["pid"]);
        }
    }
}
