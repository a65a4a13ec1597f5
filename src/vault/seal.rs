//! Private keys and small secrets as they lie at rest.
//!
//! Master key, key-encryption key of an epoch, and a key of its own for every record, derived
//! with a salt that is drawn on every write: so no AES-GCM key ever encrypts two messages. The
//! header is authenticated whole, so that a record cannot change its calling, its kind, its name
//! or its epoch. It also says under which master key it was sealed, to tell a foreign record from
//! a damaged one.
//!
//! Every master key has an epoch, which counts up when a master key succeeds another. While the
//! records of the former are being sealed anew, both are here: what is sealed is sealed under the
//! present one, and what is opened may be under either.
//!
//! What is deliberately absent: protection against an old copy of a whole store. Authenticated
//! encryption cannot see that.

use ring::aead;
use ring::hkdf;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use super::octets::algorithm_octet;
use super::octets::algorithm_of;
use super::octets::usage_octet;
use super::octets::usage_of;
use crate::base::Secret;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::os::wiped::Wiped;

/// The format written; the only one read so far.
const FORMAT: u8 = 1;
/// The epoch of the first master key, and of any that does not say its own.
pub const FIRST_EPOCH: u32 = 1;
/// Format, kind, usage, algorithm, epoch, master key's mark, name, salt.
const HEADER: usize = 4 + 4 + CHECK + 32 + SALT;
const CHECK: usize = 8;
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
    #[error("sealed under the master key of {sealed_under}, but this vault has that of {present}")]
    OtherMaster {
        /// The master key it was sealed under.
        sealed_under: Mark,
        /// The master key that is there.
        present: Mark,
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

/// A master key, and when in the line of them.
#[derive(Debug)]
pub struct MasterKey {
    /// Counts the successions.
    pub epoch: u32,
    /// The key.
    pub key: Secret<[u8; MASTER_KEY]>,
}

/// Which master key it is: no secret, and of no use to find the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Mark {
    /// Its epoch.
    pub epoch: u32,
    /// Derived from it, so that two master keys are told apart.
    pub check: [u8; CHECK],
}

impl Mark {
    /// The master key that a sealed record needs; `None` for what is no record of a known format.
    pub fn of(record: &[u8]) -> Option<Self> {
        let mut fields = Fields(record.get(..HEADER)?);
        let [FORMAT] = fields.take().ok()? else { return None };
        let _kind: [u8; 3] = fields.take().ok()?;
        let epoch = u32::from_le_bytes(fields.take().ok()?);
        Some(Self { epoch, check: fields.take().ok()? })
    }
}

impl std::fmt::Display for Mark {
    /// As an operator compares them: `epoch 2 (0123456789abcdef)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {} ({})", self.epoch, hex(&self.check))
    }
}

/// Seals and opens records under one master key, and opens those of its predecessor.
pub struct Sealer {
    present: Master,
    former: Option<Master>,
    random: SystemRandom,
}

/// What a master key became.
struct Master {
    prk: Wiped<hkdf::Prk>,
    mark: Mark,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("marks", &self.marks()).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Takes the first master key. What ring derives from it is overwritten on drop.
    ///
    /// # Errors
    /// [`SealError::Crypto`] when the derivation fails.
    pub fn new(master: Secret<[u8; MASTER_KEY]>) -> Result<Self, SealError> {
        Self::under(MasterKey { epoch: FIRST_EPOCH, key: master }, None)
    }

    /// Takes the present master key, and the one before it where there is something left that it
    /// sealed.
    ///
    /// # Errors
    /// [`SealError::Crypto`] when a derivation fails.
    pub fn under(present: MasterKey, former: Option<MasterKey>) -> Result<Self, SealError> {
        let present = Master::of(present)?;
        let former = former.map(Master::of).transpose()?;
        // The same key twice: a change that ended before it began.
        let former = former.filter(|former| former.mark.check != present.mark.check);
        Ok(Self { present, former, random: SystemRandom::new() })
    }

    /// The master keys that are there, the present one first.
    pub fn marks(&self) -> Vec<Mark> {
        [Some(&self.present), self.former.as_ref()].into_iter().flatten().map(|m| m.mark).collect()
    }

    /// Seals a record anew under the present master key; `None` when it is sealed so already.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::seal`].
    pub fn reseal(&self, record: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        if Mark::of(record) == Some(self.present.mark) {
            return Ok(None);
        }
        let (content, plain) = self.open(record)?;
        self.seal(content, &plain).map(Some)
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
        record.extend_from_slice(&self.present.mark.epoch.to_le_bytes());
        record.extend_from_slice(&self.present.mark.check);
        record.extend_from_slice(&name);
        let mut drawn = [0; SALT + aead::NONCE_LEN];
        self.random.fill(&mut drawn).map_err(|_| SealError::Crypto)?;
        let (salt, nonce) = drawn.split_at(SALT);
        record.extend_from_slice(salt);
        let key = self.present.record_key(self.present.mark.epoch, salt)?;
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
        let check: [u8; CHECK] = fields.take()?;
        let content = Content::of(kind, fields.take()?).ok_or(SealError::Format)?;
        let salt: [u8; SALT] = fields.take()?;
        let masters = [Some(&self.present), self.former.as_ref()];
        let master = masters.into_iter().flatten().find(|master| master.mark.check == check);
        let Some(master) = master else {
            let sealed_under = Mark { epoch, check };
            return Err(SealError::OtherMaster { sealed_under, present: self.present.mark });
        };
        let key = master.record_key(epoch, &salt)?;
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
        derive(&self.present.prk, &[label], out)
    }
}

impl Master {
    fn of(master: MasterKey) -> Result<Self, SealError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"keyward master key v1");
        let prk = Wiped::new(salt.extract(master.key.expose()));
        let epoch = master.epoch;
        drop(master);
        let mut check = [0; CHECK];
        derive(&prk, &[b"mark"], &mut check)?;
        Ok(Self { prk, mark: Mark { epoch, check } })
    }

    fn record_key(&self, epoch: u32, salt: &[u8]) -> Result<Wiped<aead::LessSafeKey>, SealError> {
        let mut kek = Zeroizing::new([0; 32]);
        derive(&self.prk, &[b"kek", &epoch.to_le_bytes()], &mut *kek)?;
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
    let _epoch_and_mark: [u8; 4 + CHECK] = fields.take()?;
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
        let SealError::OtherMaster { sealed_under, present } = error else { panic!("{error}") };
        assert_eq!(Some(sealed_under), Mark::of(&record));
        assert_eq!(vec![present], sealer(2).marks());
        assert!(error.to_string().contains("epoch 1 ("), "{error}");
        assert_eq!(Mark::of(&record[..HEADER - 1]), None);
    }

    fn master(octet: u8, epoch: u32) -> MasterKey {
        MasterKey { epoch, key: Secret::new([octet; MASTER_KEY]) }
    }

    #[test]
    fn a_successor_opens_what_its_predecessor_sealed_and_seals_it_anew() {
        let content = key_content(KeyUsage::Tls);
        let old = sealer(1).seal(content, b"key").unwrap();
        let both = Sealer::under(master(2, 2), Some(master(1, 1))).unwrap();
        assert_eq!(&*both.open(&old).unwrap().1, b"key");
        let new = both.reseal(&old).unwrap().unwrap();
        assert_eq!(Mark::of(&new), Some(both.marks()[0]));
        assert_eq!(both.reseal(&new).unwrap(), None, "once is enough");
        let alone = Sealer::under(master(2, 2), None).unwrap();
        assert_eq!(alone.open(&new).unwrap().0, content);
        assert!(matches!(alone.open(&old), Err(SealError::OtherMaster { .. })));
        assert!(sealer(1).open(&new).is_err());
        // An epoch of its own is a key of its own: it cannot be rewritten in the record.
        let mut forged = new;
        forged[4] = 3;
        assert_eq!(alone.open(&forged).unwrap_err(), SealError::Damaged { epoch: 3 });
    }

    #[test]
    fn the_same_master_key_twice_is_one() {
        let sealer = Sealer::under(master(1, 1), Some(master(1, 1))).unwrap();
        assert_eq!(sealer.marks().len(), 1);
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
