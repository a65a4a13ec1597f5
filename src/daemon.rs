//! Connects the rooms: open, spawn, wire, supervise, reload, drain. Otherwise it does nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

/// Why the daemon did not start, or ended otherwise than it was told to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failed {
    /// The exit status (see `keyward --help`).
    pub status: u8,
    /// What happened, in one or several lines; the first one says what, the others where and what
    /// to try.
    pub report: String,
}

/// What `keyward demo` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DemoOptions {
    /// Where to serve HTTPS.
    pub https: Vec<SocketAddr>,
    /// Where to redirect from.
    pub http: Vec<SocketAddr>,
    /// Where to keep the state; the admin socket is `admin.sock` below it.
    pub state: PathBuf,
}

/// Runs the daemon with the configuration at `config` until it is told to end.
///
/// # Errors
/// When it cannot start, or a part of the house ends on its own.
pub fn run(config: &Path) -> Result<(), Failed> {
    Err(not_wired(&format!("cannot run with {}", config.display())))
}

/// Runs the daemon on embedded defaults in front of a built-in page.
///
/// # Errors
/// As [`run`].
pub fn demo(options: &DemoOptions) -> Result<(), Failed> {
    Err(not_wired(&format!("cannot run the demo in {}", options.state.display())))
}

fn not_wired(what: &str) -> Failed {
    Failed { status: 70, report: format!("{what}: the rooms are not connected in this build") }
}
