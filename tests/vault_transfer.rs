//! Keys that come into the real vault's process and leave it again, with its walls up.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::process::Stdio;

use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::os::descriptors;
use keyward::vault::Vault;
use keyward::vault::VaultError;
use keyward::vault::import_box;
use keyward::vault::import_box::ImportBox;
use keyward::vault::import_box::Label;
use keyward::vault::key_file::KeyFile;
use keyward::vault::key_file::KeyFileError;
use keyward::vault::key_locked;
use keyward::vault::key_locked::LockedError;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::status;
use keyward::vault::wire::Request;
use vault_common::House;
use vault_common::certificate_verify;

/// What `openssl` writes to its standard output.
fn openssl(arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments}");
    output.stdout
}

fn boxed(vault: &Vault, usage: KeyUsage, file: &KeyFile) -> ImportBox {
    let label = Label { algorithm: file.algorithm, usage, key: file.id };
    import_box::seal(&vault.import_key().unwrap(), label, &file.pkcs8).unwrap()
}

#[test]
fn the_keys_that_openssl_writes_come_in_sign_and_go_out_again() {
    let house = House::new();
    let vault = house.vault(0);
    let ec = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:";
    let rsa = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:";
    let table = [
        (format!("{ec}P-256"), KeyAlgorithm::P256, Scheme::EcdsaP256Sha256),
        (format!("{ec}P-384"), KeyAlgorithm::P384, Scheme::EcdsaP384Sha384),
        (format!("{rsa}2048"), KeyAlgorithm::Rsa2048, Scheme::RsaPssSha256),
        (format!("{rsa}3072"), KeyAlgorithm::Rsa2048, Scheme::RsaPssSha384),
        (format!("{rsa}4096"), KeyAlgorithm::Rsa2048, Scheme::RsaPssSha512),
    ];
    for (how, algorithm, scheme) in table {
        let pkcs8 = openssl(&how, b"");
        // The same key as PKCS#8, and as SEC1 or PKCS#1.
        let traditional = openssl("pkey -traditional", &pkcs8);
        assert_ne!(pkcs8, traditional);
        let file = KeyFile::from_pem(&traditional).unwrap();
        assert_eq!(file.id, KeyFile::from_pem(&pkcs8).unwrap().id, "{how}");
        assert_eq!(file.algorithm, algorithm);
        let key = vault.import(&boxed(&vault, KeyUsage::ExportableTls, &file)).unwrap();
        assert_eq!(&*key.spki, openssl("pkey -pubout -outform DER", &pkcs8), "{how}");
        let message = certificate_verify(32);
        vault.forget(key.id).unwrap();
        vault.sign(&key, Purpose::Tls13, scheme, &message).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        vault.export(&key, writer.into()).unwrap();
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(openssl("pkey", &text), openssl("pkey", &pkcs8), "{how}");
    }
}

#[test]
fn keys_that_are_not_served_are_refused_by_what_they_are() {
    let refused = |how: &str| KeyFile::from_pem(&openssl(how, b"")).unwrap_err();
    let rsa = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:";
    assert_eq!(refused(&format!("{rsa}1024")), KeyFileError::Weak);
    assert_eq!(refused(&format!("{rsa}4104")), KeyFileError::TooLong(4104));
    let other = refused("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521");
    assert!(matches!(other, KeyFileError::Unusable(_)), "{other}");
    let other = refused("genpkey -algorithm ed25519");
    assert!(matches!(other, KeyFileError::Unusable(_)), "{other}");
    let key = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", b"");
    for how in ["pkcs8 -topk8 -passout pass:secret", "ec -aes256 -passout pass:secret"] {
        assert_eq!(KeyFile::from_pem(&openssl(how, &key)).unwrap_err(), KeyFileError::Encrypted);
    }
}

#[test]
fn keys_under_a_passphrase_open_under_that_one_only() {
    let key = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", b"");
    let plain = KeyFile::from_pem(&key).unwrap();
    for how in ["", " -v2 aes-256-cbc -v2prf hmacWithSHA512", " -v2 des3", " -scrypt"] {
        let locked = openssl(&format!("pkcs8 -topk8 -passout pass:correct{how}"), &key);
        assert!(key_locked::is_locked(&locked), "{how}");
        let opened = key_locked::open_pem(&locked, b"correct").unwrap().unwrap();
        assert_eq!((opened.id, &opened.pkcs8), (plain.id, &plain.pkcs8), "{how}");
        for other in ["", "Correct", "correct "] {
            assert!(key_locked::open_pem(&locked, other.as_bytes()).unwrap().is_none(), "{how}");
        }
        let twice = [&locked[..], &locked[..]].concat();
        let refused = key_locked::open_pem(&twice, b"correct").unwrap_err();
        assert_eq!(refused, LockedError::Key(KeyFileError::Several), "{how}");
        let short = [&locked[..locked.len() / 2], b"\n-----END ENCRYPTED PRIVATE KEY-----\n"];
        let refused = key_locked::open_pem(&short.concat(), b"correct").unwrap_err();
        assert!(matches!(refused, LockedError::Damaged(_)), "{how}: {refused}");
    }
    let old = openssl("pkcs8 -topk8 -passout pass:correct -v1 PBE-SHA1-3DES", &key);
    let refused = key_locked::open_pem(&old, b"correct").unwrap_err();
    assert!(matches!(refused, LockedError::Cipher(_)), "{refused}");
    // More work than anybody needs is not begun: it would take some seconds.
    let locked = openssl("pkcs8 -topk8 -passout pass:correct -iter 10000001", &key);
    let refused = key_locked::open_pem(&locked, b"correct").unwrap_err();
    assert_eq!(refused, LockedError::Costly);
}

#[test]
fn a_pkcs12_file_gives_its_key_and_its_certificates_as_modern_and_old_programs_write_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).display().to_string();
    let key = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", b"");
    std::fs::write(place("key"), &key).unwrap();
    let subject = format!("req -x509 -key {} -subj /CN=shop.example -days 30", place("key"));
    let certificate = openssl(&subject, b"");
    std::fs::write(place("crt"), &certificate).unwrap();
    let plain = KeyFile::from_pem(&key).unwrap();
    let chain = keyward::cert::chain::Chain::from_pem(&certificate).unwrap();
    let export =
        format!("pkcs12 -export -inkey {} -in {} -passout pass:", place("key"), place("crt"));
    for how in ["correct", "correct -legacy", "correct -keypbe NONE -certpbe NONE", ""] {
        let file = openssl(&format!("{export}{how}"), b"");
        let word = how.split(' ').next().unwrap();
        let opened = key_locked::open_pkcs12(&file, word.as_bytes()).unwrap().unwrap();
        assert_eq!((opened.key.id, &opened.chain), (plain.id, &chain), "{how}");
        assert!(key_locked::open_pkcs12(&file, b"Correct").unwrap().is_none(), "{how}");
        assert!(key_locked::open_pkcs12(&file[..file.len() / 2], word.as_bytes()).is_err());
    }
    let bare = openssl(&format!("{export}correct -nokeys"), b"");
    let refused = key_locked::open_pkcs12(&bare, b"correct").unwrap_err();
    assert_eq!(refused, LockedError::Key(KeyFileError::None));
}

#[test]
fn what_was_not_sealed_as_exportable_does_not_leave_and_refusals_cost_no_vault() {
    let house = House::new();
    let vault = house.vault(0);
    let pid = vault.status().pid;
    let export = |key: &_| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let exported = vault.export(key, writer.into());
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        (exported, text)
    };
    let made = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let (exported, text) = export(&made);
    assert!(matches!(exported, Err(VaultError::Purpose(_))), "{exported:?}");
    assert_eq!(text, b"");
    // To say that it is another does not help: the calling stands in the seal.
    let lie = keyward::cert::key::KeyHandle { usage: KeyUsage::ExportableTls, ..made };
    assert!(matches!(export(&lie).0, Err(VaultError::Purpose(_))));
    let made = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::ExportableTls).unwrap();
    let (exported, text) = export(&made);
    exported.unwrap();
    assert_eq!(KeyFile::from_pem(&text).unwrap().id, made.id);
    // A target that takes nothing.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(matches!(vault.export(&made, writer.into()), Err(VaultError::Crypto(_))));
    assert_eq!(vault.status().pid, pid);
}

#[test]
fn a_box_is_for_one_vault_and_the_import_key_outlives_a_restart() {
    let house = House::new();
    let vault = house.vault(0);
    let file =
        KeyFile::from_pem(&openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", b""));
    let made = boxed(&vault, KeyUsage::Tls, &file.unwrap());
    let public = vault.import_key().unwrap();
    vault_common::kill(vault.status().pid);
    assert_eq!(vault.import_key().unwrap(), public);
    // Twice the same box is twice the same key.
    assert_eq!(vault.import(&made).unwrap().id, vault.import(&made).unwrap().id);
    let other = House::with_key(&[0x43; 32]).vault(0);
    assert_ne!(other.import_key().unwrap(), public);
    assert!(matches!(other.import(&made), Err(VaultError::Seal(_))));
    assert!(matches!(
        vault.import(&ImportBox { sealed: vec![0; 5], ..made }),
        Err(VaultError::Seal(_))
    ));
}

#[test]
fn a_descriptor_that_no_request_has_room_for_ends_the_vault() {
    let house = House::new();
    let frame = |request: &Request<'_>| {
        let mut frame = Vec::new();
        request.encode(2, &mut frame).unwrap();
        frame
    };
    let (one, other) = std::io::pipe().unwrap();
    let table: [(Request<'_>, &[_]); 4] = [
        (Request::Ping, &[one.as_fd()]),
        (Request::Export { sealed: b"x" }, &[]),
        (Request::Export { sealed: b"x" }, &[one.as_fd(), other.as_fd()]),
        (Request::ImportKey, &[one.as_fd()]),
    ];
    for (request, along) in table {
        let (control, mut child) = vault_common::raw_vault(&house);
        let cores = vec![u16::MAX];
        let hello = Request::Hello { version: 1, cache_bytes: 1, cores, gates: false };
        let (_work, theirs) = descriptors::seqpacket_pair().unwrap();
        let mut bytes = Vec::new();
        hello.encode(1, &mut bytes).unwrap();
        descriptors::send_with(control.as_fd(), &bytes, &[theirs.as_fd()]).unwrap();
        assert!(descriptors::receive(control.as_fd(), &mut [0; 4096]).unwrap() > 0);
        descriptors::send_with(control.as_fd(), &frame(&request), along).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(i32::from(status::PROTOCOL)), "{request:?}");
    }
}
