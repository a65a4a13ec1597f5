//! The successor of a master key whose file is of our own making: two steps, each whole or not done.
//!
//! The first lays the present key aside as the former one and puts a new one, of the next epoch, in
//! its place; the second deletes the former one, once nothing needs it. Behind its walls a vault
//! can write nothing, so one ends for the next to take a step before it reads the key: the new key
//! is on the disk before anything is sealed under it. A kill leaves either the key alone, or the key
//! beside a copy of itself, or both keys, and the next vault knows what to make of each.
//!
//! Deliberately absent: a successor for a credential, or for a file that an operator named. Neither
//! is ours to write, and another epoch of the same key would change nothing for whoever stole it.
//! There the operator lays the new key in the place of the old one and the old one beside it, and
//! everything is sealed anew at the next start, in the same way.

use std::io;
use std::path::Path;

use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::master;
use super::master::MasterKeyError;
use super::master::MasterKeySource;
use super::seal::MASTER_KEY;
use super::seal::MasterKey;
use crate::base::Secret;
use crate::base::disk;

/// What the next vault does before it reads the master key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Makes the successor.
    Begin,
    /// Deletes the predecessor.
    Finish,
}

impl Step {
    /// The exit status of a vault that ends for this step: beyond those of sysexits.h, below those
    /// of signals.
    pub const fn status(self) -> u8 {
        match self {
            Self::Begin => 100,
            Self::Finish => 101,
        }
    }

    /// The step that a vault ended for.
    pub fn of_status(status: i32) -> Option<Self> {
        [Self::Begin, Self::Finish].into_iter().find(|step| i32::from(step.status()) == status)
    }

    /// As an argument of a command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Begin => "succeed",
            Self::Finish => "forget-former",
        }
    }

    /// From an argument of a command line.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Begin, Self::Finish].into_iter().find(|step| step.word() == word)
    }

    /// Takes the step, where the key is ours; elsewhere nothing is done.
    ///
    /// # Errors
    /// [`MasterKeyError`]; the former state then still stands.
    pub fn take(self, source: &MasterKeySource) -> Result<(), MasterKeyError> {
        match (self, source) {
            (_, MasterKeySource::File(_) | MasterKeySource::Credential(_)) => Ok(()),
            // The new passphrase was typed before the vault began.
            (Self::Begin, MasterKeySource::Passphrase(_) | MasterKeySource::NewPassphrase(_)) => {
                Ok(())
            }
            (Self::Begin, _) => begin(source.path()),
            (Self::Finish, _) => finish(source.path()),
        }
    }
}

fn begin(path: &Path) -> Result<(), MasterKeyError> {
    let former = master::former(path);
    let present = master::read(path, true)?;
    match master::read(&former, true) {
        // One change at a time: what is sealed under the former one is not sealed anew yet.
        Ok(before) if before.key.expose() != present.key.expose() => return Ok(()),
        Ok(_) => {}
        Err(error) if error.is_absence() => {
            let failed = |source| MasterKeyError::Create { path: former.clone(), source };
            std::fs::hard_link(path, &former).map_err(failed)?;
            sync(path)?;
        }
        Err(error) => return Err(error),
    }
    let mut key = Zeroizing::new([0; MASTER_KEY]);
    ring::rand::SystemRandom::new().fill(&mut *key).map_err(|_| MasterKeyError::Random)?;
    let made = MasterKey { epoch: present.epoch.saturating_add(1), key: Secret::new(*key) };
    let failed = |source| MasterKeyError::Create { path: path.to_owned(), source };
    disk::replace(path, &made.to_file(), 0o400).map_err(failed)
}

fn finish(path: &Path) -> Result<(), MasterKeyError> {
    let former = master::former(path);
    match std::fs::remove_file(&former) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(MasterKeyError::Create { path: former, source })
        }
        Ok(()) | Err(_) => sync(path),
    }
}

fn sync(path: &Path) -> Result<(), MasterKeyError> {
    let failed = |source| MasterKeyError::Create { path: path.to_owned(), source };
    disk::sync_directory(path.parent().unwrap_or_else(|| Path::new("/"))).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::master::Found;

    struct Place {
        dir: tempfile::TempDir,
        source: MasterKeySource,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("master.key");
            MasterKeySource::CreateIfMissing(path.clone()).load().unwrap();
            Self { dir, source: MasterKeySource::Own(path) }
        }

        fn found(&self) -> Found {
            self.source.load().unwrap()
        }

        fn files(&self) -> usize {
            std::fs::read_dir(self.dir.path()).unwrap().count()
        }
    }

    fn key(master: &MasterKey) -> [u8; MASTER_KEY] {
        *master.key.expose()
    }

    #[test]
    fn a_successor_stands_beside_its_predecessor_until_that_is_forgotten() {
        let place = Place::new();
        let first = key(&place.found().present);
        Step::Begin.take(&place.source).unwrap();
        let both = place.found();
        assert_eq!((both.present.epoch, key(both.former.as_ref().unwrap())), (2, first));
        let second = key(&both.present);
        assert_ne!(second, first);
        Step::Begin.take(&place.source).unwrap();
        assert_eq!(key(&place.found().present), second, "one change at a time");
        Step::Finish.take(&place.source).unwrap();
        assert!(place.found().former.is_none());
        assert_eq!((key(&place.found().present), place.files()), (second, 1));
        Step::Finish.take(&place.source).unwrap();
        Step::Begin.take(&place.source).unwrap();
        assert_eq!(place.found().present.epoch, 3);
    }

    #[test]
    fn a_kill_between_the_two_halves_of_the_first_step_costs_nothing() {
        let place = Place::new();
        let first = key(&place.found().present);
        // The link was made, and the new key not written, or not under its name.
        let path = place.source.path();
        std::fs::hard_link(path, master::former(path)).unwrap();
        std::fs::write(place.dir.path().join(".master.key.new"), b"epoch 2\nhalf").unwrap();
        let found = place.found();
        assert_eq!((key(&found.present), key(&found.former.unwrap())), (first, first));
        Step::Begin.take(&place.source).unwrap();
        let both = place.found();
        assert_eq!((both.present.epoch, key(&both.former.unwrap())), (2, first));
        assert_eq!(place.files(), 2, "no half-written key is left");
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let place = Place::new();
        let path = place.source.path().to_owned();
        let before = std::fs::read(&path).unwrap();
        for source in [MasterKeySource::File(path.clone()), MasterKeySource::Credential(path)] {
            Step::Begin.take(&source).unwrap();
            assert_eq!(std::fs::read(source.path()).unwrap(), before);
        }
        assert_eq!(place.files(), 1);
    }

    #[test]
    fn a_step_survives_the_command_line_and_the_exit_status() {
        for step in [Step::Begin, Step::Finish] {
            assert_eq!(Step::of_word(step.word()), Some(step));
            assert_eq!(Step::of_status(i32::from(step.status())), Some(step));
        }
        assert_eq!(Step::of_status(78), None);
        assert_eq!(Step::of_word("begin"), None);
    }
}
