//! A change of the master key, on real vaults: what was sealed opens throughout, and nothing waits
//! longer than when a vault dies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod vault_common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultError;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::seal::Mark;
use keyward::vault::succession::Step;
use vault_common::House;
use vault_common::account_request;
use vault_common::certificate_verify;
use vault_common::kill;
use vault_common::wait_until;

fn own(house: &House) -> Vault {
    let mut options = house.options(1);
    options.master = MasterKeySource::Own(house.key.clone());
    Vault::start(options).unwrap()
}

fn sign(vault: &Vault, key: &KeyHandle) -> Result<Vec<u8>, VaultError> {
    vault.sign(key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &certificate_verify(32))
}

/// Has an account ask its CA for something.
fn ask(vault: &Vault, account: &KeyHandle) -> Result<Vec<u8>, VaultError> {
    let message = account_request("https://ca.example/order/1", "");
    vault.sign(account, Purpose::Account, Scheme::EcdsaP256Sha256, &message)
}

#[test]
fn everything_opens_and_signs_throughout_and_the_former_key_opens_nothing_afterwards() {
    let house = House::new();
    let vault = own(&house);
    let first = vault.masters();
    assert_eq!((first.len(), first[0].epoch), (1, 1));
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let account = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Account).unwrap();

    // Somebody signs all the time, with the sealed key that was made first.
    let (done, signed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let signer = {
        let (vault, key) = (vault.clone(), key.clone());
        let (done, signed) = (Arc::clone(&done), Arc::clone(&signed));
        std::thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                sign(&vault, &key).unwrap();
                signed.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let progress = |more: u64| {
        let from = signed.load(Ordering::SeqCst);
        wait_until(Duration::from_secs(20), || signed.load(Ordering::SeqCst) > from + more);
    };
    progress(5);
    let both = vault.change_master(Step::Begin).unwrap();
    assert_eq!((both.len(), both[0].epoch, both[1]), (2, 2, first[0]));
    progress(5);
    let again = vault.change_master(Step::Begin).unwrap();
    assert_eq!(again, both, "one change at a time");
    ask(&vault, &account).unwrap();
    let made = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    assert_eq!(
        Mark::of(&made.sealed.0),
        Some(both[0]),
        "what is sealed is sealed under the new one"
    );
    let anew = vault.reseal(&key.sealed.0).unwrap().unwrap();
    let account_anew = vault.reseal(&account.sealed.0).unwrap().unwrap();
    assert_eq!(vault.reseal(&anew).unwrap(), None);
    // A vault that dies in between knows both, too.
    kill(vault.status().pid);
    progress(5);
    done.store(true, Ordering::SeqCst);
    signer.join().unwrap();

    let alone = vault.change_master(Step::Finish).unwrap();
    assert_eq!(alone, [both[0]]);
    let former = house.dir.path().join("master.key.former");
    assert!(!former.exists());
    let anew = KeyHandle { sealed: SealedKey(anew.into()), ..key.clone() };
    sign(&vault, &anew).unwrap();
    let account_anew = KeyHandle { sealed: SealedKey(account_anew.into()), ..account.clone() };
    for key in [key.id, account.id] {
        vault.forget(key).unwrap();
    }
    assert!(matches!(ask(&vault, &account), Err(VaultError::Seal(_))));
    ask(&vault, &account_anew).unwrap();
    assert!(matches!(sign(&vault, &key), Err(VaultError::Seal(_))));
    sign(&vault, &anew).unwrap();
}

#[test]
fn a_key_file_that_is_not_ours_is_left_alone() {
    let house = House::new();
    let before = std::fs::read(&house.key).unwrap();
    let vault = house.vault(1);
    let error = vault.change_master(Step::Begin).unwrap_err();
    assert!(error.to_string().contains("the new master key was not written"), "{error}");
    assert_eq!(std::fs::read(&house.key).unwrap(), before);
    assert_eq!(vault.masters().len(), 1);
    assert!(vault.ping().is_ok());
}

#[test]
fn an_operator_who_lays_the_former_key_beside_the_new_one_has_both() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let key = house.vault(1).generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let former = house.dir.path().join("master.key.former");
    std::fs::rename(&house.key, &former).unwrap();
    std::fs::write(&house.key, [7; 32]).unwrap();
    std::fs::set_permissions(&house.key, std::fs::Permissions::from_mode(0o400)).unwrap();
    let vault = house.vault(1);
    assert_eq!(vault.masters().len(), 2);
    sign(&vault, &key).unwrap();
    let anew = vault.reseal(&key.sealed.0).unwrap().unwrap();
    assert_eq!(Mark::of(&anew), Some(vault.masters()[0]));
}
