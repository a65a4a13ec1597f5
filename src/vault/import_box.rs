//! The box in which a private key comes in: sealed by whoever has it to a public key of the
//! vault (HPKE, RFC 9180, base mode), so that nobody on the way can read it.
//!
//! Kind, calling and name of the key are bound into the box. A box that is sent twice brings the
//! same key twice and nothing else, so there is nothing to be fresh about. Not here: what becomes
//! of the key, and who may send one.

use aws_lc_rs::agreement;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::EncapsulatedSecret;
use rustls::crypto::hpke::Hpke;
use rustls::crypto::hpke::HpkePrivateKey;
use rustls::crypto::hpke::HpkePublicKey;
use zeroize::Zeroizing;

use super::octets::algorithm_octet;
use super::octets::usage_octet;
use super::seal::Sealer;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
static SUITE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;

/// Octets of a public and of a private key (RFC 9180, section 7.1).
pub const KEY: usize = 32;

/// Why a box cannot be made or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BoxError {
    /// Made for another vault or another key, or changed on the way.
    #[error(
        "the box does not open: it was made for another vault, under a former master key, or \
         for another key, or was changed on the way"
    )]
    Closed,
    /// The library refused; above all a public key that is none.
    #[error("the cryptographic library refused to make a box")]
    Refused,
}

/// What a box says about the key in it; bound into the box.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label {
    /// Its kind.
    pub algorithm: KeyAlgorithm,
    /// What it will be allowed to do.
    pub usage: KeyUsage,
    /// Its name.
    pub key: KeyId,
}

/// A sealed box.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImportBox {
    /// What is in it.
    pub label: Label,
    /// The sender's half of the exchange.
    pub encapsulated: Vec<u8>,
    /// The private key, PKCS#8, encrypted.
    pub sealed: Vec<u8>,
}

impl Label {
    fn info(&self) -> Vec<u8> {
        let mut info = b"keyward import v1".to_vec();
        info.extend([algorithm_octet(self.algorithm), usage_octet(self.usage)]);
        info
    }
}

/// Seals `pkcs8` to the vault whose import key is `public`.
///
/// # Errors
/// [`BoxError::Refused`] when `public` is no such key.
pub fn seal(public: &[u8; KEY], label: Label, pkcs8: &[u8]) -> Result<ImportBox, BoxError> {
    let public = HpkePublicKey(public.to_vec());
    let made = SUITE.seal(&label.info(), &label.key.0, pkcs8, &public);
    let (EncapsulatedSecret(encapsulated), sealed) = made.map_err(|_| BoxError::Refused)?;
    Ok(ImportBox { label, encapsulated, sealed })
}

/// Opens a box with the vault's private half.
pub(super) fn open(
    private: &[u8; KEY],
    label: Label,
    encapsulated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, BoxError> {
    let private = HpkePrivateKey::from(private.to_vec());
    let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
    SUITE
        .open(&encapsulated, &label.info(), &label.key.0, sealed, &private)
        .map(Zeroizing::new)
        .map_err(|_| BoxError::Closed)
}

/// The public key that boxes are to be sealed to, for the vault that has this master key.
///
/// # Errors
/// [`BoxError::Refused`] only.
pub fn public_of(sealer: &Sealer) -> Result<[u8; KEY], BoxError> {
    public(&*private_of(sealer)?)
}

/// The private half of that.
pub(super) fn private_of(sealer: &Sealer) -> Result<Zeroizing<[u8; KEY]>, BoxError> {
    let mut private = Zeroizing::new([0; KEY]);
    sealer.derive_secret(b"import key v1", &mut *private).map_err(|_| BoxError::Refused)?;
    Ok(private)
}

/// The public half of `private`.
pub(super) fn public(private: &[u8; KEY]) -> Result<[u8; KEY], BoxError> {
    let private = agreement::PrivateKey::from_private_key(&agreement::X25519, private)
        .map_err(|_| BoxError::Refused)?;
    let public = private.compute_public_key().map_err(|_| BoxError::Refused)?;
    public.as_ref().try_into().map_err(|_| BoxError::Refused)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(octet: u8) -> Label {
        let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Tls);
        Label { algorithm, usage, key: KeyId([octet; 32]) }
    }

    fn reopened(private: &[u8; KEY], made: &ImportBox) -> Result<Zeroizing<Vec<u8>>, BoxError> {
        open(private, made.label, &made.encapsulated, &made.sealed)
    }

    #[test]
    fn what_is_in_the_box_cannot_be_renamed_and_no_other_vault_opens_it() {
        let private = [7; KEY];
        let made = seal(&public(&private).unwrap(), label(1), b"secret").unwrap();
        assert_eq!(reopened(&private, &made).unwrap().as_slice(), b"secret");
        assert_eq!(reopened(&[8; KEY], &made), Err(BoxError::Closed));
        let changed = [
            label(2),
            Label { algorithm: KeyAlgorithm::P384, ..label(1) },
            Label { usage: KeyUsage::ExportableTls, ..label(1) },
            Label { usage: KeyUsage::InternalCa, ..label(1) },
        ];
        for label in changed {
            let renamed = ImportBox { label, ..made.clone() };
            assert_eq!(reopened(&private, &renamed), Err(BoxError::Closed), "{label:?}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed_and_no_bytes_make_it_panic(
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
            junk in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let private = [7; KEY];
            let mut made = seal(&public(&private).unwrap(), label(1), &[3; 40]).unwrap();
            let len = made.encapsulated.len();
            match at.index(len + made.sealed.len()) {
                // RFC 7748, section 5: the highest bit of a public key is not looked at, but
                // the key exchange binds it all the same.
                at if at < len => made.encapsulated[at] ^= 1 << bit,
                at => made.sealed[at - len] ^= 1 << bit,
            }
            prop_assert_eq!(reopened(&private, &made), Err(BoxError::Closed));
            prop_assert!(open(&private, label(1), &junk, &junk).is_err());
        }
    }
}
