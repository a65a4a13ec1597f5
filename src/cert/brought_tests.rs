//! Chains as people have them: out of order, with roots and strangers, for other keys, too old.

use rcgen::CertificateParams;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::PublicKeyData as _;

use super::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

struct Authority {
    root: Vec<u8>,
    middle: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let ca = |name: String| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params
    };
    let (root_params, root_key) = (ca(format!("{name} root")), KeyPair::generate().unwrap());
    let root = root_params.self_signed(&root_key).unwrap().der().to_vec();
    let root_issuer = Issuer::new(root_params, root_key);
    let (params, key) = (ca(format!("{name} middle")), KeyPair::generate().unwrap());
    let middle = params.signed_by(&key, &root_issuer).unwrap().der().to_vec();
    Authority { root, middle, issuer: Issuer::new(params, key) }
}

fn leaf_with(
    authority: &Authority,
    adapt: impl FnOnce(&mut CertificateParams),
) -> (Vec<u8>, KeyId) {
    let mut params =
        CertificateParams::new(vec!["b.example".to_owned(), "a.example".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2028, 1, 1);
    adapt(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, &authority.issuer).unwrap().der().to_vec();
    (der, KeyId::of_spki(&key.subject_public_key_info()))
}

fn pem(ders: &[&Vec<u8>]) -> String {
    Chain::from_der(ders.iter().map(|der| (*der).clone()).collect()).unwrap().to_pem()
}

fn examine(ders: &[&Vec<u8>], key: KeyId) -> Result<Brought, BroughtError> {
    Brought::examine(pem(ders).as_bytes(), key, NOW, false)
}

#[test]
fn the_chain_is_put_in_order_and_roots_and_strangers_are_left_out() {
    let (ca, other) = (authority("one"), authority("other"));
    let (leaf, key) = leaf_with(&ca, |_| {});
    let right = examine(&[&leaf, &ca.middle], key).unwrap();
    assert_eq!(right.notes, Vec::<String>::new());
    let names: Vec<_> = right.leaf.names.iter().map(ToString::to_string).collect();
    assert_eq!(
        (names.as_slice(), right.algorithm),
        (&["a.example".into(), "b.example".into()][..], KeyAlgorithm::P256)
    );
    for (given, words) in [
        (vec![&ca.middle, &leaf], &["put in order"][..]),
        (vec![&leaf, &ca.middle, &ca.root], &["root certificate"]),
        (vec![&ca.root, &other.middle, &ca.middle, &leaf], &["root", "1 certificates", "order"]),
    ] {
        let put_right = examine(&given, key).unwrap();
        assert_eq!(put_right.chain, right.chain);
        assert_eq!(put_right.notes.len(), words.len(), "{:?}", put_right.notes);
        for (note, word) in put_right.notes.iter().zip(words) {
            assert!(note.contains(word), "{note}");
        }
    }
    let alone = examine(&[&leaf], key).unwrap();
    assert!(alone.notes[0].contains("no intermediate"), "{:?}", alone.notes);
}

#[test]
fn an_issuer_that_has_the_name_but_did_not_sign_is_no_part_of_the_chain() {
    let bare = |params: &mut CertificateParams| {
        params.use_authority_key_identifier_extension = false;
    };
    // Renewed under the same name with another key, as careless CAs do.
    let (ca, successor) = (authority("one"), authority("one"));
    let (leaf, key) = leaf_with(&ca, bare);
    let brought = examine(&[&leaf, &successor.middle], key).unwrap();
    assert_eq!(brought.chain.certificates(), std::slice::from_ref(&leaf));
    assert!(brought.notes.iter().any(|note| note.contains("no part of the chain")));
    let brought = examine(&[&leaf, &successor.middle, &ca.middle], key).unwrap();
    assert_eq!(brought.chain.certificates(), [leaf, ca.middle]);
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused_with_both_named() {
    let ca = authority("one");
    let (leaf, key) = leaf_with(&ca, |_| {});
    let (_, other) = leaf_with(&ca, |_| {});
    let refused = examine(&[&leaf, &ca.middle], other).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("a.example") && text.contains(&key.to_string()), "{text}");
    assert!(text.contains(&other.to_string()) && !refused.can_be_forced(), "{text}");
}

#[test]
fn what_is_too_old_or_too_new_is_refused_unless_forced_and_the_rest_cannot_be_forced() {
    let ca = authority("one");
    let (old, old_key) = leaf_with(&ca, |p| p.not_after = rcgen::date_time_ymd(2026, 6, 1));
    let (new, new_key) = leaf_with(&ca, |p| p.not_before = rcgen::date_time_ymd(2027, 12, 1));
    for (leaf, key) in [(old, old_key), (new, new_key)] {
        let refused = examine(&[&leaf, &ca.middle], key).unwrap_err();
        assert!(refused.can_be_forced(), "{refused}");
        let forced = Brought::examine(pem(&[&leaf, &ca.middle]).as_bytes(), key, NOW, true);
        assert!(forced.unwrap().notes[0].contains("all the same"));
    }
    let (ca_leaf, ca_key) = leaf_with(&ca, |p| {
        p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let (client, client_key) =
        leaf_with(&ca, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let (nameless, nameless_key) = leaf_with(&ca, |p| p.subject_alt_names.clear());
    let (signer, signer_key) =
        leaf_with(&ca, |p| p.key_usages = vec![rcgen::KeyUsagePurpose::KeyAgreement]);
    for (leaf, key) in
        [(ca_leaf, ca_key), (client, client_key), (nameless, nameless_key), (signer, signer_key)]
    {
        let forced = Brought::examine(pem(&[&leaf]).as_bytes(), key, NOW, true).unwrap_err();
        assert!(
            matches!(forced, BroughtError::NotForServers(_) | BroughtError::NoNames),
            "{forced}"
        );
    }
}

#[test]
fn more_certificates_than_any_chain_has_are_refused() {
    let ca = authority("one");
    let (leaf, key) = leaf_with(&ca, |_| {});
    let many = vec![&leaf; bounds::IMPORT_CHAIN + 1];
    assert_eq!(examine(&many, key), Err(BroughtError::TooMany { count: 17 }));
}

#[test]
fn weak_signatures_and_keys_are_refused_wherever_they_stand() {
    // Made by openssl: a SHA-1 signature on a P-256 key, and an RSA key of 1024 bits.
    for (text, word) in [(SHA1, "SHA-1"), (SHORT, "1024 bits")] {
        let key = Chain::from_pem(text.as_bytes()).unwrap().leaf().unwrap().key;
        let refused = Brought::examine(text.as_bytes(), key, NOW, true).unwrap_err();
        assert!(matches!(refused, BroughtError::Weak { number: 1, .. }), "{refused}");
        assert!(refused.to_string().contains(word), "{refused}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refused = Brought::examine(text.as_bytes(), KeyId([0; 32]), NOW, true).unwrap_err();
        assert!(matches!(refused, BroughtError::Chain(_)), "{refused}");
    }
}

const SHA1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBkjCCATigAwIBAgIUTjESnkIaTqKGnkWf7w7QBcv0LDAwCQYHKoZIzj0EATAU
MRIwEAYDVQQDDAlhLmV4YW1wbGUwHhcNMjYxMTI1MDY0NjM0WhcNMzYxMTIyMDY0
NjM0WjAUMRIwEAYDVQQDDAlhLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAAQdYgheBOsCY7tSmI/mXf/26C3hDYzaAxJ9Yzj6TE8OLGNDFRdcBvLu1kT1
Lr7XUbR8qUgyMhvK9b5T6Yexa745o2kwZzAdBgNVHQ4EFgQUgGVmZBSDoT1X91a/
CdFvNRRqh7AwHwYDVR0jBBgwFoAUgGVmZBSDoT1X91a/CdFvNRRqh7AwDwYDVR0T
AQH/BAUwAwEB/zAUBgNVHREEDTALgglhLmV4YW1wbGUwCQYHKoZIzj0EAQNJADBG
AiEAjURBmF6y6XF/LRrMJFMCy61m5Cg6bn6MQ2+WLc3k+3sCIQDO3w8FjxCK9qtd
lJdE4JSL7WIGLLYypU4f8KoJi0AXuQ==
-----END CERTIFICATE-----
";

const SHORT: &str = "\
-----BEGIN CERTIFICATE-----
MIICGjCCAYOgAwIBAgIUYOcyW8AEZFdYgsP7I41Nw65aue4wDQYJKoZIhvcNAQEL
BQAwFDESMBAGA1UEAwwJYS5leGFtcGxlMB4XDTI2MTEyNTA2NDYzNFoXDTM2MTEy
MjA2NDYzNFowFDESMBAGA1UEAwwJYS5leGFtcGxlMIGfMA0GCSqGSIb3DQEBAQUA
A4GNADCBiQKBgQD0zXAkec6zb6T0c2qmU0NyeGiDNYjop9r9aPAsAprFbXkUK25T
a4S93ZDJT29M51d+PAjqFGWGQFt+q9av16/V9CldtvakH08jJ5VzjEdVgQ31evTb
WQSbDfxVhsIxupk06k4TP8WAyMiqnnrEGPszOxTcsFmUvaOoYHs1nj7XAQIDAQAB
o2kwZzAdBgNVHQ4EFgQUGOgxkoHx5AHXWX2VW3wRMIVMxeQwHwYDVR0jBBgwFoAU
GOgxkoHx5AHXWX2VW3wRMIVMxeQwDwYDVR0TAQH/BAUwAwEB/zAUBgNVHREEDTAL
gglhLmV4YW1wbGUwDQYJKoZIhvcNAQELBQADgYEAHvK/S1Ij65GuMeCjP6GV3RNf
c0cgizK1X6hJJonKW76bYPSmmIkDaiOo7A7kTpxQ9ckWfQokT2EQevdzX1rsSMbU
hUKy0P7s7iiNL/70iXWQGdvjD+qQBbW0Cyqo+xQBV/pM7rAvzdqAKXzwOVSiM5Zz
FJuM1rZdPB4GmdBHLtE=
-----END CERTIFICATE-----
";
