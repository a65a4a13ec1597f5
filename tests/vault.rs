//! The vault as its own process, through the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::time::Duration;

use keyward::base::Secret;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::os::sandbox::Standing;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultError;
use keyward::vault::VaultEvent;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::seal::Content;
use keyward::vault::seal::Sealer;
use keyward::vault::walls::WALLS;
use rcgen::PublicKeyData as _;
use ring::signature;
use vault_common::House;
use vault_common::account_request;
use vault_common::certificate_verify;

const ALGORITHMS: [KeyAlgorithm; 3] =
    [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];

fn public_key(key: &KeyHandle) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let (_, spki) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&key.spki).unwrap();
    spki.subject_public_key.data.to_vec()
}

fn verify(key: &KeyHandle, scheme: Scheme, message: &[u8], signed: &[u8]) {
    let how: &dyn signature::VerificationAlgorithm = match scheme {
        Scheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        Scheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        Scheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        Scheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        Scheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Scheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    };
    let key = signature::UnparsedPublicKey::new(how, public_key(key));
    key.verify(message, signed).unwrap();
}

/// The random octets and curve parameters of a TLS 1.2 key exchange.
fn server_key_exchange() -> Vec<u8> {
    let mut message = vec![7; 64];
    message.extend([3, 0, 29, 32]);
    message.extend([9; 32]);
    message
}

#[test]
fn every_kind_of_key_signs_with_every_scheme_it_has() {
    let house = House::new();
    let vault = house.vault(0);
    for algorithm in ALGORITHMS {
        let key = vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap();
        assert_eq!(key.id, KeyId::of_spki(&key.spki));
        for scheme in keyward::vault::scheme::SCHEMES {
            for (purpose, message) in [
                (Purpose::Tls13, certificate_verify(32)),
                (Purpose::Tls13, certificate_verify(48)),
                (Purpose::Tls12, server_key_exchange()),
            ] {
                let signed = vault.sign(&key, purpose, scheme, &message);
                let fits = scheme.algorithm() == algorithm
                    && (purpose == Purpose::Tls12 || scheme.fits_tls13());
                assert_eq!(signed.is_ok(), fits, "{algorithm} {scheme:?} {purpose:?}");
                if let Ok(signed) = signed {
                    verify(&key, scheme, &message, &signed);
                }
            }
        }
    }
    let figures = vault.ping().unwrap();
    assert_eq!((figures.open, figures.misses), (3, 0));
    assert!(figures.signatures >= 13 && figures.refusals > 0, "{figures:?}");
}

/// The information a request for `key` would carry, unsigned.
fn request_info(vault: &Vault, key: &KeyHandle) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let signer = vault.csr_signer(key).unwrap();
    let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
    let request = params.serialize_request(&signer).unwrap();
    let (_, parsed) =
        x509_parser::certification_request::X509CertificationRequest::from_der(request.der())
            .unwrap();
    let info = parsed.certification_request_info.raw.to_vec();
    let scheme = match key.algorithm {
        KeyAlgorithm::P256 => Scheme::EcdsaP256Sha256,
        KeyAlgorithm::P384 => Scheme::EcdsaP384Sha384,
        KeyAlgorithm::Rsa2048 => Scheme::RsaPkcs1Sha256,
    };
    verify(key, scheme, &info, &parsed.signature_value.data);
    info
}

#[test]
fn a_request_is_signed_for_the_very_key_only() {
    let house = House::new();
    let vault = house.vault(0);
    for algorithm in ALGORITHMS {
        let key = vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap();
        let other = vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap();
        let info = request_info(&vault, &key);
        let scheme =
            *keyward::vault::scheme::SCHEMES.iter().find(|s| s.algorithm() == algorithm).unwrap();
        assert!(vault.sign(&key, Purpose::Csr, scheme, &info).is_ok());
        let refused = vault.sign(&other, Purpose::Csr, scheme, &info);
        assert!(matches!(refused, Err(VaultError::Purpose(_))), "{refused:?}");
    }
}

/// What an issuer signs of some certificate.
fn tbs_certificate() -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let some = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(some.cert.der()).unwrap();
    parsed.tbs_certificate.as_ref().to_vec()
}

#[test]
fn nothing_is_signed_that_is_not_what_it_is_said_to_be() {
    let house = House::new();
    let vault = house.vault(0);
    let tls = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let ca = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let verify13 = certificate_verify(32);
    let exchange = server_key_exchange();
    let info = request_info(&vault, &tls);
    let client: Vec<u8> =
        [&[b' '; 64][..], b"TLS 1.3, client CertificateVerify\0", &[1; 32]].concat();
    let mut no_space = verify13.clone();
    no_space[63] = b'!';
    let tbs = tbs_certificate();
    let mut secp521 = exchange.clone();
    secp521[66] = 25;
    let mut short_point = exchange.clone();
    short_point.pop();
    let longer = [&info[..], &[0]].concat();
    let refused: [(&KeyHandle, Purpose, &[u8]); 18] = [
        (&tls, Purpose::Tls13, &no_space),
        (&tls, Purpose::InternalCaTbs, &tbs),
        (&ca, Purpose::Csr, &tbs),
        (&tls, Purpose::Tls13, b"anything at all"),
        (&tls, Purpose::Tls13, b""),
        (&tls, Purpose::Tls13, &client),
        (&tls, Purpose::Tls13, &certificate_verify(20)),
        (&tls, Purpose::Tls13, &certificate_verify(33)),
        (&tls, Purpose::Tls13, &info),
        (&tls, Purpose::Tls12, &verify13),
        (&tls, Purpose::Tls12, &secp521),
        (&tls, Purpose::Tls12, &short_point),
        (&tls, Purpose::Csr, &verify13),
        (&tls, Purpose::Csr, &longer),
        (&tls, Purpose::InternalCaTbs, &info),
        (&ca, Purpose::Tls13, &verify13),
        (&ca, Purpose::Tls12, &exchange),
        (&ca, Purpose::InternalCaTbs, &verify13),
    ];
    for (number, (key, purpose, message)) in refused.into_iter().enumerate() {
        let signed = vault.sign(key, purpose, Scheme::EcdsaP256Sha256, message);
        assert!(matches!(signed, Err(VaultError::Purpose(_))), "{number}: {signed:?}");
    }
    assert!(vault.sign(&ca, Purpose::InternalCaTbs, Scheme::EcdsaP256Sha256, &tbs).is_ok());
    assert_eq!(vault.ping().unwrap().refusals, 18);
    // Refusing is not dying.
    assert_eq!(vault.status().restarts, 0);
}

#[test]
fn the_internal_ca_signs_certificates_and_a_site_key_does_not() {
    let house = House::new();
    let vault = house.vault(0);
    let ca = vault.generate_blocking(KeyAlgorithm::P384, KeyUsage::InternalCa).unwrap();
    let tls = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&vault.csr_signer(&ca).unwrap()).unwrap();
    assert!(!root.der().is_empty());
    let forged = params.self_signed(&vault.csr_signer(&tls).unwrap());
    assert!(forged.is_err(), "a site key signed a certificate");
    assert_eq!(vault.csr_signer(&tls).unwrap().der_bytes(), public_key(&tls));
}

#[test]
fn sealed_keys_open_again_after_a_restart_and_not_under_another_master_key() {
    let house = House::new();
    let first = house.vault(0);
    let key = first.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    drop(first);
    let again = house.vault(0);
    let message = certificate_verify(32);
    let signed = again.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
    verify(&key, Scheme::EcdsaP256Sha256, &message, &signed);
    assert_eq!(again.ping().unwrap().misses, 1);

    let other = House::with_key(&[0x43; 32]).vault(0);
    let error = other.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap_err();
    assert!(matches!(error, VaultError::Seal(_)), "{error}");
    assert!(error.to_string().contains("epoch 1"), "{error}");

    let mut blob = key.sealed.0.to_vec();
    *blob.last_mut().unwrap() ^= 1;
    let damaged = KeyHandle { sealed: keyward::cert::key::SealedKey(blob.into()), ..key.clone() };
    again.forget(key.id).unwrap();
    let error =
        again.sign(&damaged, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn the_key_of_an_account_that_was_a_secret_is_taken_over_and_signs_what_accounts_ask() {
    let house = House::with_key(&[0x43; 32]);
    let vault = house.vault(0);
    let label = "https://ca.example/dir";
    // As an earlier version left it: a secret that main could have opened.
    let pair = rcgen::KeyPair::generate().unwrap();
    let sealer = Sealer::new(Secret::new([0x43; 32])).unwrap();
    let sealed = sealer.seal(Content::secret(label.as_bytes()), &pair.serialize_der()).unwrap();
    let account = vault.take_over(label, &sealed).unwrap();
    assert_eq!(*account.spki, *rcgen::PublicKeyData::subject_public_key_info(&pair));
    assert_eq!(account.usage, KeyUsage::Account);
    let scheme = Scheme::EcdsaP256Sha256;
    let message = account_request("https://ca.example/order", r#"{"identifiers":[]}"#);
    let signed = vault.sign(&account, Purpose::Account, scheme, &message).unwrap();
    verify(&account, scheme, &message, &signed);
    // Also by a vault that was not there.
    let later = house.vault(0);
    let signed = later.sign(&account, Purpose::Account, scheme, &message).unwrap();
    verify(&account, scheme, &message, &signed);

    // Under another account's name it is not, nor is anything else.
    let other = vault.take_over("https://other.example/dir", &sealed);
    assert!(matches!(other, Err(VaultError::Seal(_))), "{other:?}");
    let strange = sealer.seal(Content::secret(label.as_bytes()), b"no key").unwrap();
    let strange = vault.take_over(label, &strange);
    assert!(matches!(strange, Err(VaultError::Crypto(_))), "{strange:?}");
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let stolen = vault.take_over(label, &key.sealed.0);
    assert!(matches!(stolen, Err(VaultError::Seal(_))), "{stolen:?}");
    // Nor is a secret a key.
    let forged = KeyHandle { sealed: keyward::cert::key::SealedKey(sealed.into()), ..key.clone() };
    vault.forget(key.id).unwrap();
    let message = certificate_verify(32);
    let signed = vault.sign(&forged, Purpose::Tls13, scheme, &message);
    assert!(matches!(signed, Err(VaultError::Seal(_))), "{signed:?}");
}

#[test]
fn an_account_is_not_given_away_and_its_key_signs_nothing_else() {
    let house = House::new();
    let vault = house.vault(0);
    let account = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Account).unwrap();
    let site = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let ca = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let scheme = Scheme::EcdsaP256Sha256;
    let refused = |key: &KeyHandle, purpose, message: &[u8]| {
        let signed = vault.sign(key, purpose, scheme, message);
        assert!(matches!(signed, Err(VaultError::Purpose(_))), "{purpose:?}: {signed:?}");
    };
    let asked = account_request("https://ca.example/order", r#"{"identifiers":[]}"#);
    vault.sign(&account, Purpose::Account, scheme, &asked).unwrap();
    let ended =
        account_request("https://ca.example/revoke", r#"{"certificate":"MIIB","reason":1}"#);
    vault.sign(&account, Purpose::Account, scheme, &ended).unwrap();
    // Its end, another key for it, and what only looks like a certificate's end.
    for payload in [
        r#"{"status":"deactivated"}"#,
        r#"{"protected":"e30","payload":"e30","signature":"AA"}"#,
        r#"{"certificate":"MIIB","status":"deactivated"}"#,
    ] {
        refused(&account, Purpose::Account, &account_request("https://ca.example/x", payload));
    }
    for message in [&b""[..], b"text", &certificate_verify(32)] {
        refused(&account, Purpose::Account, message);
    }
    refused(&account, Purpose::Tls13, &certificate_verify(32));
    refused(&account, Purpose::Csr, &asked);
    refused(&account, Purpose::InternalCaTbs, &asked);
    refused(&site, Purpose::Account, &asked);
    refused(&ca, Purpose::Account, &asked);
    // Nor does it sign a request for a certificate about itself.
    let signer = vault.csr_signer(&account).unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    assert!(params.serialize_request(&signer).is_err());
}

#[test]
fn more_keys_than_the_cache_holds_still_all_sign() {
    let house = House::new();
    let mut options = house.options(0);
    options.cache_bytes = 1;
    let vault = Vault::start(options).unwrap();
    let keys: Vec<_> = (0..1500)
        .map(|_| vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap())
        .collect();
    let message = certificate_verify(32);
    for key in &keys {
        let signed = vault.sign(key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
        verify(key, Scheme::EcdsaP256Sha256, &message, &signed);
    }
    let figures = vault.ping().unwrap();
    assert!(figures.open_bytes <= keyward::base::bounds::VAULT_CACHE_LEAST, "{figures:?}");
    assert!(figures.misses > 500 && figures.signatures == 1500, "{figures:?}");
}

#[test]
fn an_unusable_master_key_is_said_so_at_the_start() {
    let house = House::with_key(&[1; 31]);
    let start = |master| {
        let mut options = house.options(0);
        options.master = master;
        Vault::start(options)
    };
    let error = start(MasterKeySource::File(house.key.clone())).unwrap_err();
    assert!(matches!(error, VaultError::MasterKey(_)), "{error:?}");
    assert!(error.to_string().contains("has 31 bytes"), "{error}");
    assert!(error.to_string().contains(house.key.to_str().unwrap()), "{error}");

    let error = start(MasterKeySource::File(house.dir.path().join("absent"))).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");

    let made = house.dir.path().join("made.key");
    let vault = start(MasterKeySource::CreateIfMissing(made.clone())).unwrap();
    assert!(vault.status().created_master);
    drop(vault);
    let vault = start(MasterKeySource::CreateIfMissing(made.clone())).unwrap();
    assert!(!vault.status().created_master);
    drop(vault);

    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o444)).unwrap();
    let error = start(MasterKeySource::File(made.clone())).unwrap_err();
    assert!(error.to_string().contains("mode 444"), "{error}");
    assert!(start(MasterKeySource::Credential(made)).is_ok());
}

#[test]
fn the_vault_and_its_keeper_end_with_the_last_handle() {
    let house = House::new();
    let vault = house.vault(1);
    let status = vault.status();
    let pids = [status.pid, status.keeper_pid.unwrap()];
    let copy = vault.clone();
    drop(vault);
    assert!(copy.ping().is_ok());
    drop(copy);
    for pid in pids {
        vault_common::wait_until(Duration::from_secs(5), || !vault_common::is_running(pid));
    }
}

#[test]
fn the_running_vault_shows_its_walls_from_outside() {
    let house = House::new();
    let vault = house.vault(2);
    let status = vault.status();
    let walls: Vec<_> = status.walls.iter().map(|report| report.wall).collect();
    assert_eq!(walls, WALLS);
    let proc = std::path::PathBuf::from(format!("/proc/{}", status.pid));
    let mut threads = 0;
    for thread in std::fs::read_dir(proc.join("task")).unwrap() {
        let text = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        threads += 1;
        assert_eq!(line("NoNewPrivs:"), "1");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(set), "0000000000000000", "{set}");
        }
        let seccomp = status.walls.iter().any(|report| {
            report.wall.name() == "system calls" && report.standing == Standing::Full
        });
        assert_eq!(line("Seccomp:") == "2", seccomp);
    }
    // Control, two workers, and one for whoever is no worker.
    assert_eq!(threads, 4);
    // Not even readable for an unprivileged user, since it cannot be dumped.
    if let Ok(environ) = std::fs::read(proc.join("environ")) {
        assert!(environ.is_empty(), "{} bytes of environment", environ.len());
    }
    if let Ok(descriptors) = std::fs::read_dir(proc.join("fd")) {
        for descriptor in descriptors {
            let target = std::fs::read_link(descriptor.unwrap().path()).unwrap();
            let target = target.to_str().unwrap();
            assert!(target == "/dev/null" || target.starts_with("socket:"), "{target}");
        }
    }
}

#[test]
fn without_a_keeper_the_vault_serves_on_and_its_end_is_told() {
    let house = House::new();
    let vault = house.vault(0);
    let mut events = vault.events().unwrap();
    assert!(vault.events().is_none());
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let before = vault.status();
    vault_common::kill(before.keeper_pid.unwrap());
    assert_eq!(events.blocking_recv(), Some(VaultEvent::KeeperLost));
    let message = certificate_verify(32);
    let sign = || vault.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message);
    assert!(sign().is_ok());
    let after = vault.status();
    assert_eq!((after.pid, after.keeper_pid), (before.pid, None));
    vault_common::kill(after.pid);
    assert_eq!(events.blocking_recv(), Some(VaultEvent::Lost));
    assert!(matches!(sign(), Err(VaultError::Gone)));
}

#[test]
fn signals_for_the_whole_group_are_left_to_main() {
    let house = House::new();
    let vault = house.vault(0);
    let status = vault.status();
    for pid in [status.pid, status.keeper_pid.unwrap()] {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        for signal in ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] {
            nix::sys::signal::kill(pid, signal.parse::<nix::sys::signal::Signal>().unwrap())
                .unwrap();
        }
    }
    vault_common::pause(Duration::from_millis(100));
    let after = vault.status();
    assert_eq!((after.pid, after.keeper_pid), (status.pid, status.keeper_pid));
    assert!(after.figures.is_some());
}

#[test]
fn two_threads_bound_to_one_channel_are_both_served() {
    use keyward::cert::ports::Signers as _;
    let house = House::new();
    let vault = house.vault(1);
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let message = certificate_verify(32);
    let sign = || vault.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
    vault.bind_worker(0, None);
    verify(&key, Scheme::EcdsaP256Sha256, &message, &sign());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            vault.bind_worker(0, None);
            verify(&key, Scheme::EcdsaP256Sha256, &message, &sign());
        });
    });
    verify(&key, Scheme::EcdsaP256Sha256, &message, &sign());
    let error = Vault::start(house.options(1000)).unwrap_err();
    assert!(matches!(error, VaultError::TooManyWorkers { workers: 1000, .. }), "{error}");
}

#[test]
fn a_vault_that_somebody_else_started_is_used_the_same_way() {
    let house = House::new();
    let (ours, mut child) = vault_common::raw_vault(&house);
    let vault = Vault::connect(ours, 1024 * 1024, 1, vec![Some(0)]).unwrap();
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let message = certificate_verify(48);
    assert!(vault.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).is_ok());
    assert_eq!(vault.status().keeper_pid, None);
    drop(vault);
    assert!(child.wait().unwrap().success());
}
