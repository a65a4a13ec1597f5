//! Private keys ready to sign.
//!
//! ring signs with P-256 and RSA, aws-lc-rs with P-384, where it is six times faster. Keys are
//! made by aws-lc-rs throughout, because its documents are wiped on drop and ring's are not. A
//! P-256 key lies in secret memory whole, an RSA key except for its numbers, which ring keeps on
//! the heap; P-384 keys lie on the heap of aws-lc-rs, which wipes them itself. On drop a key's own
//! bytes are overwritten, and what reading it left on the stack is overwritten at once.

use std::sync::atomic::AtomicU64;

use aws_lc_rs::encoding::AsDer;
use ring::rand::SystemRandom;
use ring::signature::KeyPair as _;
use rustls_pki_types::AlgorithmIdentifier;
use rustls_pki_types::alg_id;
use zeroize::Zeroizing;

use super::ranking::Rank;
use super::scheme::Scheme;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::os::wiped::Wiped;
use crate::os::wiped::scrub_stack;

/// The cryptographic library refused, or scheme and key do not fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the cryptographic library refused")]
pub struct CryptoRefused;

enum Pair {
    P256(Wiped<ring::signature::EcdsaKeyPair>),
    P384(Box<aws_lc_rs::signature::EcdsaKeyPair>),
    Rsa(Wiped<ring::signature::RsaKeyPair>),
}

/// What an opened P-256 key weighs; see [`OpenKey::weight`].
pub(super) const P256_WEIGHT: u64 = 480;

/// An opened key.
pub struct OpenKey {
    /// Its name, computed from the key itself.
    pub id: KeyId,
    /// Its calling, as its seal says.
    pub usage: KeyUsage,
    /// Signatures made since it was opened.
    pub signatures: AtomicU64,
    /// How busy it is.
    pub rank: Rank,
    /// Under which number it lies on the shelf.
    pub(super) laid_out: AtomicU64,
    pair: Pair,
}

impl std::fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes a key and returns it as PKCS#8.
///
/// # Errors
/// [`CryptoRefused`] when the library does.
pub fn generate(algorithm: KeyAlgorithm) -> Result<Zeroizing<Vec<u8>>, CryptoRefused> {
    use aws_lc_rs::rsa;
    use aws_lc_rs::signature;
    let ecdsa = |curve| {
        signature::EcdsaKeyPair::generate(curve)
            .and_then(|pair| pair.to_pkcs8v1())
            .map(|document| Zeroizing::new(document.as_ref().to_vec()))
            .map_err(|_| CryptoRefused)
    };
    match algorithm {
        KeyAlgorithm::P256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::P384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyAlgorithm::Rsa2048 => rsa::KeyPair::generate(rsa::KeySize::Rsa2048)
            .and_then(|pair| pair.as_der())
            .map(|document| Zeroizing::new(document.as_ref().to_vec()))
            .map_err(|_| CryptoRefused),
    }
}

impl OpenKey {
    /// Reads a key from PKCS#8; also returns its subject public key info (DER).
    ///
    /// # Errors
    /// [`CryptoRefused`] when the bytes are no such key.
    pub fn from_pkcs8(
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
        pkcs8: &[u8],
    ) -> Result<(Self, Vec<u8>), CryptoRefused> {
        let read = Self::read(algorithm, usage, pkcs8);
        scrub_stack();
        read
    }

    #[inline(never)]
    fn read(
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
        pkcs8: &[u8],
    ) -> Result<(Self, Vec<u8>), CryptoRefused> {
        let (pair, spki) = match algorithm {
            KeyAlgorithm::P256 => {
                let pair = ring::signature::EcdsaKeyPair::from_pkcs8(
                    &ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                    pkcs8,
                    &SystemRandom::new(),
                )
                .map_err(|_| CryptoRefused)?;
                let spki = spki(&alg_id::ECDSA_P256, pair.public_key().as_ref());
                (Pair::P256(Wiped::new(pair)), spki)
            }
            KeyAlgorithm::P384 => {
                let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
                    &aws_lc_rs::signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                    pkcs8,
                )
                .map_err(|_| CryptoRefused)?;
                use aws_lc_rs::signature::KeyPair as _;
                let spki = spki(&alg_id::ECDSA_P384, pair.public_key().as_ref());
                (Pair::P384(Box::new(pair)), spki)
            }
            KeyAlgorithm::Rsa2048 => {
                let pair =
                    ring::signature::RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| CryptoRefused)?;
                let spki = spki(&alg_id::RSA_ENCRYPTION, pair.public_key().as_ref());
                (Pair::Rsa(Wiped::new(pair)), spki)
            }
        };
        let id = KeyId::of_spki(&spki);
        let (signatures, laid_out) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok((Self { id, usage, signatures, rank: Rank::default(), laid_out, pair }, spki))
    }

    /// Signs `message`, which is not hashed yet.
    ///
    /// # Errors
    /// [`CryptoRefused`] when the scheme needs another kind of key, or the library refuses.
    pub fn sign(
        &self,
        scheme: Scheme,
        random: &SystemRandom,
        message: &[u8],
        signature: &mut Vec<u8>,
    ) -> Result<(), CryptoRefused> {
        signature.clear();
        match (&self.pair, scheme) {
            (Pair::P256(pair), Scheme::EcdsaP256Sha256) => {
                let made = pair.sign(random, message).map_err(|_| CryptoRefused)?;
                signature.extend_from_slice(made.as_ref());
            }
            (Pair::P384(pair), Scheme::EcdsaP384Sha384) => {
                let random = aws_lc_rs::rand::SystemRandom::new();
                let made = pair.sign(&random, message).map_err(|_| CryptoRefused)?;
                signature.extend_from_slice(made.as_ref());
            }
            (Pair::Rsa(pair), scheme) => {
                let padding = rsa_padding(scheme).ok_or(CryptoRefused)?;
                signature.resize(pair.public().modulus_len(), 0);
                pair.sign(padding, random, message, signature).map_err(|_| CryptoRefused)?;
            }
            _ => return Err(CryptoRefused),
        }
        Ok(())
    }

    /// Octets of memory it takes, rounded up, with what the cache adds for its own tables: ring
    /// keeps a P-256 key in 240 octets, for which a slot of secret memory has 256, and an RSA-2048
    /// key in 240 and 1840 more on the heap; aws-lc-rs keeps an elliptic-curve key in some 610.
    pub fn weight(&self) -> u64 {
        match &self.pair {
            Pair::P256(_) => P256_WEIGHT,
            Pair::P384(_) => 1024,
            Pair::Rsa(pair) => {
                let octets = u64::try_from(pair.public().modulus_len()).unwrap_or(u64::MAX);
                octets.saturating_mul(8).saturating_add(256)
            }
        }
    }
}

fn rsa_padding(scheme: Scheme) -> Option<&'static dyn ring::signature::RsaEncoding> {
    Some(match scheme {
        Scheme::RsaPssSha256 => &ring::signature::RSA_PSS_SHA256,
        Scheme::RsaPssSha384 => &ring::signature::RSA_PSS_SHA384,
        Scheme::RsaPssSha512 => &ring::signature::RSA_PSS_SHA512,
        Scheme::RsaPkcs1Sha256 => &ring::signature::RSA_PKCS1_SHA256,
        Scheme::RsaPkcs1Sha384 => &ring::signature::RSA_PKCS1_SHA384,
        Scheme::RsaPkcs1Sha512 => &ring::signature::RSA_PKCS1_SHA512,
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 => return None,
    })
}

fn spki(algorithm: &AlgorithmIdentifier, public_key: &[u8]) -> Vec<u8> {
    rustls::sign::public_key_to_spki(algorithm, public_key).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_fits_into_a_slot_of_secret_memory() {
        const { assert!(Wiped::<ring::signature::EcdsaKeyPair>::FITS_A_SLOT) };
        const { assert!(Wiped::<ring::signature::RsaKeyPair>::FITS_A_SLOT) };
        const { assert!(Wiped::<ring::hkdf::Prk>::FITS_A_SLOT) };
    }
}
