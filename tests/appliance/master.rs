//! The master key: another one, or none, costs a clear word and nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use keyward::base::Secret;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::ports::Book as _;
use keyward::cert::ports::Shelf;
use keyward::issuer::custody;
use keyward::store::Catalog;
use keyward::store::Store;
use keyward::vault::seal::Content;
use keyward::vault::seal::Mark;
use keyward::vault::seal::Sealer;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::load::Load;
use crate::origin::Origin;
use crate::scene::Scene;
use crate::scene::runtime;

const SOON: Duration = Duration::from_secs(30);

/// A keyward with one site of the internal CA, issued.
pub(crate) fn issued(origin: &Origin) -> (Keyward, PathBuf) {
    let origin = origin.address;
    let site = format!("[[site]]\nnames = [\"k.internal\"]\norigin = \"http://{origin}\"\n");
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    keyward.wait_issued("k.internal");
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", SOON, || {
        keyward.curl(&root, "k.internal", "/", &[]).status.success().then_some(())
    });
    (keyward, root)
}

fn lay(path: &PathBuf, content: &[u8]) {
    std::fs::remove_file(path).ok();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).unwrap();
}

/// The mark in `keyward status`, such as `epoch 1 (0123456789abcdef)`.
pub(crate) fn mark(keyward: &Keyward) -> String {
    let status = keyward.cli(&["status", "--json"]).json();
    let told = status["vault"]["master_key"].as_str().unwrap().to_owned();
    told.split_once(", ").unwrap().1.to_owned()
}

fn kill_vault(keyward: &Keyward) {
    let status = keyward.cli(&["status", "--json"]).json();
    let pid = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
}

#[test]
fn a_wrong_or_missing_master_key_is_named_with_the_one_that_is_needed_and_nothing_is_lost() {
    let origin = Origin::start();
    let (mut keyward, root) = issued(&origin);
    let before = keyward.certificate("k.internal").unwrap();
    let needed = mark(&keyward);
    assert!(needed.starts_with("epoch 1 ("), "{needed}");
    assert!(keyward.terminate().success());
    let path = keyward.state().join("vault/master.key");
    let right = std::fs::read(&path).unwrap();

    lay(&path, &[9; 32]);
    keyward.spawn();
    assert_eq!(keyward.wait_end(SOON).code(), Some(78), "{}", keyward.log());
    let log = keyward.log();
    assert!(
        log.contains(&format!("needed: that of {needed}\n  found: that of epoch 1 (")),
        "{log}"
    );
    assert!(log.contains("master.key.former"), "it is told what to try: {log}");

    std::fs::remove_file(&path).unwrap();
    keyward.spawn();
    assert_eq!(keyward.wait_end(SOON).code(), Some(69));
    let log = keyward.log();
    let line = format!("what is sealed here needs the master key of {needed}; nothing was changed");
    assert!(log.contains(&line), "{log}");
    assert!(!path.exists(), "no other key was made in its place");

    lay(&path, &right);
    keyward.start();
    assert_eq!(keyward.curl(&root, "k.internal", "/", &[]).ok(), "ok");
    let after = keyward.certificate("k.internal").unwrap();
    assert_eq!(after["installed"], before["installed"]);
    assert_eq!(after["phase"], "holding");
}

#[test]
fn an_account_alone_needs_its_master_key_too() {
    let origin = Origin::start();
    let site =
        format!("[[site]]\nnames = [\"k.internal\"]\norigin = \"http://{}\"\n", origin.address);
    let mut keyward = Keyward::new("", &site);
    // A state that knows an account, and no certificate yet.
    let sealer = Sealer::new(Secret::new([1; 32])).unwrap();
    let needed = sealer.marks()[0];
    let (algorithm, usage, id) = (KeyAlgorithm::P256, KeyUsage::Account, KeyId([7; 32]));
    let sealed = sealer.seal(Content::Key { usage, algorithm, id }, b"a key").unwrap();
    let sealed = SealedKey(sealed.into());
    let key = KeyHandle { id, algorithm, usage, spki: vec![0; 91].into(), sealed };
    let url = "https://ca.example/acct/1";
    let account = postcard::to_extend(&(url, Vec::<String>::new(), key), vec![2]).unwrap();
    let store = Store::open(&keyward.state().join("store")).unwrap();
    let put = store.put(Shelf::Accounts, "https://ca.example/dir", account);
    runtime().block_on(put).unwrap();
    drop(store);
    let path = keyward.state().join("vault/master.key");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    lay(&path, &[9; 32]);
    keyward.spawn();
    assert_eq!(keyward.wait_end(SOON).code(), Some(78), "{}", keyward.log());
    assert!(keyward.log().contains(&format!("needed: that of {needed}\n")), "{}", keyward.log());
    lay(&path, &[1; 32]);
    keyward.start();
    keyward.wait_issued("k.internal");
}

#[test]
fn a_vault_that_comes_back_with_another_master_key_is_turned_away_until_the_right_one_is_there() {
    let origin = Origin::start();
    let (keyward, root) = issued(&origin);
    let needed = mark(&keyward);
    let path = keyward.state().join("vault/master.key");
    let right = std::fs::read(&path).unwrap();
    lay(&path, &[9; 32]);
    kill_vault(&keyward);
    let degraded = |wanted: bool| {
        eventually("status follows", SOON, || {
            let status = keyward.cli(&["status", "--json"]).json();
            (status["degraded"].is_string() == wanted).then_some(status)
        })
    };
    let status = degraded(true);
    let told = status["degraded"].as_str().unwrap();
    assert!(told.contains("the master key was exchanged"), "{told}");
    assert!(told.contains(&needed), "{told}");
    // Nothing may be sealed under it.
    assert!(!keyward.cli(&["renew", "k.internal", "--wait"]).status.success());
    lay(&path, &right);
    degraded(false);
    assert_eq!(keyward.curl(&root, "k.internal", "/", &[]).ok(), "ok");
    assert_eq!(mark(&keyward), needed);
}

/// Every master key under which something is sealed in the state of a daemon that is gone.
pub(crate) fn seals(keyward: &Keyward) -> Vec<String> {
    let mut marks = std::collections::BTreeSet::new();
    let store = Store::open(&keyward.state().join("store")).unwrap();
    runtime().block_on(async {
        for key in store.keys_after(None, 10_000).await.unwrap() {
            marks.insert(Mark::of(&key.sealed.0).unwrap());
        }
        for shelf in [Shelf::Accounts, Shelf::InternalCa] {
            for (_, stored) in store.shelf(shelf).await.unwrap() {
                let mut look = |record: &[u8]| {
                    marks.insert(Mark::of(record).unwrap());
                    Ok(None)
                };
                custody::reseal(shelf, &stored, &mut look).unwrap();
            }
        }
    });
    // The copy before the present one, too, where there is one.
    let served = keyward.state().join("served");
    let aside = keyward.dir.path().join("aside");
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::remove_file(aside.join("catalog.redb")).ok();
    std::fs::copy(served.join("catalog.redb.1"), aside.join("catalog.redb")).ok();
    for dir in [served, aside] {
        let Some(copy) = Catalog::open_still(&dir).unwrap() else { continue };
        for id in copy.page(None, 1000).unwrap() {
            let one = copy.get(id).unwrap().unwrap();
            marks.insert(Mark::of(&one.key.sealed.0).unwrap());
        }
    }
    marks.iter().map(ToString::to_string).collect()
}

#[test]
fn the_master_key_is_replaced_under_load_and_nothing_is_left_under_the_former_one() {
    let mut scene = Scene::issued("master.example");
    let before = scene.keyward.certificate("master.example").unwrap();
    let former = mark(&scene.keyward);
    let runtime = runtime();
    let _inside = runtime.enter();
    let load = Load::start(&scene.target(false), 4);
    runtime.block_on(load.progress(50));
    let told = scene.keyward.cli(&["rotate", "master", "--wait", "--json"]).json();
    runtime.block_on(load.progress(50));
    let seen = runtime.block_on(load.stop());
    assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
    assert_eq!(told["epoch"], 2, "{told:#}");
    assert_eq!(told["foreign"], 0, "{told:#}");
    let present = mark(&scene.keyward);
    assert_eq!(told["mark"], present.as_str());
    assert_ne!(present, former);
    // The account's key opens, and so do the keys of the internal CA.
    scene.renew();
    let after = scene.keyward.certificate("master.example").unwrap();
    assert_ne!(after["installed"]["serial"], before["installed"]["serial"]);
    let events = scene.keyward.cli(&["events", "--json"]).ok();
    assert!(events.contains("wants a new master key"), "{events}");
    assert!(events.contains("the former one is deleted"), "{events}");
    assert!(!events.contains("vault-restarted"), "what is on purpose is no fault: {events}");
    assert!(!scene.keyward.state().join("vault/master.key.former").exists());
    assert!(scene.keyward.terminate().success());
    assert_eq!(seals(&scene.keyward), [present]);
    scene.keyward.start();
    assert_eq!(scene.keyward.curl(&scene.root(), "master.example", "/", &[]).ok(), "ok");
}

#[test]
fn a_kill_at_any_step_of_a_rotation_loses_nothing_and_the_next_start_ends_it() {
    let origin = Origin::start();
    let (mut keyward, root) = issued(&origin);
    for (round, point) in keyward::base::crash::ROTATION_POINTS.iter().enumerate() {
        assert!(keyward.terminate().success());
        keyward.with_env("KEYWARD_CRASH_AT", point);
        keyward.start();
        let former = mark(&keyward);
        // The answer may be lost with the daemon.
        let _said = keyward.cli(&["rotate", "master"]);
        let ended = keyward.wait_end(SOON);
        assert!(was_killed(ended), "{point}: {ended}");
        keyward.without_env("KEYWARD_CRASH_AT");
        keyward.start();
        assert_eq!(keyward.curl(&root, "k.internal", "/", &[]).ok(), "ok", "{point}");
        eventually("the rotation ends", SOON, || {
            let status = keyward.cli(&["status", "--json"]).json();
            status["vault"]["master"]["former"].is_null().then_some(())
        });
        let present = mark(&keyward);
        assert_ne!(present, former, "{point}");
        assert!(present.starts_with(&format!("epoch {} (", round + 2)), "{point}: {present}");
        assert_eq!(keyward.curl(&root, "k.internal", "/", &[]).ok(), "ok", "{point}");
        assert!(keyward.terminate().success());
        assert_eq!(seals(&keyward), [present], "{point}");
        keyward.start();
    }
}

#[test]
fn a_master_key_that_is_not_ours_is_replaced_by_its_operator() {
    let origin = Origin::start();
    let (mut keyward, root) = issued(&origin);
    assert!(keyward.terminate().success());
    let old = std::fs::read(keyward.state().join("vault/master.key")).unwrap();
    let path = keyward.dir.path().join("elsewhere.key");
    lay(&path, &old);
    let line =
        format!("[log]\nlevel = \"debug\"\n\n[vault]\nmaster_key = \"{}\"\n", path.display());
    keyward.edit("[log]\nlevel = \"debug\"\n", &line);
    keyward.start();
    let said = keyward.cli(&["rotate", "master"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.err.contains("the master key is a file of yours: move"), "{}", said.err);
    let former = mark(&keyward);
    assert!(keyward.terminate().success());
    // As it was told.
    let aside = keyward.dir.path().join("elsewhere.key.former");
    lay(&aside, &old);
    lay(&path, &[7; 32]);
    keyward.start();
    eventually("nothing needs the former one", SOON, || {
        let status = keyward.cli(&["status", "--json"]).json();
        (status["vault"]["master"]["former_needed"] == false).then_some(())
    });
    assert!(aside.exists(), "it is not ours to delete");
    let shown = keyward.cli(&["status"]).ok();
    assert!(shown.contains(&format!("{former}, not needed any more")), "{shown}");
    assert!(keyward.terminate().success());
    std::fs::remove_file(&aside).unwrap();
    keyward.start();
    assert_eq!(keyward.curl(&root, "k.internal", "/", &[]).ok(), "ok");
    let present = mark(&keyward);
    assert!(keyward.terminate().success());
    assert_eq!(seals(&keyward), [present]);
}
