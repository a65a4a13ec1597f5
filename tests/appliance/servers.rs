//! The servers of a site in the installed program: who is down is told, a name is looked up, and a
//! client comes to the same server again after a restart.

use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::origin::Origin;

#[test]
fn servers_are_named_looked_up_checked_and_stuck_to() {
    let (one, two) = (Origin::start(), Origin::start());
    let gone = free_port();
    // One of them by a name that the system knows.
    let origins = format!(
        "[\"http://localhost:{}\", \"http://{}\", \"http://127.0.0.1:{gone}\"]",
        one.address.port(),
        two.address,
    );
    let site = format!(
        "[[site]]\nnames = [\"app.internal\"]\norigin = {origins}\n[site.origins]\n\
         sticky = \"to\"\nhealth = {{ interval = \"200ms\", timeout = \"200ms\" }}\n",
    );
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", Duration::from_secs(30), || {
        keyward.curl(&root, "app.internal", "/", &[]).status.success().then_some(())
    });
    let status = eventually("who is down is told", Duration::from_secs(20), || {
        let text = keyward.cli(&["status"]).ok();
        text.contains("is down for").then_some(text)
    });
    let away = format!("the server http://127.0.0.1:{gone} of app.internal is down for");
    assert!(status.contains(&away), "{status}");
    for line in [
        format!("http://localhost:{} good for", one.address.port()),
        format!("http://{} good for", two.address),
        format!("http://127.0.0.1:{gone} down for"),
    ] {
        eventually(&line, Duration::from_secs(20), || {
            keyward.cli(&["show", "app.internal"]).ok().contains(&line).then_some(())
        });
    }
    eventually("it is in the journal", Duration::from_secs(20), || {
        let journal = keyward.cli(&["events", "--json"]).json();
        let entries = journal["entries"].as_array().unwrap().clone();
        entries.iter().any(|entry| entry["kind"] == "server-down").then_some(())
    });

    let answer = keyward.curl(&root, "app.internal", "/", &["-i"]).ok();
    let line = answer.lines().find(|line| line.to_lowercase().starts_with("set-cookie: to="));
    let cookie = line.unwrap_or_else(|| panic!("{answer}"))[12..].split(';').next().unwrap();
    assert!(keyward.dir.path().join("state/served/sticky.key").exists());
    assert!(keyward.terminate().success());
    keyward.start();
    let before = (one.seen(), two.seen());
    let answer = eventually("it is served again", Duration::from_secs(30), || {
        let cookie = format!("Cookie: {cookie}");
        let said = keyward.curl(&root, "app.internal", "/head", &["-i", "-H", &cookie]);
        said.status.success().then(|| said.ok())
    });
    assert!(!answer.to_lowercase().contains("set-cookie"), "{answer} {before:?}");
}
