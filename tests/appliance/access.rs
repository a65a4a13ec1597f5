//! The access log of the installed program: by the file, moved away, and shut out of where keys lie.

use std::time::Duration;

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn a_log_is_turned_on_moved_away_by_reload_and_by_signal_and_turned_off() {
    let mut scene = Scene::new("logged.example");
    let root = scene.root();
    let logs = scene.keyward.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let file = logs.join("access.log");
    let site = scene.site("logged.example");
    let table = format!("[access_log]\nto = \"{}\"\nformat = \"combined\"\n{site}", file.display());
    scene.configure(&table);
    scene.keyward.start();
    scene.keyward.wait_issued("logged.example");
    let ask = |path: &str| {
        assert_eq!(scene.keyward.curl(&root, "logged.example", path, &[]).ok(), "ok");
    };
    let has = |file: &std::path::Path, what: &str| {
        eventually(&format!("{what} in {}", file.display()), Duration::from_secs(10), || {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains(&format!("\"GET {what} HTTP/2.0\" 200 ")).then_some(())
        });
    };
    ask("/first?secret=1");
    has(&file, "/first?[hidden]");

    let moved = logs.join("access.log.1");
    std::fs::rename(&file, &moved).unwrap();
    scene.keyward.signal(nix::sys::signal::Signal::SIGUSR1);
    eventually("the file is there again", Duration::from_secs(10), || file.exists().then_some(()));
    ask("/second");
    has(&file, "/second");
    std::fs::rename(&file, logs.join("access.log.2")).unwrap();
    scene.keyward.hangup();
    eventually("the file is there again", Duration::from_secs(10), || file.exists().then_some(()));
    ask("/third");
    has(&file, "/third");
    assert!(!std::fs::read_to_string(&moved).unwrap().contains("/second"));

    let figures = scene.keyward.cli(&["status", "--json"]).json();
    let (written, lost) =
        (&figures["edge"]["access_log.written"], &figures["edge"]["access_log.lost"]);
    assert!(written.as_u64().unwrap() >= 3 && *lost == 0, "{figures:#}");

    // A place that the wall around main has not been opened for: the reload says so and goes on.
    let other = scene.keyward.dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    scene.configure(&table.replace("/logs/", "/other/"));
    let said = scene.keyward.cli(&["reload"]).ok();
    assert!(said.contains("access_log.to: the running daemon cannot write it"), "{said}");
    ask("/fourth");
    // Beside the state there is no log at all.
    scene.configure(&table.replace("/logs/", "/state/"));
    let said = scene.keyward.cli(&["reload"]);
    assert_eq!(said.status.code(), Some(78), "{said:#?}");
    assert!(said.err.contains("the access log lies with the state"), "{}", said.err);
    scene.configure(&site);
    scene.keyward.cli(&["reload"]).ok();
    ask("/fifth");
}
