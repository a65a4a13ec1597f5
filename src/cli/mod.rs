//! The command line: arguments, clients of the admin socket, and what a person sees.
//!
//! `args` is the definition, `out` the one place where anything is written, `connect` the way to
//! the daemon, `report` how an error looks and which exit status it has. Beside them stands one
//! file for each group of commands.

mod account;
mod act;
mod adopt;
mod args;
mod args_account;
mod args_books;
mod args_bring;
mod args_carry;
mod args_deploy;
mod args_doctor;
mod args_issue;
mod args_probe;
mod args_token;
mod args_trust;
mod backup;
mod books;
mod bulk;
mod care;
pub mod check;
mod check_dns;
mod check_guests;
mod check_tcp;
mod connect;
mod deploy;
mod doctor;
mod events;
mod export;
mod greet;
mod guests;
mod hash;
mod import;
mod issue;
mod issued_files;
mod list;
mod look;
mod material;
mod notify;
mod out;
mod passphrase;
mod persist;
mod probe;
mod progress;
mod render;
mod report;
mod restore;
mod rotate;
mod run;
mod shell;
mod sse;
mod standby;
mod status;
mod token;
mod trust;
pub(crate) mod ways;
mod when;
mod why;

use std::ffi::OsString;

use args::Args;
use args::Command;
use connect::Client;
use out::Out;
use report::Report;

pub use backup::members;
pub use greet::greet;
pub use passphrase::PassphraseRefused;
pub use passphrase::PassphraseSource;
pub use probe::ProbeOptions;
pub use restore::Opening;
pub use restore::RestoreOptions;
pub use restore::Restored;
pub use run::DemoOptions;
pub use run::Entrances;
pub use run::Failed;

/// Reads `arguments` (the first of which is the program), carries the command out and returns the
/// exit status.
pub fn main<I>(arguments: I, daemon: Entrances) -> u8
where
    I: IntoIterator<Item = OsString>,
{
    let args = match Args::read(arguments) {
        Ok(args) => args,
        Err(refusal) => return report::usage(&refusal),
    };
    let mut out = Out::new(args.color, args.json);
    match dispatch(&args, daemon, &mut out) {
        Ok(status) => status,
        Err(report) => report.tell(&mut out),
    }
}

fn dispatch(args: &Args, daemon: Entrances, out: &mut Out) -> Result<u8, Report> {
    let client = || {
        let shown = args.token_file.as_deref().map(token::read).transpose()?;
        Client::new(&args.socket, args.timeout, shown)
    };
    match &args.command {
        Command::Run { config, succeed } => run::run(daemon, config, *succeed, out),
        Command::Demo(demo) => run::demo(daemon, demo, out),
        Command::Check { file } => Ok(run::check(file, args.json)),
        Command::Status { verbose } => status::status(&client()?, *verbose, out),
        Command::List(what) => list::list(&client()?, what, out),
        Command::Sites => look::sites(&client()?, out),
        Command::Show { name } => look::show(&client()?, name, out),
        Command::Renew { name, wait, reason: None, .. } => act::renew(&client()?, name, *wait, out),
        Command::Renew { name, wait, reason: Some(reason), .. }
        | Command::Revoke { name, reason, wait } => {
            care::revoke(&client()?, name, *reason, *wait, out)
        }
        Command::Host(what) => care::host(&client()?, what, out),
        Command::Switch(what) => standby::switch(&client()?, what, out),
        Command::Unhost { name } => care::unhost(&client()?, name, out),
        Command::Doctor(what) => doctor::doctor(&client()?, what, out),
        Command::Probe(what) => probe::probe(daemon, what, args.timeout, out),
        Command::DnsPersist { name } => persist::persist(&client()?, name, out),
        Command::Why { name } => why::why(&client()?, name, out),
        Command::Import(what) => import::import(&client()?, what, out),
        Command::Adopt(what) => adopt::adopt(&client, what, out),
        Command::Onboard(what) => guests::onboard(&client()?, what, out),
        Command::Offboard { name, may_return } => {
            guests::offboard(&client()?, name, *may_return, out)
        }
        Command::Onboarded(what) => guests::onboarded(&client()?, what.limit, what.all, out),
        Command::Deploy(what) => deploy::deploy(&client()?, what, out),
        Command::Undeploy(what) => deploy::undeploy(&client()?, what, out),
        Command::Deployments(which) => deploy::deployments(&client()?, which, out),
        Command::Notify(what) => notify::notify(&client()?, what, out),
        Command::Forget { name } => act::forget(&client()?, name, out),
        Command::Pack { what } => books::pack(&client()?, what, out),
        Command::Allowance { client: whose } => books::allowance(&client()?, whose.as_ref(), out),
        Command::Ledger(which) => books::ledger(&client()?, which, out),
        Command::Issue(what) => issue::issue(&client()?, what, out),
        Command::Export(what) => export::export(&client()?, what, out),
        Command::Account(what) => account::account(&client()?, what, out),
        Command::Rotate { what } => rotate::rotate(&client()?, what, out),
        Command::Backup(what) => backup::backup(&client()?, what, out),
        Command::Restore(what) => restore::restore(daemon, what, out),
        Command::Reload => act::reload(&client()?, out),
        Command::Upgrade => act::upgrade(&client()?, out),
        Command::Events(which) => events::events(&client()?, which, out),
        Command::Token { what } => token::token(&client()?, what, out),
        Command::Trust(what) => trust::trust(&client, what, out),
        Command::HashPassword { name, stdin } => hash::hash_password(name, *stdin, out),
        Command::Openapi => out.bytes((daemon.openapi)().as_bytes()).map(|()| report::DONE),
        Command::Completions { shell } => shell::completions(*shell, out),
        Command::Man { dir } => shell::man(dir),
    }
}
