//! Private keys as others write them under a passphrase: encrypted PKCS#8 (RFC 5958) and PKCS#12
//! (RFC 7292), opened by whoever brings them, in a process of its own.
//!
//! What a file may make us compute for one passphrase is bounded. Deliberately absent: the older
//! encryption within PEM (`Proc-Type: 4,ENCRYPTED`), whose single round of MD5 is no protection.

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::asn1_rs::Any;
use x509_parser::asn1_rs::FromDer as _;
use zeroize::Zeroizing;

use super::key_file::KeyFile;
use super::key_file::KeyFileError;
use super::key_file::read;
use crate::base::bounds::brought::DERIVATION_MEMORY;
use crate::base::bounds::brought::DERIVATION_PARALLEL;
use crate::base::bounds::brought::DERIVATION_ROUNDS;
use crate::cert::chain::Chain;
use crate::cert::chain::ChainError;

/// The label of encrypted PKCS#8 in PEM (RFC 7468, section 11).
const LABEL: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";

/// Why a file is not opened, whatever the passphrase. None of these quotes it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LockedError {
    /// It is none of these files, or damaged.
    #[error("it is damaged, or no {0} file")]
    Damaged(&'static str),
    /// A way to encrypt that is not known here.
    #[error("it is encrypted in a way that is not known here: {0}")]
    Cipher(String),
    /// It asks for more work than any program that writes such files.
    #[error("opening it would take far more work than such files need")]
    Costly,
    /// What it holds is no key that can be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// What it holds besides is no certificate.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// What was in a PKCS#12 file.
#[derive(Debug)]
pub struct Opened {
    /// The certificates, in the order of the file.
    pub chain: Chain,
    /// The private key.
    pub key: KeyFile,
}

/// Whether the PEM text has an encrypted key in it that [`open_pem`] takes.
pub fn is_locked(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, LABEL).is_some()
}

/// Opens the one encrypted key in a PEM text; `None` when the passphrase is another.
///
/// # Errors
/// [`LockedError`].
pub fn open_pem(pem: &[u8], passphrase: &[u8]) -> Result<Option<KeyFile>, LockedError> {
    const WHAT: &str = "PKCS#8";
    let mut locked = None;
    let mut rest = pem;
    while let Some(at) = memchr::memmem::find(rest, LABEL) {
        if locked.replace(body(rest.get(at + LABEL.len()..).unwrap_or_default())).is_some() {
            return Err(KeyFileError::Several.into());
        }
        rest = rest.get(at + LABEL.len()..).unwrap_or_default();
    }
    let der = locked.flatten().ok_or(LockedError::Damaged(WHAT))?;
    let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(der.as_slice()) else {
        // Whole, and yet not read: the scheme is one of those before PBES2.
        return Err(match Any::from_der(&der) {
            Ok(([], _)) => LockedError::Cipher("expected PBES2 (RFC 8018)".to_owned()),
            _ => LockedError::Damaged(WHAT),
        });
    };
    affordable(&info.encryption_algorithm)?;
    match info.decrypt(passphrase) {
        Ok(plain) => pkcs8_key(plain.as_bytes()),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { oid }
            | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { oid },
        )) => Err(LockedError::Cipher(oid.to_string())),
        Err(pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::NoPbes1CryptSupport)) => {
            Err(LockedError::Cipher("PBES1".to_owned()))
        }
        // With another passphrase the padding is wrong, or what is found is no key.
        Err(_) => Ok(None),
    }
}

/// What stands between the line of the label and that of the end, undone from base64.
fn body(after: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    use base64::Engine as _;
    let text = after.strip_prefix(b"-----")?;
    let end = memchr::memmem::find(text, b"-----END ENCRYPTED PRIVATE KEY-----")?;
    let text: Vec<u8> =
        text.get(..end)?.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok().map(Zeroizing::new)
}

fn affordable(scheme: &EncryptionScheme) -> Result<(), LockedError> {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return Ok(()) };
    let within = match &parameters.kdf {
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= DERIVATION_ROUNDS,
        Kdf::Scrypt(scrypt) => {
            let memory = scrypt.cost_parameter.checked_mul(128 * u64::from(scrypt.block_size));
            memory.is_some_and(|octets| octets <= DERIVATION_MEMORY)
                && scrypt.parallelization <= DERIVATION_PARALLEL
        }
        _ => true,
    };
    if within { Ok(()) } else { Err(LockedError::Costly) }
}

/// What was decrypted, if it is a key at all.
fn pkcs8_key(plain: &[u8]) -> Result<Option<KeyFile>, LockedError> {
    if PrivateKeyInfoRef::try_from(plain).is_err() {
        return Ok(None);
    }
    Ok(Some(read(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain)))?))
}

/// Opens a PKCS#12 file; `None` when the passphrase is another.
///
/// # Errors
/// [`LockedError`].
pub fn open_pkcs12(der: &[u8], passphrase: &[u8]) -> Result<Option<Opened>, LockedError> {
    const WHAT: &str = "PKCS#12";
    // The format has no passphrases but such.
    let Ok(passphrase) = std::str::from_utf8(passphrase) else { return Ok(None) };
    let archive = match Pkcs12Archive::from_pkcs12(der, passphrase) {
        Ok(archive) => archive,
        Err(Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_)) => {
            return Ok(None);
        }
        Err(Pkcs12Error::InvalidParameters) => return Err(LockedError::Costly),
        Err(
            error @ (Pkcs12Error::UnsupportedEncryptionScheme
            | Pkcs12Error::UnsupportedMacAlgorithm),
        ) => return Err(LockedError::Cipher(error.to_string())),
        Err(_) => return Err(LockedError::Damaged(WHAT)),
    };
    let [key] = archive.keys.as_slice() else {
        let none = archive.keys.is_empty();
        return Err(if none { KeyFileError::None } else { KeyFileError::Several }.into());
    };
    let key = pkcs8_key(key.key.as_der())?.ok_or(LockedError::Damaged(WHAT))?;
    let certificates = archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
    Ok(Some(Opened { chain: Chain::from_der(certificates)?, key }))
}
