//! What is made from the definition of the command line: completions and manual pages.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Args;
use super::out::Out;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;

/// `keyward completions SHELL`
pub(super) fn completions(shell: Shell, out: &mut Out) -> Result<u8, Report> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "keyward", &mut script);
    out.bytes(&script)?;
    Ok(DONE)
}

/// `keyward man DIR`: `keyward.1` and one page for each command.
pub(super) fn man(dir: &Path) -> Result<u8, Report> {
    let failed = |error: std::io::Error| {
        Report::new(FAILED, format!("cannot write manual pages to {}: {error}", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    clap_mangen::generate_to(command, dir).map_err(failed)?;
    Ok(DONE)
}
