//! Names that no public CA signs, and the moments before the first public certificate.

use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;
use crate::origin::Origin;
use crate::scene::Scene;

#[test]
fn an_internal_name_is_signed_by_the_machines_own_ca() {
    let origin = Origin::start();
    let site = format!(
        "[[site]]\nnames = [\"nas.internal\", \"*.nas.internal\", \"127.0.0.1\"]\n\
         origin = \"http://{}\"\n",
        origin.address
    );
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    // The admin socket answers a moment before the first certificate is there.
    eventually("it is served", Duration::from_secs(10), || {
        let said = keyward.curl(&root, "nas.internal", "/", &[]);
        said.status.success().then_some(())
    });
    for name in ["nas.internal", "disk.nas.internal", "127.0.0.1"] {
        let said = keyward.curl(&root, name, "/", &[]);
        assert_eq!(said.ok(), "ok", "{name}");
    }
    let view = keyward.certificate("nas.internal").unwrap();
    assert_eq!(view["issuer"], "internal");
    let verified = run(std::process::Command::new("sh").arg("-c").arg(format!(
        "openssl s_client -connect 127.0.0.1:{} -servername nas.internal -CAfile {} \
         -verify_return_error </dev/null",
        keyward.https,
        root.display()
    )));
    assert!(verified.out.contains("Verify return code: 0 (ok)"), "{verified:#?}");
}

#[test]
fn a_bridge_answers_until_the_first_public_certificate_arrives_and_then_leaves() {
    let mut scene = Scene::new("bridge.example");
    scene.pebble.stop();
    scene.keyward.start();
    let root = scene.keyward.dir.path().join("root.pem");
    std::fs::write(&root, scene.keyward.cli(&["trust", "--print"]).ok()).unwrap();
    // The CA is away, yet the port answers, with a certificate of the internal CA.
    let said = eventually("the bridge answers", Duration::from_secs(10), || {
        let said = scene.keyward.curl(&root, "bridge.example", "/", &[]);
        said.status.success().then_some(said)
    });
    assert_eq!(said.ok(), "ok");
    let view = eventually("the attempt fails", Duration::from_secs(30), || {
        let view = scene.keyward.certificate("bridge.example")?;
        (view["phase"] == "waiting").then_some(view)
    });
    assert_eq!(view["failure"]["kind"], "unreachable", "{view:#}");
    scene.pebble.restart();
    // Pebble has a new issuing root now, and the directory's own root is the same.
    scene.keyward.cli(&["renew", "bridge.example"]).ok();
    scene.keyward.wait_issued("bridge.example");
    let public = scene.root();
    eventually("the public one is served", Duration::from_secs(10), || {
        let said = scene.keyward.curl(&public, "bridge.example", "/", &[]);
        said.status.success().then_some(())
    });
}
