//! Requests in the name of an account, signed by the vault.
//!
//! instant-acme signs with a key that it holds (its trait for signers is its own, and its accounts
//! are made of PKCS#8). So it is given a key that is nobody's, and what it wants to send is signed
//! anew here before it leaves: a signature is over header and payload alone (RFC 7515, section
//! 5.1), and a header names the account by its URL. Only the request for an account has the key
//! itself in it, which is replaced, and with it an external binding. What comes back is about
//! neither. So the signature of nobody never leaves, and no private key is here. It also takes every
//! account for one with a P-256 key: the header says what the key is that signs.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::hmac;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::Secret;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::ToBeSigned;

/// Who signs for an account.
pub(super) struct Signatory {
    key: KeyHandle,
    jwk: Jwk,
    signing: Arc<dyn RemoteSigning>,
    binding: Option<Binding>,
    /// The key that is to be the account's, for a request that says so.
    successor: Option<Successor>,
}

/// A key that is to follow that of an account.
struct Successor {
    key: KeyHandle,
    jwk: Jwk,
}

/// An external account that a new one is bound to (RFC 8555, section 7.3.4).
pub(super) struct Binding {
    pub(super) kid: String,
    pub(super) key: Secret<Vec<u8>>,
}

impl fmt::Debug for Signatory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signatory({})", self.key.id)
    }
}

/// A public key (RFC 7517), its members in the order of their names (RFC 7638, section 3.3).
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Jwk {
    Elliptic { crv: &'static str, kty: &'static str, x: String, y: String },
    Rsa { e: String, kty: &'static str, n: String },
}

/// A JWS in its flattened form (RFC 7515, section 7.2.2).
#[derive(Debug, Deserialize, Serialize)]
struct Jws {
    protected: String,
    payload: String,
    signature: String,
}

impl Signatory {
    /// For the account whose key this is.
    pub(super) fn new(
        key: KeyHandle,
        signing: Arc<dyn RemoteSigning>,
        binding: Option<Binding>,
    ) -> Result<Self, Failure> {
        let jwk = Jwk::of(&key)?;
        Ok(Self { key, jwk, signing, binding, successor: None })
    }

    /// The same, and a change of the account's key that it sends is one to `key`.
    pub(super) fn followed_by(self, key: KeyHandle) -> Result<Self, Failure> {
        let jwk = Jwk::of(&key)?;
        Ok(Self { successor: Some(Successor { key, jwk }), ..self })
    }

    /// What stands for the key in an answer to a challenge (RFC 7638).
    pub(super) fn thumbprint(&self) -> Result<String, Failure> {
        let jwk = serde_json::to_vec(&self.jwk)
            .map_err(|error| Failure::new(FailureKind::Account, error.to_string()))?;
        Ok(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &jwk)))
    }

    /// A request that instant-acme wants to send, signed by the account's own key. Blocks while
    /// the vault answers.
    ///
    /// # Errors
    /// In plain words, when the vault does not answer or refuses, or `body` is no request.
    pub(super) fn sign(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        let told = |error: &dyn fmt::Display| format!("a request cannot be signed: {error}");
        let mut jws: Jws = serde_json::from_slice(body).map_err(|error| told(&error))?;
        let mut header = part(&jws.protected).map_err(|error| told(&error))?;
        if header.contains_key("jwk") {
            let jwk = serde_json::to_value(&self.jwk).map_err(|error| told(&error))?;
            header.insert("jwk".to_owned(), jwk);
            if let Some(binding) = &self.binding {
                let mut payload = part(&jws.payload).map_err(|error| told(&error))?;
                let url = header.get("url").and_then(Value::as_str).unwrap_or_default();
                let bound = binding.to(&self.jwk, url).map_err(|error| told(&error))?;
                payload.insert("externalAccountBinding".to_owned(), bound);
                jws.payload = encoded(&payload).map_err(|error| told(&error))?;
            }
            jws.protected = encoded(&header).map_err(|error| told(&error))?;
        }
        if header.get("alg").and_then(Value::as_str) != Some(name_of(self.key.algorithm)) {
            header.insert("alg".to_owned(), name_of(self.key.algorithm).into());
            jws.protected = encoded(&header).map_err(|error| told(&error))?;
        }
        // What instant-acme proves is a key of its own.
        let change = part(&jws.payload).is_ok_and(|payload| payload.contains_key("protected"));
        let successor = self.successor.as_ref().filter(|_| change);
        if let Some(successor) = successor {
            let proof = self.proof(successor, &header)?;
            jws.payload = encoded(&proof).map_err(|error| told(&error))?;
        }
        let message = format!("{}.{}", jws.protected, jws.payload);
        let signature = match successor {
            Some(Successor { key, .. }) => {
                self.signing.sign_key_change(&self.key, key, message.as_bytes())
            }
            None => {
                let asked = ToBeSigned::AccountRequest;
                self.signing.sign_der(&self.key, asked, message.as_bytes())
            }
        };
        let signature = in_jws(self.key.algorithm, signature?);
        let signature = signature.ok_or_else(|| told(&"the signature is strange"))?;
        jws.signature = URL_SAFE_NO_PAD.encode(signature);
        serde_json::to_vec(&jws).map_err(|error| told(&error))
    }

    /// What the successor signs (RFC 8555, section 7.3.5), for a request with this header.
    fn proof(&self, successor: &Successor, header: &Map<String, Value>) -> Result<Jws, String> {
        let told = |error: &dyn fmt::Display| format!("a new key cannot be proven: {error}");
        let (url, account) = (header.get("url"), header.get("kid"));
        let algorithm = successor.key.algorithm;
        let proof =
            serde_json::json!({ "alg": name_of(algorithm), "jwk": successor.jwk, "url": url });
        let wanted = serde_json::json!({ "account": account, "oldKey": self.jwk });
        let protected = encoded(&proof).map_err(|error| told(&error))?;
        let payload = encoded(&wanted).map_err(|error| told(&error))?;
        let message = format!("{protected}.{payload}");
        let signature =
            self.signing.sign_key_change(&successor.key, &self.key, message.as_bytes())?;
        let signature = in_jws(algorithm, signature);
        let signature = signature.ok_or_else(|| told(&"the signature is strange"))?;
        Ok(Jws { protected, payload, signature: URL_SAFE_NO_PAD.encode(signature) })
    }
}

impl Jwk {
    fn of(key: &KeyHandle) -> Result<Self, Failure> {
        let read = match key.algorithm {
            KeyAlgorithm::P256 => Self::elliptic("P-256", &key.spki, 32),
            KeyAlgorithm::P384 => Self::elliptic("P-384", &key.spki, 48),
            KeyAlgorithm::Rsa2048 => Self::rsa(&key.spki),
        };
        read.ok_or_else(|| Failure::new(FailureKind::Account, "the account's key is strange"))
    }

    /// The public key ends with the point: x, then y.
    fn elliptic(crv: &'static str, spki: &[u8], half: usize) -> Option<Self> {
        let (rest, y) = spki.split_at_checked(spki.len().checked_sub(half)?)?;
        let (_, x) = rest.split_at_checked(rest.len().checked_sub(half)?)?;
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        Some(Self::Elliptic { crv, kty: "EC", x, y })
    }

    /// Its numbers in their shortest form (RFC 7518, section 2).
    fn rsa(spki: &[u8]) -> Option<Self> {
        let ([], info) = SubjectPublicKeyInfo::from_der(spki).ok()? else { return None };
        let Ok(PublicKey::RSA(key)) = info.parsed() else { return None };
        let number = |der: &[u8]| {
            let zeros = der.iter().take_while(|octet| **octet == 0).count();
            URL_SAFE_NO_PAD.encode(der.get(zeros..).unwrap_or_default())
        };
        Some(Self::Rsa { e: number(key.exponent), kty: "RSA", n: number(key.modulus) })
    }
}

/// What the header calls the way in which a key signs (RFC 7518, section 3.1).
const fn name_of(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::P256 => "ES256",
        KeyAlgorithm::P384 => "ES384",
        KeyAlgorithm::Rsa2048 => "RS256",
    }
}

/// A signature of the vault's as JWS has it (RFC 7518, sections 3.3 and 3.4).
fn in_jws(algorithm: KeyAlgorithm, signature: Vec<u8>) -> Option<Vec<u8>> {
    match algorithm {
        KeyAlgorithm::P256 => halves(&signature, 32),
        KeyAlgorithm::P384 => halves(&signature, 48),
        KeyAlgorithm::Rsa2048 => Some(signature),
    }
}

impl Binding {
    /// The key of an account, signed by whoever gave the external one.
    fn to(&self, jwk: &Jwk, url: &str) -> serde_json::Result<Value> {
        let header = serde_json::json!({ "alg": "HS256", "kid": self.kid, "url": url });
        let (protected, payload) = (encoded(&header)?, encoded(jwk)?);
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.expose());
        let tag = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(tag);
        serde_json::to_value(Jws { protected, payload, signature })
    }
}

/// An object in one of the parts of a JWS.
fn part(text: &str) -> Result<Map<String, Value>, String> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

fn encoded(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_vec(value).map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// The two halves of a signature in DER (RFC 3279, section 2.2.3), each at its full length as JWS
/// has them (RFC 7518, section 3.4).
fn halves(der: &[u8], length: usize) -> Option<Vec<u8>> {
    let [0x30, len, rest @ ..] = der else { return None };
    if usize::from(*len) != rest.len() {
        return None;
    }
    let (mut both, rest) = half(rest, length)?;
    let (s, rest) = half(rest, length)?;
    both.extend_from_slice(&s);
    rest.is_empty().then_some(both)
}

fn half(der: &[u8], length: usize) -> Option<(Vec<u8>, &[u8])> {
    let [0x02, octets, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*octets))?;
    // A number whose first bit is set has a zero before it, and a small one is short.
    let number = number.strip_prefix(&[0]).unwrap_or(number);
    let mut half = vec![0; length.checked_sub(number.len())?];
    half.extend_from_slice(number);
    Some((half, rest))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::encoding::PublicKeyX509Der;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature;
    use aws_lc_rs::signature::EcdsaKeyPair;
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;
    use crate::cert::key::KeyId;
    use crate::cert::key::KeyUsage;
    use crate::cert::key::SealedKey;

    #[derive(Debug)]
    struct Signing(EcdsaKeyPair);

    impl RemoteSigning for Signing {
        fn sign_der(
            &self,
            _: &KeyHandle,
            what: ToBeSigned,
            message: &[u8],
        ) -> Result<Vec<u8>, String> {
            assert_eq!(what, ToBeSigned::AccountRequest);
            Ok(self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
        }

        fn sign_key_change(
            &self,
            _: &KeyHandle,
            _: &KeyHandle,
            message: &[u8],
        ) -> Result<Vec<u8>, String> {
            Ok(self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
        }
    }

    fn signatory(binding: Option<Binding>) -> (Signatory, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let spki = spki.as_ref().to_vec();
        let key = KeyHandle {
            id: KeyId::of_spki(&spki),
            algorithm: KeyAlgorithm::P256,
            usage: KeyUsage::Account,
            spki: spki.into(),
            sealed: SealedKey(Arc::from(&b"sealed"[..])),
        };
        (Signatory::new(key, Arc::new(Signing(pair)), binding).unwrap(), point)
    }

    fn request(header: &Value, payload: &str) -> Vec<u8> {
        let (protected, payload) = (encoded(header).unwrap(), URL_SAFE_NO_PAD.encode(payload));
        let nobody = "bm9ib2R5".to_owned();
        serde_json::to_vec(&Jws { protected, payload, signature: nobody }).unwrap()
    }

    /// The parts of a request whose signature is that of `point`.
    fn verified(point: &[u8], body: &[u8]) -> (Map<String, Value>, Jws) {
        let jws: Jws = serde_json::from_slice(body).unwrap();
        let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
        let message = format!("{}.{}", jws.protected, jws.payload);
        let signature = URL_SAFE_NO_PAD.decode(&jws.signature).unwrap();
        key.verify(message.as_bytes(), &signature).unwrap();
        (part(&jws.protected).unwrap(), jws)
    }

    #[test]
    fn a_request_of_an_account_is_what_it_was_under_another_signature() {
        let header = serde_json::json!({
            "alg": "ES256", "kid": "https://ca.example/acct/1", "nonce": "n", "url": "https://x/y",
        });
        // Halves of a signature are short in one of 128 cases.
        let mut made = signatory(None);
        for number in 0..600 {
            if number % 10 == 0 {
                made = signatory(None);
            }
            let (signatory, point) = &made;
            let payload = format!("{{\"csr\":\"{number}\"}}");
            let body = request(&header, &payload);
            let before: Jws = serde_json::from_slice(&body).unwrap();
            let (_, after) = verified(point, &signatory.sign(&body).unwrap());
            assert_eq!((after.protected, after.payload), (before.protected, before.payload));
        }
    }

    #[test]
    fn the_request_for_an_account_has_the_key_of_the_vault_in_it() {
        let key = vec![7; 48];
        let binding = Binding { kid: "kid-1".to_owned(), key: Secret::new(key.clone()) };
        let (signatory, point) = signatory(Some(binding));
        let header = serde_json::json!({
            "alg": "ES256", "jwk": { "crv": "P-256" }, "nonce": "n", "url": "https://x/new",
        });
        let body = request(&header, r#"{"contact":[]}"#);
        let (header, jws) = verified(&point, &signatory.sign(&body).unwrap());
        let jwk = serde_json::to_value(&signatory.jwk).unwrap();
        assert_eq!(header["jwk"], jwk);
        let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
        assert_eq!(point[1..33], x);
        let bound: Jws =
            serde_json::from_value(part(&jws.payload).unwrap()["externalAccountBinding"].clone())
                .unwrap();
        let inner = part(&bound.protected).unwrap();
        assert_eq!((&inner["kid"], &inner["url"]), (&"kid-1".into(), &"https://x/new".into()));
        assert_eq!(Value::Object(part(&bound.payload).unwrap()), jwk);
        let message = format!("{}.{}", bound.protected, bound.payload);
        let tag = URL_SAFE_NO_PAD.decode(bound.signature).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::verify(&key, message.as_bytes(), &tag).unwrap();
    }

    #[test]
    fn what_is_no_request_is_not_signed() {
        let (signatory, _) = signatory(None);
        for body in [&b""[..], b"{}", br#"{"protected":"?","payload":"","signature":""}"#] {
            assert!(signatory.sign(body).unwrap_err().contains("cannot be signed"));
        }
        for der in [&b""[..], &[0x30, 0], &[0x30, 3, 2, 1, 1], &[0x30, 7, 2, 1, 1, 2, 1, 1, 0]] {
            assert_eq!(halves(der, 32), None, "{der:?}");
        }
        let long = [&[0x30, 38, 2, 33][..], &[1; 33], &[2, 1, 1]].concat();
        assert_eq!(halves(&long, 32), None);
        let small = halves(&[0x30, 6, 2, 1, 1, 2, 1, 2], 48).unwrap();
        assert_eq!((small[47], small[95], small[0], small.len()), (1, 2, 0, 96));
    }

    #[test]
    fn a_thumbprint_is_that_of_the_standards_example() {
        // Computed with another program: printf of the canonical form, through sha256sum.
        let (mut signatory, _) = signatory(None);
        signatory.jwk = Jwk::Elliptic {
            crv: "P-256",
            kty: "EC",
            x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".to_owned(),
            y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".to_owned(),
        };
        assert_eq!(signatory.thumbprint().unwrap(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    }
}
