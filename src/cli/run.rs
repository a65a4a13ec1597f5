//! The commands that are the daemon, or need none: `run`, `demo`, `check`.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use super::args::Demo;
use super::check as checking;
use super::out::Out;
use super::probe::ProbeOptions;
use super::report::Report;
use super::restore::RestoreOptions;
use super::restore::Restored;
use crate::admin::wire::probe::Seen;

/// Why the daemon did not start, or ended otherwise than it was told to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failed {
    /// The exit status (see `keyward --help`).
    pub status: u8,
    /// What, where, and what to try; ready to be printed.
    pub report: String,
}

/// What `keyward demo` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DemoOptions {
    /// Where to serve HTTPS.
    pub https: Vec<SocketAddr>,
    /// Where to redirect from.
    pub http: Vec<SocketAddr>,
    /// Where to keep the state; the admin socket is `run/admin.sock` below it.
    pub state: PathBuf,
}

/// The ways into the daemon: functions that return when it has ended.
#[derive(Clone, Copy, Debug)]
pub struct Entrances {
    /// Runs the daemon with the configuration at this path; whether it follows another.
    pub run: fn(&Path, bool) -> Result<(), Failed>,
    /// Runs the daemon on embedded defaults in front of a built-in page.
    pub demo: fn(&DemoOptions) -> Result<(), Failed>,
    /// The interface of the daemon as an OpenAPI document.
    pub openapi: fn() -> String,
    /// Looks at what a server shows; what was missing, in words.
    pub probe: fn(&ProbeOptions) -> Result<Seen, Failed>,
    /// Brings a backup back, and returns.
    pub restore: fn(&RestoreOptions) -> Result<Restored, Failed>,
}

/// `keyward run`
pub(super) fn run(
    daemon: Entrances,
    config: &Path,
    succeed: bool,
    out: &mut Out,
) -> Result<u8, Report> {
    ended((daemon.run)(config, succeed), out)
}

/// `keyward demo`
pub(super) fn demo(daemon: Entrances, demo: &Demo, out: &mut Out) -> Result<u8, Report> {
    let options = DemoOptions {
        https: demo.https.0.clone(),
        http: demo.http.0.clone(),
        state: demo.state.clone(),
    };
    ended((daemon.demo)(&options), out)
}

/// `keyward check`
pub(super) fn check(file: &Path, json: bool) -> u8 {
    let (mut stdout, mut stderr) = (anstream::stdout(), anstream::stderr());
    checking::run(file, std::env::vars_os(), json, &mut stdout, &mut stderr)
}

/// The daemon words its own reports, with file and line where there are some.
fn ended(ended: Result<(), Failed>, out: &mut Out) -> Result<u8, Report> {
    ended.map(|()| super::report::DONE).map_err(|failed| {
        out.note(format_args!("{}", failed.report));
        Report::quiet(failed.status)
    })
}
