//! One change of one zone, in a process of its own: it reads the secrets of the account, speaks to
//! the provider, answers, and ends.
//!
//! It is asked by main over a socket, takes nothing from there but the record, and reads accounts
//! and programs from the configuration itself, so that whoever has main can have TXT records set in
//! the zones of the file, and run nothing. The state directory and the master key are out of its
//! reach, and of that of the program it may start.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::resource::Resource;
use nix::sys::resource::setrlimit;
use serde::Deserialize;
use serde::Serialize;

use super::acme_dns;
use super::exec;
use super::secret::Known;
use super::updater;
use crate::base::bounds;
use crate::base::tls;
use crate::cert::zone::ZoneChange;
use crate::cert::zone::ZoneRecord;
use crate::config;
use crate::config::DnsAccount;
use crate::config::dns::is_within;
use crate::os::carve;
use crate::os::descriptors;
use crate::os::sandbox;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    /// What with the record.
    pub what: ZoneChange,
    /// The record.
    pub record: ZoneRecord,
}

/// What came of it: nothing to say, or why not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// In words without a secret.
    pub refused: Option<String>,
}

/// Makes one change. Called for `keyward dns-clerk CONFIG` with a socket as standard input.
pub fn serve_clerk() -> ExitCode {
    let _unnamed = nix::sys::prctl::set_name(c"keyward-dns");
    let Some(path) = std::env::args_os().nth(2).map(PathBuf::from) else {
        return ExitCode::from(64);
    };
    let Ok(socket) = descriptors::take_stdin() else { return ExitCode::from(71) };
    if sandbox::forbid_dumps().is_err() || sandbox::drop_privileges().is_err() {
        return ExitCode::from(71);
    }
    let mut socket = UnixStream::from(socket);
    let answer = Answer { refused: answer(&mut socket, &path).err() };
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    // Nobody else would hear of a failure.
    let _gone = socket.write_all(&text);
    ExitCode::SUCCESS
}

fn answer(socket: &mut UnixStream, path: &Path) -> Result<(), String> {
    let mut text = Vec::new();
    let most = u64::try_from(bounds::dns::MESSAGE).unwrap_or(u64::MAX);
    let read = socket.take(most).read_to_end(&mut text);
    read.map_err(|error| format!("what was asked cannot be read: {error}"))?;
    let Asked { what, record } = serde_json::from_slice(&text)
        .map_err(|error| format!("what was asked cannot be understood: {error}"))?;
    let part = config::dns_part(path, std::env::vars_os())
        .map_err(|error| format!("the configuration cannot be used: {error}"))?;
    let account = part.accounts.iter().find(|account| account.name == record.account);
    let account = account.ok_or_else(|| format!("there is no account {}", record.account))?;
    if !account.zones.contains(&record.zone) || !is_within(&record.record, &record.zone) {
        return Err(format!("{} is in no zone of {}", record.record, account.name));
    }
    let mut closed = part.closed;
    if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        closed.push(PathBuf::from(directory).join("keyward.master"));
    }
    carve::leave_out(&closed).map_err(|error| format!("no wall: {error}"))?;
    // What a provider answers is read whole by the library.
    let memory = bounds::dns::HELPER_MEMORY;
    let _without = setrlimit(Resource::RLIMIT_DATA, memory, memory);
    let known = Known::of(account)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let work = change(account, &known, what, &record);
        let ended = tokio::time::timeout(bounds::dns::CHANGE, work).await;
        ended.unwrap_or_else(|_elapsed| Err("it took too long".to_owned()))
    })
}

async fn change(
    account: &DnsAccount,
    known: &Known,
    what: ZoneChange,
    record: &ZoneRecord,
) -> Result<(), String> {
    // For the libraries that look for one of the whole process.
    let _set_before = (*tls::provider()).clone().install_default();
    match account.provider {
        config::EXEC => exec::change(known, what, record).await,
        config::ACME_DNS => acme_dns::change(known, what, record).await,
        _ => updater::change(account, known, what, record).await,
    }
}
