//! What a signature is for, and whether a message is that.
//!
//! The vault looks at what it signs, so that a stolen socket is an oracle for handshakes, for
//! requests about the very key, for orders at a CA and their revocation, and for nothing else.

use x509_parser::certificate::TbsCertificate;
use x509_parser::certification_request::X509CertificationRequestInfo;
use x509_parser::prelude::FromDer;

use super::account_request;
use super::account_request::Half;
use super::scheme::Scheme;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

/// What a signature is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The server's `CertificateVerify` (RFC 8446, section 4.4.3).
    Tls13,
    /// The server's `ServerKeyExchange` with elliptic curves (RFC 8422, section 5.4).
    Tls12,
    /// A client's `CertificateVerify` of TLS 1.3 (RFC 8446, section 4.4.3).
    ClientTls13,
    /// The same of TLS 1.2: all messages of the handshake so far (RFC 5246, section 7.4.8).
    ClientTls12,
    /// A certificate signing request for this key (RFC 2986, section 4.1).
    Csr,
    /// A certificate of the internal CA (RFC 5280, section 4.1).
    InternalCaTbs,
    /// What an account asks a CA (RFC 8555, section 6.2).
    Account,
    /// One half of a change of an account's key to another of this vault (RFC 8555, section 7.3.5).
    AccountKey,
}

const PURPOSES: [Purpose; 8] = [
    Purpose::Tls13,
    Purpose::Tls12,
    Purpose::Csr,
    Purpose::InternalCaTbs,
    Purpose::Account,
    Purpose::AccountKey,
    Purpose::ClientTls13,
    Purpose::ClientTls12,
];

/// Why a message is not to be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotThis {
    /// The key has another calling.
    #[error("a key for {usage:?} does not sign for {purpose:?}")]
    Calling {
        /// What the key is for.
        usage: KeyUsage,
        /// What was asked.
        purpose: Purpose,
    },
    /// The scheme needs another kind of key, or does not fit the purpose.
    #[error("scheme {scheme:?} does not fit the key or {purpose:?}")]
    Scheme {
        /// What was asked.
        scheme: Scheme,
        /// What for.
        purpose: Purpose,
    },
    /// The message is something else.
    #[error("the message is no {0:?}")]
    Message(Purpose),
    /// The message speaks of a key that is not open here, or not of the same calling.
    #[error("the message is about the key {0}, which is not here")]
    Absent(KeyId),
}

impl Purpose {
    /// The octet that stands for it in a frame.
    pub const fn octet(self) -> u8 {
        match self {
            Self::Tls13 => 0,
            Self::Tls12 => 1,
            Self::Csr => 2,
            Self::InternalCaTbs => 3,
            Self::Account => 4,
            Self::AccountKey => 5,
            Self::ClientTls13 => 6,
            Self::ClientTls12 => 7,
        }
    }

    /// The purpose that `octet` stands for.
    pub fn of(octet: u8) -> Option<Self> {
        PURPOSES.get(usize::from(octet)).copied()
    }

    /// Whether it is for a handshake.
    pub const fn is_handshake(self) -> bool {
        matches!(self, Self::Tls13 | Self::Tls12 | Self::ClientTls13 | Self::ClientTls12)
    }

    /// Whether a worker may ask for it on its own channel: those serve strangers and only ever sign
    /// handshakes, and what a client signs in TLS 1.2 may be too long for it.
    pub const fn is_for_workers(self) -> bool {
        self.is_handshake() && !matches!(self, Self::ClientTls12)
    }

    /// Which half of a change of an account's key a `message` by `key` is: the other key must be here
    /// for it to be signed.
    pub(super) fn half(self, key: &KeyId, scheme: Scheme, message: &[u8]) -> Option<Half> {
        if self != Self::AccountKey {
            return None;
        }
        account_request::half(key, algorithm(scheme)?, message)
    }

    /// Checks that a key named `key` for `usage` may sign `message` with `scheme`.
    ///
    /// # Errors
    /// [`NotThis`] says what does not fit.
    pub fn check(
        self,
        key: &KeyId,
        usage: KeyUsage,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<(), NotThis> {
        let called = match usage {
            KeyUsage::Tls | KeyUsage::ExportableTls => self.is_handshake() || self == Self::Csr,
            KeyUsage::InternalCa => matches!(self, Self::Csr | Self::InternalCaTbs),
            KeyUsage::Account | KeyUsage::BroughtAccount => {
                matches!(self, Self::Account | Self::AccountKey)
            }
        };
        if !called {
            return Err(NotThis::Calling { usage, purpose: self });
        }
        let (scheme_fits, message_fits) = match self {
            Self::Tls13 => (scheme.fits_tls13(), is_certificate_verify(message, SERVER)),
            Self::ClientTls13 => (scheme.fits_tls13(), is_certificate_verify(message, CLIENT)),
            Self::ClientTls12 => (true, is_transcript(message)),
            Self::Tls12 => (true, is_server_key_exchange(message)),
            Self::Csr => (true, is_request_for(key, message)),
            Self::InternalCaTbs => (true, is_tbs_certificate(message)),
            Self::Account | Self::AccountKey => match algorithm(scheme) {
                None => (false, false),
                Some(alg) if self == Self::Account => {
                    (true, account_request::is_one(key, alg, message))
                }
                Some(alg) => (true, account_request::half(key, alg, message).is_some()),
            },
        };
        if !scheme_fits {
            return Err(NotThis::Scheme { scheme, purpose: self });
        }
        if message_fits { Ok(()) } else { Err(NotThis::Message(self)) }
    }
}

/// What the header of a JWS calls the scheme (RFC 7518, section 3.1), if accounts may use it.
const fn algorithm(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::EcdsaP256Sha256 => Some("ES256"),
        Scheme::EcdsaP384Sha384 => Some("ES384"),
        Scheme::RsaPkcs1Sha256 => Some("RS256"),
        _ => None,
    }
}

/// Context strings, each with the zero behind it.
const SERVER: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// Sixty-four spaces, a context string, a zero, and a transcript hash.
fn is_certificate_verify(message: &[u8], context: &[u8]) -> bool {
    let Some((spaces, rest)) = message.split_at_checked(64) else { return false };
    spaces.iter().all(|octet| *octet == b' ')
        && rest.strip_prefix(context).is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

/// Two randoms, a named curve, and a point of that curve's length.
fn is_server_key_exchange(message: &[u8]) -> bool {
    let Some((_randoms, params)) = message.split_at_checked(64) else { return false };
    let [3, group_high, group_low, len, point @ ..] = params else { return false };
    let expected = match u16::from_be_bytes([*group_high, *group_low]) {
        23 => 65,
        24 => 97,
        29 => 32,
        _ => return false,
    };
    usize::from(*len) == expected && point.len() == expected
}

/// The messages of a handshake of TLS 1.2 up to the client's key exchange, in their order and whole. It
/// begins as no `ServerKeyExchange` does that is taken here, as that has 165 octets at most.
fn is_transcript(message: &[u8]) -> bool {
    // ClientHello, ServerHello, Certificate, CertificateStatus if there is one, ServerKeyExchange,
    // CertificateRequest, ServerHelloDone, Certificate, ClientKeyExchange.
    const ORDER: [u8; 9] = [1, 2, 11, 22, 12, 13, 14, 11, 16];
    const OPTIONAL: u8 = 22;
    let mut rest = message;
    for kind in ORDER {
        let Some((&[found, high, middle, low], body)) = rest.split_first_chunk() else {
            return false;
        };
        if found != kind {
            if kind == OPTIONAL {
                continue;
            }
            return false;
        }
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((body, behind)) = body.split_at_checked(length) else { return false };
        // RFC 5246: a hello says which version it is.
        if matches!(kind, 1 | 2) && !body.starts_with(&[3, 3]) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty() && message.len() > SHORTEST_TRANSCRIPT
}

/// Two hellos with their randoms, a key exchange of each side and two certificates are longer.
const SHORTEST_TRANSCRIPT: usize = 192;

fn is_request_for(key: &KeyId, message: &[u8]) -> bool {
    match X509CertificationRequestInfo::from_der(message) {
        Ok(([], info)) => KeyId::of_spki(info.subject_pki.raw) == *key,
        _ => false,
    }
}

fn is_tbs_certificate(message: &[u8]) -> bool {
    matches!(TbsCertificate::from_der(message), Ok(([], _)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_for_no_purpose(
            message in proptest::collection::vec(any::<u8>(), 0..400),
            usage in prop_oneof![
                Just(KeyUsage::Tls),
                Just(KeyUsage::InternalCa),
                Just(KeyUsage::Account),
                Just(KeyUsage::BroughtAccount),
            ],
        ) {
            for purpose in PURPOSES {
                let checked =
                    purpose.check(&KeyId([0; 32]), usage, Scheme::EcdsaP256Sha256, &message);
                prop_assert!(checked.is_err());
            }
        }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, length[1], length[2], length[3]], body].concat()
    }

    fn transcript(kinds: &[u8]) -> Vec<u8> {
        let body = [&[3, 3][..], &[7; 40]].concat();
        kinds.iter().flat_map(|kind| message(*kind, &body)).collect()
    }

    #[test]
    fn what_a_client_signs_in_tls_1_2_is_the_whole_handshake_in_its_order() {
        let good = |bytes: &[u8]| {
            let scheme = Scheme::EcdsaP256Sha256;
            let check = |purpose: Purpose, usage| {
                purpose.check(&KeyId([0; 32]), usage, scheme, bytes).is_ok()
            };
            // It is nothing else, and no key of another calling signs it.
            for other in PURPOSES.into_iter().filter(|purpose| *purpose != Purpose::ClientTls12) {
                assert!(!check(other, KeyUsage::Tls), "{other:?}");
            }
            for usage in [KeyUsage::InternalCa, KeyUsage::Account] {
                assert!(!check(Purpose::ClientTls12, usage), "{usage:?}");
            }
            check(Purpose::ClientTls12, KeyUsage::Tls)
        };
        assert!(good(&transcript(&[1, 2, 11, 12, 13, 14, 11, 16])));
        assert!(good(&transcript(&[1, 2, 11, 22, 12, 13, 14, 11, 16])));
        for wrong in [
            &[][..],
            &[1],
            &[2, 1, 11, 12, 13, 14, 11, 16],
            &[1, 2, 11, 12, 14, 11, 16],
            &[1, 2, 11, 12, 13, 14, 11],
            &[1, 2, 11, 12, 13, 14, 11, 16, 16],
            &[1, 2, 22, 11, 12, 13, 14, 11, 16],
        ] {
            assert!(!good(&transcript(wrong)), "{wrong:?}");
        }
        let mut cut = transcript(&[1, 2, 11, 12, 13, 14, 11, 16]);
        cut.pop();
        assert!(!good(&cut));
        let mut older = transcript(&[1, 2, 11, 12, 13, 14, 11, 16]);
        older[5] = 1;
        assert!(!good(&older));
        let short: Vec<u8> = [1, 2].iter().flat_map(|kind| message(*kind, &[3, 3])).collect();
        let rest: Vec<u8> =
            [11, 12, 13, 14, 11, 16].iter().flat_map(|k| message(*k, &[])).collect();
        assert!(!good(&[short, rest].concat()));
    }

    #[test]
    fn a_server_and_a_client_do_not_sign_for_each_other() {
        let message = |who: &str, hash: usize| {
            let context = format!("TLS 1.3, {who} CertificateVerify\0");
            [&[b' '; 64][..], context.as_bytes(), &vec![1; hash]].concat()
        };
        let check = |purpose: Purpose, usage, message: &[u8]| {
            purpose.check(&KeyId([0; 32]), usage, Scheme::EcdsaP256Sha256, message)
        };
        for hash in [32, 48] {
            let (server, client) = (message("server", hash), message("client", hash));
            for (purpose, own, other) in
                [(Purpose::Tls13, &server, &client), (Purpose::ClientTls13, &client, &server)]
            {
                assert_eq!(check(purpose, KeyUsage::Tls, own), Ok(()));
                assert_eq!(check(purpose, KeyUsage::ExportableTls, own), Ok(()));
                assert_eq!(check(purpose, KeyUsage::Tls, other), Err(NotThis::Message(purpose)));
                for usage in [KeyUsage::InternalCa, KeyUsage::Account] {
                    let expected = Err(NotThis::Calling { usage, purpose });
                    assert_eq!(check(purpose, usage, own), expected);
                }
            }
        }
        assert!(check(Purpose::ClientTls13, KeyUsage::Tls, &message("client", 33)).is_err());
        assert!(check(Purpose::ClientTls13, KeyUsage::Tls, &message("Client", 32)).is_err());
    }

    #[test]
    fn tls_1_3_signs_with_no_old_padding() {
        let message = [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[1; 32]].concat();
        let check = |scheme| Purpose::Tls13.check(&KeyId([0; 32]), KeyUsage::Tls, scheme, &message);
        assert_eq!(check(Scheme::RsaPssSha256), Ok(()));
        let scheme = Scheme::RsaPkcs1Sha256;
        assert_eq!(check(scheme), Err(NotThis::Scheme { scheme, purpose: Purpose::Tls13 }));
    }
}
