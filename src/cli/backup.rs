//! `keyward backup`: a copy of the database, in which every key is sealed, the configuration, and,
//! encrypted to a recipient of one's own or with a passphrase, the master key.
//!
//! The master key is read by this process, from where the vault has it, and not asked of the vault:
//! else whoever owns main could ask for it as well, with a recipient of their own. So what guards
//! it is what guards its file, and somebody who may only use the socket gets sealed keys.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::args_carry::Backup;
use super::connect::Client;
use super::export::Aside;
use super::out::Out;
use super::passphrase::PassphraseSource;
use super::render;
use super::report::CONFIGURATION;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::NOT_ALLOWED;
use super::report::Report;
use crate::admin::wire::transfer::BackedUp;
use crate::admin::wire::transfer::Handover;
use crate::admin::wire::transfer::HandoverOrder;
use crate::admin::wire::transfer::ImportKey;
use crate::base::archive::Writer;
use crate::base::bounds;
use crate::base::bounds::master::PASSPHRASE_FILE;
use crate::base::causes::with_causes;
use crate::config;
use crate::config::MasterKey;
use crate::os::sandbox;
use crate::vault::MasterKeySource;
use crate::vault::age;
use crate::vault::age::Lock;
use crate::vault::age::Passphrase;
use crate::vault::age::Recipient;
use crate::vault::import_box;
use crate::vault::master::former;
use crate::vault::seal::Sealer;

/// The files in a backup, by their names.
pub mod members {
    /// When and by what it was made, as text for people.
    pub const ABOUT: &str = "ABOUT";
    /// The configuration.
    pub const CONFIG: &str = "keyward.toml";
    /// The master key, encrypted.
    pub const MASTER: &str = "master.key.age";
    /// What lies beside the passphrase that the master key comes from, which is no secret.
    pub const VERIFIER: &str = "master.passphrase";
    /// The database.
    pub const STORE: &str = "keyward.redb";
}

/// Where the service manager shows the master key, if it keeps it as a credential.
const CREDENTIAL: &str = "/run/credentials/keyward.service/keyward.master";

/// `keyward backup [--output FILE|DIR] [--recipient RECIPIENT | --passphrase]`
pub(super) fn backup(client: &Client, what: &Backup, out: &mut Out) -> Result<u8, Report> {
    let text = configuration(&what.config)?;
    let passphrase = PassphraseSource::of(what.passphrase, what.passphrase_file.as_ref());
    let master = match (&what.recipient, passphrase) {
        (Some(recipient), _) => Some(wrapped(client, what, Wrapping::To(recipient))?),
        (None, Some(source)) => Some(wrapped(client, what, Wrapping::Under(&source))?),
        (None, None) => None,
    };
    let mut notes = Vec::new();
    let verifier = if master.is_some() { None } else { verifier(&what.config, &mut notes) };
    let now = out.now();
    let stamp = now.to_string().replace([':', ' '], "");
    let path = if what.output.is_dir() {
        what.output.join(format!("keyward-backup-{stamp}.tar"))
    } else {
        what.output.clone()
    };
    let target = Aside::create(&path, what.force)?;
    let (copy, done) = copied(client, &path)?;
    if let Some(wrapped) = &master {
        still_present(client, &wrapped.import_key)?;
    }
    let refused = |error: io::Error| cannot(&path, &error);
    let size = copy.metadata().map_err(refused)?.len();
    let about = format!(
        "keyward {} {now}\n{} certificates\n",
        env!("CARGO_PKG_VERSION"),
        done.certificates
    );
    let mut writer = Writer::new(&target.file, now.as_unix());
    let mut add = |name: &str, content: &[u8]| {
        writer.add(name, u64::try_from(content.len()).unwrap_or(u64::MAX), content)
    };
    let small = add(members::ABOUT, about.as_bytes())
        .and_then(|()| text.as_ref().map_or(Ok(()), |text| add(members::CONFIG, text)))
        .and_then(|()| master.as_ref().map_or(Ok(()), |m| add(members::MASTER, &m.file)))
        .and_then(|()| verifier.as_ref().map_or(Ok(()), |file| add(members::VERIFIER, file)));
    small
        .and_then(|()| writer.add(members::STORE, size, copy))
        .and_then(|()| writer.finish().map(drop))
        .map_err(refused)?;
    target.put_in_place(what.force)?;
    if text.is_none() {
        let note = "no configuration was found to go with it; --config says where it is";
        notes.push(note.to_owned());
    }
    notes.extend(match (&master, &verifier) {
        (Some(_), _) => None,
        (None, Some(_)) => {
            let note = "the keys in it are sealed, and open with the passphrase of the master key";
            Some(format!("{note}, which is not in it"))
        }
        (None, None) => {
            let note = "the keys in it are sealed, and open with the master key only, which is not";
            Some(format!("{note} in it: keep it apart, or use --recipient or --passphrase"))
        }
    });
    if out.json {
        let value = serde_json::json!({
            "file": path, "certificates": done.certificates, "octets": done.octets,
            "configuration": text.is_some(), "master_key": master.is_some(), "notes": notes,
        });
        return out.line(value).map(|()| DONE);
    }
    let count = render::count(done.certificates, "certificate");
    out.line(format_args!("{count} in {} (mode 600)", path.display()))?;
    notes.iter().try_for_each(|note| out.line(format_args!("  note: {note}")))?;
    Ok(DONE)
}

/// What lies beside the passphrase, where the master key comes from one: without it, the passphrase
/// opens nothing. It is no secret, but nobody else may read it.
fn verifier(config: &Path, notes: &mut Vec<String>) -> Option<Vec<u8>> {
    // That a configuration cannot be used is the daemon's to say; it is copied as it is.
    let config = config::load(config, std::env::vars_os()).ok()?.config;
    if config.vault.master_key != MasterKey::Passphrase {
        return None;
    }
    let path = config.state.dir.join("vault/passphrase");
    if former(&path).exists() {
        let note = "the passphrase is being replaced: back up once keyward status names no former";
        notes.push(format!("{note} master key any more"));
        return None;
    }
    let mut content = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(PASSPHRASE_FILE).read_to_end(&mut content))
        .map(|_| content);
    read.map_err(|error| {
        let path = path.display();
        let without = "is not in it, and the passphrase opens nothing without that file";
        notes.push(format!("{path} {without}: {error}; run as root, or keep a copy of it"));
    })
    .ok()
}

/// Has the daemon copy its database into a file beside the one that is wanted, which has no name
/// any more when this returns.
fn copied(client: &Client, path: &Path) -> Result<(File, BackedUp), Report> {
    let mut name = path.as_os_str().to_owned();
    name.push(".store");
    let aside = Aside::create(Path::new(&name), true)?;
    let copy = aside.reader().map_err(|error| cannot(path, &error))?;
    match client.hand_over(&HandoverOrder::Backup, aside.file.as_fd())? {
        Handover::BackedUp(done) => Ok((copy, done)),
        _ => Err(Report::new(FAULT, "the daemon did something else than it was asked")),
    }
}

/// The file as it is; `None` when there is none.
fn configuration(path: &Path) -> Result<Option<Vec<u8>>, Report> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_read(path, &error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(bounds::CONFIG_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| cannot_read(path, &error))?;
    Ok(Some(bytes))
}

/// How the master key is encrypted.
#[derive(Clone, Copy)]
enum Wrapping<'w> {
    To(&'w Recipient),
    Under(&'w PassphraseSource),
}

impl Wrapping<'_> {
    /// Asks for what it takes, and encrypts.
    fn of(self, plain: &[u8]) -> Result<Vec<u8>, Report> {
        match self {
            Self::To(recipient) => age::encrypt(Lock::Recipient(recipient), plain)
                .map_err(|error| Report::new(FAILED, format!("--recipient: {error}"))),
            Self::Under(source) => {
                let passphrase = source.fresh().map_err(|refused| {
                    Report::new(FAILED, refused.to_string()).hint(refused.advice())
                })?;
                age::encrypt(Lock::Passphrase(Passphrase(&passphrase)), plain)
                    .map_err(|error| Report::new(FAULT, format!("--passphrase: {error}")))
            }
        }
    }
}

/// The master key, encrypted.
struct Wrapped {
    file: Vec<u8>,
    /// The vault's public key for boxes, which comes from the master key.
    import_key: String,
}

/// A copy of the database must open under the master key that was encrypted before.
fn still_present(client: &Client, import_key: &str) -> Result<(), Report> {
    let now: ImportKey = client.get("/import/key")?.decode()?;
    if now.key == import_key {
        return Ok(());
    }
    Err(Report::new(FAILED, "the master key was replaced while the backup was made")
        .hint("back up once keyward status names no former one any more"))
}

/// The master key, encrypted; it must be the one that the vault has.
fn wrapped(client: &Client, what: &Backup, wrapping: Wrapping<'_>) -> Result<Wrapped, Report> {
    // For a moment it is in this process: not in a core file, and not for others.
    sandbox::forbid_dumps()
        .map_err(|error| Report::new(FAULT, format!("cannot forbid core files: {error}")))?;
    let source = source(what)?;
    let found = source.load().map_err(|error| {
        Report::new(NOT_ALLOWED, with_causes(&error))
            .hint("run as root; --master-key says where it is if the configuration does not")
    })?;
    if found.former.is_some() {
        return Err(Report::new(FAILED, "the master key is being replaced")
            .hint("back up once keyward status names no former one any more"));
    }
    let plain = found.present.to_file();
    let sealer = Sealer::under(found.present, None);
    let sealer = sealer.map_err(|error| Report::new(FAULT, error.to_string()))?;
    let ours = import_box::public_of(&sealer);
    let theirs: ImportKey = client.get("/import/key")?.decode()?;
    if ours.map(|key| STANDARD.encode(key)).ok().as_ref() != Some(&theirs.key) {
        return Err(Report::new(FAILED, "this is not the master key that the vault has")
            .hint("--master-key says where that one is"));
    }
    Ok(Wrapped { file: wrapping.of(&plain)?, import_key: theirs.key })
}

/// Where the vault has the master key from.
fn source(what: &Backup) -> Result<MasterKeySource, Report> {
    if let Some(path) = &what.master_key {
        return Ok(MasterKeySource::Credential(path.clone()));
    }
    let loaded = config::load(&what.config, std::env::vars_os());
    let loaded = loaded.map_err(|error| Report::new(CONFIGURATION, error.to_string()))?;
    let config = loaded.config;
    Ok(match &config.vault.master_key {
        MasterKey::File(path) => MasterKeySource::File(path.clone()),
        MasterKey::Passphrase => {
            let advice = "back up without --recipient or --passphrase: the passphrase that the \
                          master key comes from opens the backup";
            return Err(Report::new(FAILED, "the master key comes from a passphrase").hint(advice));
        }
        MasterKey::Auto => {
            let credential = PathBuf::from(CREDENTIAL);
            if credential.exists() {
                MasterKeySource::Credential(credential)
            } else {
                MasterKeySource::File(config.state.dir.join("vault/master.key"))
            }
        }
    })
}

fn cannot(path: &Path, error: &io::Error) -> Report {
    Report::new(status(error), format!("cannot write {}: {error}", path.display()))
}

fn cannot_read(path: &Path, error: &io::Error) -> Report {
    Report::new(status(error), format!("cannot read {}: {error}", path.display()))
}

fn status(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::PermissionDenied { NOT_ALLOWED } else { FAILED }
}
