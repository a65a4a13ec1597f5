//! The vault as its own process, through the real binary.

mod vault_common;

use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use ring::signature;
use vault_common::House;
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
        assert_eq!(key.id, keyward::cert::key::KeyId::of_spki(&key.spki));
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
