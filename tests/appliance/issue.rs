//! A name in the file becomes a site over HTTPS, proven by either challenge.

use crate::daemon::free_port;
use crate::scene::Scene;

#[test]
fn a_site_is_issued_by_http_01_and_its_chain_verifies_with_curl() {
    issue_by("http-01");
}

#[test]
fn a_site_is_issued_by_tls_alpn_01_and_its_chain_verifies_with_curl() {
    issue_by("tls-alpn-01");
}

fn issue_by(challenge: &str) {
    let mut scene =
        Scene::custom("shop.example", &format!("challenges = [\"{challenge}\"]\n"), |_| {});
    scene.keyward.start();
    let view = scene.keyward.wait_issued("shop.example");
    let root = scene.root();
    let said = scene.keyward.curl(&root, "shop.example", "/", &["--http1.1"]);
    assert_eq!(said.ok(), "ok");
    let said = scene.keyward.curl(&root, "www.shop.example", "/", &["--http2", "-D", "-"]);
    let out = said.ok();
    assert!(out.starts_with("HTTP/2 200"), "{out}");
    assert!(out.contains("strict-transport-security: max-age=63072000"), "{out}");
    let serial = view["installed"]["serial"].as_str().unwrap().to_owned();
    assert_eq!(scene.keyward.served_serial("shop.example"), Some(serial));
    // Pebble's own word for how it was proven.
    let looked_by_http = scene.pebble.output().contains("Attempting to validate w/ HTTP");
    assert_eq!(looked_by_http, challenge == "http-01", "{}", scene.pebble.output());
}

#[test]
fn every_issuance_succeeds_while_the_ca_rejects_half_of_all_nonces() {
    let mut scene = Scene::custom("nonce.example", "", |settings| settings.nonce_reject = 50);
    scene.keyward.start();
    scene.keyward.wait_issued("nonce.example");
    for _ in 0..4 {
        scene.renew();
    }
    assert_eq!(scene.pebble.certificates(), 5);
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert!(!events.contains("\"failed\""), "{events}");
}

#[test]
fn a_challenge_that_fails_gives_way_to_the_other() {
    // Pebble looks for tls-alpn-01 on a port on which nobody answers.
    let mut scene = Scene::custom("other.example", "", |settings| settings.tls_port = free_port());
    scene.keyward.start();
    scene.keyward.wait_issued("other.example");
    // Within one attempt: what follows a failed one is a minute away.
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert_eq!(events.matches("(tls-alpn-01)").count(), 1, "{events}");
    assert!(events.contains("going on with another challenge"), "{events}");
    assert_eq!(scene.pebble.orders(), 2);
}
