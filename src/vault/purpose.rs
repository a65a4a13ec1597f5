//! What a signature is for, and whether a message is that.
//!
//! The vault looks at what it signs, so that a stolen socket is an oracle for handshakes of the
//! server, for requests about the very key, and for orders at a CA, and for nothing else.

use x509_parser::certificate::TbsCertificate;
use x509_parser::certification_request::X509CertificationRequestInfo;
use x509_parser::prelude::FromDer;

use super::account_request;
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
    /// A certificate signing request for this key (RFC 2986, section 4.1).
    Csr,
    /// A certificate of the internal CA (RFC 5280, section 4.1).
    InternalCaTbs,
    /// What an account asks a CA (RFC 8555, section 6.2).
    Account,
    /// One half of a change of an account's key to another of this vault (RFC 8555, section 7.3.5).
    AccountKey,
}

const PURPOSES: [Purpose; 6] = [
    Purpose::Tls13,
    Purpose::Tls12,
    Purpose::Csr,
    Purpose::InternalCaTbs,
    Purpose::Account,
    Purpose::AccountKey,
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
        }
    }

    /// The purpose that `octet` stands for.
    pub fn of(octet: u8) -> Option<Self> {
        PURPOSES.get(usize::from(octet)).copied()
    }

    /// Whether a worker may ask for it: those serve strangers and only ever sign handshakes.
    pub const fn is_handshake(self) -> bool {
        matches!(self, Self::Tls13 | Self::Tls12)
    }

    /// The other key that a `message` by `key` is about, which must be here for it to be signed.
    pub fn other_key(self, key: &KeyId, message: &[u8]) -> Option<KeyId> {
        if self == Self::AccountKey { account_request::other_key(key, message) } else { None }
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
            KeyUsage::Account => matches!(self, Self::Account | Self::AccountKey),
        };
        if !called {
            return Err(NotThis::Calling { usage, purpose: self });
        }
        let (scheme_fits, message_fits) = match self {
            Self::Tls13 => (scheme.fits_tls13(), is_certificate_verify(message)),
            Self::Tls12 => (true, is_server_key_exchange(message)),
            Self::Csr => (true, is_request_for(key, message)),
            Self::InternalCaTbs => (true, is_tbs_certificate(message)),
            // ES256 is what the header says.
            Self::Account => {
                (scheme == Scheme::EcdsaP256Sha256, account_request::is_one(key, message))
            }
            Self::AccountKey => {
                let other = account_request::other_key(key, message);
                (scheme == Scheme::EcdsaP256Sha256, other.is_some())
            }
        };
        if !scheme_fits {
            return Err(NotThis::Scheme { scheme, purpose: self });
        }
        if message_fits { Ok(()) } else { Err(NotThis::Message(self)) }
    }
}

/// Sixty-four spaces, the server's context string, a zero, and a transcript hash.
fn is_certificate_verify(message: &[u8]) -> bool {
    const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";
    let Some((spaces, rest)) = message.split_at_checked(64) else { return false };
    spaces.iter().all(|octet| *octet == b' ')
        && rest.strip_prefix(CONTEXT).is_some_and(|hash| matches!(hash.len(), 32 | 48))
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
            ],
        ) {
            for purpose in PURPOSES {
                let checked =
                    purpose.check(&KeyId([0; 32]), usage, Scheme::EcdsaP256Sha256, &message);
                prop_assert!(checked.is_err());
            }
        }
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
