//! A master key that stands in nobody's file: derived from a passphrase with Argon2id.
//!
//! Beside it lies a small file that is no secret: salt, cost, epoch, and the check value by which a
//! wrong passphrase is told from the right one. Deliberately absent: any way back to a passphrase
//! that is forgotten.

use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Block;
use argon2::Params;
use argon2::Version;
use ring::rand::SecureRandom as _;
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroize as _;
use zeroize::Zeroizing;

use super::seal::FIRST_EPOCH;
use super::seal::MASTER_KEY;
use super::seal::Mark;
use super::seal::MasterKey;
use super::seal::Sealer;
use crate::base::Secret;
use crate::base::bounds;
use crate::base::disk;

/// Why a passphrase gives no master key.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file beside it.
    #[error("the passphrase's file {} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// It is no such file.
    #[error("the passphrase's file {} is damaged: {reason}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The derivation does not work here.
    #[error("no key can be derived from the passphrase: {0}")]
    Derivation(String),
}

/// What is known about a passphrase without knowing it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// The derivation; `argon2id` is the only one.
    kdf: String,
    /// KiB of memory.
    memory: u32,
    /// Passes over it.
    passes: u32,
    /// Lanes.
    lanes: u32,
    /// Hexadecimal.
    salt: String,
    /// Counts the passphrases.
    epoch: u32,
    /// Check value of the master key, hexadecimal.
    check: String,
}

impl Verifier {
    /// Reads what lies beside a passphrase; `None` when nothing does.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn read(path: &Path) -> Result<Option<Self>, PassphraseError> {
        let failed = |source| PassphraseError::Io { path: path.to_owned(), source };
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut text = Vec::new();
        file.take(bounds::master::PASSPHRASE_FILE).read_to_end(&mut text).map_err(failed)?;
        let damaged = |reason: String| PassphraseError::Damaged { path: path.to_owned(), reason };
        Self::parse(&text).map(Some).map_err(damaged)
    }

    /// Reads what such a file holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if read.kdf != "argon2id" {
            return Err(format!("the derivation {:?} is not known", read.kdf));
        }
        // Whoever can write the file must not be able to make the start take forever.
        let [memory, passes] = bounds::master::PASSPHRASE_COST_MOST;
        if read.memory > memory || read.passes > passes {
            return Err("it costs more than any that is made here".to_owned());
        }
        Ok(read)
    }

    /// A new passphrase, of the epoch after `before`: its master key, and what to lay beside it.
    ///
    /// # Errors
    /// [`PassphraseError::Derivation`].
    pub fn make(
        passphrase: &[u8],
        before: Option<&Self>,
    ) -> Result<(MasterKey, Self), PassphraseError> {
        let mut salt = [0; bounds::master::PASSPHRASE_SALT];
        let drawn = ring::rand::SystemRandom::new().fill(&mut salt);
        drawn.map_err(|_| PassphraseError::Derivation("no randomness".to_owned()))?;
        let [memory, passes, lanes] = bounds::master::PASSPHRASE_COST;
        let mut made = Self {
            kdf: "argon2id".to_owned(),
            memory,
            passes,
            lanes,
            salt: hex(&salt),
            epoch: before.map_or(FIRST_EPOCH, |before| before.epoch.saturating_add(1)),
            check: String::new(),
        };
        let master = made.derive(passphrase)?;
        made.check = check(&master)?;
        Ok((master, made))
    }

    /// The master key, if this is the passphrase.
    ///
    /// # Errors
    /// [`PassphraseError::Derivation`].
    pub fn open(&self, passphrase: &[u8]) -> Result<Option<MasterKey>, PassphraseError> {
        let master = self.derive(passphrase)?;
        Ok((check(&master)? == self.check).then_some(master))
    }

    /// Lays it beside the passphrase; durable on return.
    ///
    /// # Errors
    /// [`PassphraseError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), PassphraseError> {
        let failed = |source| PassphraseError::Io { path: path.to_owned(), source };
        let text = serde_json::to_vec(self).map_err(|error| failed(io::Error::other(error)))?;
        disk::replace(path, &text, 0o400).map_err(failed)
    }

    fn derive(&self, passphrase: &[u8]) -> Result<MasterKey, PassphraseError> {
        let refused =
            |error: &dyn std::fmt::Display| PassphraseError::Derivation(error.to_string());
        let salt = unhex(&self.salt).ok_or_else(|| refused(&"its salt is damaged"))?;
        let params = Params::new(self.memory, self.passes, self.lanes, Some(MASTER_KEY))
            .map_err(|error| refused(&error))?;
        let mut memory = vec![Block::default(); params.block_count()];
        let mut key = Zeroizing::new([0; MASTER_KEY]);
        let derived = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase, &salt, &mut *key, &mut memory);
        memory.zeroize();
        derived.map_err(|error| refused(&error))?;
        Ok(MasterKey { epoch: self.epoch, key: Secret::new(*key) })
    }
}

/// The check value of a master key, as seals carry it.
fn check(master: &MasterKey) -> Result<String, PassphraseError> {
    let copy = MasterKey { epoch: master.epoch, key: master.key.clone() };
    let sealer = Sealer::under(copy, None)
        .map_err(|error| PassphraseError::Derivation(error.to_string()))?;
    let marks = sealer.marks();
    Ok(marks.first().map(|mark: &Mark| hex(&mark.check)).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_gives_its_key_again_and_another_gives_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        assert_eq!(Verifier::read(&path).unwrap(), None);
        let (master, made) = Verifier::make(b"correct horse", None).unwrap();
        made.write(&path).unwrap();
        let read = Verifier::read(&path).unwrap().unwrap();
        let again = read.open(b"correct horse").unwrap().unwrap();
        assert_eq!((again.epoch, again.key.expose()), (1, master.key.expose()));
        assert!(read.open(b"correct horsf").unwrap().is_none());
        assert!(read.open(b"").unwrap().is_none());
        // Another salt, so another key, and the epoch counts.
        let (other, after) = Verifier::make(b"correct horse", Some(&read)).unwrap();
        assert_eq!(other.epoch, 2);
        assert_ne!((other.key.expose(), &after.salt), (master.key.expose(), &read.salt));
        let text = std::fs::read(&path).unwrap();
        let found = text.windows(MASTER_KEY).any(|part| part == master.key.expose());
        assert!(!found, "the key is not in the file");
    }

    #[test]
    fn a_file_that_is_no_verifier_or_costs_too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let (_, made) = Verifier::make(b"x", None).unwrap();
        for broken in [
            Verifier { kdf: "scrypt".to_owned(), ..made.clone() },
            Verifier { memory: u32::MAX, ..made.clone() },
            Verifier { passes: 1_000_000, ..made.clone() },
        ] {
            broken.write(&path).unwrap();
            let error = Verifier::read(&path).unwrap_err();
            assert!(matches!(error, PassphraseError::Damaged { .. }), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(Verifier::read(&path).is_err());
        let odd = Verifier { salt: "zz".to_owned(), ..made };
        assert!(odd.open(b"x").is_err());
    }
}
