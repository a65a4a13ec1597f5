//! A second certificate of another CA that stands by: kept ready and not shown, served by a switch under
//! load, at any kill one of the two, and when the first one is revoked or cannot be renewed.

use std::time::Duration;

use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::load::Load;
use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::scene::Scene;
use crate::scene::runtime;

/// As long as orders and revocations may take on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(120);

struct Stage {
    scene: Scene,
    other: Pebble,
    name: &'static str,
}

fn serial(view: &serde_json::Value) -> String {
    view["installed"]["serial"].as_str().unwrap_or_default().to_owned()
}

impl Stage {
    /// A site of the scene's Pebble, with a certificate of another one standing by.
    fn new(name: &'static str) -> Self {
        let scene = Scene::new(name);
        let other = Pebble::start(Settings::new(scene.keyward.http, scene.keyward.https));
        let mut stage = Self { scene, other, name };
        stage.configure("standby = \"other\"\n");
        stage.scene.keyward.start();
        stage
    }

    fn configure(&self, more: &str) {
        let root = self.other.ca_root();
        let directory = self.other.directory();
        let ca = format!(
            "[[ca]]\nname = \"other\"\ndirectory = \"{directory}\"\nca_root = \"{}\"\n\
             accept_terms = true\n",
            root.display()
        );
        self.scene.configure(&format!("{ca}{}{more}", self.scene.site(self.name)));
    }

    fn host(&self) -> String {
        self.other.directory().replace("https://", "").replace("/dir", "")
    }

    fn all(&self) -> Vec<serde_json::Value> {
        let list = self.scene.keyward.cli(&["list", "--json"]).json();
        let all = list["certificates"].as_array().unwrap().clone();
        all.into_iter().filter(|one| one["role"] == "primary").collect()
    }

    /// The certificates of the preferred CA and of the other one, as soon as both are there.
    fn both(&self) -> [serde_json::Value; 2] {
        let host = self.host();
        eventually("both are issued", LONG, || {
            let all = self.all();
            let of = |other: bool| {
                let fits = |one: &&serde_json::Value| (one["issuer"] == host.as_str()) == other;
                let ready = |one: &&serde_json::Value| {
                    one["phase"] == "holding" && !one["care"]["standby"].is_null()
                };
                all.iter().filter(fits).find(ready).cloned()
            };
            Some([of(false)?, of(true)?])
        })
    }

    /// Waits until exactly this one is shown at the port.
    fn shows(&self, serial: &str) {
        eventually("it is shown", LONG, || {
            let shown = self.scene.keyward.served_serial(self.name)?;
            (shown == serial).then_some(())
        });
    }

    fn events(&self, kind: &str) -> Vec<String> {
        let journal = self.scene.keyward.cli(&["events", "--json"]).json();
        let entries = journal["entries"].as_array().unwrap().iter();
        let found = entries.filter(|entry| entry["kind"] == kind);
        found.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn the_second_is_kept_ready_and_a_switch_costs_no_request_and_stays() {
    let mut stage = Stage::new("ready.example");
    let [first, second] = stage.both();
    let keyward = &stage.scene.keyward;
    assert_eq!(stage.scene.pebble.certificates(), 1);
    assert_eq!(stage.other.certificates(), 1);
    assert_ne!(first["installed"]["key"], second["installed"]["key"]);
    assert_eq!((&first["condition"], &second["condition"]), (&"issued".into(), &"standby".into()));
    assert_eq!(second["care"]["standby"]["shown"], false);
    stage.shows(&serial(&first));
    // A name means the one that is served, and tells of the other.
    let shown = keyward.cli(&["show", stage.name]).ok();
    assert!(shown.contains(&serial(&first)) && shown.contains("stands by: standby"), "{shown}");
    let why = keyward.cli(&["why", stage.name]).ok();
    assert!(why.contains(&format!("keyward switch {}", stage.name)), "{why}");

    let runtime = runtime();
    let _inside = runtime.enter();
    let root = keyward::cert::chain::Chain::from_pem(stage.other.root().as_bytes()).unwrap();
    let load = Load::trusting(&stage.scene.target(false), &[root.to_rustls().remove(0)], 4);
    runtime.block_on(load.progress(100));
    let said = keyward.cli(&["switch", stage.name]).ok();
    assert!(said.contains(&format!("is served under serial {}", serial(&second))), "{said}");
    stage.shows(&serial(&second));
    let said = keyward.cli(&["switch", stage.name]).ok();
    assert!(said.contains("already since"), "{said}");
    runtime.block_on(load.progress(200));
    let said = keyward.cli(&["switch", stage.name, "--back", "--json"]).json();
    assert_eq!(said["changed"], true, "{said:#}");
    assert_eq!(said["served"][0]["care"]["standby"]["other"]["issuer"], stage.host().as_str());
    stage.shows(&serial(&first));
    runtime.block_on(load.progress(200));
    keyward.cli(&["switch", stage.name]).ok();
    runtime.block_on(load.progress(200));
    let seen = runtime.block_on(load.stop());
    assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
    let serials: Vec<_> = seen.serials.lock().unwrap().iter().cloned().collect();
    for one in [&first, &second] {
        assert!(serials.contains(&serial(one)), "{serials:?}");
    }
    assert_eq!(serials.len(), 2);
    assert_eq!(stage.events("switched").len(), 3);

    // Over a restart, and a reload that changes something else.
    stage.scene.keyward.kill9();
    stage.scene.keyward.start();
    stage.shows(&serial(&second));
    stage.configure("standby = \"other\"\nredirect = false\n");
    stage.scene.keyward.cli(&["reload"]).ok();
    stage.shows(&serial(&second));
    // Without the line the preferred one is served, and the other one goes.
    stage.configure("");
    stage.scene.keyward.cli(&["reload"]).ok();
    stage.shows(&serial(&first));
    let said = stage.scene.keyward.cli(&["switch", stage.name]);
    assert!(!said.status.success() && said.err.contains("no second certificate"), "{said:?}");
    eventually("the other one goes", LONG, || {
        let host = stage.host();
        let all = stage.all();
        all.iter()
            .any(|one| one["issuer"] == host.as_str() && one["phase"] == "retiring")
            .then_some(())
    });
    assert_eq!(stage.scene.pebble.orders() + stage.other.orders(), 2);
}

#[test]
fn a_kill_at_any_step_of_a_switch_leaves_one_of_the_two() {
    let mut stage = Stage::new("shot.example");
    let [first, second] = stage.both();
    for point in keyward::base::crash::SWITCH_POINTS {
        stage.shows(&serial(&first));
        assert!(stage.scene.keyward.terminate().success());
        stage.scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        stage.scene.keyward.start();
        let _said = stage.scene.keyward.cli(&["switch", stage.name]);
        let ended = stage.scene.keyward.wait_end(LONG);
        assert!(was_killed(ended), "{point}: {ended}\n{}", stage.scene.keyward.log());
        stage.scene.keyward.without_env("KEYWARD_CRASH_AT");
        stage.scene.keyward.start();
        let switched = *point != "switch-decided";
        let (front, back) = if switched { (&second, &first) } else { (&first, &second) };
        stage.shows(&serial(front));
        // What the records say is what is shown, and the other one stands by.
        for one in stage.all() {
            let in_front = one["id"] == front["id"];
            assert_eq!(one["care"]["standby"]["shown"], in_front, "{point}: {one:#}");
            assert!(in_front || one["id"] == back["id"], "{point}");
        }
        stage.scene.keyward.cli(&["switch", stage.name, "--back"]).ok();
    }
}

#[test]
fn a_revoked_one_gives_way_at_once_also_where_its_ca_gives_no_successor() {
    let mut stage = Stage::new("gone.example");
    let [first, second] = stage.both();
    stage.scene.keyward.cli(&["revoke", stage.name, "--reason", "keyCompromise"]).ok();
    stage.shows(&serial(&second));
    let standing = eventually("the CA is told", LONG, || {
        let standing = stage.scene.pebble.standing(&serial(&first))?;
        (standing["Status"] == "Revoked").then_some(standing)
    });
    assert_eq!(standing["Reason"], 1);
    // Its successor stands by from then on.
    let fresh = eventually("a successor is there", LONG, || {
        let [fresh, _] = stage.both();
        (serial(&fresh) != serial(&first)).then_some(fresh)
    });
    assert_eq!(fresh["condition"], "standby");
    assert_ne!(fresh["installed"]["key"], first["installed"]["key"]);
    stage.shows(&serial(&second));
    // The other way round, and this time no CA gives another one.
    stage.other.stop();
    stage.scene.keyward.cli(&["revoke", stage.name]).ok();
    stage.shows(&serial(&fresh));
    let said = stage.scene.keyward.cli(&["switch", stage.name]);
    assert!(!said.status.success() && said.err.contains("is revoked, or is to be"), "{said:?}");
    assert_eq!(stage.events("switched").len(), 2);
    stage.shows(&serial(&fresh));
    let list = stage.scene.keyward.cli(&["list"]).ok();
    assert!(list.contains("gone.example +1 (standby)"), "{list}");
}
