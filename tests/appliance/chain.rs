//! Of the chains that a CA offers, a site shows the one that it prefers itself, and another one from the
//! renewal after a reload on.

use std::path::PathBuf;

use keyward::cert::chain::Chain;
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;

use crate::scene::Scene;

fn common_name(pem: &str) -> String {
    let chain = Chain::from_pem(pem.as_bytes()).unwrap();
    let (_, one) = X509Certificate::from_der(&chain.certificates()[0]).unwrap();
    one.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

fn file(scene: &Scene, name: &str, pem: &str) -> PathBuf {
    let path = scene.keyward.dir.path().join(name);
    std::fs::write(&path, pem).unwrap();
    path
}

#[test]
fn a_site_shows_the_chain_that_it_prefers_and_another_one_from_the_next_renewal_on() {
    let name = "chain.example";
    let mut scene = Scene::custom(name, "", |settings| settings.alternate_roots = 2);
    let roots = [1, 2].map(|number| scene.pebble.alternate_root(number));
    let files = [file(&scene, "one.pem", &roots[0]), file(&scene, "two.pem", &roots[1])];
    let prefer = |scene: &Scene, ca: &str, site: &str| {
        let line = |root: &str| format!("preferred_chain = \"{}\"\n", common_name(root));
        scene.configure_with(&line(ca), &format!("{}{}", scene.site(name), line(site)));
    };
    let leads_to =
        |scene: &Scene, root: &PathBuf| scene.keyward.curl(root, name, "/", &[]).status.success();
    // What the CA is said to have counts less.
    prefer(&scene, &roots[1], &roots[0]);
    scene.keyward.start();
    scene.keyward.wait_issued(name);
    assert!(leads_to(&scene, &files[0]) && !leads_to(&scene, &files[1]));
    // What stands with the CA changes, which is none of this site's business.
    prefer(&scene, &roots[0], &roots[0]);
    let said = scene.keyward.cli(&["reload"]).ok();
    assert!(!said.contains("preferred_chain"), "{said}");
    prefer(&scene, &roots[0], &roots[1]);
    let said = scene.keyward.cli(&["reload"]).ok();
    let told =
        "preferred_chain: chain.example will be served up to that root from the next renewal on";
    assert!(said.contains(told), "{said}");
    assert!(leads_to(&scene, &files[0]), "not before");
    scene.renew();
    assert!(leads_to(&scene, &files[1]) && !leads_to(&scene, &files[0]));
}
