//! The limits of a CA, mirrored: what it would refuse is not asked for, people are told when the next
//! slot is, and then it goes by itself.

use std::time::Duration;

use keyward::admin::wire::Moment;
use keyward::base::Timestamp;
use nix::sys::signal::Signal;

use crate::daemon::eventually;
use crate::scene::Scene;

/// As long as an order may take on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(200);

/// A site of one name.
fn site(scene: &Scene, name: &str) -> String {
    scene.site(name).replace(&format!(", \"www.{name}\""), "")
}

/// Waits until no order is opened for `name` because of the limits, and gives the next slot, which is
/// told everywhere alike.
fn held_back(scene: &Scene, name: &str, what: &str) -> Timestamp {
    let told = format!("{what} at {} are used up", host(scene));
    let view = eventually(&format!("{name} is held back"), LONG, || {
        let view = scene.keyward.certificate(name)?;
        let detail = view["failure"]["detail"].as_str()?;
        (view["phase"] == "waiting" && detail.starts_with(&told)).then_some(view)
    });
    assert_eq!(view["failure"]["kind"], "rate-limited", "{view:#}");
    let detail = view["failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("so no order is opened"), "{detail}");
    let slot = detail.rsplit(' ').next().unwrap().to_owned();
    let why = scene.keyward.cli(&["why", name, "--json"]).json();
    let (slot, text) = (moment(&slot.as_str().into()), slot);
    // Not everyone comes back in the same second.
    let after = moment(&why["next"]).since(slot).as_secs();
    assert!(moment(&why["next"]) >= slot && after <= 30, "{slot}: {why:#}");
    let next = why["next"].as_str().unwrap();
    assert!(why["doing"].as_str().unwrap().ends_with(&format!("begins at {next}")), "{why:#}");
    let why = scene.keyward.cli(&["why", name]).ok();
    assert!(why.contains(&format!("the next slot is at {text}")), "{why}");
    slot
}

/// The CA, as it is shown.
fn host(scene: &Scene) -> String {
    scene.pebble.directory().replace("https://", "").replace("/dir", "")
}

fn moment(text: &serde_json::Value) -> Timestamp {
    serde_json::from_value::<Moment>(text.clone()).unwrap().0
}

/// When orders were opened, oldest first.
fn opened(scene: &Scene) -> Vec<Timestamp> {
    let journal = scene.keyward.cli(&["events", "--json"]).json();
    let entries = journal["entries"].as_array().unwrap().iter();
    let opened = entries.filter(|entry| entry["kind"] == "order-opened");
    opened.map(|entry| moment(&entry["at"])).collect()
}

fn failures(scene: &Scene, name: &str) -> usize {
    let journal = scene.keyward.cli(&["events", "--json"]).json();
    let entries = journal["entries"].as_array().unwrap().iter();
    entries.filter(|entry| entry["kind"] == "failed" && entry["name"] == name).count()
}

fn serial(scene: &Scene, name: &str) -> String {
    scene.keyward.wait_issued(name)["installed"]["serial"].as_str().unwrap().to_owned()
}

/// Asks for a renewal and waits until it is there.
fn renewed(scene: &Scene, name: &str) {
    let before = serial(scene, name);
    scene.keyward.cli(&["renew", name]).ok();
    eventually(&format!("{name} is renewed"), LONG, || {
        (serial(scene, name) != before).then_some(())
    });
}

fn replacements(scene: &Scene) -> usize {
    scene.pebble.output().matches(" is a replacement of ").count()
}

#[test]
fn what_the_ca_would_refuse_is_not_asked_for_and_a_kill_forgets_nothing() {
    let limits = "limits = { orders = \"2/2h\", same_names = \"1/3h\" }\n";
    let mut scene = Scene::custom("a.example", limits, |_| {});
    let sites = |names: &[&str]| names.iter().map(|n| site(&scene, n)).collect::<String>();
    let (one, all) = (sites(&["a.example"]), sites(&["a.example", "b.example", "c.example"]));
    scene.configure_with(limits, &one);
    scene.keyward.start();
    serial(&scene, "a.example");
    // Renewals that name what they replace are exempt (RFC 9773, section 5), before a kill and after.
    renewed(&scene, "a.example");
    renewed(&scene, "a.example");
    assert_eq!((replacements(&scene), scene.pebble.orders()), (2, 3));
    kill(&mut scene);
    renewed(&scene, "a.example");
    assert_eq!((replacements(&scene), scene.pebble.orders()), (3, 4));

    // One more is admitted, whichever comes first, and the other is told when its time is.
    scene.configure_with(limits, &all);
    scene.keyward.hangup();
    let issued = |scene: &Scene, name: &str| {
        let view = scene.keyward.certificate(name);
        view.is_some_and(|view| view["role"] == "primary" && !view["installed"].is_null())
    };
    let first = eventually("one of both is issued", LONG, || {
        ["b.example", "c.example"].into_iter().find(|name| issued(&scene, name))
    });
    let other = if first == "b.example" { "c.example" } else { "b.example" };
    let slot = held_back(&scene, other, "new orders");
    assert_eq!(scene.pebble.orders(), 5, "no order was opened for {other}");
    let begin = opened(&scene)[0];
    let wait = slot.since(begin).as_secs();
    // The permit was taken some moments before the order was there.
    assert!((3600 - 200..=3601).contains(&wait), "{wait} s from {begin} to {slot}");
    let told = format!("new orders are used up (2 in 2 h), the next slot is at {slot}");
    let status = |scene: &Scene| {
        let said = scene.keyward.cli(&["status"]).ok();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(status(&scene).contains(&told), "{}", status(&scene));
    assert!(!issued(&scene, other));

    // Neither a kill nor a person opens the way.
    kill(&mut scene);
    assert!(status(&scene).contains(&told), "{}", status(&scene));
    let before = failures(&scene, other);
    scene.keyward.cli(&["renew", other]).ok();
    eventually("it was tried", LONG, || (failures(&scene, other) > before).then_some(()));
    assert_eq!(held_back(&scene, other, "new orders"), slot);
    assert_eq!(scene.pebble.orders(), 5, "no order was opened for {other}");

    // A renewal that names nothing is one more certificate for the same names.
    let unnamed = format!("{limits}renewal_info = false\n");
    scene.configure_with(&unnamed, &all);
    scene.keyward.hangup();
    let present = serial(&scene, first);
    eventually("the file is read", LONG, || {
        scene.keyward.cli(&["renew", first]).ok();
        let view = scene.keyward.certificate(first)?;
        (view["failure"]["kind"] == "rate-limited").then_some(())
    });
    held_back(&scene, first, "certificates for this set of names");
    assert_eq!((serial(&scene, first), scene.pebble.orders()), (present, 5));

    // Where the CA admits more than it is said to, the file says so.
    scene.configure_with("", &all);
    scene.keyward.hangup();
    eventually("both are issued", LONG, || {
        for name in [first, other] {
            scene.keyward.cli(&["renew", name]).ok();
        }
        issued(&scene, other).then_some(())
    });
}

#[test]
fn an_order_that_waits_for_its_slot_goes_by_itself_then_and_no_sooner() {
    let limits = "limits = { orders = \"1/45s\" }\n";
    let mut scene = Scene::custom("a.example", limits, |_| {});
    let sites = site(&scene, "a.example") + &site(&scene, "b.example");
    scene.configure_with(limits, &sites);
    scene.keyward.start();
    let waiting = eventually("one of both is held back", LONG, || {
        ["a.example", "b.example"].into_iter().find(|name| {
            let view = scene.keyward.certificate(name);
            view.is_some_and(|view| view["failure"]["kind"] == "rate-limited")
        })
    });
    let first = if waiting == "a.example" { "b.example" } else { "a.example" };
    let slot = held_back(&scene, waiting, "new orders");
    serial(&scene, first);
    kill(&mut scene);
    eventually("it is issued when its time is there", LONG, || {
        let view = scene.keyward.certificate(waiting)?;
        (view["role"] == "primary" && !view["installed"].is_null()).then_some(())
    });
    let opened = opened(&scene);
    assert_eq!((opened.len(), scene.pebble.orders()), (2, 2));
    assert!(opened[1] >= slot, "the slot was at {slot}: {opened:?}");
    assert!(opened[1].since(slot) < LONG, "the slot was at {slot}: {opened:?}");
}

fn kill(scene: &mut Scene) {
    scene.keyward.signal(Signal::SIGKILL);
    scene.keyward.wait_end(Duration::from_secs(50));
    scene.keyward.start();
}
