//! Clients that are turned away at the door: what it costs, and what a person learns of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls_pki_types::ServerName;

use crate::daemon::eventually;
use crate::load::client_config;
use crate::scene::Scene;

/// A ClientHello for `name`.
fn hello(scene: &Scene, name: &str) -> Vec<u8> {
    let config = client_config(&scene.target(false).root, &[b"http/1.1"]);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn figure(scene: &Scene, pointer: &str) -> u64 {
    let status = scene.keyward.cli(&["status", "--json"]).json();
    status
        .pointer(pointer)
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_else(|| panic!("{status}"))
}

#[test]
fn unknown_names_never_reach_the_vault() {
    let scene = Scene::issued("known.example");
    let signatures = || figure(&scene, "/vault/figures/signatures");
    let before = signatures();
    let unknown = hello(&scene, "unknown.example");
    for _ in 0..500 {
        let mut stream = TcpStream::connect(("127.0.0.1", scene.keyward.https)).unwrap();
        stream.write_all(&unknown).unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 112], "the alert unrecognized_name");
    }
    assert_eq!(signatures(), before);
    // One of a name that is known does, so this can be seen.
    let mut stream = TcpStream::connect(("127.0.0.1", scene.keyward.https)).unwrap();
    stream.write_all(&hello(&scene, "known.example")).unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(signatures(), before + 1);
}

#[test]
fn a_flood_is_told_in_the_status_and_in_the_journal() {
    let mut scene = Scene::new("flood.example");
    scene.keyward.edit("[log]", "[edge]\nworkers = 1\nmax_connections = 40\n\n[log]");
    scene.keyward.start();
    scene.keyward.wait_issued("flood.example");
    let address = ("127.0.0.1", scene.keyward.https);
    let mut held = Vec::new();
    for _ in 0..80 {
        let mut stream = TcpStream::connect(address).unwrap();
        // Who is turned away may be so before this.
        let _ = stream.write_all(b"\x16");
        held.push(stream);
    }
    let status = eventually("the flood is told", Duration::from_secs(20), || {
        let text = scene.keyward.cli(&["status"]).ok();
        text.contains("a flood since").then_some(text)
    });
    assert!(status.contains("127.0.0.0/24") && status.contains("clients turned away"), "{status}");
    assert!(figure(&scene, "/edge/turned_away.connections") >= 50);
    let journal = scene.keyward.cli(&["events", "--json"]).json();
    let told = |kind: &str| {
        let entries = journal["entries"].as_array().unwrap();
        entries.iter().filter(|entry| entry["kind"] == kind).count()
    };
    assert_eq!((told("flood-began"), told("flood-ended")), (1, 0));
    assert!(scene.keyward.log().contains("a flood is being turned away"));
    drop(held);
}
