//! The key cache of the vault, through the real binary: one opening for all who ask, no second try
//! of what does not open, and the busiest keys open before anybody asks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

mod vault_common;

use std::collections::HashSet;
use std::sync::Barrier;

use keyward::base::bounds;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::ports::Signers;
use keyward::vault::Vault;
use keyward::vault::VaultError;
use keyward::vault::VaultOptions;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use vault_common::House;
use vault_common::certificate_verify;

fn key(vault: &Vault) -> KeyHandle {
    vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap()
}

fn sign(vault: &Vault, key: &KeyHandle) -> Result<Vec<u8>, VaultError> {
    let scheme = match key.algorithm {
        KeyAlgorithm::Rsa2048 => Scheme::RsaPssSha256,
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => Scheme::EcdsaP256Sha256,
    };
    vault.sign(key, Purpose::Tls13, scheme, &certificate_verify(32))
}

/// The smallest cache there is.
fn small(house: &House) -> Vault {
    Vault::start(VaultOptions { cache_bytes: 0, ..house.options(0) }).unwrap()
}

#[test]
fn however_many_workers_want_a_closed_key_it_is_opened_once() {
    const WORKERS: usize = 8;
    const ROUNDS: u64 = 300;
    let house = House::new();
    let vault = house.vault(WORKERS);
    // The kind that takes longest, so that they all come while it is being opened.
    let key = vault.generate_blocking(KeyAlgorithm::Rsa2048, KeyUsage::Tls).unwrap();
    let (begin, end) = (Barrier::new(WORKERS + 1), Barrier::new(WORKERS + 1));
    std::thread::scope(|scope| {
        for index in 0..WORKERS {
            let (vault, key, begin, end) = (vault.clone(), &key, &begin, &end);
            scope.spawn(move || {
                vault.bind_worker(index, None);
                for _ in 0..ROUNDS {
                    begin.wait();
                    let signed = sign(&vault, key);
                    end.wait();
                    signed.unwrap();
                }
            });
        }
        for _ in 0..ROUNDS {
            vault.forget(key.id).unwrap();
            begin.wait();
            end.wait();
        }
    });
    let figures = vault.ping().unwrap();
    assert_eq!(figures.signatures, ROUNDS * 8, "{figures:?}");
    assert_eq!(figures.opened, ROUNDS, "{figures:?}");
    // There was something to wait for.
    assert!(figures.misses > ROUNDS, "{figures:?}");
}

#[test]
fn a_sealed_key_that_does_not_open_is_not_tried_again_at_once_and_a_whole_one_is() {
    let house = House::new();
    let vault = house.vault(1);
    let key = key(&vault);
    vault.forget(key.id).unwrap();
    let mut blob = key.sealed.0.to_vec();
    *blob.last_mut().unwrap() ^= 1;
    let damaged = KeyHandle { sealed: SealedKey(blob.into()), ..key.clone() };
    let mut told = HashSet::new();
    for _ in 0..5 {
        let error = sign(&vault, &damaged).unwrap_err();
        assert!(matches!(error, VaultError::Seal(_)), "{error}");
        told.insert(error.to_string());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    let figures = vault.ping().unwrap();
    assert_eq!((figures.opened, figures.negative), (0, 4), "{figures:?}");
    // The same key as it should be, although its name was just refused.
    sign(&vault, &key).unwrap();
    assert_eq!(vault.ping().unwrap().opened, 1);
    // Open by now, it is not looked at again.
    sign(&vault, &damaged).unwrap();
}

#[test]
fn the_busiest_keys_stay_whatever_else_is_asked_for() {
    let house = House::new();
    let vault = small(&house);
    let busy: Vec<_> = (0..20).map(|_| key(&vault)).collect();
    for (at, key) in busy.iter().enumerate() {
        for _ in 0..bounds::VAULT_PIN_HEAT + u64::try_from(at).unwrap() {
            sign(&vault, key).unwrap();
        }
    }
    let ranked: Vec<_> = vault.busiest().unwrap().iter().map(|busy| busy.key).collect();
    let expected: Vec<_> = busy.iter().rev().map(|key| key.id).collect();
    assert_eq!(ranked, expected);
    let before = vault.ping().unwrap();
    assert_eq!((before.pinned, before.evictions), (20, 0), "{before:?}");
    // Twice as many as the cache holds, each used often enough to stay where nothing is pinned.
    for _ in 0..1200 {
        let other = key(&vault);
        for _ in 0..4 {
            sign(&vault, &other).unwrap();
        }
    }
    let scanned = vault.ping().unwrap();
    assert!(scanned.evictions > 500, "{scanned:?}");
    assert!(scanned.open_bytes <= bounds::VAULT_CACHE_LEAST, "{scanned:?}");
    for key in &busy {
        sign(&vault, key).unwrap();
    }
    let after = vault.ping().unwrap();
    assert_eq!(after.misses, scanned.misses, "a busy key was pushed out: {after:?}");
}

#[test]
fn no_more_than_a_share_of_the_cache_is_pinned() {
    let house = House::new();
    let vault = small(&house);
    // Half of the cache, all of it busy.
    let busy: Vec<_> = (0..270).map(|_| key(&vault)).collect();
    for _ in 0..bounds::VAULT_PIN_HEAT {
        for key in &busy {
            sign(&vault, key).unwrap();
        }
    }
    vault.busiest().unwrap();
    let pinned = vault.ping().unwrap().pinned;
    let weight = bounds::VAULT_CACHE_LEAST / bounds::VAULT_PINNED_SHARE / 480;
    assert!(pinned <= weight && pinned > weight / 2, "{pinned} of {weight}");
    // What is busy no more makes room for what is.
    let next: Vec<_> = (0..20).map(|_| key(&vault)).collect();
    for key in &next {
        for _ in 0..10 * bounds::VAULT_PIN_HEAT {
            sign(&vault, key).unwrap();
        }
    }
    let ranked = vault.busiest().unwrap();
    let first: HashSet<KeyId> = ranked.iter().take(20).map(|busy| busy.key).collect();
    assert_eq!(first, next.iter().map(|key| key.id).collect());
}

#[test]
fn the_busiest_keys_of_one_run_are_open_at_the_beginning_of_the_next() {
    let house = House::new();
    let first = house.vault(0);
    // More than one frame names.
    let keys: Vec<_> = (0..bounds::VAULT_BUSIEST_PAGE + 100).map(|_| key(&first)).collect();
    keys.iter().for_each(|key| drop(sign(&first, key).unwrap()));
    let hot = keys.last().unwrap();
    for _ in 0..40 {
        sign(&first, hot).unwrap();
    }
    // The internal CA is no site.
    let ca = first.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&first.csr_signer(&ca).unwrap()).unwrap();
    let list = first.busiest().unwrap();
    assert_eq!((list.len(), list[0].key, list[0].heat), (keys.len(), hot.id, 41));
    let names: HashSet<_> = list.iter().map(|busy| busy.key).collect();
    assert_eq!(names, keys.iter().map(|key| key.id).collect());
    drop(first);

    let next = house.vault(0);
    for busy in &list {
        let key = keys.iter().find(|key| key.id == busy.key).unwrap();
        assert!(next.warm(key, busy.heat).unwrap());
        // Again costs nothing and counts for nothing.
        assert!(next.warm(key, busy.heat).unwrap());
    }
    // As hot as they were, so that a restart right now would not forget them.
    assert_eq!(next.busiest().unwrap()[0], list[0]);
    keys.iter().for_each(|key| drop(sign(&next, key).unwrap()));
    let figures = next.ping().unwrap();
    let count = u64::try_from(keys.len()).unwrap();
    assert_eq!((figures.warmed, figures.opened), (count, count), "{figures:?}");
    assert_eq!((figures.hits, figures.misses, figures.pinned), (count, 0, 1), "{figures:?}");
}

#[test]
fn warming_pushes_nothing_out_and_what_does_not_open_is_told() {
    let house = House::new();
    let vault = house.vault(0);
    let keys: Vec<_> = (0..2400).map(|_| key(&vault)).collect();
    drop(vault);
    let vault = house.vault(0);
    let warmed = keys.iter().take_while(|key| vault.warm(key, 1).unwrap()).count();
    assert!((1500..2000).contains(&warmed), "{warmed}");
    let figures = vault.ping().unwrap();
    assert_eq!(figures.open, u64::try_from(warmed).unwrap(), "{figures:?}");
    assert_eq!(figures.evictions, 0, "{figures:?}");
    drop(vault);
    let other = House::with_key(&[9; 32]).vault(0);
    let error = other.warm(&keys[0], 1).unwrap_err();
    assert!(matches!(error, VaultError::Seal(_)), "{error}");
}
