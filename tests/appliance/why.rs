//! `keyward why`: what is served, what is being done, what went wrong, what to change, and when it goes
//! on, in one answer.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn why_explains_a_refusal_of_the_ca_and_a_certificate_that_is_well() {
    let mut scene =
        Scene::custom("well.example", "", |settings| settings.blocked.push("ill.example".into()));
    scene.configure(&format!("{}{}", scene.site("well.example"), scene.site("ill.example")));
    scene.keyward.start();
    scene.keyward.wait_issued("well.example");
    eventually("the other is refused", Duration::from_secs(100), || {
        let view = scene.keyward.certificate("ill.example")?;
        (view["phase"] == "halted").then_some(())
    });
    let why = scene.keyward.cli(&["why", "ill.example", "--json"]).json();
    assert!(why["served"].as_str().unwrap().starts_with("a bridge, which browsers do not trust"));
    assert!(why["doing"].as_str().unwrap().contains("it waits for you"), "{why:#}");
    assert_eq!(why["problem"]["failure"]["kind"], "rejected", "{why:#}");
    assert_eq!(why["problem"]["over"], false);
    assert!(why["next"].is_null(), "{why:#}");
    let change = why["change"].as_array().unwrap();
    assert!(change[0].as_str().unwrap().contains("does not sign this name"), "{why:#}");
    assert!(change.last().unwrap().as_str().unwrap().contains("keyward renew ill.example"));
    assert!(why["checked"].to_string().contains("halted"), "{why:#}");
    let said = scene.keyward.cli(&["why", "ill.example"]).ok();
    for word in ["needs you (failed)", "problem", "change", "nothing by itself"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let why = scene.keyward.cli(&["why", "well.example", "--json"]).json();
    assert!(why["served"].as_str().unwrap().starts_with("this one, serial "), "{why:#}");
    assert!(why["problem"].is_null(), "{why:#}");
    assert!(why["doing"].as_str().unwrap().contains("it is renewed at"), "{why:#}");
    assert!(why["next"].is_string(), "{why:#}");
    let said = scene.keyward.cli(&["why", "nobody.example"]);
    assert!(!said.status.success(), "{said:?}");
}
