//! Requests in the name of an account, signed by the vault.
//!
//! instant-acme signs with a key that it holds (its trait for signers is its own, and its accounts
//! are made of PKCS#8). So it is given a key that is nobody's, and what it wants to send is signed
//! anew here before it leaves: a signature is over header and payload alone (RFC 7515, section
//! 5.1), and a header names the account by its URL. Only the request for an account has the key
//! itself in it, which is replaced, and with it an external binding. What comes back is about
//! neither. So the signature of nobody never leaves, and no private key is here.

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

use crate::base::Secret;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyHandle;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::ToBeSigned;

/// Octets of a coordinate of P-256, and of each half of a signature.
const HALF: usize = 32;

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
struct Jwk {
    crv: &'static str,
    kty: &'static str,
    x: String,
    y: String,
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
        let signature = halves(&signature?).ok_or_else(|| told(&"the signature is strange"))?;
        jws.signature = URL_SAFE_NO_PAD.encode(signature);
        serde_json::to_vec(&jws).map_err(|error| told(&error))
    }

    /// What the successor signs (RFC 8555, section 7.3.5), for a request with this header.
    fn proof(&self, successor: &Successor, header: &Map<String, Value>) -> Result<Jws, String> {
        let told = |error: &dyn fmt::Display| format!("a new key cannot be proven: {error}");
        let (url, account) = (header.get("url"), header.get("kid"));
        let proof = serde_json::json!({ "alg": "ES256", "jwk": successor.jwk, "url": url });
        let wanted = serde_json::json!({ "account": account, "oldKey": self.jwk });
        let protected = encoded(&proof).map_err(|error| told(&error))?;
        let payload = encoded(&wanted).map_err(|error| told(&error))?;
        let message = format!("{protected}.{payload}");
        let signature =
            self.signing.sign_key_change(&successor.key, &self.key, message.as_bytes())?;
        let signature = halves(&signature).ok_or_else(|| told(&"the signature is strange"))?;
        Ok(Jws { protected, payload, signature: URL_SAFE_NO_PAD.encode(signature) })
    }
}

impl Jwk {
    fn of(key: &KeyHandle) -> Result<Self, Failure> {
        let strange = || Failure::new(FailureKind::Account, "the account's key is none of P-256");
        // The public key ends with the point: x, then y.
        let (rest, y) = key.spki.split_last_chunk::<HALF>().ok_or_else(strange)?;
        let (_, x) = rest.split_last_chunk::<HALF>().ok_or_else(strange)?;
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        Ok(Self { crv: "P-256", kty: "EC", x, y })
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
fn halves(der: &[u8]) -> Option<[u8; 2 * HALF]> {
    let [0x30, len, rest @ ..] = der else { return None };
    if usize::from(*len) != rest.len() {
        return None;
    }
    let (r, rest) = half(rest)?;
    let (s, rest) = half(rest)?;
    let mut both = [0; 2 * HALF];
    both.get_mut(..HALF)?.copy_from_slice(&r);
    both.get_mut(HALF..)?.copy_from_slice(&s);
    rest.is_empty().then_some(both)
}

fn half(der: &[u8]) -> Option<([u8; HALF], &[u8])> {
    let [0x02, len, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*len))?;
    // A number whose first bit is set has a zero before it, and a small one is short.
    let number = number.strip_prefix(&[0]).unwrap_or(number);
    let mut half = [0; HALF];
    half.get_mut(HALF.checked_sub(number.len())?..)?.copy_from_slice(number);
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
    use crate::cert::key::KeyAlgorithm;
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
            assert_eq!(halves(der), None, "{der:?}");
        }
        let long = [&[0x30, 38, 2, 33][..], &[1; 33], &[2, 1, 1]].concat();
        assert_eq!(halves(&long), None);
        let small = halves(&[0x30, 6, 2, 1, 1, 2, 1, 2]).unwrap();
        assert_eq!((small[31], small[63], small[0]), (1, 2, 0));
    }

    #[test]
    fn a_thumbprint_is_that_of_the_standards_example() {
        // Computed with another program: printf of the canonical form, through sha256sum.
        let (mut signatory, _) = signatory(None);
        signatory.jwk.x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".to_owned();
        signatory.jwk.y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".to_owned();
        assert_eq!(signatory.thumbprint().unwrap(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    }
}
