//! Private keys as JSON has them (RFC 7517): so certbot keeps those of its accounts.
//!
//! Used by whoever brings a key, in a process of its own. Not here: PEM, which [`super::key_file`] reads.

use aws_lc_rs::signature;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::Deserialize;
use serde::Deserializer;
use zeroize::Zeroizing;

use super::der;
use super::key_file;
use super::key_file::KeyFile;
use super::key_file::KeyFileError;

/// A number, wiped when it is dropped.
struct Number(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from).map(Zeroizing::new)?;
        let decoded = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        // The decoder's own words would quote it.
        let decoded = decoded.map_err(|_| serde::de::Error::custom("a number is no base64url"))?;
        Ok(Self(Zeroizing::new(decoded)))
    }
}

/// RFC 7518, sections 6.2.2 and 6.3.2. Other members, such as an identifier, are passed over.
#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Private {
    #[serde(rename = "EC")]
    Elliptic { crv: String, x: Number, y: Number, d: Number },
    #[serde(rename = "RSA")]
    Rsa {
        n: Number,
        e: Number,
        d: Number,
        p: Number,
        q: Number,
        dp: Number,
        dq: Number,
        qi: Number,
    },
}

/// Reads the one private key in `json`.
///
/// # Errors
/// [`KeyFileError`]; [`KeyFileError::None`] for JSON that is no such key.
pub fn from_json(json: &[u8]) -> Result<KeyFile, KeyFileError> {
    match serde_json::from_slice(json).map_err(|_| KeyFileError::None)? {
        Private::Elliptic { crv, x, y, d } => elliptic(&crv, &x, &y, &d),
        Private::Rsa { n, e, d, p, q, dp, dq, qi } => {
            let mut body = Zeroizing::new(Vec::with_capacity(ROOM));
            der::unsigned(&[0], &mut body);
            for Number(number) in [&n, &e, &d, &p, &q, &dp, &dq, &qi] {
                if number.len() > MOST {
                    return Err(KeyFileError::TooLong(number.len().saturating_mul(8)));
                }
                der::unsigned(number, &mut body);
            }
            let mut key = Zeroizing::new(Vec::with_capacity(ROOM));
            der::wrap(der::SEQUENCE, &body, &mut key);
            key_file::read(&PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(key.as_slice())))
        }
    }
}

/// Octets of the longest number that is looked at, and room for eight of them: what grows would leave
/// copies behind.
const MOST: usize = 1024;
const ROOM: usize = 8 * (MOST + 8);

fn elliptic(
    curve: &str,
    Number(x): &Number,
    Number(y): &Number,
    Number(d): &Number,
) -> Result<KeyFile, KeyFileError> {
    let (curve, length) = match curve {
        "P-256" => (&signature::ECDSA_P256_SHA256_ASN1_SIGNING, 32),
        "P-384" => (&signature::ECDSA_P384_SHA384_ASN1_SIGNING, 48),
        _ => return Err(KeyFileError::Unusable("another curve")),
    };
    let strange = KeyFileError::Unusable("its numbers do not fit");
    if [x, y, d].iter().any(|number| number.len() != length) {
        return Err(strange);
    }
    let point = [&[4][..], x, y].concat();
    let pair = signature::EcdsaKeyPair::from_private_key_and_public_key(curve, d, &point);
    let document = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok()).ok_or(strange)?;
    let der = PrivatePkcs8KeyDer::from(document.as_ref());
    key_file::read(&PrivateKeyDer::Pkcs8(der))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyUsage;
    use crate::vault::keys;
    use crate::vault::keys::OpenKey;

    /// The key of RFC 7515, appendix A.3.1.
    const ELLIPTIC: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    /// The numbers of an RSA key (RFC 8017, appendix A.1.2) in PKCS#8, the version first.
    fn numbers(pkcs8: &[u8]) -> Vec<&[u8]> {
        // The algorithm stands before the key, which is the longest thing there is.
        let at = pkcs8
            .windows(3)
            .position(|one| one == [2, 1, 0] && one.as_ptr() != pkcs8[4..].as_ptr());
        let mut rest = &pkcs8[at.unwrap()..];
        let mut found = Vec::new();
        while let [2, length, more @ ..] = rest {
            let (length, more) = match length {
                0x81 => (usize::from(more[0]), &more[1..]),
                0x82 => (usize::from(more[0]) << 8 | usize::from(more[1]), &more[2..]),
                short => (usize::from(*short), more),
            };
            let (number, behind) = more.split_at(length);
            found.push(number.strip_prefix(&[0]).filter(|n| !n.is_empty()).unwrap_or(number));
            rest = behind;
        }
        found
    }

    #[test]
    fn an_rsa_key_is_read_as_it_was_and_one_whose_numbers_do_not_fit_is_not() {
        let pkcs8 = keys::generate(KeyAlgorithm::Rsa2048).unwrap();
        let (key, _) =
            OpenKey::from_pkcs8(KeyAlgorithm::Rsa2048, KeyUsage::Account, &pkcs8).unwrap();
        let found = numbers(&pkcs8);
        let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
        let mut json = serde_json::json!({ "kty": "RSA", "kid": "passed over" });
        for (name, number) in names.into_iter().zip(&found[1..]) {
            json[name] = URL_SAFE_NO_PAD.encode(number).into();
        }
        let read = from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!((read.algorithm, read.id), (KeyAlgorithm::Rsa2048, key.id));
        assert_eq!(read.pkcs8.as_slice(), pkcs8.as_slice());
        let mut wrong = json.clone();
        wrong["p"] = json["q"].clone();
        let refused = from_json(wrong.to_string().as_bytes()).unwrap_err();
        assert!(matches!(refused, KeyFileError::Unusable(_)), "{refused}");
        let mut long = json;
        long["n"] = "A".repeat(8 * MOST).into();
        assert!(matches!(from_json(long.to_string().as_bytes()), Err(KeyFileError::TooLong(_))));
    }

    #[test]
    fn the_key_of_the_standard_is_read_and_what_does_not_fit_is_not() {
        assert_eq!(from_json(ELLIPTIC.as_bytes()).unwrap().algorithm, KeyAlgorithm::P256);
        for (from, to) in [("x_FEz", "x_FEy"), ("P-256", "P-384"), ("P-256", "P-521")] {
            let changed = ELLIPTIC.replace(from, to);
            let refused = from_json(changed.as_bytes()).unwrap_err();
            assert!(matches!(refused, KeyFileError::Unusable(_)), "{from}: {refused}");
        }
        for text in ["", "{}", "[]", r#"{"kty":"oct","k":"AA"}"#, r#"{"kty":"RSA","n":"AA"}"#] {
            assert_eq!(from_json(text.as_bytes()).unwrap_err(), KeyFileError::None, "{text}");
        }
        let refused = from_json(ELLIPTIC.replace("jpsQ", "j!sQ").as_bytes()).unwrap_err();
        assert!(!refused.to_string().contains("sQnn"), "a part of the key is quoted");
    }
}
