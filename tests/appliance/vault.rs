//! The vault's death is nobody else's.

use std::io::Read as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::load::Load;
use crate::load::client_config;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn a_killed_vault_costs_no_open_connection_and_handshakes_succeed_within_a_second() {
    let scene = Scene::issued("vault.example");
    let target = scene.target(false);
    let runtime = runtime();
    let _inside = runtime.enter();

    // A connection of our own that is open before the kill and used after it.
    let config = client_config(&target.root, &[b"http/1.1"]);
    let name = rustls::pki_types::ServerName::try_from("vault.example").unwrap();
    let tls = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
    let socket = std::net::TcpStream::connect(target.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut open = rustls::StreamOwned::new(tls, socket);
    let mut ask = move || {
        open.write_all(b"GET / HTTP/1.1\r\nHost: vault.example\r\n\r\n").unwrap();
        let mut answer = [0; 4096];
        let read = open.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{:?}", &answer[..read]);
    };
    ask();

    let load = Load::start(&target, 8);
    for round in 1..=5 {
        runtime.block_on(load.progress(100));
        let status = scene.keyward.cli(&["status", "--json"]).json();
        let pid = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        let killed = Instant::now();
        // Full handshakes, one after the other, until one succeeds: each client is a new one,
        // so none is resumed.
        runtime.block_on(async {
            loop {
                let config = client_config(&target.root, &[b"http/1.1"]);
                let once = crate::load::connect(&config, target.address, "vault.example");
                if once.await.is_ok() {
                    break;
                }
            }
        });
        let took = killed.elapsed();
        println!("round {round}: a handshake succeeded {took:?} after the kill");
        assert!(took < Duration::from_secs(1), "{took:?}");
        ask();
    }
    let seen = runtime.block_on(load.stop());
    let failures = seen.failures.lock().unwrap().clone();
    println!("{} good requests, failures: {failures:?}", seen.good.load(Ordering::SeqCst));
    let broken: Vec<_> = failures.iter().filter(|f| !f.starts_with("connect")).collect();
    assert!(broken.is_empty(), "open connections broke: {broken:?}");
    assert_eq!(failures.len(), 0, "handshakes failed: {failures:?}");
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["vault"]["restarts"], 5, "{status:#}");
}

#[test]
fn a_vault_that_cannot_start_again_is_told_by_status_until_it_can() {
    let scene = Scene::issued("failing.example");
    let key = scene.keyward.state().join("vault/master.key");
    let aside = scene.keyward.dir.path().join("aside");
    std::fs::rename(&key, &aside).unwrap();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let pid = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let degraded = |wanted: bool| {
        crate::daemon::eventually("status follows", Duration::from_secs(20), || {
            let status = scene.keyward.cli(&["status", "--json"]).json();
            (status["degraded"].is_string() == wanted).then_some(status)
        })
    };
    let status = degraded(true);
    assert!(status["degraded"].as_str().unwrap().starts_with("no vault serves: "), "{status:#}");
    assert_eq!(status["vault"]["pid"], serde_json::Value::Null, "{status:#}");
    assert!(scene.keyward.cli(&["status"]).ok().contains("being started again"));
    std::fs::rename(&aside, &key).unwrap();
    degraded(false);
    let root = scene.root();
    assert_eq!(scene.keyward.curl(&root, "failing.example", "/", &[]).ok(), "ok");
}
