//! `[vault] require = "strict"` where every wall stands, and on the same machine with one torn.

use std::time::Duration;

use keyward::vault::walls::WALLS;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;

/// A daemon for one name of the internal CA.
fn house() -> Keyward {
    let site = "[[site]]\nnames = [\"localhost\"]\norigin = \"builtin:welcome\"\n\
                issuer = \"internal\"\n";
    let keyward = Keyward::new("", site);
    keyward.edit("[log]", "[vault]\nrequire = \"strict\"\n\n[log]");
    keyward
}

/// The machine gives everything: it starts, says so, and shakes hands.
pub(crate) fn accepted() {
    let mut keyward = house();
    keyward.start();
    let status = keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["vault"]["required"], "strict");
    let words = |of: &serde_json::Value| {
        let words = of.as_array().unwrap().iter();
        words.map(|wall| wall.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let walls = words(&status["vault"]["walls"]);
    assert_eq!(walls, WALLS.map(|wall| wall.name().to_owned()), "and nothing behind the names");
    assert_eq!(words(&status["walls"]), ["files", "dumps"]);
    let text = keyward.cli(&["status"]).ok();
    let torn = |line: &&str| line.contains("(partly") || line.contains("(missing");
    let walls = text.lines().filter(|line| line.contains("walls")).collect::<Vec<_>>();
    assert_eq!(walls.len(), 3, "main's, the vault's, and what is wanted: {text}");
    assert_eq!(walls.iter().copied().find(torn), None);
    assert_eq!(keyward.log().matches("a wall does not stand whole").count(), 0);

    let root = keyward.dir.path().join("root.pem");
    eventually("the page is served", Duration::from_secs(30), || {
        std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
        keyward.curl(&root, "localhost", "/", &[]).status.success().then_some(())
    });
    let status = keyward.cli(&["status", "--json"]).json();
    assert!(status["edge"]["handshakes.full"].as_u64() >= Some(1), "{status}");

    // A vault that ends has a successor that is as good.
    let pid = status["vault"]["pid"].as_i64().unwrap();
    assert!(
        run(std::process::Command::new("kill").args(["-9", &pid.to_string()])).status.success()
    );
    eventually("another vault", Duration::from_secs(30), || {
        keyward.log().contains("the vault ended and another was started").then_some(())
    });
    assert!(keyward.curl(&root, "localhost", "/", &[]).status.success(), "{}", keyward.log());
    assert!(keyward.terminate().success());
}

/// The same with no more than 64 KiB that may be locked: it says which wall is torn, and ends.
pub(crate) fn refused() {
    let mut keyward = house();
    keyward.spawn_through("prlimit", &["--memlock=65536:65536"]);
    let status = keyward.wait_end(Duration::from_secs(60));
    let log = keyward.log();
    assert_eq!(status.code(), Some(78), "{log}");
    for part in [
        "error: [vault] require = \"strict\", and not every wall stands whole",
        "the vault's swap (missing: ",
        "try: LimitMEMLOCK=infinity in the unit",
        "require = \"available\"",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    // Hidden pages are never swapped, and this kernel does not count them as locked.
    let torn = log.lines().filter(|line| line.contains("(partly") || line.contains("(missing"));
    assert_eq!(torn.count(), 1, "no more than that is torn: {log}");
    assert!(!keyward.state().join("store/keyward.redb").exists(), "it went on");
}
