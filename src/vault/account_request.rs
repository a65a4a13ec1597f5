//! What a CA is asked in the name of an account (RFC 8555, section 6.2), as far as keyward ever
//! asks it: the signing input of a JWS (RFC 7515, section 5.1) with a header and a payload of a
//! known form.
//!
//! So whoever has a socket of the vault may order certificates as main may, and no more. Absent on
//! purpose is everything that would outlast that: a key for the account that is not of this vault
//! (section 7.3.5, on either side of it), and its end and that of an authorization (7.3.6, 7.5.2). The
//! revocation of a certificate (7.6) is among what is asked: a thief of the socket can end the service
//! in easier ways, and a certificate whose key may be known has to be taken back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jwk::Jwk;
use crate::cert::key::KeyId;

/// Which half of a change of an account's key a message is (RFC 8555, section 7.3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Half {
    /// The account's own key says which one is to follow it.
    OfFormer {
        /// That one.
        next: KeyId,
    },
    /// The key that is to be the account's says which one it follows.
    OfNext {
        /// That one.
        former: KeyId,
    },
}

/// What a key that was made here signs with; only such a one follows another.
const MADE_HERE: &str = "ES256";

/// The protected header: who asks, where, and once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    /// None only in what proves a new key (RFC 8555, section 7.3.5).
    nonce: Option<String>,
    url: String,
    /// The account's URL, once there is one.
    kid: Option<String>,
    /// The key itself, before.
    jwk: Option<Jwk>,
}

/// RFC 8555, section 7.3.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "only their names count")]
struct NewAccount {
    contact: Option<IgnoredAny>,
    terms_of_service_agreed: Option<IgnoredAny>,
    external_account_binding: Option<IgnoredAny>,
    /// To find out which account a key has (RFC 8555, section 7.3.1).
    only_return_existing: Option<IgnoredAny>,
}

/// The change of an account's key, as the former key signs it (RFC 8555, section 7.3.5).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyChange {
    protected: String,
    payload: String,
    #[expect(dead_code, reason = "the CA looks at it")]
    signature: String,
}

/// What the new key signs for that.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewKey {
    account: String,
    old_key: Jwk,
}

/// RFC 8555, section 7.4; RFC 9773, section 5; profiles.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "only their names count")]
struct NewOrder {
    identifiers: IgnoredAny,
    replaces: Option<IgnoredAny>,
    profile: Option<IgnoredAny>,
}

/// The end of an order (RFC 8555, section 7.4).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its name counts")]
struct Finalise {
    csr: IgnoredAny,
}

/// A certificate that is to count no more (RFC 8555, section 7.6).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only their names count")]
struct Revoke {
    certificate: IgnoredAny,
    reason: Option<IgnoredAny>,
}

/// Other contacts (RFC 8555, section 7.3.2).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its name counts")]
struct Contacts {
    contact: IgnoredAny,
}

/// A challenge that may be looked at (RFC 8555, section 7.5.1).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {}

/// Whether `message` is a request that the account whose key is `key` may make; its header has to name
/// `algorithm`.
pub(super) fn is_one(key: &KeyId, algorithm: &str, message: &[u8]) -> bool {
    let Some((header, payload)) = parts(algorithm, message) else { return false };
    header.nonce.is_some()
        && match (&header.kid, &header.jwk) {
            (Some(account), None) => account.starts_with("https://") && is_asked(&payload),
            (None, Some(jwk)) => jwk.id() == Some(*key) && is::<NewAccount>(&payload),
            _ => false,
        }
}

/// Which half of a change of an account's key `message` is (RFC 8555, section 7.3.5), if it is one.
pub(super) fn half(key: &KeyId, algorithm: &str, message: &[u8]) -> Option<Half> {
    let (header, payload) = parts(algorithm, message)?;
    match (&header.nonce, &header.kid, &header.jwk) {
        // The new key names itself, the account, and the key that this has now.
        (None, None, Some(jwk)) if jwk.id() == Some(*key) => {
            let wanted = read::<NewKey>(&payload)?;
            let named = wanted.account.starts_with("https://");
            let former = named.then(|| wanted.old_key.id()).flatten()?;
            (former != *key).then_some(Half::OfNext { former })
        }
        // The former key says the same of the same account, at the same place.
        (Some(_), Some(account), None) => {
            let change = read::<KeyChange>(&payload)?;
            let inner = [change.protected, change.payload].join(".");
            let (proof, wanted) = parts(MADE_HERE, inner.as_bytes())?;
            let next = proof.jwk.as_ref()?.id()?;
            let wanted_of = read::<NewKey>(&wanted)?;
            let same = proof.url == header.url
                && wanted_of.account == *account
                && wanted_of.old_key.id() == Some(*key)
                && proof.nonce.is_none()
                && proof.kid.is_none();
            (same && next != *key).then_some(Half::OfFormer { next })
        }
        _ => None,
    }
}

/// Header and payload of a signing input whose header is of a known form.
fn parts(algorithm: &str, message: &[u8]) -> Option<(Header, Vec<u8>)> {
    let mut parts = message.split(|octet| *octet == b'.');
    let (Some(header), Some(payload), None) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let header: Header = serde_json::from_slice(&decoded(header)?).ok()?;
    let sound = header.alg == algorithm
        && header.nonce.as_ref().is_none_or(|nonce| !nonce.is_empty())
        && header.url.starts_with("https://");
    if sound { Some((header, decoded(payload)?)) } else { None }
}

/// What an account asks: to read something, or one of five things.
fn is_asked(payload: &[u8]) -> bool {
    payload.is_empty()
        || is::<NewOrder>(payload)
        || is::<Finalise>(payload)
        || is::<Contacts>(payload)
        || is::<Ready>(payload)
        || is::<Revoke>(payload)
}

fn is<'p, T: Deserialize<'p>>(payload: &'p [u8]) -> bool {
    read::<T>(payload).is_some()
}

fn read<'p, T: Deserialize<'p>>(payload: &'p [u8]) -> Option<T> {
    // An array would be read as the fields in their order.
    let is_object = payload.first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(payload).ok()).flatten()
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets of a coordinate.
    const COORDINATE: usize = 32;

    fn spki(x: &[u8], y: &[u8]) -> Vec<u8> {
        [&crate::vault::jwk::P256_SPKI[..], x, y].concat()
    }

    const X: [u8; COORDINATE] = [1; COORDINATE];
    const Y: [u8; COORDINATE] = [2; COORDINATE];

    fn key() -> KeyId {
        KeyId::of_spki(&spki(&X, &Y))
    }

    fn jwk() -> String {
        let [x, y] = [X, Y].map(|one| URL_SAFE_NO_PAD.encode(one));
        format!(r#""jwk":{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
    }

    fn header(who: &str) -> String {
        format!(r#"{{"alg":"ES256",{who},"nonce":"n","url":"https://ca.example/x"}}"#)
    }

    fn asked(header: &str, payload: &str) -> bool {
        let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        is_one(&key(), MADE_HERE, format!("{header}.{payload}").as_bytes())
    }

    const KID: &str = r#""kid":"https://ca.example/acct/1""#;

    #[test]
    fn what_keyward_asks_is_signed() {
        for payload in [
            "",
            "{}",
            r#"{"identifiers":[{"type":"dns","value":"a.example"}]}"#,
            r#"{"identifiers":[],"replaces":"a.b","profile":"short"}"#,
            r#"{"csr":"MIIB"}"#,
            r#"{"contact":["mailto:a@example.org"]}"#,
            r#"{"certificate":"MIIB","reason":1}"#,
            r#"{"certificate":"MIIB"}"#,
        ] {
            assert!(asked(&header(KID), payload), "{payload}");
        }
        for payload in [
            r#"{"contact":[],"termsOfServiceAgreed":true}"#,
            r#"{"contact":[],"termsOfServiceAgreed":true,"externalAccountBinding":{"payload":"x"}}"#,
        ] {
            assert!(asked(&header(&jwk()), payload), "{payload}");
        }
    }

    #[test]
    fn what_would_outlast_a_stolen_socket_is_not() {
        for payload in [
            // Another key for the account.
            r#"{"protected":"eyJ9","payload":"e30","signature":"AA"}"#,
            // The end of an account, or of an authorization.
            r#"{"status":"deactivated"}"#,
            r#"{"contact":[],"status":"deactivated"}"#,
            // Another's account.
            r#"{"contact":[],"termsOfServiceAgreed":true}"#,
            "null",
            "[]",
            r#"["MIIB"]"#,
            r#""csr""#,
            r#"{"csr":"a","csr":"b"}"#,
        ] {
            assert!(!asked(&header(KID), payload), "{payload}");
        }
        // With the key itself, there is nothing to be asked but an account of its own.
        for payload in ["", r#"{"csr":"MIIB"}"#, r#"{"certificate":"MIIB"}"#] {
            assert!(!asked(&header(&jwk()), payload), "{payload}");
        }
        // What proves a new key has no nonce (RFC 8555, section 7.3.5).
        let inner = format!(r#"{{"alg":"ES256",{},"url":"https://ca.example/x"}}"#, jwk());
        assert!(!asked(&inner, r#"{"account":"https://ca.example/acct/1","oldKey":{}}"#));
        assert!(!asked(&inner, r#"{"contact":[],"termsOfServiceAgreed":true}"#));
    }

    fn jwk_of(x: u8) -> String {
        let [x, y] = [[x; COORDINATE], Y].map(|one| URL_SAFE_NO_PAD.encode(one));
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
    }

    fn id_of(x: u8) -> KeyId {
        KeyId::of_spki(&spki(&[x; COORDINATE], &Y))
    }

    fn input(header: &str, payload: &str) -> String {
        [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    const CHANGE: &str = "https://ca.example/change";
    const ACCOUNT: &str = "https://ca.example/acct/1";

    /// What the key 5 signs to follow the key 1, and what that signs then.
    fn change(url: &str, account: &str, old: u8) -> (String, String) {
        let proof = format!(r#"{{"alg":"ES256","jwk":{},"url":"{url}"}}"#, jwk_of(5));
        let wanted = format!(r#"{{"account":"{account}","oldKey":{}}}"#, jwk_of(old));
        let inner = input(&proof, &wanted);
        let (protected, payload) = inner.split_once('.').unwrap();
        let payload =
            format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"AA"}}"#);
        let header = format!(r#"{{"alg":"ES256","kid":"{ACCOUNT}","nonce":"n","url":"{CHANGE}"}}"#);
        (inner.clone(), input(&header, &payload))
    }

    #[test]
    fn both_halves_of_a_change_name_the_other_key_and_are_nothing_else() {
        let (inner, outer) = change(CHANGE, ACCOUNT, 1);
        let half_of = |key: &KeyId, message: &str| half(key, MADE_HERE, message.as_bytes());
        assert_eq!(half_of(&id_of(5), &inner), Some(Half::OfNext { former: id_of(1) }));
        assert_eq!(half_of(&id_of(1), &outer), Some(Half::OfFormer { next: id_of(5) }));
        for (key, message) in [(5, &inner), (1, &outer)] {
            assert!(!is_one(&id_of(key), MADE_HERE, message.as_bytes()), "an ordinary request");
        }
        // By another key than the one that it says.
        assert_eq!(half_of(&id_of(1), &inner), None);
        assert_eq!(half_of(&id_of(5), &outer), None);
        for (url, account, old) in [
            ("https://ca.example/other", ACCOUNT, 1),
            (CHANGE, "https://ca.example/acct/2", 1),
            (CHANGE, ACCOUNT, 3),
        ] {
            let (_, outer) = change(url, account, old);
            assert_eq!(half_of(&id_of(1), &outer), None, "{url} {account} {old}");
        }
        // A key that follows itself, and an ordinary request.
        let (inner, _) = change(CHANGE, ACCOUNT, 5);
        assert_eq!(half_of(&id_of(5), &inner), None);
        assert_eq!(half_of(&key(), &input(&header(KID), "{}")), None);
    }

    #[test]
    fn a_header_of_another_form_is_refused() {
        let good = header(KID);
        assert!(asked(&good, "{}"));
        for (from, to) in [
            ("ES256", "none"),
            ("ES256", "HS256"),
            (r#""nonce":"n""#, r#""nonce":"""#),
            (r#","nonce":"n""#, ""),
            ("https://ca.example/x", "http://ca.example/x"),
            (r#""kid":"https:"#, r#""kid":"kid:"#),
            (r#""alg""#, r#""b64":false,"alg""#),
            (KID, r#""crit":["b64"]"#),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(!asked(&good.replacen(from, to, 1), "{}"), "{from} -> {to}");
        }
        let account = r#"{"contact":[],"termsOfServiceAgreed":true}"#;
        let both = header(&format!("{KID},{}", jwk()));
        assert!(!asked(&both, "{}") && !asked(&both, account));
        let [x, z] = [X, [3; COORDINATE]].map(|one| URL_SAFE_NO_PAD.encode(one));
        for (from, to) in [(x.as_str(), z.as_str()), ("P-256", "P-384"), ("EC", "RSA")] {
            assert!(!asked(&header(&jwk()).replacen(from, to, 1), account), "{from} -> {to}");
        }
        for message in ["", ".", "..", "e30", "e30.e30", "e30=.", "e30.e30.e30"] {
            assert!(!is_one(&key(), MADE_HERE, message.as_bytes()), "{message}");
        }
    }
}
