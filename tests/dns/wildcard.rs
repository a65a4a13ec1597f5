//! Wildcards of a public CA, and plain names that no port can prove.

use crate::scene::Scene;

#[test]
fn a_wildcard_and_the_name_above_it_are_proven_by_two_records_that_are_gone_afterwards() {
    let mut scene = Scene::new(&[("corp.example", "")]);
    let account = scene.bind.account("corp.example");
    scene.configure(&(account + &Scene::site(&["corp.example", "*.corp.example"], "")));
    scene.keyward.start();
    let view = scene.keyward.wait_issued("corp.example");
    assert_eq!(view["names"], serde_json::json!(["corp.example", "*.corp.example"]), "{view:#}");
    // The chain is verified for each; the origin is nowhere.
    for name in ["corp.example", "any.corp.example"] {
        assert_eq!(scene.status(name), "502", "{name}");
    }
    // Both were there, and both are proven where the plain name is.
    assert_eq!(scene.added("_acme-challenge.corp.example"), 2, "{}", scene.bind.log());
    scene.wait_gone("_acme-challenge.corp.example");
    let listed = scene.keyward.cli(&["list"]).ok();
    assert!(listed.contains("corp.example +1"), "{listed}");
    let shown = scene.keyward.cli(&["show", "any.corp.example"]).ok();
    assert!(shown.contains("*.corp.example"), "{shown}");
    assert_eq!(scene.pebble.orders(), 1, "{}", scene.pebble.output());
    // Seen at the server before the CA was asked to look.
    assert!(!scene.keyward.log().contains("letting the CA look"), "{}", scene.keyward.log());
}

#[test]
fn the_account_with_the_longest_zone_is_taken_and_others_records_stay() {
    let records = "_acme-challenge.sub TXT \"of somebody else\"\n";
    let sub = "_acme-challenge TXT \"of somebody else\"\n";
    let mut scene = Scene::new(&[("corp.example", records), ("sub.corp.example", sub)]);
    let accounts = scene.bind.account("corp.example") + &scene.bind.account("sub.corp.example");
    let site = Scene::site(&["sub.corp.example", "*.sub.corp.example"], "challenge = \"dns-01\"");
    scene.configure(&(accounts + &site));
    scene.keyward.start();
    scene.keyward.wait_issued("sub.corp.example");
    let name = "_acme-challenge.sub.corp.example";
    // BIND says by which key: that of the longer zone alone could do it.
    assert_eq!(scene.added(name), 2, "{}", scene.bind.log());
    let by = "key sub.corp.example: updating zone 'sub.corp.example/IN'";
    assert!(scene.bind.log().contains(by), "{}", scene.bind.log());
    crate::daemon::eventually(
        "only the other record is left",
        std::time::Duration::from_secs(120),
        || (scene.bind.ask("TXT", name) == ["\"of somebody else\""]).then_some(()),
    );
}

#[test]
fn a_plain_name_of_a_zone_falls_back_to_dns_where_no_port_can_be_reached() {
    // Pebble looks for the other proofs on ports where nobody listens.
    let mut scene = Scene::new(&[("corp.example", "@ A 127.0.0.1\n")]);
    let account = scene.bind.account("corp.example");
    scene.configure(&(account + &Scene::site(&["corp.example"], "")));
    scene.keyward.edit("accept_terms = true", "accept_terms = true\nchallenges = [\"http-01\"]");
    scene.keyward.start();
    scene.keyward.wait_issued("corp.example");
    assert_eq!(scene.added("_acme-challenge.corp.example"), 1);
    assert_eq!(scene.pebble.orders(), 2, "one by HTTP, one by DNS");
    scene.wait_gone("_acme-challenge.corp.example");
}

#[test]
fn servers_that_do_not_show_a_record_are_waited_for_and_then_the_ca_looks_by_itself() {
    let mut scene = Scene::new(&[("corp.example", ""), ("other.example", "")]);
    let account = scene.bind.account("corp.example");
    // A server that answers and knows nothing of the zone: BIND refuses to look elsewhere.
    let other = crate::bind::Bind::start(
        crate::daemon::free_port(),
        &[crate::bind::Zone { name: "else.example", records: String::new() }],
    );
    let own = format!("servers = [\"127.0.0.1:{}\"]", scene.bind.port);
    let wrong = format!("servers = [\"127.0.0.1:{}\"]\npropagation = \"5s\"", other.port);
    assert!(account.contains(&own));
    let account = account.replacen(&own, &wrong, 1);
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.start();
    scene.keyward.wait_issued("*.corp.example");
    assert!(scene.keyward.log().contains("letting the CA look"), "{}", scene.keyward.log());
}
