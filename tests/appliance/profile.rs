//! Profiles of the CA: asked for by a site, and refused with the known ones named.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;

const DAY: u64 = 24 * 3600;

#[test]
fn a_site_gets_the_profile_it_asks_for_and_an_unknown_one_stops_with_what_to_do() {
    let mut scene = Scene::custom("six.example", "profile = \"ninety\"\n", |settings| {
        settings.profiles = vec![("ninety".to_owned(), 90 * DAY), ("six".to_owned(), 6 * DAY)];
    });
    let more = format!("{}profile = \"six\"\n", scene.site("six.example"));
    let sites = format!("{more}{}", scene.site("ninety.example"));
    scene.configure_with("profile = \"ninety\"\n", &sites);
    scene.keyward.start();
    for (name, days) in [("six.example", 6), ("ninety.example", 90)] {
        let view = scene.keyward.wait_issued(name);
        let moment = |key: &str| -> jiff::Timestamp {
            view["installed"][key].as_str().unwrap().parse().unwrap()
        };
        let life = moment("not_after").as_second() - moment("not_before").as_second();
        assert_eq!(life.cast_unsigned().div_ceil(DAY), days, "{view:#}");
    }

    let orders = scene.pebble.orders();
    let root = scene.root();
    scene.configure_with("profile = \"ninety\"\n", &sites.replace("\"six\"", "\"eternal\""));
    scene.keyward.cli(&["reload"]).ok();
    let view = eventually("it stops", Duration::from_secs(30), || {
        let view = scene.keyward.certificate("six.example")?;
        (view["phase"] == "halted").then_some(view)
    });
    assert_eq!(view["failure"]["remedy"], "intervene", "{view:#}");
    let detail = view["failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("eternal") && detail.contains("ninety, six"), "{detail}");
    assert!(!view["failure"]["hint"].as_str().unwrap().is_empty(), "{view:#}");
    assert_eq!(scene.pebble.orders(), orders, "nothing is ordered that the CA does not offer");
    // What was there is served on.
    assert_eq!(scene.keyward.curl(&root, "six.example", "/", &[]).ok(), "ok");
    let listed = scene.keyward.cli(&["list"]).ok();
    assert!(listed.contains("six.example needs you: "), "{listed}");
}
