//! Brings a backup back where there is nothing yet: without a daemon, and without a vault.
//!
//! Everything is read and looked at first. The last thing that happens is that the database gets
//! its name: a kill before that leaves what the next attempt takes away or finds equal. Nothing
//! that is there is ever replaced.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;

use zeroize::Zeroizing;

use super::Failed;
use super::open::Places;
use super::open::private_directory;
use crate::base::archive;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::base::disk;
use crate::cli::Opening;
use crate::cli::PassphraseRefused;
use crate::cli::RestoreOptions;
use crate::cli::Restored;
use crate::cli::members;
use crate::config;
use crate::config::Config;
use crate::os::sandbox;
use crate::store::Incoming;
use crate::store::IncomingError;
use crate::vault::MasterKeySource;
use crate::vault::age;
use crate::vault::age::AgeError;
use crate::vault::age::Identity;
use crate::vault::age::Opener;
use crate::vault::age::Passphrase;
use crate::vault::seal::Content;
use crate::vault::seal::MasterKey;
use crate::vault::seal::Sealer;

/// `keyward restore`
///
/// # Errors
/// [`Failed`] with everything a person needs to act; nothing was replaced then.
pub(super) fn restore(options: &RestoreOptions) -> Result<Restored, Failed> {
    // The master key may be in this process for a moment.
    sandbox::forbid_dumps().map_err(Failed::fault)?;
    let small = small_files(&options.backup)?;
    let (config, written) = configuration(options, small.config.as_deref())?;
    let places = Places::of(&config);
    let owner = Owner::of(&config.state.dir);
    for place in [&places.store, &places.served, &places.vault] {
        private_directory(place)?;
        owner.give(place)?;
    }
    let master = match (&small.master, &options.opening) {
        (Some(file), Some(opening)) => Some(opened(file, opening)?),
        (None, Some(_)) => {
            let advice = "leave out what opens it (--identity, --passphrase)";
            return Err(refused("the backup holds no master key", advice));
        }
        _ => None,
    };
    let incoming = Incoming::begin(&places.store).map_err(not_taken)?;
    let file = incoming.file();
    read(&options.backup, |name| (name == members::STORE).then(|| Box::new(file) as _))?;
    let sealer = match &master {
        Some(master) => {
            let copy = MasterKey { epoch: master.epoch, key: master.key.clone() };
            Some(Sealer::under(copy, None).map_err(Failed::fault)?)
        }
        None => None,
    };
    let whole = incoming.check(|key| {
        let Some(sealer) = &sealer else { return Ok(()) };
        let (content, _) = sealer.open(&key.sealed.0).map_err(|error| error.to_string())?;
        match content {
            Content::Key { id, .. } if id == key.id => Ok(()),
            _ => Err("another key is sealed under its name".to_owned()),
        }
    });
    let whole = whole.map_err(not_taken)?;
    let mut notes = Vec::new();
    let master_key = match (master, small.master) {
        (Some(master), _) => Some(put_master(&config, &places, &master, &owner)?),
        (None, Some(_)) => {
            let opens = "--identity or --passphrase opens it";
            notes.push(format!("the master key in the backup stays shut: {opens}"));
            None
        }
        (None, None) => None,
    };
    if master_key.is_none() {
        notes.push("the keys open with the master key only: put it where it was".to_owned());
    }
    let (certificates, keys) = (whole.certificates, whole.keys);
    let database = places.store.join("keyward.redb");
    whole.put_in_place().map_err(not_taken)?;
    for entry in std::fs::read_dir(&places.store).map_err(Failed::unavailable)?.flatten() {
        owner.give(&entry.path())?;
    }
    let configuration = written.then(|| options.config.clone());
    Ok(Restored { certificates, keys, database, master_key, configuration, notes })
}

/// The files that are kept in memory.
#[derive(Default)]
struct Small {
    config: Option<Vec<u8>>,
    master: Option<Vec<u8>>,
}

fn small_files(backup: &Path) -> Result<Small, Failed> {
    let (config, master, seen) = <(Kept, Kept, Kept)>::default();
    let store = Rc::new(RefCell::new(false));
    let saw = Rc::clone(&store);
    read(backup, |name| {
        let kept = match name {
            members::CONFIG => &config,
            members::MASTER => &master,
            members::ABOUT => &seen,
            members::STORE => {
                *saw.borrow_mut() = true;
                return Some(Box::new(io::sink()) as _);
            }
            _ => return None,
        };
        kept.begin()
    })?;
    if !*store.borrow() {
        return Err(refused("the backup holds no database", "a file that keyward backup wrote"));
    }
    Ok(Small { config: config.take(), master: master.take() })
}

/// One small file, once.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Option<Vec<u8>>>>);

impl Kept {
    fn begin<'s>(&self) -> Option<Box<dyn Write + 's>> {
        let first = self.0.replace(Some(Vec::new())).is_none();
        first.then(|| Box::new(self.clone()) as _)
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.0.take()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.borrow_mut();
        let kept = kept.get_or_insert_default();
        let room = usize::try_from(bounds::BACKUP_SMALL).unwrap_or(usize::MAX);
        if kept.len().saturating_add(bytes.len()) > room {
            return Err(io::Error::other("one of its small files is too large"));
        }
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the backup whole, with its digests.
fn read<'s>(
    backup: &Path,
    mut open: impl FnMut(&str) -> Option<Box<dyn Write + 's>>,
) -> Result<(), Failed> {
    let told = |reason: &dyn std::fmt::Display| {
        refused(&format!("{}: {reason}", backup.display()), "another backup, whole and unchanged")
    };
    let file = File::open(backup).map_err(|error| told(&error))?;
    archive::read(io::BufReader::new(file), |name, _| {
        // What belongs to the other reading passes unseen; what nobody knows does not.
        let known = [members::ABOUT, members::CONFIG, members::MASTER, members::STORE];
        let sink = open(name);
        Ok(sink.or_else(|| known.contains(&name).then(|| Box::new(io::sink()) as _)))
    })
    .map_err(|error| told(&error))
}

/// The configuration that says where everything goes, and whether it was written just now.
fn configuration(options: &RestoreOptions, saved: Option<&[u8]>) -> Result<(Config, bool), Failed> {
    let path = &options.config;
    let mut written = false;
    if !path.exists() {
        let Some(saved) = saved else {
            return Err(refused(
                &format!("there is no configuration at {}, and none in the backup", path.display()),
                "--config FILE",
            ));
        };
        let put = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| disk::replace(path, saved, 0o644));
        put.map_err(|error| Failed::unavailable(format!("error: {}: {error}", path.display())))?;
        written = true;
    }
    let loaded = config::load(path, std::env::vars_os()).map_err(Failed::configuration)?;
    Ok((loaded.config, written))
}

fn identities(path: &Path) -> Result<Vec<Identity>, Failed> {
    let told = |reason: &dyn std::fmt::Display| {
        refused(&format!("{}: {reason}", path.display()), "the file that age-keygen wrote")
    };
    let file = File::open(path).map_err(|error| told(&error))?;
    let room = usize::try_from(bounds::IMPORT_FILE).unwrap_or(0);
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(bounds::IMPORT_FILE).read_to_string(&mut text).map_err(|error| told(&error))?;
    Identity::read_all(&text).map_err(|error| told(&error))
}

fn opened(file: &[u8], opening: &Opening) -> Result<MasterKey, Failed> {
    let bytes = match opening {
        Opening::Identity(path) => {
            age::decrypt(Opener::Identities(&identities(path)?), file).map_err(stays_shut)?
        }
        Opening::Passphrase(source) => {
            let open =
                |words: &[u8]| match age::decrypt(Opener::Passphrase(Passphrase(words)), file) {
                    Err(AgeError::OtherPassphrase) => Ok(None),
                    other => other.map(Some).map_err(stays_shut),
                };
            source.open_with(open, || stays_shut(AgeError::OtherPassphrase))?
        }
    };
    let strange = || {
        let what = "what is encrypted in the backup is no master key";
        refused(what, "another backup, which keyward backup wrote")
    };
    MasterKey::from_file(&bytes).ok_or_else(strange)
}

fn stays_shut(error: AgeError) -> Failed {
    let advice = match error {
        AgeError::OtherRecipient => "the --identity that belongs to its recipient",
        AgeError::OtherPassphrase => "another --passphrase",
        AgeError::WantsPassphrase => "--passphrase",
        AgeError::WantsIdentity => "--identity FILE",
        AgeError::Costly(_) => "a backup that keyward or age wrote: this one was not",
        AgeError::Format(_) | AgeError::Damaged | AgeError::Long | AgeError::Refused => {
            "another backup, whole and unchanged"
        }
    };
    refused(&format!("the master key in the backup: {error}"), advice)
}

impl From<PassphraseRefused> for Failed {
    fn from(error: PassphraseRefused) -> Self {
        refused(&error.to_string(), error.advice())
    }
}

/// Puts the master key where the configuration has it, unless that very key is there.
fn put_master(
    config: &Config,
    places: &Places,
    master: &MasterKey,
    owner: &Owner,
) -> Result<PathBuf, Failed> {
    let path = match &config.vault.master_key {
        config::MasterKey::File(path) => path.clone(),
        config::MasterKey::Auto => places.vault.join("master.key"),
        config::MasterKey::Passphrase => {
            return Err(refused(
                "the configuration wants a passphrase, and the backup holds a master key",
                "name a file for it as master_key below [vault]",
            ));
        }
    };
    let told = |error: &dyn std::fmt::Display| {
        Failed::unavailable(format!(
            "error: the master key cannot be put to {}: {error}",
            path.display()
        ))
    };
    if path.symlink_metadata().is_ok() {
        let there = MasterKeySource::Credential(path.clone()).load();
        let there = there.map_err(|error| told(&error))?.present;
        if there.key.expose() == master.key.expose() && there.epoch == master.epoch {
            return Ok(path);
        }
        return Err(refused(
            &format!("there is another master key already: {}", path.display()),
            "put it aside; nothing was restored",
        ));
    }
    disk::replace(&path, &master.to_file(), 0o400).map_err(|error| told(&error))?;
    owner.give(&path)?;
    Ok(path)
}

/// Whose everything is to be: who owns the state directory, and may then run the daemon.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn of(state: &Path) -> Self {
        let found = std::fs::metadata(state).ok();
        Self(found.map(|found| (found.uid(), found.gid())))
    }

    fn give(&self, path: &Path) -> Result<(), Failed> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .map_err(|error| Failed::forbidden(format!("error: {}: {error}", path.display())))
    }
}

fn not_taken(error: IncomingError) -> Failed {
    let advice = match &error {
        IncomingError::Exists { .. } => "stop the daemon, and put that file aside",
        IncomingError::Key { .. } => "the --identity of this backup, or another backup",
        _ => "another backup, or room on the disk",
    };
    refused(&with_causes(&error), advice)
}

fn refused(what: &str, advice: &str) -> Failed {
    Failed { status: 1, report: format!("error: {what}\n  try: {advice}") }
}
