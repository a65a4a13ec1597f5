//! What must never be read in a log, on a command line or in an environment.

use crate::daemon::eventually;
use crate::scene::Scene;

#[test]
fn no_secret_stands_in_a_log_a_command_line_or_an_environment() {
    let mut scene = Scene::new("quiet.example");
    scene.keyward.with_env("KEYWARD_LOG__LEVEL", "trace");
    scene.keyward.start();
    scene.keyward.wait_issued("quiet.example");
    scene.renew();
    let root = scene.root();
    let headers =
        ["-H", "Cookie: session=do-not-log-me", "-H", "Authorization: Bearer do-not-log-me"];
    let said = scene.keyward.curl(&root, "quiet.example", "/?token=do-not-log-me", &headers);
    assert_eq!(said.ok(), "ok");

    let master = std::fs::read(scene.keyward.state().join("vault/master.key")).unwrap();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let vault = status["vault"]["pid"].as_i64().unwrap();
    let mut places = vec![("log".to_owned(), scene.keyward.log().into_bytes())];
    for pid in [i64::from(scene.keyward.pid()), vault] {
        for file in ["cmdline", "environ"] {
            // Root may read them even of a process that is not dumpable.
            if let Ok(bytes) = std::fs::read(format!("/proc/{pid}/{file}")) {
                places.push((format!("{file} of {pid}"), bytes));
            }
        }
    }
    assert!(places.len() >= 3, "the processes were not looked at");
    let mut needles: Vec<Vec<u8>> = vec![
        b"do-not-log-me".to_vec(),
        b"PRIVATE KEY".to_vec(),
        b"\"key_pkcs8\"".to_vec(),
        master.clone(),
    ];
    let text = String::from_utf8_lossy(&master).trim().to_owned();
    if text.len() >= 32 {
        needles.push(text.into_bytes());
    }
    // Tokens of challenges, as Pebble names them in its own log.
    for line in scene.pebble.output().lines() {
        if let Some((_, rest)) = line.split_once("/.well-known/acme-challenge/") {
            let token: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
                .collect();
            if token.len() >= 20 {
                needles.push(token.into_bytes());
            }
        }
    }
    for (place, bytes) in &places {
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_slice());
            assert!(!found, "{:?} stands in the {place}", String::from_utf8_lossy(needle));
        }
    }
    eventually("the log is not empty", std::time::Duration::from_secs(1), || {
        scene.keyward.log().contains("installed").then_some(())
    });
}
