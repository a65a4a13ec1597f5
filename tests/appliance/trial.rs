//! `keyward doctor NAME --staging`: an order at another directory, all the way, of which nothing is kept.

use serde_json::Value;

use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::scene::Scene;

const NAME: &str = "tried.example";

/// What was found of the trial, and the exit status.
fn trial(scene: &Scene, name: &str, how: &str) -> (String, String, Option<i32>) {
    let said = scene.keyward.cli(&["doctor", name, "--json", how]);
    let doctor: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let all = doctor["checks"].as_array().unwrap();
    let one = all.iter().find(|check| check["what"] == "staging");
    let one = one.unwrap_or_else(|| panic!("no trial: {doctor:#}"));
    let text = format!("{} | {}", one["seen"].as_str().unwrap(), one["change"]);
    (one["finding"].as_str().unwrap().to_owned(), text, said.status.code())
}

#[test]
fn an_order_for_a_trial_goes_all_the_way_and_leaves_nothing_behind() {
    let mut scene = Scene::new(NAME);
    let mut settings = Settings::new(scene.keyward.http, scene.keyward.https);
    settings.blocked = vec!["blocked.example".to_owned()];
    let staging = Pebble::start(settings);
    let read = |pebble: &Pebble| std::fs::read_to_string(pebble.ca_root()).unwrap();
    let roots = scene.keyward.dir.path().join("both-roots.pem");
    std::fs::write(&roots, read(&scene.pebble) + &read(&staging)).unwrap();
    let acme = format!(
        "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\n",
        scene.pebble.directory(),
        roots.display()
    );
    scene.keyward.configure(&acme, &scene.site(NAME));
    scene.keyward.start();
    let before = scene.keyward.wait_issued(NAME);
    let accounts = scene.keyward.cli(&["account", "--json"]).json();
    let list = scene.keyward.cli(&["list", "--json"]).json();
    let at = format!("--staging={}", staging.directory());

    let (finding, text, _) = trial(&scene, NAME, &at);
    assert!(finding == "ok" && text.contains("issued a certificate, by"), "{text}");
    assert!(text.contains(&staging.directory()) && text.contains("thrown away"), "{text}");
    let there = |pebble: &Pebble| (pebble.accounts(), pebble.orders(), pebble.certificates());
    assert_eq!(there(&staging), (1, 1, 1), "{}", staging.output());
    // At the CA itself, in the list, among the accounts and at the door all is as it was.
    assert_eq!(there(&scene.pebble), (1, 1, 1), "{}", scene.pebble.output());
    let after = scene.keyward.certificate(NAME).unwrap();
    assert_eq!(after["installed"]["serial"], before["installed"]["serial"]);
    let ids = |list: &Value| -> Vec<Value> {
        list["certificates"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect()
    };
    assert_eq!(ids(&scene.keyward.cli(&["list", "--json"]).json()), ids(&list));
    assert_eq!(scene.keyward.cli(&["account", "--json"]).json(), accounts);
    let served = before["installed"]["serial"].as_str().unwrap();
    assert_eq!(scene.keyward.served_serial(NAME).unwrap(), served);

    // What the CA refuses is told in its words; so is what cannot be tried.
    let (finding, text, status) = trial(&scene, "blocked.example", &at);
    assert!(finding == "problem" && text.contains("policy"), "{text}");
    assert_eq!(status, Some(1));
    let own = format!("--staging={}", scene.pebble.directory());
    for (how, finding, words) in [
        ("--staging", "warning", "--staging=URL"),
        ("--staging=http://ca.example/dir", "problem", "is no https URL"),
        (own.as_str(), "problem", "is where the certificate itself is ordered"),
    ] {
        let (found, text, _) = trial(&scene, NAME, how);
        assert!(found == finding && text.contains(words), "{how}: {found} {text}");
    }
    assert_eq!(there(&scene.pebble), (1, 1, 1), "{}", scene.pebble.output());
    let told = scene.keyward.cli(&["doctor", NAME, &at]);
    assert!(told.out.contains("staging") && told.out.contains("issued a certificate"), "{told:?}");
    // Each trial had an account of its own, for none was kept.
    assert_eq!(staging.accounts(), 3, "{}", staging.output());
}
