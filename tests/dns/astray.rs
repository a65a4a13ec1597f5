//! Names for which no order can succeed: the CA is not asked, somebody is told, and it goes on by itself
//! when the DNS is put right.

use std::time::Duration;

use crate::daemon::eventually;
use crate::doctor::in_a_network_of_its_own;
use crate::scene::Scene;

const ABOVE: &str = "corp NS ns.corp.example.\nns.corp A 127.0.0.1\n";

fn failure(scene: &Scene, name: &str, kind: &str) -> String {
    eventually("the failure is told", Duration::from_secs(60), || {
        let view = scene.keyward.certificate(name)?;
        (view["failure"]["kind"] == kind).then(|| view["failure"]["detail"].to_string())
    })
}

fn events(scene: &Scene, kind: &str) -> usize {
    let said = scene.keyward.cli(&["events", "--limit", "1000", "--json"]).json();
    said["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).count()
}

#[test]
fn no_order_is_opened_for_a_name_that_is_not_there_or_that_caa_forbids_and_both_come_back() {
    if !in_a_network_of_its_own(
        "astray::no_order_is_opened_for_a_name_that_is_not_there_or_that_caa_forbids_and_both_come_back",
    ) {
        return;
    }
    let records = "shut A 127.0.0.1\nshut CAA 0 issue \"other.example\"\n";
    let mut scene = Scene::in_the_open(&[("example", ABOVE), ("corp.example", records)]);
    let names = ["gone.corp.example", "shut.corp.example", "never.corp.example"];
    scene.configure(&names.map(|name| Scene::site(&[name], "")).concat());
    scene.keyward.start();
    let gone = failure(&scene, "gone.corp.example", "astray");
    let words = "gone.corp.example does not exist, by the word of the servers of corp.example";
    assert!(gone.contains(words), "{gone}");
    let shut = failure(&scene, "shut.corp.example", "caa-forbids");
    assert!(shut.contains("they have \\\"other.example\\\""), "{shut}");
    assert_eq!(scene.pebble.orders(), 0, "{}", scene.pebble.output());
    // It is told where one looks: in the list, as an event, and with what to change.
    let listed = scene.keyward.cli(&["list"]).ok();
    assert!(listed.contains("astray"), "{listed}");
    eventually("both are told", Duration::from_secs(60), || {
        (events(&scene, "astray") == 2).then_some(())
    });
    let why = scene.keyward.cli(&["why", "gone.corp.example"]).ok();
    assert!(why.contains(words) && why.contains("point the name at this machine"), "{why}");
    let why = scene.keyward.cli(&["why", "shut.corp.example"]).ok();
    assert!(why.contains("add the CA to the name's CAA record"), "{why}");
    // Whoever waits for a renewal hears of it.
    let waited = scene.keyward.cli(&["renew", "never.corp.example", "--wait"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:#?}");
    // Put right, both go on by themselves.
    scene.bind.update(
        "corp.example",
        "update add gone.corp.example 60 A 127.0.0.1\nupdate delete shut.corp.example CAA",
    );
    eventually("both are issued", Duration::from_secs(900), || {
        let issued = |name: &str| {
            let view = scene.keyward.certificate(name)?;
            (view["role"] == "primary" && !view["installed"].is_null()).then_some(())
        };
        issued("gone.corp.example").and_then(|()| issued("shut.corp.example"))
    });
    assert_eq!(scene.pebble.orders(), 2, "{}", scene.pebble.output());
}

#[test]
fn a_name_that_leads_elsewhere_is_told_after_some_failures_and_the_ca_has_its_peace() {
    if !in_a_network_of_its_own(
        "astray::a_name_that_leads_elsewhere_is_told_after_some_failures_and_the_ca_has_its_peace",
    ) {
        return;
    }
    let records = "moved A 203.0.113.9\n";
    let mut scene = Scene::in_the_open(&[("example", ABOVE), ("corp.example", records)]);
    scene.configure(&Scene::site(&["moved.corp.example"], ""));
    scene.keyward.start();
    let attempt = |n: u64| {
        eventually("an attempt failed", Duration::from_secs(120), || {
            let view = scene.keyward.certificate("moved.corp.example")?;
            (view["attempt"] == n && view["phase"] == "waiting").then_some(view)
        })
    };
    for number in 1..=3 {
        let view = attempt(number);
        assert_ne!(view["failure"]["kind"], "astray", "{view:#}");
        scene.keyward.cli(&["renew", "moved.corp.example"]).ok();
    }
    let view = attempt(4);
    assert_eq!(view["failure"]["kind"], "astray", "{view:#}");
    let detail = view["failure"]["detail"].as_str().unwrap();
    let words = "leads to 203.0.113.9, which is no address of this machine; the CA said: ";
    assert!(detail.contains(words), "{detail}");
    // An hour, where the ladder would have said half of one.
    let until = view["failure"]["retry_after"].as_str().unwrap().to_owned();
    let hour = jiff::Timestamp::now() + Duration::from_secs(3300);
    assert!(until.parse::<jiff::Timestamp>().unwrap() > hour, "{view:#}");
    assert_eq!(events(&scene, "astray"), 1);
}
