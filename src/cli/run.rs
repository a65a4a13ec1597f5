//! The commands that are the daemon, or need none: `run`, `demo`, `check`.

use std::path::Path;

use super::args::Demo;
use super::check as checking;
use super::out::Out;
use super::report::Report;
use crate::daemon;
use crate::daemon::DemoOptions;
use crate::daemon::Failed;

/// `keyward run`
pub(super) fn run(config: &Path, out: &mut Out) -> Result<u8, Report> {
    ended(daemon::run(config), out)
}

/// `keyward demo`
pub(super) fn demo(demo: &Demo, out: &mut Out) -> Result<u8, Report> {
    let options = DemoOptions {
        https: demo.https.0.clone(),
        http: demo.http.0.clone(),
        state: demo.state.clone(),
    };
    ended(daemon::demo(&options), out)
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
