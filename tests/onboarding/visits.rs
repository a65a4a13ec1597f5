//! What clients bring about by asking for a name.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use keyward::cert::chain::Chain;
use quinn::crypto::rustls::QuicClientConfig;

use crate::scene::Scene;

#[test]
fn the_first_visit_of_a_name_that_leads_here_is_answered_and_so_are_later_ones() {
    let mut scene = Scene::new("", "");
    // One step for whoever has the name: the CNAME.
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.pebble.orders(), 1);
    // Whatever the case; the name is the same.
    assert_eq!(scene.greet("WWW.Shop.EXAMPLE"), 22);
    assert_eq!(scene.names(), ["www.shop.example"]);
    let view = &scene.listed()[0];
    assert_eq!(view["certificate"]["role"], "onboarded", "{view:#}");
    assert_eq!(view["by_hand"], false, "{view:#}");
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert!(events.contains("\"onboarded\"") && events.contains("127.0.0.0/24"), "{events}");
    // Plain HTTP leads there.
    let (http, https) = (scene.keyward.http, scene.keyward.https);
    let redirect = crate::daemon::run(std::process::Command::new("curl").args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{redirect_url}",
        "-H",
        "Host: www.shop.example",
        &format!("http://127.0.0.1:{http}/x"),
    ]));
    assert_eq!(redirect.ok(), format!("https://www.shop.example:{https}/x"));
    // It is there from the first moment after a crash, and nobody asks for it again.
    scene.keyward.kill9();
    scene.keyward.start();
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    scene.keyward.upgrade();
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.pebble.orders(), 1);
    assert!(scene.origin.requests.load(Ordering::Relaxed) >= 3);
}

#[test]
fn many_first_visits_at_once_are_one_look_and_one_order() {
    let scene = Scene::new("", "");
    let root = scene.root();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let said = scene.keyward.curl(&root, "a.shop.example", "/", &["--max-time", "60"]);
                assert_eq!(said.ok(), "ok");
            });
        }
    });
    assert_eq!(scene.pebble.orders(), 1, "{}", scene.pebble.output());
    // One alias, asked once for the clients and once before the order.
    let asked = scene.bind.log();
    let asked = asked.lines().filter(|l| l.contains("a.shop.example IN CNAME")).count();
    assert_eq!(asked, 2, "{}", scene.bind.log());
}

#[test]
fn an_alias_of_an_alias_leads_here_and_so_do_addresses_that_are_all_ours() {
    let scene = Scene::new("addresses = [\"127.0.0.1\"]", "");
    for name in ["far.shop.example", "here.shop.example"] {
        assert_eq!(scene.visit(name, &[]).ok(), "ok", "{name}");
    }
    // One address of two is somebody else's.
    for name in ["both.shop.example", "there.shop.example", "away.shop.example", "one.shop.example"]
    {
        assert_eq!(scene.greet(name), 21, "{name}");
    }
    assert_eq!(scene.pebble.orders(), 2);
    assert_eq!(scene.names(), ["far.shop.example", "here.shop.example"]);
}

#[test]
fn a_connection_for_one_name_is_none_for_anothers() {
    let scene = Scene::new("", "");
    assert_eq!(scene.visit("a.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.visit("b.shop.example", &[]).ok(), "ok");
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let for_other = [&status[..], &["-H", "Host: b.shop.example"]].concat();
    assert_eq!(scene.visit("a.shop.example", &for_other).ok(), "421");
    assert_eq!(scene.visit("a.shop.example", &status).ok(), "200");
}

#[test]
fn without_a_hold_the_first_client_is_refused_and_a_later_one_is_served() {
    let mut scene = Scene::new("", "");
    scene.keyward.edit("hold = \"30s\"", "hold = \"0s\"");
    scene.keyward.cli(&["reload"]).ok();
    assert_eq!(scene.greet("c.shop.example"), 21);
    crate::daemon::eventually("the name is served", Duration::from_secs(100), || {
        (scene.greet("c.shop.example") == 22).then_some(())
    });
    assert_eq!(scene.visit("c.shop.example", &[]).ok(), "ok");
    assert_eq!(scene.pebble.orders(), 1);
    // Of those that are there nobody is a first visitor after a kill.
    scene.keyward.kill9();
    scene.keyward.start();
    assert_eq!(scene.greet("c.shop.example"), 22);
}

/// Whether hands can be shaken over QUIC, verified.
async fn quic(scene: &Scene, name: &str) -> bool {
    let root = Chain::from_pem(scene.pebble.root().as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for root in root.to_rustls() {
        roots.add(root).unwrap();
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = ([127, 0, 0, 1], scene.keyward.https).into();
    let shaken = endpoint.connect_with(config, address, name).unwrap().await;
    shaken.is_ok()
}

#[test]
fn a_client_over_quic_is_refused_at_first_and_brings_the_name_all_the_same() {
    let scene = Scene::new("", "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(!runtime.block_on(quic(&scene, "b.shop.example")), "nobody waits there");
    crate::daemon::eventually("the name is served", Duration::from_secs(100), || {
        runtime.block_on(quic(&scene, "b.shop.example")).then_some(())
    });
    assert_eq!(scene.pebble.orders(), 1);
    assert!(!runtime.block_on(quic(&scene, "away.shop.example")));
}
