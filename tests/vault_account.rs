//! The change of an account's key, on a real vault: to another key of the same vault, and to no
//! other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod vault_common;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::RemoteSigning as _;
use keyward::vault::VaultError;
use keyward::vault::import_box;
use keyward::vault::import_box::Label;
use keyward::vault::key_file::KeyFile;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use ring::signature::ECDSA_P256_SHA256_ASN1;
use ring::signature::UnparsedPublicKey;
use vault_common::House;
use vault_common::account_request;

const URL: &str = "https://ca.example/change";

fn jwk(spki: &[u8]) -> String {
    let (rest, y) = spki.split_last_chunk::<32>().unwrap();
    let (_, x) = rest.split_last_chunk::<32>().unwrap();
    let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
    format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
}

/// What the new key signs, and what the present one signs about it.
fn change(now: &[u8], next: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let proof = format!(r#"{{"alg":"ES256","jwk":{},"url":"{URL}"}}"#, jwk(next));
    let wanted = format!(r#"{{"account":"https://ca.example/acct/1","oldKey":{}}}"#, jwk(now));
    let [proof, wanted] = [proof, wanted].map(|part| URL_SAFE_NO_PAD.encode(part));
    let payload = format!(r#"{{"protected":"{proof}","payload":"{wanted}","signature":"AA"}}"#);
    (format!("{proof}.{wanted}").into_bytes(), account_request(URL, &payload))
}

#[test]
fn an_account_changes_to_a_key_of_this_vault_and_to_no_other() {
    let house = House::new();
    let vault = house.vault(0);
    let [now, next] =
        [(); 2].map(|()| vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Account).unwrap());
    let site = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let stranger = rcgen::KeyPair::generate().unwrap();
    let stranger = rcgen::PublicKeyData::subject_public_key_info(&stranger);
    let scheme = Scheme::EcdsaP256Sha256;
    let (inner, outer) = change(&now.spki, &next.spki);
    // Also where neither is open yet.
    for vault in [&vault, &house.vault(0)] {
        for (key, other, message) in [(&next, &now, &inner), (&now, &next, &outer)] {
            let signed = vault.sign_key_change(key, other, message).unwrap();
            let point = &key.spki[key.spki.len() - 65..];
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
                .verify(message, &signed)
                .unwrap();
        }
    }
    let refused = |key, purpose, message: &[u8]| {
        let signed = vault.sign(key, purpose, scheme, message);
        assert!(matches!(signed, Err(VaultError::Purpose(_))), "{signed:?}");
    };
    // Somebody's own key, and one of ours that is for something else.
    for taken in [&stranger[..], &site.spki] {
        let (inner, outer) = change(&now.spki, taken);
        refused(&now, Purpose::AccountKey, &outer);
        refused(&now, Purpose::AccountKey, &inner);
        // Nor does one of ours follow a key that somebody else may have in an account of his.
        let (inner, _) = change(taken, &next.spki);
        refused(&next, Purpose::AccountKey, &inner);
    }
    refused(&site, Purpose::AccountKey, &outer);
    // Neither half is an ordinary request, and no ordinary request is a half.
    refused(&now, Purpose::Account, &outer);
    refused(&next, Purpose::Account, &inner);
    let order = account_request("https://ca.example/order", r#"{"identifiers":[]}"#);
    refused(&now, Purpose::AccountKey, &order);
    // As soon as the other is not here any more, nothing is signed about it.
    vault.forget(next.id).unwrap();
    refused(&now, Purpose::AccountKey, &outer);
}

#[test]
fn a_key_that_was_brought_may_be_followed_and_follows_none() {
    let house = House::new();
    let vault = house.vault(0);
    let [now, next] =
        [(); 2].map(|()| vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Account).unwrap());
    let own = rcgen::KeyPair::generate().unwrap();
    let file = KeyFile::from_pem(own.serialize_pem().as_bytes()).unwrap();
    let usage = KeyUsage::BroughtAccount;
    let label = Label { algorithm: file.algorithm, usage, key: file.id };
    let made = import_box::seal(&vault.import_key().unwrap(), label, &file.pkcs8).unwrap();
    let brought = vault.import(&made).unwrap();
    // It asks what an account asks.
    let order = account_request("https://ca.example/order", r#"{"identifiers":[]}"#);
    let scheme = Scheme::EcdsaP256Sha256;
    vault.sign(&brought, Purpose::Account, scheme, &order).unwrap();
    // Somebody who has this key as well would have the account of this house otherwise.
    let (inner, outer) = change(&now.spki, &brought.spki);
    for (key, other, message) in [(&brought, &now, &inner), (&now, &brought, &outer)] {
        let refused = vault.sign_key_change(key, other, message).unwrap_err();
        assert!(refused.contains("not here"), "{refused}");
    }
    let (inner, outer) = change(&brought.spki, &next.spki);
    vault.sign_key_change(&next, &brought, &inner).unwrap();
    vault.sign_key_change(&brought, &next, &outer).unwrap();
}
