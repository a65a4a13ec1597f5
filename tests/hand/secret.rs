//! A private key that goes from the vault to a target is never in the process between the two.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use keyward::cert::chain::Chain;
use keyward::cert::deployment::TargetName;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::deploy::hand::Parcel;
use keyward::deploy::hand::Stage;

use crate::daemon::eventually;
use crate::scan;
use crate::scan::Needles;
use crate::scene::NAME;
use crate::scene::PATIENCE;
use crate::scene::Scene;
use crate::vault_common::House;

/// In a process of its own, because whoever looks for a key has it.
const ROLE: &str = "KEYWARD_TEST_LOOK";

/// A public key of P-256.
struct Public(Vec<u8>);

impl rcgen::PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Looks for the key of the file in the memory of the process, and for what must be there.
fn look(role: &str) {
    let mut parts = role.split(',');
    let (pid, key, mark) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let pem = fs::read_to_string(key).unwrap();
    let key = rcgen::KeyPair::from_pem(&pem).unwrap();
    let forms = scan::forms(KeyAlgorithm::P256, &key.serialize_der());
    let line = pem.lines().nth(1).unwrap().as_bytes().to_vec();
    let all = forms.into_iter().chain([line, mark.as_bytes().to_vec()]);
    let needles = Needles::new(all);
    let found = needles.look_in(pid.parse().unwrap()).unwrap();
    let (known, secrets) = found.counts.split_last().unwrap();
    assert!(*known > 0 && found.looked_at > 1 << 20, "its memory is read at all: {found:?}");
    assert_eq!(secrets.iter().sum::<usize>(), 0, "a private key is there: {found:?}");
    // The same look finds it where it is: here.
    let own = needles.look_in(std::process::id()).unwrap().counts;
    assert!(own.iter().all(|count| *count > 0) || own.iter().sum::<usize>() > 3, "{own:?}");
}

fn look_from_outside(key: &std::path::Path) {
    let said = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1", "--nocapture"])
        .arg("secret::a_key_on_its_way_is_never_in_the_memory_of_main")
        .env(ROLE, format!("{},{},{NAME}", std::process::id(), key.display()))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&said.stdout);
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

#[test]
fn a_key_on_its_way_is_never_in_the_memory_of_main() {
    if let Ok(role) = std::env::var(ROLE) {
        return look(&role);
    }
    let scene = Scene::new();
    let (house, hold) = (House::new(), scene.path("hold"));
    let vault = house.vault(1);
    let wait = scene.path("etc/wait.sh");
    let text = "#!/bin/sh\nwhile [ -e \"$1\" ]; do sleep 0.05; done\n";
    fs::write(&wait, text).unwrap();
    fs::set_permissions(&wait, fs::Permissions::from_mode(0o755)).unwrap();
    scene.target(&format!(
        "kind = \"files\"\nprobe = \"none\"\ndir = \"OUT\"\ncombined = \"both.pem\"\n\
         key = \"privkey.pem\"\nreload = [\"{}\", \"{}\"]",
        wait.display(),
        hold.display()
    ));
    let hand = scene.hand();
    let target = TargetName::parse("one").unwrap();
    let name = Identifier::parse(NAME).unwrap();
    let pair = |usage| {
        let key = vault.generate_blocking(KeyAlgorithm::P256, usage).unwrap();
        // The point ends the document.
        let spki = Public(key.spki[key.spki.len() - 65..].to_vec());
        let params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let leaf = params.signed_by(&spki, scene.issuer()).unwrap();
        (Chain::from_der(vec![leaf.der().to_vec()]).unwrap(), key)
    };
    let (chain, key) = pair(KeyUsage::ExportableTls);
    let parcel = Parcel { target: &target, name: &name, chain: &chain, key: &key };
    fs::write(&hold, "").unwrap();
    std::thread::scope(|scope| {
        let carrying = scope.spawn(|| hand.carry(parcel, &vault, PATIENCE));
        let file = scene.path("out/current/privkey.pem");
        eventually("the key is there", Duration::from_secs(60), || file.exists().then_some(()));
        // While the hand has it in its hands, and when all is done.
        look_from_outside(&file);
        fs::remove_file(&hold).unwrap();
        carrying.join().unwrap().unwrap().keep().unwrap();
        look_from_outside(&file);
    });
    // A key that is not exportable stays where it is.
    let before = scene.listing();
    let (chain, key) = pair(KeyUsage::Tls);
    let parcel = Parcel { target: &target, name: &name, chain: &chain, key: &key };
    let error = hand.carry(parcel, &vault, PATIENCE).unwrap_err();
    assert_eq!((error.stage, error.as_it_was), (Stage::Key, true));
    assert!(error.reason.contains("not sealed as exportable"), "{error}");
    assert_eq!(scene.listing(), before);
}
