//! The journal tells what happened to the house and to each certificate, in words that stay.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn the_journal_has_an_entry_for_whatever_happens() {
    let mut scene = Scene::custom("told.example", "", |settings| {
        settings.blocked = vec!["blocked.example".to_owned()];
    });
    scene.keyward.start();
    scene.keyward.wait_issued("told.example");
    let told = scene.site("told.example");
    scene.configure(&format!("{told}\n{}", scene.site("blocked.example")));
    scene.keyward.cli(&["reload"]).ok();
    eventually("the CA refuses the name", Duration::from_secs(30), || {
        let view = scene.keyward.certificate("blocked.example")?;
        (view["phase"] == "halted").then_some(())
    });
    std::fs::write(scene.keyward.config(), "nonsense = 1\n").unwrap();
    assert_eq!(scene.keyward.cli(&["reload"]).status.code(), Some(78));
    scene.configure(&told);
    scene.keyward.cli(&["reload"]).ok();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let vault = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    let vault = nix::unistd::Pid::from_raw(vault);
    nix::sys::signal::kill(vault, nix::sys::signal::Signal::SIGKILL).unwrap();
    let wanted = [
        "started",
        "added",
        "ordering",
        "order-opened",
        "installed",
        "reloaded",
        "halted",
        "reload-refused",
        "retired",
        "vault-restarted",
    ];
    let entries = eventually("everything is told", Duration::from_secs(15), || {
        let journal = scene.keyward.cli(&["events", "--json"]).json();
        let entries = journal["entries"].as_array().unwrap().clone();
        let has = |kind: &str| entries.iter().any(|entry| entry["kind"] == kind);
        wanted.iter().all(|kind| has(kind)).then_some(entries)
    });
    let level = |kind: &str| {
        let found = entries.iter().find(|entry| entry["kind"] == kind).unwrap();
        found["level"].as_str().unwrap().to_owned()
    };
    assert_eq!(level("installed"), "info");
    for kind in ["halted", "reload-refused", "vault-restarted"] {
        assert_eq!(level(kind), "error", "{kind}");
    }
    // Counted without gaps, and the end of the one daemon stands before the start of the next.
    assert!(scene.keyward.terminate().success());
    scene.keyward.start();
    let text = eventually("the second start is told", Duration::from_secs(5), || {
        let text = scene.keyward.cli(&["events"]).ok();
        (text.matches(" started ").count() >= 2).then_some(text)
    });
    assert!(text.contains("stopping"), "{text}");
    let journal = scene.keyward.cli(&["events", "--json", "--after", "0"]).json();
    let numbers: Vec<_> =
        journal["entries"].as_array().unwrap().iter().map(|e| e["seq"].as_u64()).collect();
    let counted: Vec<_> = (1..=numbers.len() as u64).map(Some).collect();
    assert_eq!(numbers, counted);
}

#[test]
fn a_follower_sees_a_renewal_as_it_happens_and_renew_can_wait_for_it() {
    let scene = Scene::issued("follow.example");
    let said = scene.keyward.dir.path().join("followed");
    let mut follower = std::process::Command::new(crate::daemon::BINARY)
        .arg("--socket")
        .arg(scene.keyward.dir.path().join("run/admin.sock"))
        .args(["events", "--follow", "--json"])
        .stdout(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let waited = scene.keyward.cli(&["renew", "follow.example", "--wait"]).ok();
    let last = waited.lines().last().unwrap();
    assert!(last.contains("installed") && last.contains("follow.example"), "{waited}");
    eventually("the follower has it too", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&said).unwrap();
        let installed = text.lines().filter(|line| line.contains("\"kind\":\"installed\""));
        (installed.filter(|line| line.contains("follow.example")).count() >= 2).then_some(())
    });
    follower.kill().unwrap();
    follower.wait().unwrap();
}
