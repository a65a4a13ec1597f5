//! Names and envelopes of private keys. The keys themselves exist only inside the vault.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// SHA-256 of the DER subject public key info: the name of a key everywhere.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// Names the key whose subject public key info is `spki` (DER).
    pub fn of_spki(spki: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, spki);
        let mut id = [0; 32];
        id.copy_from_slice(digest.as_ref());
        Self(id)
    }

    /// The name that [`Self::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut id = [0; 32];
        for (octet, pair) in id.iter_mut().zip(digits.as_chunks::<2>().0) {
            let digit = |at: u8| char::from(at).to_digit(16).and_then(|d| u8::try_from(d).ok());
            *octet = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }

    /// All sixty-four hexadecimal digits.
    pub fn to_hex(self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Display for KeyId {
    /// The first twelve hexadecimal digits, as logs and tables show a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What kind of key pair.
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256: the default, and the fastest to sign with.
    #[default]
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// RSA with a modulus of 2048 bits; one that was brought here may have up to 4096.
    Rsa2048,
}

/// What clients can check: each can do one of these, and old ones no other than the second.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum KeyKind {
    /// ECDSA, on any curve.
    Ecdsa,
    /// RSA, of any length.
    Rsa,
}

impl KeyAlgorithm {
    /// Which kind of signatures it makes.
    pub const fn kind(self) -> KeyKind {
        match self {
            Self::P256 | Self::P384 => KeyKind::Ecdsa,
            Self::Rsa2048 => KeyKind::Rsa,
        }
    }

    /// As it is written in the file, and in the digest of which a certificate has its name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa2048 => "rsa2048",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        })
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A private key as it lies at rest: encrypted and authenticated under the master key.
///
/// Opaque outside the vault. It is no secret by itself, but has no place in a log either.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedKey(pub Arc<[u8]>);

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey({} bytes)", self.0.len())
    }
}

/// What a key may be asked to sign. Bound into the seal, so a blob cannot change its calling.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUsage {
    /// Handshakes of a site, and the certificate signing requests for that very key.
    Tls,
    /// Certificates of the internal CA.
    InternalCa,
    /// As [`Self::Tls`], and the key itself may be handed on to another service.
    ExportableTls,
    /// What an account asks a CA (RFC 8555).
    Account,
    /// The same for a key that was brought from elsewhere, where others may still have it: another of
    /// the vault's may follow it, and it follows none.
    BroughtAccount,
}

impl KeyUsage {
    /// Whether it signs the handshakes of a site.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::ExportableTls)
    }

    /// Whether it signs what an account asks.
    pub const fn is_account(self) -> bool {
        matches!(self, Self::Account | Self::BroughtAccount)
    }
}

/// Everything that may be known about a key outside the vault.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct KeyHandle {
    /// Its name.
    pub id: KeyId,
    /// Its kind.
    pub algorithm: KeyAlgorithm,
    /// Its calling.
    pub usage: KeyUsage,
    /// DER subject public key info.
    pub spki: Arc<[u8]>,
    /// The sealed private half.
    pub sealed: SealedKey,
}
