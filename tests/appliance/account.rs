//! The account at the CA: bound to an external one where the CA wants that, opened once, kept.

use std::path::Path;
use std::time::Duration;

use keyward::base::Secret;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::ports::Book as _;
use keyward::cert::ports::Shelf;
use keyward::issuer::custody;
use keyward::store::Store;
use keyward::vault::seal::Content;
use keyward::vault::seal::Sealer;

use crate::backup::unpacked;
use crate::daemon::eventually;
use crate::daemon::was_killed;
use crate::scan::Needles;
use crate::scan::forms;
use crate::scene::Scene;
use crate::scene::runtime;

/// A base64url key of 32 octets.
const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

#[test]
fn a_ca_that_binds_accounts_gets_its_binding_and_one_account_outlives_restarts() {
    let mut scene = Scene::custom("bound.example", "", |settings| {
        settings.bindings = vec![("kid-1".to_owned(), KEY.to_owned())];
    });
    // Without the binding nothing is ordered, and the hint says what is missing.
    scene.keyward.start();
    let view = eventually("it stops", Duration::from_secs(30), || {
        let view = scene.keyward.certificate("bound.example")?;
        (view["phase"] == "halted").then_some(view)
    });
    assert_eq!(view["failure"]["kind"], "account", "{view:#}");
    assert!(view["failure"]["detail"].as_str().unwrap().contains("[acme.eab]"), "{view:#}");
    assert_eq!(scene.pebble.orders(), 0);

    // A reload that brings it is enough: nobody has to ask again.
    let file = scene.keyward.dir.path().join("etc/eab.key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let eab = format!("[acme.eab]\nkid = \"kid-1\"\nhmac_key_file = \"{}\"\n", file.display());
    scene.configure_with(&eab, &scene.site("bound.example"));
    scene.keyward.cli(&["reload"]).ok();
    scene.keyward.wait_issued("bound.example");
    assert_eq!(scene.pebble.accounts(), 1, "{}", scene.pebble.output());

    assert!(scene.keyward.terminate().success());
    scene.keyward.start();
    scene.renew();
    assert_eq!(scene.pebble.accounts(), 1, "the account is used again");
    assert!(!scene.keyward.log().contains(KEY), "the key is a secret");
}

const NAME: &str = "kept.example";

/// What is stored of the only account below `dir`: under which name, and what.
fn stored(dir: &Path) -> (String, Vec<u8>) {
    let store = Store::open(dir).unwrap();
    let mut found = runtime().block_on(store.shelf(Shelf::Accounts)).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// The private key of the account, as only who has the master key can read it, from a backup.
fn account_key(scene: &Scene) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("backup.tar");
    scene.keyward.cli(&["backup", "--output", tar.to_str().unwrap()]).ok();
    unpacked(&tar, dir.path());
    let mut opened = Vec::new();
    let mut open = |sealed: &[u8]| {
        opened.push(sealer(scene).open(sealed).unwrap().1.to_vec());
        Ok(None)
    };
    let (_, stored) = stored(dir.path());
    custody::reseal(Shelf::Accounts, &stored, &mut open).unwrap();
    opened.remove(0)
}

fn sealer(scene: &Scene) -> Sealer {
    let master = std::fs::read(scene.keyward.state().join("vault/master.key")).unwrap();
    Sealer::new(Secret::new(master.try_into().unwrap())).unwrap()
}

/// Main was looked through, and the key of the account is nowhere in it.
fn not_in_main(scene: &Scene, pkcs8: &[u8]) {
    none_in_main(scene, KeyAlgorithm::P256, pkcs8);
}

/// The same for a key of any kind.
pub(crate) fn none_in_main(scene: &Scene, algorithm: KeyAlgorithm, pkcs8: &[u8]) {
    let forms = forms(algorithm, pkcs8);
    let needles = Needles::new(forms.into_iter().chain([b".example".to_vec()]));
    let looked = needles.look_in(scene.keyward.pid().cast_unsigned());
    if !nix::unistd::geteuid().is_root() {
        assert_eq!(looked.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        return;
    }
    let (marker, counts) = looked.as_ref().unwrap().counts.split_last().unwrap();
    assert!(*marker > 0, "main was not looked at");
    assert!(counts.iter().all(|count| *count == 0), "the account's key is in main: {counts:?}");
}

#[test]
fn the_key_of_the_account_stays_in_the_vault_and_that_of_an_earlier_version_goes_there() {
    let mut scene = Scene::issued(NAME);
    scene.renew();
    let key = account_key(&scene);
    not_in_main(&scene, &key);

    // As an earlier version left it: sealed so that main could have it opened.
    assert!(scene.keyward.terminate().success());
    let dir = scene.keyward.state().join("store");
    let (name, now) = stored(&dir);
    let (version, fields) = now.split_first().unwrap();
    assert_eq!(*version, 4);
    let (url, rest): (String, _) = postcard::take_from_bytes(fields).unwrap();
    let (contact, _): (Vec<String>, _) = postcard::take_from_bytes(rest).unwrap();
    let secret = sealer(&scene).seal(Content::secret(name.as_bytes()), &key).unwrap();
    let before = postcard::to_extend(&(&url, &contact, secret), vec![1]).unwrap();
    let store = Store::open(&dir).unwrap();
    runtime().block_on(store.put(Shelf::Accounts, &name, before)).unwrap();
    drop(store);

    scene.keyward.start();
    scene.renew();
    not_in_main(&scene, &key);
    // And on, with what was stored then, under another master key.
    scene.keyward.cli(&["rotate", "master", "--wait"]).ok();
    scene.renew();
    not_in_main(&scene, &key);
    assert!(scene.keyward.terminate().success());
    let (_, after) = stored(&dir);
    assert_eq!(after[0], 4, "the key is not the vault's");
    assert!(String::from_utf8_lossy(&after).contains(&url), "another account");
    assert_eq!(scene.pebble.accounts(), 1);
    scene.keyward.start();
    scene.renew();
    assert_eq!(scene.pebble.accounts(), 1);
}

#[test]
fn the_account_gets_another_key_whenever_it_is_killed_and_stays_the_same_account() {
    let mut scene = Scene::issued(NAME);
    let mut known = vec![account_key(&scene)];
    let told = scene.keyward.cli(&["rotate", "account", "--json"]).json();
    assert_ne!(told["former"], told["present"], "{told:#}");
    known.push(account_key(&scene));
    assert_ne!(known[0], known[1], "the same key");
    // The CA takes orders under the new key, also after a restart.
    scene.renew();
    for point in keyward::base::crash::ACCOUNT_POINTS {
        assert!(scene.keyward.terminate().success());
        scene.keyward.with_env("KEYWARD_CRASH_AT", point);
        scene.keyward.start();
        let _said = scene.keyward.cli(&["rotate", "account"]);
        assert!(was_killed(scene.keyward.wait_end(Duration::from_secs(30))), "{point}");
        scene.keyward.without_env("KEYWARD_CRASH_AT");
        let (_, between) = stored(&scene.keyward.state().join("store"));
        assert_eq!(between[0], 5, "{point}: both keys are kept");
        scene.keyward.start();
        scene.renew();
        known.push(account_key(&scene));
        let same = known[known.len() - 1] == known[known.len() - 2];
        // The one that the CA knows: it had not heard of the other, or had taken it.
        assert_eq!(same, *point == "account-key-stored", "{point}");
    }
    for key in &known {
        not_in_main(&scene, key);
    }
    assert!(scene.keyward.terminate().success());
    let (_, after) = stored(&scene.keyward.state().join("store"));
    assert_eq!(after[0], 4, "one key is left");
    assert_eq!(scene.pebble.accounts(), 1, "{}", scene.pebble.output());
    scene.keyward.start();
    let events = scene.keyward.cli(&["events"]).ok();
    assert!(events.contains("wants another key for the account"), "{events}");
}
