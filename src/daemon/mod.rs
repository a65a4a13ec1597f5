//! Connects the rooms: open, spawn, wire, supervise, reload, drain. Otherwise it does nothing.
//!
//! The order of `open` is the security of the house: configuration and sockets first, then the
//! keeper of the vault, then the wall that takes the master key's place out of main's reach, and
//! only then threads, the store, and the first byte from a stranger.

mod accounts;
mod authorities;
mod books;
mod care;
mod contacts;
mod custody;
mod delivery;
mod demo;
mod deploy;
mod describe;
mod doctor;
mod epochs;
mod figures;
mod floods;
mod guests;
mod house;
mod issuing;
mod lists;
mod lookout;
mod lookup;
mod news;
mod notices;
mod open;
mod orders;
mod persist;
mod probe;
mod reload;
mod reseal;
mod restore;
mod rotate;
mod seals;
mod servers;
mod standby;
mod sticky;
mod supervise;
mod takeover;
mod terms;
mod tickets;
mod tokens;
mod transfer;
mod walls;
mod warm;
mod wire;
mod zones;

use std::path::Path;

use self::open::Opened;
use self::takeover::taking::Legacy;
use crate::admin::document_text;
use crate::cli::DemoOptions;
use crate::cli::Entrances;
use crate::cli::Failed;
use crate::config;

/// The ways in, as the command line takes them.
pub const ENTRANCES: Entrances =
    Entrances { run, demo, openapi: document_text, probe: probe::probe, restore: restore::restore };

impl Failed {
    /// The configuration is broken (78).
    fn configuration(report: impl ToString) -> Self {
        Self { status: 78, report: report.to_string() }
    }

    /// Something the house needs is not to be had (69).
    fn unavailable(report: impl ToString) -> Self {
        Self { status: 69, report: report.to_string() }
    }

    /// The rights do not suffice (77).
    fn forbidden(report: impl ToString) -> Self {
        Self { status: 77, report: report.to_string() }
    }

    /// A fault of keyward itself (70).
    fn fault(report: impl ToString) -> Self {
        Self { status: 70, report: report.to_string() }
    }
}

/// Runs the daemon on the configuration file at `config` until it is told to end. With `succeed`
/// it goes on where the process at its standard input ends.
///
/// # Errors
/// [`Failed`] with everything a person needs to act.
pub fn run(config: &Path, succeed: bool) -> Result<(), Failed> {
    let mut legacy = succeed.then(Legacy::receive).transpose()?;
    let opened = prepare(config, &mut legacy);
    if let (Err(failed), Some(legacy)) = (&opened, &legacy) {
        legacy.fail(&failed.report);
    }
    supervise::supervise(opened?, legacy)
}

/// Everything that can go wrong while a process that is followed still serves.
fn prepare(config: &Path, legacy: &mut Option<Legacy>) -> Result<Opened, Failed> {
    let loaded = config::load(config, std::env::vars_os()).map_err(Failed::configuration)?;
    let opened = open::open(loaded.config, open::Manner::Service, legacy.as_mut())?;
    for warning in &loaded.warnings {
        tracing::warn!(problem = %warning, "the configuration has a doubtful part");
    }
    Ok(opened)
}

/// Runs the daemon on embedded defaults for `localhost`, with the internal CA, in front of a
/// built-in page.
///
/// # Errors
/// [`Failed`] with everything a person needs to act.
pub fn demo(options: &DemoOptions) -> Result<(), Failed> {
    let state = std::path::absolute(&options.state).map_err(Failed::unavailable)?;
    let loaded = config::embedded(&options.https, &options.http, &state);
    let config = loaded.map_err(Failed::configuration)?.config;
    let opened = open::open(config, open::Manner::Demo(options.clone()), None)?;
    supervise::supervise(opened, None)
}
