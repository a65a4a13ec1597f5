//! Revocation: another certificate is served first, and the CA is told once, whatever is killed.

use std::time::Duration;

use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::scene::Scene;

/// As long as an order and a revocation may take on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(100);

fn serial(view: &serde_json::Value) -> String {
    view["installed"]["serial"].as_str().unwrap().to_owned()
}

/// Waits until the CA knows that a certificate is revoked, and gives its reason.
fn revoked(scene: &Scene, serial: &str) -> serde_json::Value {
    eventually("it is revoked", LONG, || {
        let standing = scene.pebble.standing(serial)?;
        (standing["Status"] == "Revoked").then(|| standing["Reason"].clone())
    })
}

fn kinds(scene: &Scene) -> Vec<String> {
    let journal = scene.keyward.cli(&["events", "--json"]).json();
    let entries = journal["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_revoked_certificate_was_replaced_before_and_under_another_key() {
    let name = "known.example";
    let mut scene = Scene::new(name);
    // Even where renewals keep the key.
    scene.configure(&format!("{}reuse_key = true\n", scene.site(name)));
    scene.keyward.start();
    let first = scene.keyward.wait_issued(name);
    assert_eq!(scene.pebble.standing(&serial(&first)).unwrap()["Status"], "Valid");
    let said = scene.keyward.cli(&["revoke", name, "--reason", "keyCompromise", "--wait"]).ok();
    assert!(said.contains("installed") && said.contains("revoked serial"), "{said}");
    let second = scene.keyward.wait_issued(name);
    assert_ne!(serial(&second), serial(&first));
    assert_ne!(second["installed"]["key"], first["installed"]["key"]);
    assert_eq!(revoked(&scene, &serial(&first)), 1);
    assert_eq!(scene.pebble.standing(&serial(&second)).unwrap()["Status"], "Valid");
    assert_eq!(second["care"]["revoked"]["serial"], serial(&first).as_str());
    assert!(second["care"]["revoking"].is_null());
    // First wanted, then replaced, and only then revoked.
    let told = kinds(&scene);
    let after = told.iter().position(|kind| kind == "revocation-wanted").unwrap();
    let place = |kind: &str| told.iter().skip(after).position(|one| one == kind).unwrap();
    assert!(place("installed") < place("revoked"), "{told:?}");
    // The same by another name, without waiting.
    scene.keyward.cli(&["renew", name, "--force", "--reason", "superseded"]).ok();
    assert_eq!(revoked(&scene, &serial(&second)), 4);
    let third = scene.keyward.wait_issued(name);
    assert_ne!(third["installed"]["key"], second["installed"]["key"]);
    assert_eq!(scene.keyward.curl(&scene.root(), name, "/", &[]).ok(), "ok");
}

#[test]
fn nothing_is_revoked_while_it_is_served() {
    let name = "alone.example";
    let mut scene = Scene::issued(name);
    let first = scene.keyward.wait_issued(name);
    // No replacement can be had: the CA does not answer.
    scene.pebble.stop();
    scene.keyward.cli(&["revoke", name]).ok();
    let view = eventually("the attempt fails", LONG, || {
        let view = scene.keyward.certificate(name)?;
        (view["phase"] == "waiting").then_some(view)
    });
    assert_eq!(view["care"]["revoking"]["serial"], serial(&first).as_str());
    assert!(view["care"]["revoking"]["next"].is_null(), "{view:#}");
    assert!(
        !kinds(&scene).iter().any(|kind| kind.starts_with("revo") && kind != "revocation-wanted")
    );
    let said = scene.keyward.cli(&["revoke", name]);
    assert!(!said.status.success() && said.err.contains("being revoked already"), "{said:?}");
    let why = scene.keyward.cli(&["why", name]).ok();
    assert!(why.contains("another one is ordered and served first"), "{why}");
}

#[test]
fn a_kill_at_any_step_of_a_revocation_is_made_good() {
    let points = keyward::base::crash::REVOCATION_POINTS.iter();
    for point in points.chain(&["key-stored", "installed"]) {
        let name = "shot.example";
        let mut scene = Scene::issued(name);
        let first = scene.keyward.wait_issued(name);
        assert!(scene.keyward.terminate().success());
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.start();
        // The daemon may be gone before it answers.
        let _said = scene.keyward.cli(&["revoke", name, "--reason", "keyCompromise"]);
        let ended = scene.keyward.wait_end(LONG);
        assert!(was_killed(ended), "{point}: {ended}\n{}", scene.keyward.log());
        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        assert_eq!(revoked(&scene, &serial(&first)), 1, "{point}");
        let view = eventually("that is known", LONG, || {
            let view = scene.keyward.wait_issued(name);
            view["care"]["revoking"].is_null().then_some(view)
        });
        assert_ne!(serial(&view), serial(&first), "{point}");
        assert_ne!(view["installed"]["key"], first["installed"]["key"], "{point}");
        assert_eq!(scene.pebble.certificates(), 2, "{point}");
    }
}

#[test]
fn what_the_internal_ca_signed_is_replaced_and_put_out_of_use() {
    let name = "nas.internal";
    let mut scene = Scene::new(name);
    scene.keyward.start();
    let first = scene.keyward.wait_issued(name);
    let said = scene.keyward.cli(&["revoke", name, "--wait"]).ok();
    assert!(said.contains("has no list that would tell others"), "{said}");
    let second = scene.keyward.wait_issued(name);
    assert_ne!(second["installed"]["key"], first["installed"]["key"]);
    assert_eq!(scene.pebble.orders(), 0);
}
