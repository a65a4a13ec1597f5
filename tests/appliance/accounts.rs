//! An account that another tool opened is used from now on: by its key, of whatever kind, whenever it is
//! killed on the way; and what is of no use is refused and changes nothing.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keyward::cert::key::KeyAlgorithm;
use keyward::vault::key_file::KeyFile;
use keyward::vault::key_jwk;
use serde_json::Value;

use crate::account::none_in_main;
use crate::adopt::contents;
use crate::between::Fault;
use crate::daemon::Said;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::daemon::was_killed;
use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::scene::Scene;

const NAME: &str = "grown.example";

/// certbot opens an account with an RSA key in `store`; the key's file.
fn certbot(scene: &Scene, store: &Path, order: &str) -> Said {
    let (dir, directory) = (store.parent().unwrap(), scene.pebble.directory());
    run(Command::new("certbot")
        .args([order, "--non-interactive", "--agree-tos", "--no-verify-ssl"])
        .args(if order == "register" { &["-m", "ops@example.org"][..] } else { &[] })
        .args(["--server", &directory, "--config-dir", store.to_str().unwrap()])
        .args(["--work-dir", dir.join("work").to_str().unwrap()])
        .args(["--logs-dir", dir.join("logs").to_str().unwrap()])
        .env("PYTHONWARNINGS", "ignore"))
}

/// The only file below `dir` whose name ends so.
pub(crate) fn only(dir: &Path, end: &str) -> PathBuf {
    let all = contents(dir);
    let mut found = all.keys().filter(|path| path.to_str().unwrap().ends_with(end));
    let one = found.next().unwrap_or_else(|| panic!("no {end} in {all:?}")).clone();
    assert_eq!(found.next(), None);
    one
}

/// What is shown of the only account.
fn shown(scene: &Scene) -> Value {
    let shown = scene.keyward.cli(&["account", "--json"]).json();
    let all = shown["accounts"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{shown:#}");
    all[0].clone()
}

fn adopt(scene: &Scene, key: &Path, more: &[&str]) -> Said {
    let adopt = ["account", "adopt", "--key", key.to_str().unwrap()];
    scene.keyward.cli(&[&adopt[..], more].concat())
}

fn refused(said: &Said, words: &str) {
    let flat = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.status.code() == Some(1) && flat.contains(words), "{words}: {said:?}");
}

#[test]
fn certbots_account_with_its_rsa_key_is_used_and_may_get_another_key() {
    let mut scene = Scene::new(NAME);
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("letsencrypt");
    certbot(&scene, &store, "register").ok();
    let key = only(&store, "private_key.json");
    let url: Value =
        serde_json::from_slice(&std::fs::read(only(&store, "regr.json")).unwrap()).unwrap();
    let url = url["uri"].as_str().unwrap();
    let before = contents(&store);
    scene.keyward.start();
    scene.keyward.wait_issued(NAME);
    let own = shown(&scene);
    assert_eq!((&own["status"], &own["ca"]), (&"valid".into(), &"acme".into()), "{own:#}");
    assert_eq!(own["contact"][0], "mailto:ops@example.org", "{own:#}");
    assert!(own["since"].is_string() && own["brought"] == false, "{own:#}");
    let own_url = own["account"].as_str().unwrap();
    assert_ne!(own_url, url);

    // The one that is there is named, and stays.
    let said = adopt(&scene, &key, &[]);
    refused(&said, &format!("the account {own_url} is in the way"));
    refused(&said, "--force");
    assert_eq!(shown(&scene)["account"], own_url);

    let said = adopt(&scene, &key, &["--force"]).ok();
    assert!(said.contains(url) && said.contains(own_url), "{said}");
    let now = shown(&scene);
    assert_eq!((&now["account"], &now["status"]), (&url.into(), &"valid".into()), "{now:#}");
    assert_eq!((&now["key_algorithm"], &now["brought"]), (&"rsa2048".into(), &true.into()));
    let told = scene.keyward.cli(&["account"]).ok();
    assert!(told.contains("keyward rotate account --ca acme"), "{told}");
    let events = scene.keyward.cli(&["events"]).ok();
    assert!(events.contains(&format!("brought the account {url}")), "{events}");
    // Once more is no change, and needs no force.
    let said = adopt(&scene, &key, &[]).ok();
    assert!(said.contains("is here already"), "{said}");

    // Orders are signed with its key, also after a restart; no other account is opened.
    scene.renew();
    assert!(scene.keyward.terminate().success());
    scene.keyward.start();
    scene.renew();
    assert_eq!(scene.pebble.accounts(), 2, "{}", scene.pebble.output());
    let rsa = key_jwk::from_json(&std::fs::read(&key).unwrap()).unwrap();
    assert_eq!(now["key"].as_str().unwrap(), rsa.id.to_hex());
    none_in_main(&scene, KeyAlgorithm::Rsa2048, &rsa.pkcs8);
    // Nothing of certbot's has changed, at the CA neither.
    assert!(contents(&store) == before, "the store was changed");
    let kept = dir.path().join("kept.json");
    std::fs::copy(&key, &kept).unwrap();

    // Its key makes place for one that was made in the vault.
    let told = scene.keyward.cli(&["rotate", "account", "--json"]).json();
    assert_eq!((&told["account"], &told["former"]), (&url.into(), &now["key"]), "{told:#}");
    scene.renew();
    let after = shown(&scene);
    assert_eq!((&after["key_algorithm"], &after["brought"]), (&"p256".into(), &false.into()));
    assert_eq!((&after["account"], &after["status"]), (&url.into(), &"valid".into()), "{after:#}");
    // From then on it is nobody's, and the account that has another key is not found by it.
    refused(&adopt(&scene, &kept, &["--force"]), "knows no account with this key");
    assert_eq!(shown(&scene), after);
    assert_eq!(scene.pebble.accounts(), 2, "{}", scene.pebble.output());
}

#[test]
fn an_account_with_a_p384_key_is_used_and_one_that_has_ended_is_not() {
    let mut scene = Scene::new(NAME);
    let dir = tempfile::tempdir().unwrap();
    let (store, le) = (dir.path().join("letsencrypt"), dir.path().join("lego"));
    let lego = run(Command::new("lego")
        .env("LEGO_CA_CERTIFICATES", scene.pebble.ca_root())
        .args(["--server", &scene.pebble.directory(), "--accept-tos", "--email", "ops@example.org"])
        .args(["--path", le.to_str().unwrap(), "--domains", NAME, "--key-type", "ec384"])
        .args(["--http", "--http.port", &format!("127.0.0.1:{}", scene.keyward.http), "run"]));
    assert!(lego.status.success(), "{lego:?}");
    certbot(&scene, &store, "register").ok();
    let (gone, strange) = (dir.path().join("gone.json"), dir.path().join("strange.pem"));
    std::fs::copy(only(&store, "private_key.json"), &gone).unwrap();
    certbot(&scene, &store, "unregister").ok();
    std::fs::write(&strange, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();

    // No site asks for anything yet, so that no account is in the way.
    scene.configure("");
    scene.keyward.start();
    assert_eq!(shown(&scene)["account"], Value::Null);
    refused(&adopt(&scene, &gone, &[]), "deactivated");
    refused(&adopt(&scene, &strange, &[]), "knows no account with this key");
    refused(
        &adopt(&scene, &strange, &["--ca", "other"]),
        "no CA is called \"other\": there is acme",
    );
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "{\"kty\":\"RSA\"}").unwrap();
    refused(&adopt(&scene, &junk, &[]), "no private key found");
    assert_eq!(shown(&scene)["account"], Value::Null);
    assert_eq!(scene.pebble.accounts(), 2, "{}", scene.pebble.output());

    let key = only(&le, "ops@example.org.key");
    let file = KeyFile::from_pem(&std::fs::read(&key).unwrap()).unwrap();
    assert_eq!(file.algorithm, KeyAlgorithm::P384);
    adopt(&scene, &key, &[]).ok();
    assert_eq!(shown(&scene)["key"].as_str().unwrap(), file.id.to_hex());
    scene.configure(&scene.site(NAME));
    scene.keyward.cli(&["reload"]).ok();
    scene.keyward.wait_issued(NAME);
    scene.keyward.cli(&["rotate", "account"]).ok();
    scene.renew();
    assert_eq!(shown(&scene)["key_algorithm"], "p256");
    assert_eq!(scene.pebble.accounts(), 2, "{}", scene.pebble.output());
}

#[test]
fn whenever_it_is_killed_there_is_one_account_and_orders_go_on() {
    let mut scene = Scene::issued(NAME);
    let dir = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..keyward::base::crash::ADOPTION_POINTS.len())
        .map(|number| dir.path().join(format!("{number}/letsencrypt")))
        .collect();
    for store in &stores {
        std::fs::create_dir_all(store.parent().unwrap()).unwrap();
        certbot(&scene, store, "register").ok();
    }
    for (point, store) in keyward::base::crash::ADOPTION_POINTS.iter().zip(&stores) {
        let former = shown(&scene)["account"].clone();
        let key = only(store, "private_key.json");
        assert!(scene.keyward.terminate().success());
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.start();
        let _said = adopt(&scene, &key, &["--force"]);
        assert!(was_killed(scene.keyward.wait_end(Duration::from_secs(60))), "{point}");
        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        let after = shown(&scene);
        assert_eq!(after["status"], "valid", "{point}: {after:#}");
        let done = after["account"] != former;
        assert_eq!(done, *point == "account-adopted", "{point}: {after:#}");
        // What was done stands in the journal, and nothing else does.
        let events = scene.keyward.cli(&["events"]).ok();
        let account = after["account"].as_str().unwrap();
        assert_eq!(events.contains(&format!("brought the account {account} ")), done, "{events}");
        scene.renew();
    }
    let opened = scene.pebble.accounts();
    assert_eq!(opened, 1 + stores.len(), "{}", scene.pebble.output());
}

#[test]
fn each_ca_has_an_account_and_its_key_is_changed_whenever_it_is_killed() {
    let mut scene = Scene::new(NAME);
    let second = Pebble::start(Settings::new(scene.keyward.http, scene.keyward.https));
    let ca = format!(
        "[[ca]]\nname = \"second\"\ndirectory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\n",
        second.directory(),
        second.ca_root().display()
    );
    let other = scene.site("other.example") + "issuer = \"second\"\n";
    scene.configure(&(ca + &scene.site(NAME) + &other));
    scene.keyward.start();
    for name in [NAME, "other.example"] {
        scene.keyward.wait_issued(name);
    }
    let both = |scene: &Scene| {
        let shown = scene.keyward.cli(&["account", "--json"]).json();
        let of = |number: usize, ca: &str| {
            let one = shown["accounts"][number].clone();
            assert!(one["ca"] == ca && one["status"] == "valid", "{shown:#}");
            one
        };
        (of(0, "acme"), of(1, "second"))
    };
    let (first, mut before) = both(&scene);
    for point in [None].into_iter().chain(keyward::base::crash::ACCOUNT_POINTS.iter().map(Some)) {
        if let Some(point) = point {
            assert!(scene.keyward.terminate().success());
            scene.keyward.with_env("KEYWARD_CRASH_AT", point);
            scene.keyward.start();
        }
        let said = scene.keyward.cli(&["rotate", "account", "--ca", "second"]);
        match point {
            None => assert!(said.status.success(), "{said:?}"),
            Some(point) => {
                assert!(was_killed(scene.keyward.wait_end(Duration::from_secs(60))), "{point}");
                scene.keyward.without_env("KEYWARD_CRASH_AT");
                scene.keyward.start();
            }
        }
        // Its own orders go on, whichever key the CA knows.
        let serial = |view: Value| view["installed"]["serial"].clone();
        let old = serial(scene.keyward.wait_issued("other.example"));
        scene.keyward.cli(&["renew", "other.example", "--wait"]).ok();
        assert_ne!(serial(scene.keyward.wait_issued("other.example")), old, "{point:?}");
        let (same, after) = both(&scene);
        assert_eq!(same["key"], first["key"], "{point:?}: the key at the other CA");
        assert_eq!(after["account"], before["account"], "{point:?}");
        let changed = after["key"] != before["key"];
        assert_eq!(changed, point.is_none_or(|point| *point == "account-key-changed"), "{point:?}");
        before = after;
    }
    assert_eq!((scene.pebble.accounts(), second.accounts()), (1, 1));
    let said = scene.keyward.cli(&["rotate", "account", "--ca", "third"]);
    refused(&said, "no CA is called \"third\": there is acme, second");
}

#[test]
fn other_contacts_reach_the_ca_by_a_reload_alone_and_as_soon_as_it_takes_them() {
    let mut scene = Scene::new(NAME);
    let between = crate::between::Between::start(&scene.pebble);
    let configure = |scene: &Scene, contact: &str| {
        let acme = format!(
            "directory = \"{}\"\nca_root = \"{}\"\ncontact = [{contact}]\naccept_terms = true\n",
            between.directory(),
            scene.pebble.ca_root().display()
        );
        scene.keyward.configure(&acme, &scene.site(NAME));
    };
    configure(&scene, "\"mailto:a@example.org\"");
    scene.keyward.start();
    scene.keyward.wait_issued(NAME);
    let is = |scene: &Scene, contact: &str| {
        let now = shown(scene);
        (now["contact"] == serde_json::json!([contact]) && now["contact_wanted"].is_null())
            .then_some(())
    };
    is(&scene, "mailto:a@example.org").unwrap();

    // Nothing is due for weeks, and still the CA hears of it.
    configure(&scene, "\"mailto:b@example.org\"");
    scene.keyward.cli(&["reload"]).ok();
    let soon = Duration::from_secs(60);
    eventually("the CA knows", soon, || is(&scene, "mailto:b@example.org"));
    let told = || scene.keyward.cli(&["events"]).ok();
    assert!(told().contains("are mailto:b@example.org now, and were mailto:a@example.org"));

    // A CA with a fault is told again; that it was not at first is said once.
    between.misbehave(
        "/my-account/",
        Fault::Refuse("500 Internal Server Error", "serverInternal", None),
        2,
    );
    configure(&scene, "\"mailto:c@example.org\"");
    scene.keyward.cli(&["reload"]).ok();
    eventually("it was refused", soon, || (between.hits() > 0).then_some(()));
    eventually("it is told", soon, || {
        told().contains("does not take the new contacts").then_some(())
    });
    let waiting = shown(&scene);
    if between.hits() < 2 {
        assert_eq!(waiting["contact_wanted"][0], "mailto:c@example.org", "{waiting:#}");
    }
    eventually("the CA knows", soon * 3, || is(&scene, "mailto:c@example.org"));
    assert_eq!(between.hits(), 2);
    assert_eq!(told().matches("does not take the new contacts").count(), 1, "{}", told());
    assert_eq!(scene.pebble.accounts(), 1);
}
