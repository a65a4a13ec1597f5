//! The vault's count of signatures and main's count of handshakes, on a real vault.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::sync::Arc;
use std::time::Duration;

use keyward::base::Timestamp;
use keyward::base::bounds;
use keyward::cert::chain::Chain;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers as _;
use keyward::vault::Vault;
use keyward::vault::ledger::Ledger;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::tally;
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;
use vault_common::House;
use vault_common::certificate_verify;
use vault_common::wait_until;

const OFFERED: [SignatureScheme; 1] = [SignatureScheme::ECDSA_NISTP256_SHA256];

/// A key, and a certificate for it as rustls serves it.
fn served(vault: &Vault) -> (KeyHandle, Arc<CertifiedKey>) {
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let authority = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let params = rcgen::CertificateParams::new(vec!["count.example".to_owned()]).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, vault.csr_signer(&authority).unwrap());
    let leaf = params.signed_by(&vault.csr_signer(&key).unwrap(), &issuer).unwrap();
    let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();
    let certified = vault.certified_key(&chain, &key).unwrap();
    (key, certified)
}

/// What rustls does in a full handshake.
fn handshake(certified: &CertifiedKey) {
    let signer = certified.key.choose_scheme(&OFFERED).unwrap();
    signer.sign(&certificate_verify(32)).unwrap();
}

/// Signatures and handshakes of `key`.
fn counts(vault: &Vault, key: &KeyHandle) -> (u64, u64) {
    let look = vault.look().unwrap().unwrap();
    let name = tally::short(&key.id);
    let found = look.counts.iter().find(|(signed, _)| signed.key == name);
    let (signed, begun) = found.copied().unwrap_or_default();
    assert_eq!((signed.least(), begun.least()), (signed.most, begun.most), "exact");
    (signed.most, begun.most)
}

#[test]
fn each_handshake_is_counted_once_on_either_side_whoever_makes_it() {
    let house = House::new();
    for gates in [true, false] {
        let options = keyward::vault::VaultOptions { gates, ..house.options(2) };
        let vault = Vault::start(options).unwrap();
        let (key, certified) = served(&vault);
        let (other, _) = served(&vault);
        std::thread::scope(|scope| {
            for index in 0..2 {
                let (vault, certified) = (&vault, &certified);
                scope.spawn(move || {
                    vault.bind_worker(index, None);
                    (0..50).for_each(|_| handshake(certified));
                });
            }
            // Two that are no workers, at once.
            for _ in 0..2 {
                scope.spawn(|| (0..30).for_each(|_| handshake(&certified)));
            }
        });
        assert_eq!(counts(&vault, &key), (160, 160));
        // Requests for certificates are none, and are not counted as such.
        assert_eq!(counts(&vault, &other), (0, 0));
    }
}

#[test]
fn signatures_without_handshakes_are_seen_and_another_vault_begins_anew() {
    let house = House::new();
    let vault = house.vault(1);
    let (key, certified) = served(&vault);
    let mut ledger = Ledger::default();
    let now = Timestamp::from_unix(1_800_000_000);
    let mut enter = |seconds| {
        let look = vault.look().unwrap().unwrap();
        ledger.enter(&look, now.plus(Duration::from_secs(seconds)))
    };
    (0..2 * bounds::SIGN_EXCESS).for_each(|_| handshake(&certified));
    assert_eq!(enter(0), []);
    // As somebody does who got hold of a channel.
    let message = certificate_verify(48);
    for _ in 0..bounds::SIGN_EXCESS {
        vault.sign(&key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap();
    }
    let alarms = enter(5);
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].key, tally::short(&key.id));
    assert_eq!(alarms[0].signatures - alarms[0].handshakes, bounds::SIGN_EXCESS);

    vault_common::kill(vault.status().pid);
    wait_until(Duration::from_secs(10), || vault.status().restarts == 1);
    handshake(&certified);
    // The question during which the vault died was asked again of the next.
    let (signed, begun) = counts(&vault, &key);
    assert!(signed == 1 && begun <= 1, "{signed} {begun}");
    assert_eq!(enter(10), []);
}
