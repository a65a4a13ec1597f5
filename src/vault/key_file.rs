//! Private keys as others write them: PEM files with PKCS#8, SEC1 or PKCS#1 in them.
//!
//! Used by whoever brings a key, in a process of its own. Not here: what lies under a passphrase,
//! which [`super::key_locked`] opens.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa;
use aws_lc_rs::signature;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroize as _;
use zeroize::Zeroizing;

use super::keys::CryptoRefused;
use super::keys::OpenKey;
use crate::base::bounds;
use crate::cert::chain::armour;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

/// A private key that was read.
pub struct KeyFile {
    /// Its kind; RSA of any admitted length counts as [`KeyAlgorithm::Rsa2048`].
    pub algorithm: KeyAlgorithm,
    /// Its name.
    pub id: KeyId,
    /// The key itself, as the vault takes it.
    pub pkcs8: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a file is no key that can be used here. None of these can quote the file: it
/// may be a key with a slip in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFileError {
    /// It is protected by a passphrase.
    #[error("the key is encrypted; decrypt it first: openssl pkey -in FILE -out PLAIN.pem")]
    Encrypted,
    /// There is no private key in it.
    #[error("no private key found: expected PEM, such as -----BEGIN PRIVATE KEY-----")]
    None,
    /// There are several.
    #[error("several private keys found: expected one")]
    Several,
    /// The library does not take it.
    #[error("the private key is damaged or of a kind that is not served here ({0}): expected ECDSA on P-256 or P-384, or RSA with 2048 to {most} bits", most = bounds::RSA_BITS_MOST)]
    Unusable(&'static str),
    /// Too easily broken.
    #[error("the RSA key is too short: expected at least 2048 bits")]
    Weak,
    /// More than the vault signs with.
    #[error("the RSA key has {0} bits: expected at most {most}", most = bounds::RSA_BITS_MOST)]
    TooLong(usize),
}

impl KeyFile {
    /// Reads the one private key in `pem`; other sections, such as certificates, are passed over.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyFileError> {
        let has = |mark: &[u8]| memchr::memmem::find(pem, mark).is_some();
        if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
            return Err(KeyFileError::Encrypted);
        }
        let mut sections = PrivateKeyDer::pem_slice_iter(pem);
        let mut der = match sections.next() {
            None => return Err(KeyFileError::None),
            Some(Err(error)) => return Err(KeyFileError::Unusable(armour(&error))),
            Some(Ok(der)) => der,
        };
        let read = match sections.next() {
            None => read(&der),
            Some(_) => Err(KeyFileError::Several),
        };
        der.zeroize();
        read
    }

    /// Reads an RSA key in DER (RFC 8017, appendix A.1.2), as Traefik keeps those of its accounts.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, KeyFileError> {
        read(&PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)))
    }
}

/// The key in `der`, of whichever form.
pub(super) fn read(der: &PrivateKeyDer<'_>) -> Result<KeyFile, KeyFileError> {
    let bytes = der.secret_der();
    let (algorithm, pkcs8) = match der {
        PrivateKeyDer::Pkcs1(_) => rsa_key(rsa::KeyPair::from_der(bytes))?,
        PrivateKeyDer::Sec1(_) => elliptic(bytes).ok_or_else(other_curve)?,
        _ => match elliptic(bytes) {
            Some(found) => found,
            None => rsa_key(rsa::KeyPair::from_pkcs8(bytes))?,
        },
    };
    // The vault reads it the same way, so what it would refuse is refused here, where the reason
    // can be told to whoever has the file.
    let (key, _) = OpenKey::from_pkcs8(algorithm, KeyUsage::Tls, &pkcs8)
        .map_err(|CryptoRefused| KeyFileError::Unusable("its numbers do not fit"))?;
    Ok(KeyFile { algorithm, id: key.id, pkcs8 })
}

fn other_curve() -> KeyFileError {
    KeyFileError::Unusable("another curve")
}

/// The key as PKCS#8, which always has the public half in it.
fn elliptic(der: &[u8]) -> Option<(KeyAlgorithm, Zeroizing<Vec<u8>>)> {
    [
        (KeyAlgorithm::P256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        (KeyAlgorithm::P384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
    ]
    .into_iter()
    .find_map(|(algorithm, curve)| {
        let pair = signature::EcdsaKeyPair::from_private_key_der(curve, der).ok()?;
        let document = pair.to_pkcs8v1().ok()?;
        Some((algorithm, Zeroizing::new(document.as_ref().to_vec())))
    })
}

fn rsa_key(
    pair: Result<rsa::KeyPair, KeyRejected>,
) -> Result<(KeyAlgorithm, Zeroizing<Vec<u8>>), KeyFileError> {
    let pair = pair.map_err(|rejected| match rejected.description_() {
        "TooSmall" => KeyFileError::Weak,
        other => KeyFileError::Unusable(other),
    })?;
    let bits = pair.public_modulus_len().saturating_mul(8);
    if bits > bounds::RSA_BITS_MOST {
        return Err(KeyFileError::TooLong(bits));
    }
    let document: Pkcs8V1Der<'_> =
        pair.as_der().map_err(|_| KeyFileError::Unusable("it cannot be written"))?;
    Ok((KeyAlgorithm::Rsa2048, Zeroizing::new(document.as_ref().to_vec())))
}
