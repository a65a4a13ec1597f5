//! Another CA in the file: its certificate arrives while the old one is being served.

use std::time::Duration;

use crate::daemon::eventually;
use crate::load::Load;
use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::scene::Scene;
use crate::scene::runtime;

#[test]
fn another_directory_brings_another_certificate_and_the_old_one_is_served_until_then() {
    let scene = Scene::issued("moves.example");
    let (old_root, site) = (scene.root(), scene.site("moves.example"));
    let mut other = Pebble::start(Settings::new(scene.keyward.http, scene.keyward.https));
    // Beside the configuration, where the running daemon may read it.
    let ca_root = scene.keyward.dir.path().join("etc/other-ca.pem");
    std::fs::copy(other.ca_root(), &ca_root).unwrap();
    let configure = |ca_root: &std::path::Path| {
        let acme = format!(
            "directory = \"{}\"\nca_root = \"{}\"\naccept_terms = true\n",
            other.directory(),
            ca_root.display()
        );
        scene.keyward.configure(&acme, &site);
    };
    // What the running daemon cannot read is told at once and not at the next order.
    configure(&other.ca_root());
    let told = scene.keyward.cli(&["reload"]).ok();
    assert!(told.contains("note: acme.ca_root: the running daemon cannot read it"), "{told}");

    configure(&ca_root);
    let before = scene.keyward.served_serial("moves.example");
    let new_root = scene.keyward.dir.path().join("new-root.pem");
    std::fs::write(&new_root, other.root()).unwrap();
    other.stop();
    let runtime = runtime();
    let _inside = runtime.enter();
    let load = Load::start(&scene.target(false), 4);
    scene.keyward.cli(&["reload"]).ok();
    eventually("the new CA is tried", Duration::from_secs(30), || {
        let list = scene.keyward.cli(&["list", "--json"]).json();
        let all = list["certificates"].as_array().unwrap().clone();
        all.iter().any(|one| one["failure"]["kind"] == "unreachable").then_some(())
    });
    runtime.block_on(load.progress(100));
    let seen = runtime.block_on(load.stop());
    assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
    assert_eq!(scene.keyward.served_serial("moves.example"), before);
    assert_eq!(scene.keyward.curl(&old_root, "moves.example", "/", &[]).ok(), "ok");

    other.restart();
    std::fs::write(&new_root, other.root()).unwrap();
    let list = scene.keyward.cli(&["list", "--json"]).json();
    let waiting = list["certificates"].as_array().unwrap().clone();
    let waiting = waiting.iter().find(|one| one["phase"] == "waiting").unwrap();
    scene.keyward.cli(&["renew", waiting["id"].as_str().unwrap()]).ok();
    eventually("the new CA's certificate is served", Duration::from_secs(30), || {
        let said = scene.keyward.curl(&new_root, "moves.example", "/", &[]);
        said.status.success().then_some(())
    });
}
