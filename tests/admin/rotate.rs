//! `keyward rotate`, as a person and a script see it.

use keyward::admin::wire::rotate::MasterView;
use keyward::admin::wire::rotate::RotatedKeys;

use crate::house::Running;

#[test]
fn new_keys_for_some_or_for_all_and_never_for_nobody() {
    let running = Running::start();
    let (status, out, err) = running.keyward(&["rotate", "keys", "shop.example"]);
    let line = "shop.example gets a new key at its next renewal\n";
    assert_eq!((status, out.as_str(), err.as_str()), (0, line, ""));
    let (status, out, _) = running.keyward(&["rotate", "keys", "--all", "--now"]);
    assert_eq!(status, 0);
    assert!(out.contains("broken.example is being renewed with a new key\n"), "{out}");
    assert!(out.ends_with("  see: keyward events --follow\n"), "{out}");
    let (status, out, _) = running.keyward(&["rotate", "keys", "shop.example", "--json"]);
    let told: RotatedKeys = serde_json::from_str(&out).unwrap();
    assert_eq!((status, told.certificates[0].when.as_str()), (0, "next-renewal"));
    let (status, _, err) = running.keyward(&["rotate", "keys", "nobody.example"]);
    assert!(status == 1 && err.contains("no certificate matches"), "{err}");
    for wrong in [&["rotate"][..], &["rotate", "keys"], &["rotate", "keys", "a.b", "--all"]] {
        assert_eq!(running.keyward(wrong).0, 64, "{wrong:?}");
    }
    let by_whom = running.fake.entries();
    let user = format!("user {}", nix::unistd::Uid::effective());
    assert!(by_whom.iter().all(|entry| entry.message == user), "{by_whom:?}");
}

#[test]
fn a_new_master_key_is_ordered_waited_for_and_refused_in_clear_words() {
    let running = Running::start();
    let (status, out, err) = running.keyward(&["rotate", "master"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("the master key is now that of epoch 2 (0202020202020202)\n"), "{out}");
    let (_, out, _) = running.keyward(&["status"]);
    let line = "former one     epoch 1 (0101010101010101), 7 records sealed anew so far\n";
    assert!(out.contains(line), "{out}");
    let (status, out, err) = running.keyward(&["rotate", "master", "--wait"]);
    assert_eq!(status, 0, "{err}");
    assert!(out.starts_with("7 records are sealed under the master key of epoch 2"), "{out}");
    assert_eq!(err.matches("7 records are sealed anew").count(), 1, "{err}");
    let (status, out, _) = running.keyward(&["rotate", "master", "--wait", "--json"]);
    let told: MasterView = serde_json::from_str(&out).unwrap();
    assert_eq!((status, told.former, told.epoch), (0, None, 2));
    running.fake.master.lock().unwrap().refused = true;
    let (status, _, err) = running.keyward(&["rotate", "master"]);
    assert_eq!((status, err.as_str()), (1, "error: it is a file of yours\n"));
}
