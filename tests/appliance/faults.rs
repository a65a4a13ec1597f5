//! A CA, and a network before it, that misbehave: limits, faults, cut answers, wrong chains, invalid
//! orders. The certificate arrives in the end, the CA is not hammered, and what is served stays served.

use std::time::Duration;

use crate::between::Between;
use crate::between::Fault;
use crate::between::Rewrite;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::scene::Scene;

const NAME: &str = "shop.example";

/// Requests that one attempt may take, its polling included; some fifteen are usual.
const REQUESTS: usize = 60;

fn serial(view: &serde_json::Value) -> String {
    view["installed"]["serial"].as_str().unwrap_or_default().to_owned()
}

/// The text of `[acme]` for a CA at `directory` that is told by the Pebble's own root.
fn acme(directory: &str, pebble: &Pebble) -> String {
    let root = pebble.ca_root();
    format!("directory = \"{directory}\"\nca_root = \"{}\"\naccept_terms = true\n", root.display())
}

/// Waits until another serial number than `former` is installed; gives it.
fn renewed(scene: &Scene, former: &str) -> String {
    eventually("another one is installed", Duration::from_secs(120), || {
        let view = scene.keyward.certificate(NAME)?;
        let now = serial(&view);
        (now != former && view["phase"] == "holding").then_some(now)
    })
}

#[test]
fn whatever_the_ca_does_the_certificate_arrives_and_the_ca_is_not_hammered() {
    let mut scene = Scene::new(NAME);
    let between = Between::start(&scene.pebble);
    scene.keyward.configure(&acme(&between.directory(), &scene.pebble), &scene.site(NAME));
    scene.keyward.start();
    let mut present = serial(&scene.keyward.wait_issued(NAME));
    let limited = Fault::Refuse("429 Too Many Requests", "rateLimited", Some(60));
    let busy = Fault::Refuse("503 Service Unavailable", "serverInternal", Some(60));
    // The last column: what the attempt may fail with; nothing where it succeeds all the same.
    for (path, fault, times, kinds) in [
        ("/order-plz", limited, 100, &["rate-limited"][..]),
        ("/order-plz", busy, 100, &["ca-fault"]),
        ("/order-plz", Fault::Cut, 1, &["unreachable"]),
        // Some nonces are refused in the life of any CA, and all of them by one that is ill.
        ("/order-plz", Fault::BadNonce, 2, &[""]),
        ("/order-plz", Fault::BadNonce, 100, &["ca-fault"]),
        ("/order-plz", Fault::Slow(Duration::from_secs(3)), 100, &[""]),
        ("/order-plz", Fault::Silent, 100, &["unreachable"]),
        // The order tells that the CA took it.
        ("/finalize-order", Fault::Cut, 100, &[""]),
        ("/certZ", Fault::Cut, 100, &["unreachable", "bad-certificate"]),
        ("/certZ", Fault::WrongChain, 100, &["bad-certificate"]),
        ("/my-order", Fault::Invalid, 100, &["order-lost", "ca-fault"]),
        ("/finalize-order", Fault::Invalid, 100, &["", "order-lost", "ca-fault"]),
    ] {
        let told = format!("{path} {fault:?}");
        between.misbehave(path, fault, times);
        scene.keyward.cli(&["renew", NAME]).ok();
        let kind = eventually(&told, Duration::from_secs(180), || {
            let view = scene.keyward.certificate(NAME)?;
            match view["phase"].as_str()? {
                "waiting" => view["failure"]["kind"].as_str().map(str::to_owned),
                "holding" if serial(&view) != present => Some(String::new()),
                _ => None,
            }
        });
        assert!(kinds.contains(&kind.as_str()), "{told}: {kind}");
        let asked = between.asked();
        assert!(between.hits() > 0 && asked.len() <= REQUESTS, "{told}: {asked:?}");
        if !kind.is_empty() {
            std::thread::sleep(Duration::from_secs(2));
            assert_eq!(between.asked().len(), asked.len(), "{told}: it is asked while it waits");
            assert_eq!(scene.keyward.served_serial(NAME).as_deref(), Some(present.as_str()));
            between.behave();
            scene.keyward.cli(&["renew", NAME]).ok();
        }
        present = renewed(&scene, &present);
        let asked = between.asked();
        assert!(asked.len() <= 2 * REQUESTS, "{told}: {asked:?}");
    }
    assert_eq!(scene.keyward.served_serial(NAME).as_deref(), Some(present.as_str()));
}

/// A CA may look so quickly that its answer to "ready" tells already what came of it.
#[test]
fn a_challenge_that_is_judged_at_once_gives_way_to_the_other() {
    // Pebble looks for tls-alpn-01 on a port on which nobody answers.
    let mut scene = Scene::custom(NAME, "", |settings| settings.tls_port = free_port());
    let between = Between::start(&scene.pebble);
    scene.keyward.configure(&acme(&between.directory(), &scene.pebble), &scene.site(NAME));
    let judged = Rewrite::new(|body| {
        let mut challenge: serde_json::Value = serde_json::from_str(body).unwrap();
        challenge["status"] = "invalid".into();
        challenge["error"] = serde_json::json!({
            "type": "urn:ietf:params:acme:error:unauthorized", "detail": "nobody is there",
            "status": 403,
        });
        challenge.to_string()
    });
    between.misbehave("/chalZ/", Fault::Rewrite(judged), 1);
    scene.keyward.start();
    scene.keyward.wait_issued(NAME);
    assert_eq!(between.hits(), 1);
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert!(events.contains("going on with another challenge"), "{events}");
    assert_eq!(scene.pebble.orders(), 2);
}

#[test]
fn a_ca_that_refuses_the_account_gives_way_to_the_next_until_the_renewal() {
    let mut scene = Scene::new(NAME);
    let between = Between::start(&scene.pebble);
    let mut other = Pebble::start(Settings::new(scene.keyward.http, scene.keyward.https));
    let ca = format!("[[ca]]\nname = \"other\"\n{}", acme(&other.directory(), &other));
    let site = format!("{}issuer = [\"acme\", \"other\"]\n", scene.site(NAME));
    let sites = format!("{ca}{site}");
    scene.keyward.configure(&acme(&between.directory(), &scene.pebble), &sites);
    let refused = Fault::Refuse("403 Forbidden", "unauthorized", None);
    between.misbehave("/sign-me-up", refused, 100);
    scene.keyward.start();
    let view = scene.keyward.wait_issued(NAME);
    let host = other.directory().replace("https://", "").replace("/dir", "");
    assert_eq!(view["issuer"], host, "{view:#}");
    assert_eq!(view["care"]["stand_in"], host);
    assert_eq!(view["care"]["left"][0]["issuer"], between.host());
    assert_eq!(between.hits(), 1, "a refusal is not argued with");
    let why = scene.keyward.cli(&["why", NAME]).ok();
    assert!(why.contains(&format!("{} was left at ", between.host())), "{why}");
    assert!(why.contains(&format!("in the place of {}", between.host())), "{why}");
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert_eq!(events.matches("\"issuer-left\"").count(), 1, "{events}");
    // Neither a kill nor the end of that CA changes what is served, and nobody is asked for another.
    let present = serial(&view);
    other.stop();
    scene.keyward.signal(nix::sys::signal::Signal::SIGKILL);
    scene.keyward.wait_end(Duration::from_secs(10));
    scene.keyward.start();
    assert_eq!(scene.keyward.served_serial(NAME).as_deref(), Some(present.as_str()));
    let after = scene.keyward.wait_issued(NAME);
    assert_eq!(
        (&after["id"], &after["care"]["stand_in"]),
        (&view["id"], &view["care"]["stand_in"])
    );
    assert_eq!(between.asked().iter().filter(|path| *path == "/sign-me-up").count(), 1);
    between.behave();
    scene.keyward.cli(&["renew", NAME]).ok();
    renewed(&scene, &present);
    let back = scene.keyward.certificate(NAME).unwrap();
    assert_eq!(back["issuer"], between.host(), "{back:#}");
    assert_eq!((&back["id"], &back["care"]["stand_in"]), (&view["id"], &serde_json::Value::Null));
}
