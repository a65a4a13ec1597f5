//! A site that changes its shape in the file is served on while its new certificate is on the way.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn a_site_with_other_names_keeps_its_old_certificate_until_the_new_one_arrives() {
    let mut scene = Scene::issued("shape.example");
    let (root, site) = (scene.root(), scene.site("shape.example"));
    let before = scene.keyward.served_serial("shape.example");
    scene.pebble.stop();
    scene.configure(&site.replace("\"www.shape.example\"", "\"new.shape.example\""));
    let told = scene.keyward.cli(&["reload"]).ok();
    assert!(told.contains("~ shape.example"), "{told}");
    eventually("the CA is tried", Duration::from_secs(30), || {
        let view = scene.keyward.certificate("new.shape.example")?;
        scene.keyward.log().contains("an attempt failed").then_some(view)
    });
    // The name that stayed has the old certificate; the new name answers with the bridge.
    assert_eq!(scene.keyward.served_serial("shape.example"), before);
    assert_eq!(scene.keyward.curl(&root, "shape.example", "/", &[]).ok(), "ok");
    let bridge = scene.keyward.dir.path().join("internal.pem");
    std::fs::write(&bridge, scene.keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("the bridge answers", Duration::from_secs(10), || {
        let said = scene.keyward.curl(&bridge, "new.shape.example", "/", &[]);
        said.status.success().then_some(())
    });

    scene.pebble.restart();
    scene.keyward.cli(&["renew", "new.shape.example"]).ok();
    let root = scene.root();
    for name in ["new.shape.example", "shape.example"] {
        eventually("the new one is served", Duration::from_secs(30), || {
            let said = scene.keyward.curl(&root, name, "/", &[]);
            said.status.success().then_some(())
        });
    }
}

#[test]
fn a_site_may_go_over_to_the_internal_ca_and_back_without_a_second_order() {
    let scene = Scene::issued("inside.example");
    let (root, site) = (scene.root(), scene.site("inside.example"));
    let internal = scene.keyward.dir.path().join("internal.pem");
    std::fs::write(&internal, scene.keyward.cli(&["trust", "--print"]).ok()).unwrap();
    let served_under = |root: &std::path::Path| {
        eventually("it is served", Duration::from_secs(15), || {
            let said = scene.keyward.curl(root, "inside.example", "/", &[]);
            said.status.success().then_some(())
        });
    };
    scene.configure(&format!("{site}issuer = \"internal\"\n"));
    scene.keyward.cli(&["reload"]).ok();
    served_under(&internal);
    scene.configure(&site);
    scene.keyward.cli(&["reload"]).ok();
    served_under(&root);
    assert_eq!(scene.pebble.orders(), 1, "{}", scene.pebble.output());
}
