//! Public keys as JSON has them (RFC 7517), and the names that they have here.
//!
//! Only the forms that accounts at CAs use, and only the very members that a thumbprint has (RFC 7638,
//! section 3.2). Not here: private ones, which [`super::key_jwk`] reads.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::der;
use crate::cert::key::KeyId;

/// What stands before the point in the subject public key info of a P-256 key (RFC 5480), the mark
/// of an uncompressed point included.
pub(super) const P256_SPKI: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The same of a P-384 key.
const P384_SPKI: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
];

/// `rsaEncryption` with its empty parameters (RFC 3279, section 2.3.1).
const RSA_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Octets of the longest modulus, that of a key of 4096 bits.
const MODULUS: usize = 512;

/// A public key.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Jwk {
    Elliptic(Elliptic),
    Rsa(Rsa),
}

/// RFC 7518, section 6.2.1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Elliptic {
    crv: String,
    kty: String,
    x: String,
    y: String,
}

/// RFC 7518, section 6.3.1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rsa {
    e: String,
    kty: String,
    n: String,
}

impl Jwk {
    /// The name of the key, if it is one of a kind that is known here.
    pub(super) fn id(&self) -> Option<KeyId> {
        match self {
            Self::Elliptic(key) => key.id(),
            Self::Rsa(key) => key.id(),
        }
    }
}

impl Elliptic {
    fn id(&self) -> Option<KeyId> {
        let (before, length): (&[u8], _) = match (self.kty.as_str(), self.crv.as_str()) {
            ("EC", "P-256") => (&P256_SPKI, 32),
            ("EC", "P-384") => (&P384_SPKI, 48),
            _ => return None,
        };
        let coordinate = |text: &str| decoded(text).filter(|one| one.len() == length);
        let spki = [before, &coordinate(&self.x)?, &coordinate(&self.y)?].concat();
        Some(KeyId::of_spki(&spki))
    }
}

impl Rsa {
    fn id(&self) -> Option<KeyId> {
        let number = |text: &str| decoded(text).filter(|one| (1..=MODULUS).contains(&one.len()));
        let (n, e) = (number(&self.n)?, number(&self.e)?);
        let mut key = Vec::new();
        der::unsigned(&n, &mut key);
        der::unsigned(&e, &mut key);
        let mut string = vec![0];
        der::wrap(der::SEQUENCE, &key, &mut string);
        let mut body = RSA_ALGORITHM.to_vec();
        der::wrap(der::BIT_STRING, &string, &mut body);
        let mut spki = Vec::new();
        der::wrap(der::SEQUENCE, &body, &mut spki);
        (self.kty == "RSA").then(|| KeyId::of_spki(&spki))
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use x509_parser::prelude::FromDer as _;
    use x509_parser::public_key::PublicKey;
    use x509_parser::x509::SubjectPublicKeyInfo;

    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyUsage;
    use crate::vault::keys;
    use crate::vault::keys::OpenKey;

    #[test]
    fn a_key_of_every_kind_is_called_by_its_json_as_it_is_called_here() {
        let base64 = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048] {
            let pkcs8 = keys::generate(algorithm).unwrap();
            let (key, spki) = OpenKey::from_pkcs8(algorithm, KeyUsage::Account, &pkcs8).unwrap();
            let (_, info) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
            let json = match info.parsed().unwrap() {
                PublicKey::RSA(rsa) => {
                    let n = rsa.modulus.strip_prefix(&[0]).unwrap_or(rsa.modulus);
                    json!({ "e": base64(rsa.exponent), "kty": "RSA", "n": base64(n) })
                }
                PublicKey::EC(point) => {
                    let (x, y) = point.data()[1..].split_at(point.data().len() / 2);
                    let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                    json!({ "crv": crv, "kty": "EC", "x": base64(x), "y": base64(y) })
                }
                other => panic!("{other:?}"),
            };
            let read: Jwk = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(read.id(), Some(key.id), "{json}");
            for (member, strange) in [("kty", "oct"), ("crv", "P-521"), ("x", "AA"), ("n", "")] {
                let mut changed = json.clone();
                let Some(found) = changed.get_mut(member) else { continue };
                *found = strange.into();
                let read: Jwk = serde_json::from_value(changed).unwrap();
                assert_eq!(read.id(), None, "{member}");
            }
            let mut more = json;
            more["d"] = "AA".into();
            assert!(serde_json::from_value::<Jwk>(more).is_err(), "a private member");
        }
    }
}
