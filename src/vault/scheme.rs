//! The signature schemes the vault knows, by their numbers in the TLS registry.

use crate::cert::key::KeyAlgorithm;

/// One signature scheme (RFC 8446, section 4.2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
    /// RSASSA-PSS with SHA-256.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512.
    RsaPssSha512,
    /// RSASSA-PKCS1 v1.5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1 v1.5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1 v1.5 with SHA-512.
    RsaPkcs1Sha512,
}

/// Every scheme, the preferred ones of each algorithm first.
pub const SCHEMES: [Scheme; 8] = [
    Scheme::EcdsaP256Sha256,
    Scheme::EcdsaP384Sha384,
    Scheme::RsaPssSha256,
    Scheme::RsaPssSha384,
    Scheme::RsaPssSha512,
    Scheme::RsaPkcs1Sha256,
    Scheme::RsaPkcs1Sha384,
    Scheme::RsaPkcs1Sha512,
];

impl Scheme {
    /// Its number in the TLS registry.
    pub const fn code(self) -> u16 {
        match self {
            Self::EcdsaP256Sha256 => 0x0403,
            Self::EcdsaP384Sha384 => 0x0503,
            Self::RsaPssSha256 => 0x0804,
            Self::RsaPssSha384 => 0x0805,
            Self::RsaPssSha512 => 0x0806,
            Self::RsaPkcs1Sha256 => 0x0401,
            Self::RsaPkcs1Sha384 => 0x0501,
            Self::RsaPkcs1Sha512 => 0x0601,
        }
    }

    /// The scheme with this number.
    pub fn of(code: u16) -> Option<Self> {
        SCHEMES.into_iter().find(|scheme| scheme.code() == code)
    }

    /// The kind of key it needs.
    pub const fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::EcdsaP256Sha256 => KeyAlgorithm::P256,
            Self::EcdsaP384Sha384 => KeyAlgorithm::P384,
            _ => KeyAlgorithm::Rsa2048,
        }
    }

    /// Whether TLS 1.3 admits it in a handshake signature: PKCS#1 v1.5 it does not
    /// (RFC 8446, section 4.4.3).
    pub const fn fits_tls13(self) -> bool {
        !matches!(self, Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512)
    }
}
