//! Records that prove names for good: printed, looked for, shown to the CA, and watched.

use std::time::Duration;

use serde_json::Value;

use crate::daemon::eventually;
use crate::doctor::in_a_network_of_its_own;
use crate::scene::Scene;

const NAME: &str = "keep.corp.example";
const PLACE: &str = "_validation-persist.keep.corp.example";

fn events(scene: &Scene, kind: &str) -> Vec<String> {
    let said = scene.keyward.cli(&["events", "--limit", "1000", "--json"]).json();
    let entries = said["entries"].as_array().unwrap().iter();
    let of_kind = entries.filter(|entry| entry["kind"] == kind);
    of_kind.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_record_that_was_set_once_proves_a_name_and_its_wildcard_and_its_end_is_told() {
    let test =
        "persist::a_record_that_was_set_once_proves_a_name_and_its_wildcard_and_its_end_is_told";
    if !in_a_network_of_its_own(test) {
        return;
    }
    let above = "corp NS ns.corp.example.\nns.corp A 127.0.0.1\n";
    let mut scene = Scene::in_the_open(&[("example", above), ("corp.example", "")]);
    let star = format!("*.{NAME}");
    scene.configure(&Scene::site(&[NAME, &star], "challenge = \"dns-persist-01\""));
    scene.keyward.start();
    let detail = eventually("the failure is told", Duration::from_secs(60), || {
        let view = scene.keyward.certificate(NAME)?;
        let lacks = view["failure"]["kind"] == "proof-lacks";
        lacks.then(|| view["failure"]["detail"].as_str().unwrap().to_owned())
    });
    assert!(detail.contains(PLACE) && detail.contains("no such record is there"), "{detail}");
    assert_eq!(scene.pebble.orders(), 0, "{}", scene.pebble.output());

    // What is printed is what has to be set.
    let said = scene.keyward.cli(&["dns-persist", NAME, "--json"]);
    assert_eq!(said.status.code(), Some(1), "{said:#?}");
    let printed: Value = serde_json::from_str(&said.out).unwrap();
    let value_of = |name: &str| {
        let records = printed["records"].as_array().unwrap();
        let record = records.iter().find(|record| record["name"] == name).unwrap();
        assert_eq!((&record["place"], &record["good"]), (&PLACE.into(), &false.into()));
        record["value"].as_str().unwrap().to_owned()
    };
    let (plain, wild) = (value_of(NAME), value_of(&star));
    let account = "pebble.letsencrypt.org; accounturi=https://127.0.0.1:";
    assert!(plain.starts_with(account) && wild == format!("{plain}; policy=wildcard"), "{wild}");
    let told = scene.keyward.cli(&["dns-persist", NAME]);
    assert!(told.out.contains(&format!("{PLACE}. TXT \"{wild}\"")), "{told:#?}");

    // Neither is one for somebody else's account.
    let add = |value: &str| format!("update add {PLACE} 60 TXT \"{value}\"");
    scene.bind.update("corp.example", &add(&format!("{plain}0")));
    let told = scene.keyward.cli(&["dns-persist", NAME]);
    assert!(told.out.contains("the record there is for another account"), "{told:#?}");

    // The one without the policy is not enough for the wildcard, and the CA is not asked.
    scene.bind.update("corp.example", &add(&plain));
    let refused = scene.keyward.cli(&["renew", NAME, "--wait"]);
    assert!(!refused.status.success(), "{refused:#?}");
    let view = scene.keyward.certificate(NAME).unwrap();
    let detail = view["failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("has no policy=wildcard"), "{view:#}");
    assert_eq!(scene.pebble.orders(), 0, "{}", scene.pebble.output());

    // The other one is for both.
    let other = format!("update delete {PLACE} TXT\n{}", add(&wild));
    scene.bind.update("corp.example", &other);
    assert_eq!(scene.keyward.cli(&["dns-persist", NAME]).status.code(), Some(0));
    scene.keyward.cli(&["renew", NAME, "--wait"]).ok();
    let view = scene.keyward.certificate(NAME).unwrap();
    assert_eq!(view["names"], serde_json::json!([NAME, star]), "{view:#}");
    assert_eq!(scene.status("any.keep.corp.example"), "502");
    assert_eq!(scene.pebble.orders(), 1, "{}", scene.pebble.output());
    assert_eq!(scene.added("_acme-challenge.keep.corp.example"), 0);

    // An end that is near is told, and so is a record that is for another account or gone, with what to
    // set.
    let soon = jiff::Timestamp::now().as_second() + 3 * 24 * 3600;
    let only = |record: &str| format!("update delete {PLACE} TXT\n{record}");
    let needs = format!("needs {PLACE} TXT \"{plain}");
    for (script, kind, parts) in [
        (
            only(&add(&format!("{wild}; persistUntil={soon}"))),
            "proof-ending",
            ["ends at", "set a later persistUntil"],
        ),
        (
            only(&add(&wild.replace("; policy", "0; policy"))),
            "proof-lacks",
            ["the record there is for another account", &needs],
        ),
        (only(""), "proof-lacks", ["no such record is there", &needs]),
    ] {
        let before = events(&scene, kind);
        scene.bind.update("corp.example", &script);
        scene.keyward.terminate();
        scene.keyward.start();
        let told = eventually("it is told", Duration::from_secs(300), || {
            events(&scene, kind).into_iter().nth(before.len())
        });
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    // What is served stays.
    assert_eq!(scene.status("any.keep.corp.example"), "502");
}
