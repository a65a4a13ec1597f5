//! What becomes of onboarded names when their DNS, or the configuration, changes.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;
use crate::scene::TARGET;

#[test]
fn a_name_that_leads_here_no_more_is_not_renewed_and_served_as_long_as_it_lasts() {
    let scene = Scene::new("", "");
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    let before = scene.keyward.served_serial("www.shop.example");
    scene.update(
        "shop.example",
        "update delete www.shop.example. CNAME\n\
         update add www.shop.example. 60 CNAME other.host.example.",
    );
    let said = scene.keyward.cli(&["renew", "www.shop.example", "--wait"]);
    assert!(!said.status.success(), "{said:#?}");
    let why = scene.keyward.cli(&["why", "www.shop.example"]).ok();
    assert!(why.contains("its alias leads to other.host.example"), "{why}");
    assert_eq!(scene.pebble.orders(), 1, "the CA is not asked");
    assert_eq!(scene.keyward.served_serial("www.shop.example"), before);
    let listed = scene.keyward.cli(&["onboarded"]).ok();
    assert!(listed.contains("served, not renewed"), "{listed}");
    // It leads here again.
    scene.update(
        "shop.example",
        &format!(
            "update delete www.shop.example. CNAME\nupdate add www.shop.example. 60 CNAME {TARGET}."
        ),
    );
    scene.keyward.cli(&["renew", "www.shop.example", "--wait"]).ok();
    assert_eq!(scene.pebble.orders(), 2);
    assert_ne!(scene.keyward.served_serial("www.shop.example"), before);
}

#[test]
fn without_a_target_nothing_is_served_and_nothing_is_forgotten() {
    let scene = Scene::new("", "");
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    let config = std::fs::read_to_string(scene.keyward.config()).unwrap();
    let (before, _) = config.split_once("[onboarding]").unwrap();
    std::fs::write(scene.keyward.config(), before).unwrap();
    scene.keyward.cli(&["reload"]).ok();
    assert_eq!(scene.greet("www.shop.example"), 21);
    let said = scene.keyward.cli(&["onboard", "a.shop.example"]);
    assert!(said.err.contains("[onboarding] has no target"), "{said:#?}");
    assert_eq!(scene.names(), ["www.shop.example"]);
    std::fs::write(scene.keyward.config(), &config).unwrap();
    scene.keyward.cli(&["reload"]).ok();
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    // A policy that admits it no more keeps it from renewals, not from being served.
    scene.keyward.edit("issuer = \"acme\"", "issuer = \"acme\"\ndenied = [\"shop.example\"]");
    scene.keyward.cli(&["reload"]).ok();
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    let said = scene.keyward.cli(&["renew", "www.shop.example", "--wait"]);
    assert!(!said.status.success() && said.out.contains("[onboarding] denies it"), "{said:#?}");
    assert_eq!(scene.pebble.orders(), 1);
}

#[test]
fn a_name_that_a_site_gets_is_the_sites_and_stays_served_meanwhile() {
    let scene = Scene::new("", "");
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    let config = std::fs::read_to_string(scene.keyward.config()).unwrap();
    let other = crate::origin::Origin::start();
    let site = format!(
        "\n[[site]]\nnames = [\"www.shop.example\"]\norigin = \"http://{}\"\nissuer = \"acme\"\n",
        other.address
    );
    std::fs::write(scene.keyward.config(), config + &site).unwrap();
    scene.keyward.cli(&["reload"]).ok();
    // Under a certificate that clients trust, at once.
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
    assert_eq!(other.requests.load(std::sync::atomic::Ordering::Relaxed), 1);
    eventually("the site has its own", Duration::from_secs(100), || {
        (scene.pebble.certificates() == 2).then_some(())
    });
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok");
}

#[test]
fn a_backup_has_the_onboarded_names_and_a_restore_serves_them() {
    let mut scene = Scene::new("", "");
    let own = crate::origin::Origin::start();
    let origin = format!("http://{}", own.address);
    scene.keyward.cli(&["onboard", "a.shop.example", "--origin", &origin, "--wait"]).ok();
    let place = |name: &str| scene.keyward.dir.path().join(name).display().to_string();
    let (tar, secret) = (place("backup.tar"), place("passphrase"));
    let config = scene.keyward.config().display().to_string();
    std::fs::write(&secret, "a passphrase of a test that is long\n").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, private).unwrap();
    let sealed = ["--passphrase-file", &secret, "--config", &config];
    scene.keyward.cli(&[&["backup", "--output", &tar][..], &sealed].concat()).ok();
    scene.keyward.terminate();
    std::fs::remove_dir_all(scene.keyward.state()).unwrap();
    let mut restore = std::process::Command::new(crate::daemon::BINARY);
    crate::daemon::run(restore.args(["restore", &tar]).args(sealed)).ok();
    scene.keyward.start();
    assert_eq!(scene.visit("a.shop.example", &[]).ok(), "ok");
    assert_eq!(own.requests.load(std::sync::atomic::Ordering::Relaxed), 1, "its own origin");
    assert_eq!(scene.pebble.orders(), 1);
}
