//! `keyward restore`: what is told to the part of the daemon that brings a backup back, and what
//! it says.

use std::path::PathBuf;

use super::args_carry::Restore;
use super::out::Out;
use super::passphrase::PassphraseSource;
use super::render;
use super::report::DONE;
use super::report::Report;
use super::run::Entrances;

/// What opens the master key in the backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Opening {
    /// A file with identities.
    Identity(PathBuf),
    /// A passphrase.
    Passphrase(PassphraseSource),
}

/// What `keyward restore` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RestoreOptions {
    /// The backup.
    pub backup: PathBuf,
    /// What opens the master key in it.
    pub opening: Option<Opening>,
    /// The configuration, which says where everything goes.
    pub config: PathBuf,
}

/// What was brought back.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Restored {
    /// Certificates.
    pub certificates: u64,
    /// Keys of certificates.
    pub keys: u64,
    /// Keys of the internal CA.
    pub authority_keys: u64,
    /// Accounts at CAs.
    pub accounts: u64,
    /// Whether the master key was there to open each of them, and each opened.
    pub opened: bool,
    /// Where the database is now.
    pub database: PathBuf,
    /// Where the master key is now, if it was in the backup and could be opened.
    pub master_key: Option<PathBuf>,
    /// Where the configuration was written, if there was none.
    pub configuration: Option<PathBuf>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// `keyward restore FILE [--identity FILE | --passphrase | --passphrase-file FILE]`
pub(super) fn restore(daemon: Entrances, what: &Restore, out: &mut Out) -> Result<u8, Report> {
    let passphrase = PassphraseSource::of(what.passphrase, what.passphrase_file.as_ref());
    let options = RestoreOptions {
        backup: what.backup.clone(),
        opening: match (&what.identity, passphrase) {
            (Some(path), _) => Some(Opening::Identity(path.clone())),
            (None, passphrase) => passphrase.map(Opening::Passphrase),
        },
        config: what.config.clone(),
    };
    let restored = (daemon.restore)(&options).map_err(|failed| {
        out.note(format_args!("{}", failed.report));
        Report::quiet(failed.status)
    })?;
    if out.json {
        let text = serde_json::to_string(&restored).unwrap_or_default();
        return out.line(text).map(|()| DONE);
    }
    let certificates = render::count(restored.certificates, "certificate");
    let keys = render::count(restored.keys, "sealed key");
    out.line(format_args!("{certificates} and {keys} in {}", restored.database.display()))?;
    let state = if restored.opened { "every key opens" } else { "keys, which nobody tried" };
    let (keys, authority, accounts) = (restored.keys, restored.authority_keys, restored.accounts);
    out.line(format_args!(
        "  {state}: {keys} of certificates, {authority} of the internal CA, {accounts} of accounts"
    ))?;
    if let Some(path) = &restored.master_key {
        let opens = "which opens every one of them";
        out.line(format_args!("  the master key is in {}, {opens}", path.display()))?;
    }
    if let Some(path) = &restored.configuration {
        out.line(format_args!("  the configuration is in {}", path.display()))?;
    }
    for note in &restored.notes {
        out.line(format_args!("  note: {note}"))?;
    }
    out.line("  start the daemon to serve them: systemctl start keyward")?;
    Ok(DONE)
}
