//! Private keys and small secrets as they lie at rest.
//!
//! Master key, key-encryption key of an epoch, and a key of its own for every record, derived
//! with a salt that is drawn on every write: so no AES-GCM key ever encrypts two messages. The
//! header is authenticated whole, so that a record cannot change its calling, its kind, its name
//! or its epoch. It also says under which master key it was sealed, to tell a foreign record from
//! a damaged one.
//!
//! What is deliberately absent: protection against an old copy of a whole store. Authenticated
//! encryption cannot see that.

use ring::aead;
use ring::hkdf;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use super::wire::algorithm_octet;
use super::wire::algorithm_of;
use super::wire::usage_octet;
use super::wire::usage_of;
use crate::base::Secret;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::os::wiped::Wiped;

/// The format written; the only one read so far.
const FORMAT: u8 = 1;
/// The epoch in which new records are sealed.
const EPOCH: u32 = 1;
/// Format, kind, usage, algorithm, epoch, master key's mark, name, salt.
const HEADER: usize = 4 + 4 + MARK + 32 + SALT;
const MARK: usize = 8;
const SALT: usize = 32;

/// Octets of a master key.
pub const MASTER_KEY: usize = 32;

/// Why a record does not open.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    /// It is too short, or its format is not known.
    #[error("not a sealed record of a known format")]
    Format,
    /// It was sealed under another master key.
    #[error(
        "sealed in epoch {epoch} under master key {sealed_under}, but this vault has {present}"
    )]
    OtherMaster {
        /// Epoch of the record.
        epoch: u32,
        /// Mark of the master key it was sealed under.
        sealed_under: String,
        /// Mark of the master key that is there.
        present: String,
    },
    /// It was changed since it was sealed, or is not what it is said to be.
    #[error("record of epoch {epoch} is damaged, or is not what it is said to be")]
    Damaged {
        /// Epoch of the record.
        epoch: u32,
    },
    /// The operating system gave no randomness, or the cipher refused.
    #[error("the cryptographic library refused")]
    Crypto,
}

/// What a record is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// A private key; the name is its [`KeyId`].
    Key {
        /// Its calling.
        usage: KeyUsage,
        /// Its kind.
        algorithm: KeyAlgorithm,
        /// Its name.
        id: KeyId,
    },
    /// A secret that is no site key; known by the digest of its label.
    Secret {
        /// SHA-256 of the label.
        label: [u8; 32],
    },
}

impl Content {
    /// The content of a secret with this label.
    pub fn secret(label: &[u8]) -> Self {
        Self::Secret { label: KeyId::of_spki(label).0 }
    }

    fn octets(self) -> ([u8; 3], [u8; 32]) {
        match self {
            Self::Key { usage, algorithm, id } => {
                ([1, usage_octet(usage), algorithm_octet(algorithm)], id.0)
            }
            Self::Secret { label } => ([2, 0, 0], label),
        }
    }

    fn of(octets: [u8; 3], name: [u8; 32]) -> Option<Self> {
        match octets {
            [1, usage, algorithm] => Some(Self::Key {
                usage: usage_of(usage)?,
                algorithm: algorithm_of(algorithm)?,
                id: KeyId(name),
            }),
            [2, 0, 0] => Some(Self::Secret { label: name }),
            _ => None,
        }
    }
}

/// Seals and opens records under one master key.
pub struct Sealer {
    master: Wiped<hkdf::Prk>,
    mark: [u8; MARK],
    random: SystemRandom,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("mark", &hex(&self.mark)).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Takes the master key. What ring derives from it is overwritten on drop.
    ///
    /// # Errors
    /// [`SealError::Crypto`] when the derivation fails.
    pub fn new(master: Secret<[u8; MASTER_KEY]>) -> Result<Self, SealError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"keyward master key v1");
        let prk = Wiped::new(salt.extract(master.expose()));
        drop(master);
        let mut mark = [0; MARK];
        derive(&prk, &[b"mark"], &mut mark)?;
        Ok(Self { master: prk, mark, random: SystemRandom::new() })
    }

    /// Seals `plain`.
    ///
    /// # Errors
    /// [`SealError::Crypto`] only.
    pub fn seal(&self, content: Content, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let (kind, name) = content.octets();
        let mut record = Vec::with_capacity(HEADER + aead::NONCE_LEN + plain.len() + 16);
        record.push(FORMAT);
        record.extend_from_slice(&kind);
        record.extend_from_slice(&EPOCH.to_le_bytes());
        record.extend_from_slice(&self.mark);
        record.extend_from_slice(&name);
        let mut drawn = [0; SALT + aead::NONCE_LEN];
        self.random.fill(&mut drawn).map_err(|_| SealError::Crypto)?;
        let (salt, nonce) = drawn.split_at(SALT);
        record.extend_from_slice(salt);
        let key = self.record_key(EPOCH, salt)?;
        let aad = aead::Aad::from(record.clone());
        record.extend_from_slice(nonce);
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Crypto)?;
        let mut body = Zeroizing::new(plain.to_vec());
        let tag =
            key.seal_in_place_separate_tag(nonce, aad, &mut body).map_err(|_| SealError::Crypto)?;
        record.extend_from_slice(&body);
        record.extend_from_slice(tag.as_ref());
        Ok(record)
    }

    /// Opens a record: what it is, and what was sealed.
    ///
    /// # Errors
    /// [`SealError`] says why not.
    pub fn open(&self, record: &[u8]) -> Result<(Content, Zeroizing<Vec<u8>>), SealError> {
        let (header, rest) = record.split_at_checked(HEADER).ok_or(SealError::Format)?;
        let (nonce, sealed) =
            rest.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or(SealError::Format)?;
        let mut fields = Fields(header);
        let [FORMAT] = fields.take()? else { return Err(SealError::Format) };
        let kind = fields.take()?;
        let epoch = u32::from_le_bytes(fields.take()?);
        let mark: [u8; MARK] = fields.take()?;
        let content = Content::of(kind, fields.take()?).ok_or(SealError::Format)?;
        let salt: [u8; SALT] = fields.take()?;
        if mark != self.mark {
            return Err(SealError::OtherMaster {
                epoch,
                sealed_under: hex(&mark),
                present: hex(&self.mark),
            });
        }
        let key = self.record_key(epoch, &salt)?;
        let mut body = Zeroizing::new(sealed.to_vec());
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let len = key
            .open_in_place(nonce, aead::Aad::from(header), &mut body)
            .map_err(|_| SealError::Damaged { epoch })?
            .len();
        body.truncate(len);
        Ok((content, body))
    }

    /// Fills `out` with a secret of its own for `label`: the same as long as the master key is.
    ///
    /// # Errors
    /// [`SealError::Crypto`] only.
    pub(super) fn derive_secret(&self, label: &[u8], out: &mut [u8]) -> Result<(), SealError> {
        derive(&self.master, &[label], out)
    }

    fn record_key(&self, epoch: u32, salt: &[u8]) -> Result<Wiped<aead::LessSafeKey>, SealError> {
        let mut kek = Zeroizing::new([0; 32]);
        derive(&self.master, &[b"kek", &epoch.to_le_bytes()], &mut *kek)?;
        let record = Wiped::new(hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&*kek));
        let mut dek = Zeroizing::new([0; 32]);
        derive(&record, &[b"dek"], &mut *dek)?;
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &*dek);
        key.map(|key| Wiped::new(aead::LessSafeKey::new(key))).map_err(|_| SealError::Crypto)
    }
}

/// What `record` says it is. Nothing is checked by that: only [`Sealer::open`] does.
///
/// # Errors
/// [`SealError::Format`].
pub fn content_of(record: &[u8]) -> Result<Content, SealError> {
    let (header, _) = record.split_at_checked(HEADER).ok_or(SealError::Format)?;
    let mut fields = Fields(header);
    let [FORMAT] = fields.take()? else { return Err(SealError::Format) };
    let kind = fields.take()?;
    let _epoch_and_mark: [u8; 4 + MARK] = fields.take()?;
    Content::of(kind, fields.take()?).ok_or(SealError::Format)
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SealError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SealError::Format)?;
        self.0 = rest;
        Ok(*taken)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), SealError> {
    let filled = prk.expand(info, Length(out.len())).and_then(|okm| okm.fill(out));
    if filled.is_err() {
        out.zeroize();
    }
    filled.map_err(|_| SealError::Crypto)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(octet: u8) -> Sealer {
        Sealer::new(Secret::new([octet; MASTER_KEY])).unwrap()
    }

    fn key_content(usage: KeyUsage) -> Content {
        Content::Key { usage, algorithm: KeyAlgorithm::P256, id: KeyId([9; 32]) }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_as_what_it_was(
            plain in proptest::collection::vec(any::<u8>(), 0..2000),
            name in any::<[u8; 32]>(),
        ) {
            let content = Content::Key {
                usage: KeyUsage::Tls,
                algorithm: KeyAlgorithm::Rsa2048,
                id: KeyId(name),
            };
            let record = sealer(1).seal(content, &plain).unwrap();
            let (opened, bytes) = sealer(1).open(&record).unwrap();
            prop_assert_eq!(opened, content);
            prop_assert_eq!(content_of(&record).unwrap(), content);
            prop_assert_eq!(&*bytes, &plain);
        }

        #[test]
        fn any_flipped_bit_is_noticed(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let mut record = sealer(1).seal(key_content(KeyUsage::Tls), &plain).unwrap();
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
            prop_assert!(sealer(1).open(&record).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(record in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(sealer(1).open(&record).is_err());
            let _what_it_says = content_of(&record);
        }
    }

    #[test]
    fn a_key_cannot_change_its_calling_nor_become_a_secret() {
        let mut record = sealer(1).seal(key_content(KeyUsage::Tls), b"key").unwrap();
        assert_eq!(record[2], usage_octet(KeyUsage::Tls));
        record[2] = usage_octet(KeyUsage::InternalCa);
        assert_eq!(sealer(1).open(&record).unwrap_err(), SealError::Damaged { epoch: 1 });
        let mut record = sealer(1).seal(key_content(KeyUsage::Tls), b"key").unwrap();
        record[1] = 2;
        assert_eq!(sealer(1).open(&record).unwrap_err(), SealError::Damaged { epoch: 1 });
    }

    #[test]
    fn another_master_key_is_named_with_the_epoch() {
        let record = sealer(1).seal(key_content(KeyUsage::Tls), b"key").unwrap();
        let error = sealer(2).open(&record).unwrap_err();
        assert!(matches!(error, SealError::OtherMaster { epoch: 1, .. }));
        assert!(error.to_string().contains("epoch 1"));
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let sealer = sealer(1);
        let one = sealer.seal(Content::secret(b"account"), b"secret").unwrap();
        let two = sealer.seal(Content::secret(b"account"), b"secret").unwrap();
        assert_ne!(one[HEADER..], two[HEADER..]);
        assert_ne!(one[HEADER - SALT..HEADER], two[HEADER - SALT..HEADER]);
    }
}
