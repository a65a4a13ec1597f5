//! An origin on a Unix socket, from behind main's wall.

use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::origin::Origin;

/// The wall holds for files; that it would keep main from a socket would not be seen in a test of
/// the edge alone.
#[test]
fn a_site_is_served_from_a_socket_outside_of_what_main_may_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let origin = Origin::on_socket(&path);
    let site =
        format!("[[site]]\nnames = [\"nas.internal\"]\norigin = \"unix:{}\"\n", path.display());
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", Duration::from_secs(20), || {
        keyward.curl(&root, "nas.internal", "/", &[]).status.success().then_some(())
    });
    assert_eq!(keyward.curl(&root, "nas.internal", "/bytes/5", &[]).ok(), "xxxxx");
    assert!(origin.seen() >= 2);
    let sites = keyward.cli(&["sites"]).ok();
    assert!(sites.contains(&format!("unix:{}", path.display())), "{sites}");
}
