//! Brings a backup back where there is nothing yet: without a daemon, and without a vault.
//!
//! Everything is read and looked at first, and nothing that is there is ever replaced. Then the
//! configuration and the master key are put down, and last the database gets its name: an error
//! before that takes away what was put down, and a kill leaves the database aside, by which the next
//! start knows that a restore was cut off and the next restore that it may begin again.

mod members;
mod opening;
mod put;

use self::opening::Examiner;
use self::put::Laid;
use self::put::Owner;
use super::Failed;
use super::open::Places;
use super::open::private_directory;
use crate::base::causes::with_causes;
use crate::base::crash;
use crate::cli::RestoreOptions;
use crate::cli::Restored;
use crate::config;
use crate::config::Config;
use crate::os::limits;
use crate::os::sandbox;
use crate::store::Incoming;
use crate::store::IncomingError;
use crate::vault::passphrase::Verifier;

/// `keyward restore`
///
/// # Errors
/// [`Failed`] with everything a person needs to act; nothing was replaced then.
pub(super) fn restore(options: &RestoreOptions) -> Result<Restored, Failed> {
    // The master key may be in this process for a moment.
    sandbox::forbid_dumps().map_err(Failed::fault)?;
    limits::survive_file_size().map_err(Failed::fault)?;
    let small = members::small_files(&options.backup)?;
    let (config, text) = configuration(options, small.config.as_deref())?;
    let places = Places::of(&config);
    let verifier = small.verifier.as_deref().map(verifier).transpose()?;
    let master = match (&small.master, &verifier, &options.opening) {
        (Some(file), _, Some(opening)) => Some(opening::opened(file, opening)?),
        (None, Some(verifier), Some(opening)) => Some(opening::derived(verifier, opening)?),
        (None, None, Some(_)) => {
            let advice = "leave out what opens it (--identity, --passphrase)";
            return Err(refused("the backup holds no master key", advice));
        }
        _ => None,
    };
    let owner = Owner::of(&config.state.dir);
    for place in [&places.store, &places.served, &places.vault] {
        private_directory(place)?;
        owner.give(place)?;
    }
    let incoming = Incoming::begin(&places.store).map_err(not_taken)?;
    crash::point("restore-begun");
    members::database(&options.backup, incoming.file())?;
    let mut examiner = Examiner::new(master.as_ref())?;
    let whole = incoming.check(|sealed| examiner.look(sealed)).map_err(not_taken)?;
    crash::point("restore-checked");

    let mut laid = Laid::new(owner);
    if let Some(text) = text {
        laid.configuration(&options.config, text)?;
    }
    crash::point("restore-configured");
    let mut notes = Vec::new();
    let master_key = match (&master, &small.master, &small.verifier) {
        (_, None, Some(verifier)) => {
            laid.verifier(&config, &places, verifier)?;
            let asked = "the next start asks for the passphrase that the master key comes from";
            notes.push(asked.to_owned());
            None
        }
        (Some(master), ..) => Some(laid.master(&config, &places, master)?),
        (None, Some(_), _) => {
            let opens = "--identity or --passphrase opens it";
            notes.push(format!("the master key in the backup stays shut: {opens}"));
            None
        }
        (None, None, None) => None,
    };
    if master_key.is_none() && small.verifier.is_none() {
        notes.push("the keys open with the master key only: put it where it was".to_owned());
    }
    crash::point("restore-keyed");
    let (certificates, keys) = (whole.certificates, whole.keys);
    for entry in std::fs::read_dir(&places.store).map_err(Failed::unavailable)?.flatten() {
        laid.give(&entry.path())?;
    }
    whole.put_in_place().map_err(not_taken)?;
    let configuration = laid.stays();
    Ok(Restored {
        certificates,
        keys,
        authority_keys: examiner.authority,
        accounts: examiner.accounts,
        opened: master.is_some(),
        database: places.store.join("keyward.redb"),
        master_key,
        configuration,
        notes,
    })
}

/// The configuration that says where everything goes, and its text if it is not there yet.
fn configuration<'s>(
    options: &RestoreOptions,
    saved: Option<&'s [u8]>,
) -> Result<(Config, Option<&'s [u8]>), Failed> {
    let path = &options.config;
    if path.exists() {
        let loaded = config::load(path, std::env::vars_os()).map_err(Failed::configuration)?;
        return Ok((loaded.config, None));
    }
    let Some(saved) = saved else {
        return Err(refused(
            &format!("there is no configuration at {}, and none in the backup", path.display()),
            "--config FILE",
        ));
    };
    let text = str::from_utf8(saved).map_err(|_| {
        refused("the configuration in the backup is no text", "--config FILE with one that is")
    })?;
    let loaded = config::parse(text, path, std::env::vars_os()).map_err(Failed::configuration)?;
    Ok((loaded.config, Some(saved)))
}

fn verifier(bytes: &[u8]) -> Result<Verifier, Failed> {
    Verifier::parse(bytes).map_err(|reason| {
        let what = format!("the file of the passphrase in the backup is damaged: {reason}");
        refused(&what, "another backup, whole and unchanged")
    })
}

/// Whether a restore was cut off, of which a start says so instead of beginning without a state.
pub(super) fn cut_off(places: &Places) -> Result<(), Failed> {
    let Some(aside) = crate::store::unfinished_restore(&places.store) else { return Ok(()) };
    Err(Failed::unavailable(format!(
        "error: a restore into {} was cut off, and nothing of it is used\n  \
         try: keyward restore again; or delete {} to begin with an empty state",
        places.store.display(),
        aside.display()
    )))
}

fn not_taken(error: IncomingError) -> Failed {
    let advice = match &error {
        IncomingError::Exists { .. } => "stop the daemon, and put that file aside",
        IncomingError::Sealed { .. } => "what opens this very backup, or another backup",
        _ => "another backup, or room on the disk",
    };
    refused(&with_causes(&error), advice)
}

fn refused(what: &str, advice: &str) -> Failed {
    Failed { status: 1, report: format!("error: {what}\n  try: {advice}") }
}
