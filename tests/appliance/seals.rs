//! Keys that are held up on their way to the store while the master key is replaced: however long
//! that takes, none is stored so that it can never be opened again.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::master::issued;
use crate::master::mark;
use crate::master::seals;
use crate::origin::Origin;

const SOON: Duration = Duration::from_secs(60);

/// Starts it again so that the first that passes `point` waits there as long as the file exists.
fn hold(keyward: &mut Keyward, point: &str) -> PathBuf {
    assert!(keyward.terminate().success());
    // Where main may write.
    let file = keyward.state().join("store/held");
    keyward.with_env("KEYWARD_HOLD_AT", &format!("{point}:{}", file.display()));
    keyward.start();
    file
}

/// A whole rotation, while somebody waits.
fn rotate(keyward: &Keyward, held: &PathBuf) {
    eventually("somebody waits", SOON, || held.exists().then_some(()));
    let former = mark(keyward);
    let told = keyward.cli(&["rotate", "master", "--wait", "--json"]).json();
    assert!(told["former"].is_null(), "{told:#}");
    assert_ne!(mark(keyward), former);
    assert!(!keyward.state().join("vault/master.key.former").exists());
    assert!(held.exists(), "nobody waits any more");
    std::fs::remove_file(held).unwrap();
}

/// Nothing is left under the former master key, and the next start serves.
fn is_whole(keyward: &mut Keyward, root: &Path) {
    let present = mark(keyward);
    keyward.without_env("KEYWARD_HOLD_AT");
    assert!(keyward.terminate().success());
    assert_eq!(seals(keyward), [present]);
    keyward.start();
    assert_eq!(keyward.curl(root, "k.internal", "/", &[]).ok(), "ok");
}

#[test]
fn a_renewal_that_waits_through_a_whole_rotation_ends_well() {
    let origin = Origin::start();
    // Before the key is stored for the first time, and before it is stored with the certificate.
    for point in ["key-generated", "key-stored"] {
        let (mut keyward, root) = issued(&origin);
        let before = keyward.certificate("k.internal").unwrap();
        let held = hold(&mut keyward, point);
        keyward.cli(&["renew", "k.internal"]).ok();
        rotate(&keyward, &held);
        eventually("it is renewed", SOON, || {
            let view = keyward.certificate("k.internal")?;
            let other = view["installed"]["serial"] != before["installed"]["serial"];
            (other && view["phase"] == "holding").then_some(())
        });
        assert_eq!(keyward.curl(&root, "k.internal", "/", &[]).ok(), "ok", "{point}");
        is_whole(&mut keyward, &root);
    }
}

#[test]
fn an_import_that_waits_through_a_whole_rotation_is_refused_and_can_be_repeated() {
    let origin = Origin::start();
    let (mut keyward, root) = issued(&origin);
    let held = hold(&mut keyward, "import-sealed");
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["brought.example".to_owned()]).unwrap();
    let made = params.self_signed(&pair).unwrap();
    let (cert, key) = (keyward.dir.path().join("b.crt"), keyward.dir.path().join("b.key"));
    std::fs::write(&cert, made.pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let import = || {
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        keyward.cli(&["import", "--cert", cert, "--key", key])
    };
    let said = std::thread::scope(|scope| {
        let importing = scope.spawn(import);
        rotate(&keyward, &held);
        importing.join().unwrap()
    });
    assert!(!said.status.success(), "{said:?}");
    assert!(said.err.contains("import it again"), "{said:?}");
    assert!(keyward.certificate("brought.example").is_none());
    import().ok();
    is_whole(&mut keyward, &root);
    let view = keyward.certificate("brought.example").unwrap();
    assert_eq!(view["phase"], "holding", "{view:#}");
}
