//! A program of the operator's that takes a pair: it finds the files in a directory in memory, and where
//! they are in its environment, under the names that lego and certbot give them.
//!
//! | variable | what it is |
//! |---|---|
//! | `RENEWED_LINEAGE` | the directory, with `cert.pem`, `chain.pem`, `fullchain.pem`, `privkey.pem` (certbot) |
//! | `RENEWED_DOMAINS` | the names of the certificate, with blanks between them (certbot) |
//! | `LEGO_CERT_DOMAIN` | its first name |
//! | `LEGO_CERT_PATH` | the chain |
//! | `LEGO_CERT_KEY_PATH` | the private key |
//! | `LEGO_CERT_PEM_PATH` | both |
//! | `LEGO_ISSUER_CERT_PATH` | the chain without the leaf |
//! | `KEYWARD_TARGET` | the target's name |
//!
//! It gains no rights, writes in its own directory and in the places that are named for it, and the
//! directory is gone when it has ended. Deliberately absent: undoing what it did.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::statfs::TMPFS_MAGIC;
use nix::unistd::User;

use super::Fault;
use super::Target;
use super::program;
use crate::cert::chain::Chain;
use crate::config::ExecTarget;
use crate::config::TargetHook;
use crate::deploy::hand::deadline::Deadline;
use crate::deploy::pair::Pair;
use crate::os::carve;
use crate::os::trusted::TrustedDir;

/// What is around a deploy hook of acme.sh.
const ACME_SH: &str = include_str!("acme_sh.sh");

/// Where a directory in memory can be made, the better place first.
const MEMORY: [&str; 2] = ["/run", "/dev/shm"];

/// A program, and the directory with its files as long as it is there.
#[derive(Debug)]
pub(super) struct Exec {
    target: ExecTarget,
    target_name: String,
    user: Option<(u32, u32)>,
    given: Option<Given>,
}

/// What it is given.
#[derive(Debug)]
struct Given {
    memory: TrustedDir,
    name: OsString,
    path: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Exec {
    pub(super) fn open(target: &ExecTarget, target_name: &str) -> Result<Self, Fault> {
        let user = target.user.as_deref().map(user).transpose()?;
        let own = nix::unistd::geteuid();
        if user.is_some_and(|(user, _)| user != own.as_raw()) && !own.is_root() {
            let text = "only root runs a program as another user: enable keyward-deploy.socket";
            return Err(Fault::harmless(text));
        }
        let target_name = target_name.to_owned();
        Ok(Self { target: target.clone(), target_name, user, given: None })
    }

    fn give(&self, pair: &Pair) -> Result<Given, String> {
        let memory = memory()?;
        let name = OsString::from(format!("keyward-{}", self.target_name));
        // One that a killed hand left.
        memory.remove_directory(&name).map_err(|error| format!("/{}: {error}", name.display()))?;
        let directory = memory.make(&name, 0o700).map_err(|error| error.to_string())?;
        directory.check_own().map_err(|error| error.to_string())?;
        let path = directory.path().to_owned();
        let given = |file: &str| path.join(file).into_os_string();
        let names = pair.chain.leaf().map_err(|error| error.to_string())?.names;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let environment = vec![
            ("RENEWED_LINEAGE", path.clone().into_os_string()),
            ("RENEWED_DOMAINS", names.join(" ").into()),
            ("LEGO_CERT_DOMAIN", pair.name.to_string().into()),
            ("LEGO_CERT_PATH", given("fullchain.pem")),
            ("LEGO_CERT_KEY_PATH", given("privkey.pem")),
            ("LEGO_CERT_PEM_PATH", given("combined.pem")),
            ("LEGO_ISSUER_CERT_PATH", given("chain.pem")),
            ("KEYWARD_TARGET", self.target_name.clone().into()),
        ];
        let made = Given { memory, name, path: path.clone(), environment };
        let (leaf, issuers) = split(&pair.chain)?;
        let owner = self.user.map_or((None, None), |(user, group)| (Some(user), Some(group)));
        let files: [(&str, &[u8]); 5] = [
            ("cert.pem", leaf.as_bytes()),
            ("chain.pem", issuers.as_bytes()),
            ("fullchain.pem", pair.chain_pem.as_bytes()),
            ("privkey.pem", &pair.key_pem),
            ("combined.pem", &pair.combined()),
        ];
        for (file, bytes) in files {
            let written = directory.write(OsStr::new(file), bytes, 0o600, owner);
            written.map_err(|error| format!("{}: {error}", path.join(file).display()))?;
        }
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(&path, Some(user), Some(group))
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(made)
    }

    fn command(&self, given: &Given) -> Result<Command, String> {
        let words = self.target.command.split_first();
        let (first, arguments) = words.ok_or_else(|| "no program is named".to_owned())?;
        let mut command = match self.target.hook {
            None => program::command(first),
            Some(TargetHook::AcmeSh) => {
                let mut shell = program::command("/bin/sh");
                let name = Path::new(first).file_stem().unwrap_or_default();
                shell.args(["-c", ACME_SH, "keyward", first]).arg(name);
                shell
            }
        };
        command.args(arguments);
        for (name, value) in &given.environment {
            command.env(name, value);
        }
        if let Some((user, group)) = self.user {
            // It takes the groups of this process away as well.
            command.gid(group).uid(user);
        }
        Ok(command)
    }
}

impl Target for Exec {
    fn place(&mut self, pair: &Pair) -> Result<(), Fault> {
        self.given = Some(self.give(pair).map_err(Fault::harmless)?);
        Ok(())
    }

    fn take_up(&mut self, deadline: Deadline) -> Result<(), Fault> {
        // Dropped at the end, and so the files are gone.
        let Some(given) = self.given.take() else { return Ok(()) };
        let mut command = self.command(&given).map_err(Fault::half_done)?;
        let mut places = self.target.paths.clone();
        places.push(given.path.clone());
        // The walls hold for the thread that raises them and for what it starts; this process still
        // has to take the directory away.
        let run = || {
            nix::sys::prctl::set_no_new_privs().map_err(|error| format!("no wall: {error}"))?;
            carve::write_in(&places).map_err(|error| format!("no wall: {error}"))?;
            program::run(&mut command, deadline).map(drop)
        };
        let ran = std::thread::scope(|scope| scope.spawn(run).join());
        ran.unwrap_or_else(|_| Err("the program could not be run".to_owned()))
            .map_err(Fault::half_done)
    }

    fn put_back(&mut self) -> Result<(), Fault> {
        Err(Fault::half_done("nobody but the program knows how to undo what it did"))
    }

    fn keep(&mut self) {}
}

impl Drop for Given {
    fn drop(&mut self) {
        // What cannot be taken away now is taken away by the next hand.
        let _left = self.memory.remove_directory(&self.name);
    }
}

/// A directory whose files are in memory alone.
fn memory() -> Result<TrustedDir, String> {
    let mut reason = String::new();
    for place in MEMORY {
        let known = nix::sys::statfs::statfs(place);
        if !known.is_ok_and(|known| known.filesystem_type() == TMPFS_MAGIC) {
            reason = format!("{place} is no file system in memory");
            continue;
        }
        match TrustedDir::open_sticky(Path::new(place)) {
            Ok(directory) => return Ok(directory),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// The leaf, and its issuers.
fn split(chain: &Chain) -> Result<(String, String), String> {
    let pem = |certificates: &[Vec<u8>]| match certificates {
        [] => Ok(String::new()),
        some => {
            Chain::from_der(some.to_vec()).map(|chain| chain.to_pem()).map_err(|e| e.to_string())
        }
    };
    let (leaf, issuers) = chain.certificates().split_at_checked(1).unwrap_or_default();
    Ok((pem(leaf)?, pem(issuers)?))
}

fn user(text: &str) -> Result<(u32, u32), Fault> {
    let found = match text.parse() {
        Ok(number) => User::from_uid(nix::unistd::Uid::from_raw(number)),
        Err(_) => User::from_name(text),
    };
    match found {
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        Ok(None) => Err(Fault::harmless(format!("there is no user {text}"))),
        Err(error) => Err(Fault::harmless(format!("the user {text}: {error}"))),
    }
}
