//! Issuing as an API: one call, one certificate, from Pebble; what it costs, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use keyward::cert::chain::Chain;
use keyward::cert::key::KeyId;
use keyward::cert::request::ClientRequest;
use keyward::vault::key_file::KeyFile;
use serde_json::Value;
use serde_json::json;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::scene::Scene;

/// The client on whose behalf the tests ask, as operators.
pub(crate) const CLIENT: &str = "panel";

const WAIT: &str = "/certificates?wait=300s";

/// A Pebble and a keyward without sites, in which each client has so many for nothing.
pub(crate) fn office(single: u32, adapt: impl FnOnce(&mut crate::pebble::Settings)) -> Scene {
    let mut scene = Scene::custom("office.example", "", adapt);
    scene.configure(&format!("[allowance]\nsingle = {single}\nmulti = 2\n"));
    scene.keyward.start();
    scene
}

fn order(keyward: &Keyward, path: &str, body: &Value, more: &[&str]) -> (u16, Value) {
    let mut body = body.clone();
    body["client"] = CLIENT.into();
    let text = body.to_string();
    let mut options = vec!["--header", "content-type: application/json", "--data", &text];
    options.extend(more);
    let (status, said) = keyward.api(path, &options);
    let said = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (status, said)
}

/// What the client has of class single: available, reserved, consumed.
pub(crate) fn balance(keyward: &Keyward) -> [u64; 3] {
    let (status, said) = keyward.api(&format!("/allowances/{CLIENT}"), &[]);
    assert_eq!(status, 200, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    for class in said["classes"].as_array().unwrap() {
        let number = |field: &str| class[field].as_u64().unwrap();
        let sum = number("available") + number("reserved") + number("consumed");
        assert_eq!(number("granted"), sum, "{class}");
    }
    let single = &said["classes"][0];
    assert_eq!(single["class"], "single");
    ["available", "reserved", "consumed"].map(|field| single[field].as_u64().unwrap())
}

/// What the ledger says of the client: what was done, and for which certificate.
pub(crate) fn ledger(keyward: &Keyward) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/ledger?client={CLIENT}&limit=1000&after={after}");
        let (status, said) = keyward.api(&path, &[]);
        assert_eq!(status, 200, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        for entry in said["entries"].as_array().unwrap() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            found.push((text("what"), text("certificate")));
        }
        match said["next"].as_u64() {
            Some(next) => after = next,
            None => return found,
        }
    }
}

fn of(ledger: &[(String, String)], certificate: &Value) -> Vec<String> {
    let id = certificate["id"].as_str().unwrap();
    ledger.iter().filter(|(_, of)| of == id).map(|(what, _)| what.clone()).collect()
}

#[test]
fn one_call_orders_one_certificate_and_another_call_with_the_same_key_finds_it() {
    let scene = office(3, |_| {});
    let keyward = &scene.keyward;
    let asked = json!({"names": ["one.example"], "exportable": true, "idempotency_key": "n-1"});
    let (status, first) = order(keyward, "/certificates", &asked, &[]);
    assert_eq!((status, &first["fresh"]), (202, &json!(true)), "{first}");
    let id = first["certificate"]["id"].as_str().unwrap();
    assert_eq!(first["url"], format!("/v1/certificates/{id}"));
    assert!(first["events"].as_str().unwrap().ends_with(&format!("certificate={id}")), "{first}");
    assert_eq!(first["certificate"]["issue"]["claim"], "reserved");
    assert_eq!(balance(keyward), [2, 1, 0]);

    // Waited for, by the header field this time.
    let again = json!({"names": ["ONE.example."], "exportable": true});
    let (status, second) = order(keyward, WAIT, &again, &["--header", "Idempotency-Key: \"n-1\""]);
    assert_eq!((status, &second["fresh"]), (200, &json!(false)), "{second}");
    assert_eq!(second["certificate"]["id"], id);
    assert_eq!(balance(keyward), [2, 0, 1]);
    assert_eq!(of(&ledger(keyward), &second["certificate"]), ["reserved", "consumed"]);
    let pem = second["chain"].as_str().unwrap();
    let leaf = Chain::from_pem(pem.as_bytes()).unwrap().leaf().unwrap();
    let (status, chain) = keyward.api(&format!("/certificates/{id}/chain"), &[]);
    assert_eq!((status, chain.as_str()), (200, pem));
    let (_, events) = keyward.api(&format!("/events?after=0&limit=1000&certificate={id}"), &[]);
    let events: Value = serde_json::from_str(&events).unwrap();
    let entries = events["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["certificate"] == id), "{events}");
    assert!(entries.iter().any(|entry| entry["kind"] == "installed"), "{events}");

    // An operator finds it by its name, as a person would call it.
    assert_eq!(keyward.cli(&["--json", "show", "one.example"]).json()["id"], id);

    // Its key fits, and nobody is shown it at the front door.
    let path = |name: &str| keyward.dir.path().join(name).to_str().unwrap().to_owned();
    keyward.cli(&["export", id, "--to", &path("one.key")]).ok();
    let key = KeyFile::from_pem(&fs::read(path("one.key")).unwrap()).unwrap();
    assert_eq!(key.id, leaf.key);
    assert_ne!(keyward.served_serial("one.example"), Some(leaf.serial));

    // The same key for something else, and one who waits from the start.
    let other = json!({"names": ["two.example"], "idempotency_key": "n-1"});
    let (status, refused) = order(keyward, WAIT, &other, &[]);
    assert_eq!((status, &refused["type"]), (422, &json!("/problems/idempotency-key-reused")));
    let (status, third) = order(keyward, WAIT, &json!({"names": ["two.example"]}), &[]);
    assert_eq!((status, &third["fresh"]), (201, &json!(true)), "{third}");
    assert_eq!(scene.pebble.certificates(), 2);
    assert_eq!(balance(keyward), [1, 0, 2]);
}

#[test]
fn what_is_wrong_is_told_at_once_and_what_the_ca_refuses_costs_nothing() {
    let scene = office(1, |settings| settings.blocked = vec!["blocked.example".to_owned()]);
    let keyward = &scene.keyward;
    let bad = json!({"names": ["co.uk", "a..example"], "key": "dsa", "idempotency_key": ""});
    let (status, said) = order(keyward, "/certificates", &bad, &[]);
    assert_eq!((status, &said["type"]), (422, &json!("/problems/bad-order")), "{said}");
    let fields: Vec<_> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["field"].as_str().unwrap())
        .collect();
    for field in ["names", "names[1]", "key", "idempotency_key"] {
        assert!(fields.contains(&field), "{field}: {said}");
    }
    for (path, body) in [
        ("/certificates?wait=soon", json!({"names": ["a.example"]})),
        ("/certificates?weight=1s", json!({"names": ["a.example"]})),
        ("/certificates", json!({"name": "a.example"})),
    ] {
        assert_eq!(order(keyward, path, &body, &[]).0, 400, "{path} {body}");
    }
    let (status, said) = order(keyward, WAIT, &json!({"names": ["x.blocked.example"]}), &[]);
    assert_eq!((status, &said["type"]), (422, &json!("/problems/not-issued")), "{said}");
    assert!(said["detail"].as_str().unwrap().contains("rejected"), "{said}");
    assert!(!said["hint"].as_str().unwrap().is_empty(), "{said}");
    assert_eq!(balance(keyward), [1, 0, 0]);
    // One is to be had, and no second.
    let (status, _) = order(keyward, "/certificates", &json!({"names": ["a.example"]}), &[]);
    assert_eq!(status, 202);
    let (status, said) = order(keyward, WAIT, &json!({"names": ["b.example"]}), &[]);
    assert_eq!((status, &said["type"]), (409, &json!("/problems/overdrawn")), "{said}");
    assert!(said["detail"].as_str().unwrap().contains("pack grant panel"), "{said}");
}

#[test]
fn twenty_who_say_the_same_at_once_get_one_certificate() {
    let scene = office(5, |_| {});
    let keyward = &scene.keyward;
    let body = json!({"names": ["same.example"], "idempotency_key": "of all"});
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || order(keyward, WAIT, &body, &[]);
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let ids: BTreeSet<_> =
        answers.iter().map(|(_, said)| said["certificate"]["id"].as_str().unwrap()).collect();
    let fresh = answers.iter().filter(|(status, _)| *status == 201).count();
    let found = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!((ids.len(), fresh, found), (1, 1, 19));
    assert_eq!((scene.pebble.orders(), scene.pebble.certificates()), (1, 1));
    assert_eq!(balance(keyward), [4, 0, 1]);
}

#[test]
fn a_request_of_the_clients_own_is_signed_and_its_key_never_was_here() {
    let mut scene = office(3, |_| {});
    let home = scene.keyward.dir.path().to_owned();
    let keyward = &scene.keyward;
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let (key, csr) = (path("own.key"), path("own.csr"));
    let openssl = "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-384 -subj /CN=own.example \
                   -addext subjectAltName=DNS:own.example,DNS:www.own.example";
    run(Command::new("openssl").args(openssl.split(' ')).args(["-keyout", &key, "-out", &csr]))
        .ok();
    let text = fs::read_to_string(&csr).unwrap();
    let wanted: KeyId = ClientRequest::read(text.as_bytes()).unwrap().key();
    let (status, said) = order(keyward, WAIT, &json!({"csr": text, "hosted": true}), &[]);
    assert_eq!(status, 201, "{said}");
    let certificate = &said["certificate"];
    let id = certificate["id"].as_str().unwrap();
    let serial = |chain: &str| {
        let leaf = Chain::from_pem(chain.as_bytes()).unwrap().leaf().unwrap();
        assert_eq!((leaf.key, leaf.names.len()), (wanted, 2));
        leaf.serial
    };
    let first = serial(said["chain"].as_str().unwrap());
    assert_eq!(certificate["issue"]["class"], "multi");
    assert_eq!(certificate["issue"]["key_elsewhere"], true);
    assert_eq!(certificate["key_algorithm"], "p384");
    let export = keyward.cli(&["export", id, "--to", &path("none.key")]);
    assert!(!export.status.success() && export.err.contains("never here"), "{export:?}");

    // It is renewed for the same key, by a daemon that was started anew, and costs nothing.
    scene.keyward.kill9();
    scene.keyward.start();
    let keyward = &scene.keyward;
    keyward.cli(&["renew", id, "--wait"]).ok();
    let (_, chain) = keyward.api(&format!("/certificates/{id}/chain"), &[]);
    assert_ne!(serial(&chain), first);
    let of_it = of(&ledger(keyward), certificate);
    assert_eq!(of_it, ["reserved", "consumed"]);

    // By the command, into a file.
    let (one, chain) = (path("cli.csr"), path("cli.crt"));
    let openssl = "req -new -nodes -newkey rsa:2048 -subj / -addext subjectAltName=DNS:cli.example";
    let made = ["-keyout", &path("cli.key"), "-out", &one];
    run(Command::new("openssl").args(openssl.split(' ')).args(made)).ok();
    let said = keyward.cli(&["issue", "--csr", &one, "--client", CLIENT, "--chain", &chain]).ok();
    assert!(said.contains("of class single, 2 of 3 are left to panel"), "{said}");
    let found = Chain::from_pem(&fs::read(&chain).unwrap()).unwrap().leaf().unwrap();
    assert_eq!(found.key, ClientRequest::read(&fs::read(&one).unwrap()).unwrap().key());
}

#[test]
fn who_wants_it_no_more_gets_back_what_was_reserved_and_not_what_was_issued() {
    let mut scene = office(2, |_| {});
    let (_, issued) = order(&scene.keyward, WAIT, &json!({"names": ["old.example"]}), &[]);
    let of_issued = issued["certificate"].clone();
    let path =
        |certificate: &Value| format!("/certificates/{}", certificate["id"].as_str().unwrap());
    // A CA that does not answer leaves the next one pending.
    scene.pebble.stop();
    let keyward = &scene.keyward;
    let names = json!({"names": ["new.example"]});
    let (status, said) = order(keyward, "/certificates?wait=2s", &names, &[]);
    assert_eq!((status, &said["chain"]), (202, &Value::Null), "the time is over: {said}");
    let pending = said["certificate"].clone();
    assert_eq!(balance(keyward), [0, 1, 1]);
    let delete = |path: &str| {
        let (status, said) = keyward.api(path, &["--request", "DELETE"]);
        (status, serde_json::from_str::<Value>(&said).unwrap())
    };
    let (status, said) = delete(&path(&pending));
    assert_eq!((status, &said["refunded"]), (200, &json!(true)), "{said}");
    assert_eq!(balance(keyward), [1, 0, 1]);
    assert_eq!(of(&ledger(keyward), &pending), ["reserved", "refunded"]);
    assert_eq!(delete(&path(&pending)).0, 404);
    assert_eq!(delete(&format!("{}?reason=boredom", path(&of_issued))).0, 400);
    let (status, said) = delete(&format!("{}?reason=cessationOfOperation", path(&of_issued)));
    assert_eq!((status, &said["refunded"]), (202, &json!(false)), "{said}");
    assert_eq!(balance(keyward), [1, 0, 1]);
    assert_eq!(of(&ledger(keyward), &of_issued), ["reserved", "consumed"]);
}

#[test]
fn what_is_issued_and_no_more_wanted_is_revoked_at_the_ca() {
    let scene = office(2, |_| {});
    let keyward = &scene.keyward;
    let (_, issued) = order(keyward, WAIT, &json!({"names": ["gone.example"]}), &[]);
    let serial = issued["certificate"]["installed"]["serial"].as_str().unwrap();
    let id = issued["certificate"]["id"].as_str().unwrap();
    let path = format!("/certificates/{id}?reason=superseded");
    assert_eq!(keyward.api(&path, &["--request", "DELETE"]).0, 202);
    let standing = eventually("the CA says so", Duration::from_secs(60), || {
        let standing = scene.pebble.standing(serial)?;
        (standing["Status"] == "Revoked").then_some(standing)
    });
    assert_eq!(standing["Reason"], 4, "superseded: {standing}");
    assert_eq!(balance(keyward), [1, 0, 1]);
}

#[test]
fn a_command_writes_chain_and_key_and_says_what_is_left() {
    let scene = office(2, |_| {});
    let keyward = &scene.keyward;
    let dir = keyward.dir.path().join("out");
    fs::create_dir(&dir).unwrap();
    let out = dir.to_str().unwrap();
    let issue = ["issue", "cmd.example", "--client", CLIENT, "--out", out, "--key", "p384"];
    let said = keyward.cli(&issue).ok();
    assert!(said.contains("issued cmd.example, id "), "{said}");
    assert!(said.contains("of class single, 1 of 2 are left to panel"), "{said}");
    let leaf = Chain::from_pem(&fs::read(dir.join("cmd.example.crt")).unwrap()).unwrap();
    let key = KeyFile::from_pem(&fs::read(dir.join("cmd.example.key")).unwrap()).unwrap();
    assert_eq!(leaf.leaf().unwrap().key, key.id);
    assert_eq!(key.algorithm.text(), "p384");
    // What is there is not replaced, and nothing is spent for it.
    let again = keyward.cli(&issue);
    assert!(!again.status.success() && again.err.contains("is there already"), "{again:?}");
    assert_eq!(balance(keyward), [1, 0, 1]);
}

#[test]
fn a_client_by_its_token_draws_on_its_own_allowance_and_learns_of_no_other() {
    let clients = "[[client]]\nname = \"panel\"\n[[client]]\nname = \"other\"\n";
    let mut scene = office(2, |_| {});
    scene.keyward.terminate();
    scene.configure(&format!("[allowance]\nsingle = 2\n{clients}"));
    scene.keyward.start();
    let keyward = &scene.keyward;
    let path = |name: &str| keyward.dir.path().join(name).to_str().unwrap().to_owned();
    for client in ["panel", "other"] {
        fs::write(path(client), keyward.cli(&["token", "create", client]).ok()).unwrap();
    }
    let by = |client: &str, arguments: &[&str]| {
        keyward.cli(&[&["--token-file", &path(client)], arguments].concat())
    };
    let said = by("panel", &["issue", "own.example", "--chain", &path("own.crt")]).ok();
    assert!(said.contains("of class single, 1 of 2 are left to panel"), "{said}");
    let listed = by("panel", &["list", "--json"]).json();
    let id = listed["certificates"][0]["id"].as_str().unwrap();
    assert_eq!(by("other", &["list", "--json"]).json()["certificates"], json!([]));
    for arguments in [
        &["show", id][..],
        &["forget", id],
        &["issue", "x.example", "--client", "panel", "--no-wait"],
    ] {
        let said = by("other", arguments);
        assert!(!said.status.success(), "{arguments:?}: {said:?}");
    }
    // A token cannot be shown with a file: that is said before anything is spent.
    let said = by("panel", &["issue", "key.example", "--key-out", &path("key.pem")]);
    assert!(!said.status.success() && said.err.contains("handed over"), "{said:?}");
    assert_eq!((balance(keyward), scene.pebble.orders()), ([1, 0, 1], 1));
}
