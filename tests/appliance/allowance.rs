//! What clients may have, as an operator sees and changes it by the installed program.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use keyward::base::crash;
use keyward::cert::client::ClientName;
use keyward::cert::issue::Claim;
use keyward::cert::pack::What;
use keyward::cert::record::Certificate;
use keyward::store::Store;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::scene::Scene;

/// A house without a CA on the network.
fn house(allowance: &str) -> Keyward {
    let more = format!("[allowance]\nissuer = \"internal\"\n{allowance}");
    let mut keyward = Keyward::new("", &more);
    keyward.start();
    keyward
}

/// Granted, available, reserved and consumed of a class.
pub(crate) fn balance(keyward: &Keyward, client: &str, class: &str) -> [u64; 4] {
    let view = keyward.cli(&["allowance", client, "--json"]).json();
    let of = view["classes"].as_array().unwrap().iter().find(|of| of["class"] == class).unwrap();
    ["granted", "available", "reserved", "consumed"].map(|word| of[word].as_u64().unwrap())
}

#[test]
fn packs_are_granted_listed_and_revoked_and_the_ledger_tells_of_it() {
    let mut keyward = house("");
    // One that never asked for anything has what is free, and nobody has asked yet.
    assert_eq!(balance(&keyward, "panel", "single"), [20, 20, 0, 0]);
    assert_eq!(balance(&keyward, "panel", "wildcard"), [0, 0, 0, 0]);
    let told = keyward.cli(&["allowance"]).ok();
    assert!(told.contains("no client asked"), "{told}");
    assert!(keyward.cli(&["ledger"]).ok().contains("nothing stands in the ledger"));
    assert!(keyward.cli(&["pack", "list"]).ok().contains("no pack was granted"));

    let grant = |more: &[&str]| {
        let all =
            [&["pack", "grant", "panel", "--class", "multi", "--count", "500"], more].concat();
        keyward.cli(&all)
    };
    let told = grant(&["--until", "2099-12-31", "--note", "invoice 7"]).ok();
    assert!(told.contains("pack 1: 500 certificates of class multi for panel"), "{told}");
    // The day is included, and the zone of whoever reads it is said.
    assert!(told.contains("2100-01-01 00:00:00 UTC"), "{told}");
    let json = grant(&["--until", "2099-12-31T12:00+02:00", "--json"]).json();
    assert_eq!((&json["until"], &json["id"]), (&"2099-12-31T10:00:00Z".into(), &2.into()));
    assert!(grant(&[]).ok().contains("for ever"));
    assert_eq!(balance(&keyward, "panel", "multi"), [1500, 1500, 0, 0]);

    for (wrong, part) in [
        (&["--until", "2000-01-01"][..], "is past"),
        (&["--until", "soon"], "is no date"),
        (&["--note", "two\nlines"], "one line"),
    ] {
        let said = grant(wrong);
        assert!(!said.status.success() && said.err.contains(part), "{wrong:?}: {said:?}");
    }
    for wrong in [
        ["pack", "grant", "Panel", "--class", "multi", "--count", "1"],
        ["pack", "grant", "panel", "--class", "ov", "--count", "1"],
        ["pack", "grant", "panel", "--class", "multi", "--count", "-1"],
    ] {
        assert_eq!(keyward.cli(&wrong).status.code(), Some(64), "{wrong:?}");
    }
    let none = keyward.cli(&["pack", "grant", "panel", "--class", "multi", "--count", "0"]);
    assert!(none.err.contains("count=0"), "{none:?}");

    let told = keyward.cli(&["pack", "revoke", "3"]).ok();
    assert!(told.contains("500 certificates of class multi taken back"), "{told}");
    assert!(
        keyward
            .cli(&["pack", "revoke", "3"])
            .ok()
            .contains("nothing was left of it, it is revoked")
    );
    assert!(keyward.cli(&["pack", "revoke", "9"]).err.contains("there is no pack 9"));
    assert_eq!(balance(&keyward, "panel", "multi"), [1000, 1000, 0, 0]);
    let list = keyward.cli(&["pack", "list", "panel"]).ok();
    let states: Vec<_> = list.lines().skip(1).map(|line| line.contains("revoked")).collect();
    assert_eq!(states, [false, false, true], "{list}");
    assert!(list.contains("invoice 7"), "{list}");

    // Entry by entry, by whom, and with the balance after each; nothing of it is lost.
    assert!(keyward.terminate().success());
    keyward.start();
    let ledger = keyward.cli(&["ledger", "panel", "--json"]).json();
    let entries = ledger["entries"].as_array().unwrap();
    let words: Vec<_> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(words, ["granted", "granted", "granted", "revoked"], "{ledger}");
    let left: Vec<_> = entries.iter().map(|entry| entry["balance"]["available"].clone()).collect();
    assert_eq!(left, [500, 1000, 1500, 1000]);
    assert!(entries.iter().all(|entry| entry["by"].as_str().unwrap().starts_with("user ")));
    let text = keyward.cli(&["ledger", "--limit", "1"]);
    assert!(text.out.contains("granted +500") && text.err.contains("--after 1"), "{text:?}");
    let rest = keyward.cli(&["ledger", "--after", "3", "--all"]).ok();
    assert!(rest.contains("revoked -500") && !rest.contains('+'), "{rest}");
    let (status, page) = keyward.api("/packs?client=panel&limit=2", &[]);
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((status, &page["next"]), (200, &2.into()), "{page}");
    for (path, wrong) in [
        ("/packs?limit=0", 400),
        ("/packs?who=panel", 400),
        ("/ledger?client=A", 400),
        ("/ledger?after=-1", 400),
        ("/allowances/A", 400),
        ("/allowances?after=a&limit=1", 200),
    ] {
        assert_eq!(keyward.api(path, &[]).0, wrong, "{path}");
    }
    let journal = keyward.cli(&["events", "--json"]).json();
    let entries = journal["entries"].as_array().unwrap().clone();
    let count = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!([count("pack-granted"), count("pack-revoked")], [3, 1], "{journal}");
}

#[test]
fn a_changed_file_counts_upon_reload_and_a_pack_ends_by_the_clock() {
    let keyward = house("single = 3\n");
    assert_eq!(balance(&keyward, "panel", "single"), [3, 3, 0, 0]);
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let soon = jiff::Timestamp::from_second(soon.as_secs().cast_signed() + 3).unwrap().to_string();
    let brief = ["pack", "grant", "panel", "--class", "single", "--count", "7", "--until", &soon];
    keyward.cli(&brief).ok();
    // Touched by that, it has what is free as well: until the pack ends.
    eventually("the pack is over", Duration::from_secs(120), || {
        let list = keyward.cli(&["pack", "list", "--json"]).json();
        (list["packs"][0]["state"] == "expired").then_some(())
    });
    assert_eq!(balance(&keyward, "panel", "single"), [3, 3, 0, 0]);
    let journal = keyward.cli(&["events", "--json"]).json();
    let told = journal["entries"].as_array().unwrap().iter().find(|e| e["kind"] == "pack-expired");
    let told = told.unwrap()["message"].as_str().unwrap().to_owned();
    assert!(told.contains("with 7 of 7 certificates of class single left"), "{told}");
    keyward.edit("single = 3", "single = 5\nwildcard = 1");
    keyward.cli(&["reload"]).ok();
    eventually("the file counts", Duration::from_secs(60), || {
        (balance(&keyward, "panel", "single") == [5, 5, 0, 0]).then_some(())
    });
    assert_eq!(balance(&keyward, "panel", "wildcard"), [1, 1, 0, 0]);
    assert_eq!(balance(&keyward, "nobody-yet", "wildcard"), [1, 1, 0, 0]);
}

/// Asks for a certificate for `panel`, and does not mind when the house dies over it.
fn ask(keyward: &Keyward, path: &str) -> Option<serde_json::Value> {
    let body = r#"{"names": ["kill.example"], "client": "panel", "idempotency_key": "the one"}"#;
    let said = Command::new("curl")
        .args(["--silent", "--max-time", "300", "--header", "content-type: application/json"])
        .args(["--data", body, "--unix-socket"])
        .arg(keyward.dir.path().join("run/admin.sock"))
        .arg(format!("http://keyward/v1/certificates{path}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    serde_json::from_slice(&said.stdout).ok()
}

/// What the file says while nobody has it open: the books of `panel`, which balance, and its certificate.
fn read(scene: &Scene) -> (Vec<What>, Option<Certificate>) {
    let store = Store::open(&scene.keyward.state().join("store")).unwrap();
    crate::scene::runtime().block_on(async {
        let panel = ClientName::parse("panel").unwrap();
        let ledger = store.ledger(Some(panel.clone()), 0, 99).await.unwrap();
        let balance = store.balances(panel.clone()).await.unwrap()[0].1;
        assert!(balance.is_sound(), "{balance:?}");
        assert_eq!(ledger.last().map(|entry| entry.balance), Some(balance));
        let mut issued = store.issued(panel, None, 99).await.unwrap();
        assert!(issued.len() < 2, "{issued:?}");
        (ledger.iter().map(|entry| entry.what).collect(), issued.pop())
    })
}

#[test]
fn the_books_balance_after_a_kill_at_each_step_of_an_order() {
    for point in [&[crash::ISSUE_POINT], crash::POINTS].concat() {
        let mut scene = Scene::new("office.example");
        scene.configure("[allowance]\nsingle = 2\n");
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.start();
        let begun = ask(&scene.keyward, "");
        let ended = scene.keyward.wait_end(Duration::from_secs(300));
        assert!(was_killed(ended), "{point}: {ended}\n{}", scene.keyward.log());
        let (ledger, record) = read(&scene);
        let record = record.unwrap_or_else(|| panic!("{point}: reserved for nothing"));
        let issued = ["installed", "published"].contains(&point);
        let expected = match issued {
            true => (Some(Claim::Consumed), vec![What::Granted, What::Reserved, What::Consumed]),
            false => (Some(Claim::Reserved), vec![What::Granted, What::Reserved]),
        };
        assert_eq!((record.claim(), ledger), expected, "{point}");

        scene.keyward.without_env("KEYWARD_CRASH_AT");
        scene.keyward.start();
        // The same order again is the same certificate, whatever the client heard of the first.
        let done = ask(&scene.keyward, "?wait=300s").unwrap();
        assert_eq!(done["fresh"], false, "{point}: {done}");
        assert_eq!(done["certificate"]["id"], record.id().to_string().as_str(), "{point}");
        if let Some(begun) = begun {
            assert_eq!(begun["certificate"]["id"], done["certificate"]["id"], "{point}");
        }
        assert!(done["chain"].as_str().is_some_and(|chain| chain.contains("BEGIN")), "{done}");
        assert_eq!(scene.pebble.orders(), 1, "{point}: {}", scene.pebble.output());
        assert_eq!(balance(&scene.keyward, "panel", "single"), [2, 1, 0, 1], "{point}");
        assert!(scene.keyward.terminate().success());
        let (ledger, record) = read(&scene);
        assert_eq!(ledger, [What::Granted, What::Reserved, What::Consumed], "{point}");
        assert_eq!(record.and_then(|record| record.claim()), Some(Claim::Consumed), "{point}");
    }
}
