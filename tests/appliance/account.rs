//! The account at the CA: bound to an external one where the CA wants that, opened once, kept.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;

/// A base64url key of 32 octets.
const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

#[test]
fn a_ca_that_binds_accounts_gets_its_binding_and_one_account_outlives_restarts() {
    let mut scene = Scene::custom("bound.example", "", |settings| {
        settings.bindings = vec![("kid-1".to_owned(), KEY.to_owned())];
    });
    // Without the binding nothing is ordered, and the hint says what is missing.
    scene.keyward.start();
    let view = eventually("it stops", Duration::from_secs(30), || {
        let view = scene.keyward.certificate("bound.example")?;
        (view["phase"] == "halted").then_some(view)
    });
    assert_eq!(view["failure"]["kind"], "account", "{view:#}");
    assert!(view["failure"]["detail"].as_str().unwrap().contains("[acme.eab]"), "{view:#}");
    assert_eq!(scene.pebble.orders(), 0);

    // A reload that brings it is enough: nobody has to ask again.
    let file = scene.keyward.dir.path().join("etc/eab.key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let eab = format!("[acme.eab]\nkid = \"kid-1\"\nhmac_key_file = \"{}\"\n", file.display());
    scene.configure_with(&eab, &scene.site("bound.example"));
    scene.keyward.cli(&["reload"]).ok();
    scene.keyward.wait_issued("bound.example");
    assert_eq!(scene.pebble.accounts(), 1, "{}", scene.pebble.output());

    assert!(scene.keyward.terminate().success());
    scene.keyward.start();
    scene.renew();
    assert_eq!(scene.pebble.accounts(), 1, "the account is used again");
    assert!(!scene.keyward.log().contains(KEY), "the key is a secret");
}
