//! HTTP/3 from the real daemon: behind its walls, signed for in its vault, on and off by a reload.

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::timeout;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::origin::Origin;
use crate::quic::Http3;
use crate::scene::runtime;

#[test]
fn the_daemon_speaks_http3_until_it_is_told_not_to() {
    let origin = Origin::start();
    let site =
        format!("[[site]]\nnames = [\"nas.internal\"]\norigin = \"http://{}\"\n", origin.address);
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", Duration::from_secs(20), || {
        keyward.curl(&root, "nas.internal", "/", &[]).status.success().then_some(())
    });
    let port = keyward.https;
    let offered =
        || keyward.curl(&root, "nas.internal", "/", &["-i"]).ok().contains("alt-svc: h3=");
    assert!(offered());
    let runtime = runtime();
    let trusted = CertificateDer::from_pem_file(&root).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let visit = || async {
        timeout(Duration::from_secs(3), Http3::connect(&trusted, address, "nas.internal")).await
    };
    let url = format!("https://nas.internal:{port}/head");
    let (response, body) = runtime
        .block_on(async { visit().await.expect("it answers").unwrap().get(&url).await.unwrap() });
    assert_eq!(response.status(), 200);
    assert!(body.contains("\nvia: 3.0 keyward\n"), "{body}");
    let status = keyward.cli(&["status"]).ok();
    assert!(status.contains(&format!("http3 on 127.0.0.1:{port}")), "{status}");
    assert!(status.contains("1 request over HTTP/3"), "{status}");

    keyward.edit("[log]", "[edge]\nhttp3 = false\n\n[log]");
    keyward.cli(&["reload"]).ok();
    assert!(!offered());
    let status = keyward.cli(&["status"]).ok();
    assert!(!status.contains("http3 on "), "{status}");
    assert!(runtime.block_on(visit()).is_err(), "nobody answers");
    assert!(keyward.terminate().success());
}

/// A daemon that opens no port for UDP by itself gets it from a socket unit.
#[test]
fn a_socket_of_the_service_manager_is_used() {
    let origin = Origin::start();
    let site =
        format!("[[site]]\nnames = [\"nas.internal\"]\norigin = \"http://{}\"\n", origin.address);
    let mut keyward = Keyward::new("", &site);
    let address = SocketAddr::from(([127, 0, 0, 1], keyward.https));
    let at = address.to_string();
    let passes = ["--datagram", "--fdname=http3", "--listen", &at];
    keyward.spawn_through("systemd-socket-activate", &passes);
    eventually("it is started by whoever comes", Duration::from_secs(20), || {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"who is there?", address).unwrap();
        keyward.cli(&["status"]).status.success().then_some(())
    });
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", Duration::from_secs(20), || {
        keyward.curl(&root, "nas.internal", "/", &[]).status.success().then_some(())
    });
    let trusted = CertificateDer::from_pem_file(&root).unwrap();
    let url = format!("https://nas.internal:{}/head", address.port());
    let (response, _) = runtime().block_on(async {
        let client = Http3::connect(&trusted, address, "nas.internal").await;
        client.unwrap().get(&url).await.unwrap()
    });
    assert_eq!(response.status(), 200);
}
