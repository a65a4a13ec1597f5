//! What a person learns of a house that works but could be better.

use crate::scene::Scene;

#[test]
fn a_master_key_made_at_the_first_start_is_told_with_a_better_way_once_in_the_log() {
    let mut scene = Scene::issued("plain.example");
    let path = scene.keyward.state().join("vault/master.key");
    let path = path.display().to_string();
    let text = scene.keyward.cli(&["status"]).ok();
    let line = |word: &str| {
        let found = text.lines().find(|line| line.starts_with(word));
        found.unwrap_or_else(|| panic!("no {word} in {text}")).to_owned()
    };
    assert!(line("master key").contains(&path), "{text}");
    assert!(line("notice").contains("encrypted systemd credential"), "{text}");
    assert!(line("walls").contains("files") && line("walls").contains("dumps"), "{text}");
    assert!(line("vault walls").contains("system calls"), "{text}");
    assert!(
        line("kernel").contains("fast open") && line("kernel").contains("kernel TLS"),
        "{text}"
    );
    let more = scene.keyward.cli(&["status", "--verbose"]).ok();
    assert!(more.contains("shared memory"), "{more}");
    assert!(line("traffic").contains("handshake"), "{text}");
    assert!(text.lines().all(|line| !line.contains("handshakes.full")), "{text}");
    assert_eq!(scene.keyward.log().matches("a master key was made").count(), 1);
    assert!(scene.keyward.terminate().success());
    scene.keyward.start();
    assert_eq!(scene.keyward.log().matches("a master key was made").count(), 1, "not made again");

    // A file that the operator chose is his choice.
    let key = scene.keyward.dir.path().join("elsewhere.key");
    std::fs::copy(&path, &key).unwrap();
    assert!(scene.keyward.terminate().success());
    scene.keyward.edit("[log]", &format!("[vault]\nmaster_key = \"{}\"\n\n[log]", key.display()));
    scene.keyward.start();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["notices"], serde_json::json!([]), "{status:#}");
    let place = status["vault"]["master_key"].as_str().unwrap();
    assert!(place.starts_with(&format!("the file {}, epoch 1 (", key.display())), "{place}");
    let root = scene.root();
    assert_eq!(scene.keyward.curl(&root, "plain.example", "/", &[]).ok(), "ok");
}
