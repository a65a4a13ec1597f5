//! `_acme-challenge` that leads elsewhere.

use crate::scene::Scene;

#[test]
fn a_proof_is_set_where_the_alias_leads_and_the_name_has_no_account() {
    let mut scene = Scene::new(&[
        ("shop.example", "_acme-challenge CNAME one.alias.example.\n"),
        ("alias.example", "one CNAME two\n"),
    ]);
    let account = scene.bind.account("alias.example");
    scene.configure(&(account + &Scene::site(&["*.shop.example"], "")));
    let checked = scene.keyward.cli(&["check", scene.keyward.config().to_str().unwrap()]);
    let said = checked.out.clone() + &checked.err;
    assert!(checked.status.success(), "{said}");
    assert!(
        said.contains(
            "a CNAME record at _acme-challenge.shop.example into one of them: alias.example"
        ),
        "{said}"
    );
    scene.keyward.start();
    scene.keyward.wait_issued("*.shop.example");
    assert_eq!(scene.status("any.shop.example"), "502");
    assert_eq!(scene.added("two.alias.example"), 1, "{}", scene.bind.log());
    scene.wait_gone("two.alias.example");
}
