//! Accounts in the stores of five other tools: shown first, then used for the CA where there is none yet, and
//! in the place of another when somebody says so; nothing in the stores is changed.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::vault::key_jwk;
use serde_json::Value;
use serde_json::json;

use crate::accounts::only;
use crate::adopt::caddy;
use crate::adopt::certbot;
use crate::adopt::contents;
use crate::adopt::lego;
use crate::daemon::Keyward;
use crate::daemon::free_port;
use crate::pebble::Pebble;
use crate::pebble::Settings;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// As acme.sh lays out the account at `url` whose key is in the PEM file `key`, and one at a CA that
/// nobody here knows.
fn acme_sh(store: &Path, url: &str, key: &Path) {
    for (place, url) in [("127.0.0.1/dir", url), ("ca.example/dir", "https://ca.example/acct/1")] {
        let dir = store.join("ca").join(place);
        fs::create_dir_all(&dir).unwrap();
        fs::copy(key, dir.join("account.key")).unwrap();
        let conf = format!("CA_EMAIL='sh@example.org'\nACCOUNT_URL='{url}'\nCA_KEY_HASH='x'\n");
        fs::write(dir.join("ca.conf"), conf).unwrap();
    }
    // A store is recognised by what it has certificates for.
    let pending = store.join("pending.example_ecc");
    fs::create_dir_all(&pending).unwrap();
    fs::write(pending.join("pending.example.conf"), "Le_Domain='pending.example'\n").unwrap();
}

/// As Traefik writes the account at `url` with an RSA key.
fn traefik(file: &Path, url: &str, pkcs8: &[u8]) {
    let dir = file.parent().unwrap();
    let (der, out) = (dir.join("key.der"), dir.join("pkcs1.der"));
    fs::write(&der, pkcs8).unwrap();
    crate::daemon::run(
        std::process::Command::new("openssl")
            .args(["rsa", "-inform", "DER", "-outform", "DER", "-traditional"])
            .args(["-in", der.to_str().unwrap(), "-out", out.to_str().unwrap()]),
    )
    .ok();
    let account = json!({
        "Email": "ops@example.org",
        "Registration": { "body": { "status": "valid", "contact": ["mailto:ops@example.org"] },
                          "uri": url },
        "PrivateKey": STANDARD.encode(fs::read(&out).unwrap()),
        "KeyType": "4096",
    });
    fs::write(file, json!({ "le": { "Account": account, "Certificates": null } }).to_string())
        .unwrap();
    fs::remove_file(der).unwrap();
    fs::remove_file(out).unwrap();
}

#[test]
fn the_accounts_of_five_tools_are_shown_and_one_for_each_ca_is_used() {
    let (http, https) = (free_port(), free_port());
    let pebble = Pebble::start(Settings::new(http, https));
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (bot, le, sh, tra) = (at("letsencrypt"), at("lego"), at("acme.sh"), at("acme.json"));
    certbot(&pebble, http, &bot);
    lego(&pebble, http, &le);
    let cad = caddy(&pebble, (http, https), dir.path());
    let bots = read(&only(&bot, "regr.json"))["uri"].as_str().unwrap().to_owned();
    let legos =
        read(&only(&le, "account.json"))["registration"]["uri"].as_str().unwrap().to_owned();
    acme_sh(&sh, &legos, &only(&le, "ops@example.org.key"));
    let rsa = key_jwk::from_json(&fs::read(only(&bot, "private_key.json")).unwrap()).unwrap();
    traefik(&tra, &bots, &rsa.pkcs8);
    let before = contents(dir.path());
    let opened = pebble.accounts();

    let acme = format!(
        "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\n",
        pebble.directory(),
        pebble.ca_root().display()
    );
    let mut keyward = Keyward::new(&acme, "");
    let adopt = |keyward: &Keyward, stores: &[&Path], more: &[&str]| -> Vec<Value> {
        let stores = stores.iter().map(|store| store.to_str().unwrap());
        let line: Vec<_> =
            ["adopt", "--json"].into_iter().chain(stores).chain(more.iter().copied()).collect();
        let all = keyward.cli(&line).json();
        let accounts = all.as_array().unwrap().iter().filter(|one| one["kind"] == "account");
        accounts.cloned().collect()
    };
    let all = [bot.as_path(), &le, &cad, &sh, &tra];
    let outcomes = |shown: &[Value]| -> Vec<(String, String)> {
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        shown.iter().map(|one| (text(one, "tool"), text(one, "outcome"))).collect()
    };
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    // Without a daemon it is not known whose place one would take.
    let shown = adopt(&keyward, &all, &[]);
    assert_eq!(shown.len(), 6, "{shown:#?}");
    assert_eq!(
        (&shown[0]["account"], &shown[0]["key_algorithm"]),
        (&json!(bots), &json!("rsa2048"))
    );
    assert!(shown[0]["ca"].is_null(), "{shown:#?}");

    keyward.start();
    let account =
        |keyward: &Keyward| keyward.cli(&["account", "--json"]).json()["accounts"][0].clone();
    assert!(account(&keyward)["account"].is_null());
    // One for the CA, and none for a CA that is not configured.
    let shown = adopt(&keyward, &all, &[]);
    let expected = pairs(&[
        ("certbot", "to-take-over"),
        ("lego", "left"),
        ("Caddy", "left"),
        ("acme.sh", "left"),
        ("acme.sh", "left"),
        ("Traefik", "left"),
    ]);
    assert_eq!(outcomes(&shown), expected, "{shown:#?}");
    let reasons: Vec<_> = shown.iter().filter_map(|one| one["reason"].as_str()).collect();
    assert!(reasons.iter().any(|why| why.contains("https://ca.example")), "{reasons:?}");
    let text = keyward.cli(&["adopt", bot.to_str().unwrap()]).ok();
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("to use for acme") && flat.contains("1 account to use"), "{text}");
    assert!(account(&keyward)["account"].is_null(), "nothing was done yet");

    // lego's is used, as there is none; certbot's only when somebody says that the other may go.
    let shown = adopt(&keyward, &[&le], &["--apply"]);
    assert_eq!(outcomes(&shown), pairs(&[("lego", "taken-over")]), "{shown:#?}");
    let now = account(&keyward);
    assert_eq!((&now["account"], &now["status"]), (&json!(legos), &json!("valid")), "{now:#}");
    let shown = adopt(&keyward, &[&bot, &sh], &["--apply"]);
    let expected = [("certbot", "left"), ("acme.sh", "here"), ("acme.sh", "left")];
    assert_eq!(outcomes(&shown)[0], pairs(&expected)[0], "{shown:#?}");
    assert!(outcomes(&shown).contains(&pairs(&expected)[1]), "{shown:#?}");
    assert!(shown[0]["reason"].as_str().unwrap().contains("--accounts"), "{shown:#?}");
    assert_eq!(account(&keyward)["account"], legos);
    for (store, tool) in [(&tra, "Traefik"), (&cad, "Caddy"), (&bot, "certbot")] {
        let shown = adopt(&keyward, &[store], &["--apply", "--accounts"]);
        assert_eq!(outcomes(&shown), pairs(&[(tool, "taken-over")]), "{shown:#?}");
        let now = account(&keyward);
        assert_eq!((&now["account"], &now["status"]), (&shown[0]["account"], &json!("valid")));
    }
    assert_eq!(account(&keyward)["account"], bots);
    let said = keyward.cli(&["adopt", le.to_str().unwrap(), "--apply", "--accounts"]);
    assert!(said.err.contains("keyward rotate account --ca acme"), "{said:?}");
    // Nobody opened another one, and the stores are as they were.
    assert_eq!(pebble.accounts(), opened, "{}", pebble.output());
    assert!(contents(dir.path()) == before, "a store was changed");
}
