//! The keeper: starts the vault, hands its socket to main, and starts another when it ends.
//!
//! Main walls itself off from the master key, and what it starts afterwards inherits its walls.
//! So this small process is started before, and does nothing else: it reads no key, no file and
//! no frame, unless the master key comes from a passphrase, which it asks for once and hands to
//! each vault. It ends with main's socket, and takes its vault with it.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::Id;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitid;
use nix::unistd::Pid;

use super::asker;
use super::codec::Reader;
use super::codec::Writer;
use super::master::Found;
use super::master::MasterKeySource;
use super::server::status;
use super::succession::Step;
use super::wire::WireError;
use crate::base::bounds;
use crate::os::descriptors;
use crate::os::sandbox;
use crate::os::terminal;

/// How a vault ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VaultExit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody saw it.
    Unseen,
}

impl std::fmt::Display for VaultExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unseen => f.write_str("unseen"),
        }
    }
}

/// What the keeper tells main.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeeperReport {
    /// A vault was started; its control socket comes along.
    Started { pid: u32 },
    /// It ended.
    Ended { exit: VaultExit },
}

impl KeeperReport {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut out = Writer::new(&mut frame);
        let (tag, value) = match self {
            Self::Started { pid } => (1, pid),
            Self::Ended { exit: VaultExit::Status(code) } => (2, code.cast_unsigned()),
            Self::Ended { exit: VaultExit::Signal(signal) } => (3, signal.cast_unsigned()),
            Self::Ended { exit: VaultExit::Unseen } => (4, 0),
        };
        out.u8(tag);
        out.u32(value);
        frame
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Self, WireError> {
        let mut input = Reader::new(frame)?;
        let (tag, value) = (input.u8()?, input.u32()?);
        input.finish()?;
        match tag {
            1 => Ok(Self::Started { pid: value }),
            2 => Ok(Self::Ended { exit: VaultExit::Status(value.cast_signed()) }),
            3 => Ok(Self::Ended { exit: VaultExit::Signal(value.cast_signed()) }),
            4 if value == 0 => Ok(Self::Ended { exit: VaultExit::Unseen }),
            4 => Err(WireError::BadField("exit")),
            unknown => Err(WireError::UnknownTag(unknown)),
        }
    }
}

/// Keeps a vault running until main hangs up. Called for `keyward vault-keeper KIND PATH` with
/// main's socket as standard input.
pub fn serve_keeper() -> ExitCode {
    ExitCode::from(keep())
}

fn keep() -> u8 {
    sandbox::ignore_group_signals();
    let _unnamed = nix::sys::prctl::set_name(c"keyward-keeper");
    let mut arguments = std::env::args_os().skip(2);
    let source = match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(kind), Some(path), None) => MasterKeySource::from_arguments(&kind, path),
        _ => None,
    };
    let Some(mut source) = source else { return status::USAGE };
    let Ok(main) = descriptors::take_stdin() else { return status::SYSTEM };
    // Main runs under the same user: it must not be able to make this process read the key.
    if sandbox::forbid_dumps().is_err() {
        return status::SYSTEM;
    }
    // A kernel without `close_range` leaves what main forgot to close on exec: nothing of its own.
    let _older_kernel = descriptors::close_all_but(&main);
    let main = Arc::new(main);
    let child: Arc<Mutex<Option<Pid>>> = Arc::default();
    let watched = (Arc::clone(&main), Arc::clone(&child));
    let watcher = std::thread::Builder::new()
        .name("keeper-watch".to_owned())
        .spawn(move || end_with_main(&watched.0, &watched.1));
    if watcher.is_err() {
        return status::SYSTEM;
    }
    let mut asked = match &source {
        MasterKeySource::Passphrase(path) => Some(asker::ask(path, false)),
        MasterKeySource::NewPassphrase(path) => Some(asker::ask(path, true)),
        _ => None,
    };
    if asked.is_some() {
        // From now on a key lies here. Where the limit is too low it may be swapped.
        let _partly = sandbox::lock_memory();
    }
    let mut pause = Duration::ZERO;
    let mut step = None;
    loop {
        let started = now();
        let exit = match run_one(&main, &child, &source, step, asked.as_ref()) {
            Ok(exit) => exit,
            // Main is told as if a vault had ended at once: the pause below is the same.
            Err(_) => VaultExit::Unseen,
        };
        // Taken by the very next vault, or not at all.
        step = match exit {
            VaultExit::Status(status) => Step::of_status(status),
            VaultExit::Signal(_) | VaultExit::Unseen => None,
        };
        if let (Some(Step::Finish), Some(Ok(found))) = (step, &mut asked) {
            found.former = None;
        }
        let report = KeeperReport::Ended { exit }.encode();
        if descriptors::send(main.as_fd(), &report).is_err() {
            return status::DONE;
        }
        pause = if started.elapsed() >= bounds::VAULT_SHORT_LIFE {
            Duration::ZERO
        } else {
            next_pause(pause)
        };
        // A key file that vanishes later must not be replaced: nothing sealed would open again.
        if let MasterKeySource::CreateIfMissing(path) = source {
            source = MasterKeySource::Own(path);
        }
        // The first restart after a long life is immediate. The watcher ends a pause with main.
        sleep(pause);
    }
}

/// Twice the last pause, from ten milliseconds on: one early death still leaves a handshake time.
fn next_pause(pause: Duration) -> Duration {
    pause.saturating_mul(2).clamp(Duration::from_millis(10), bounds::VAULT_RESTART_PAUSE)
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime in the keeper")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime in the keeper")]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

fn run_one(
    main: &OwnedFd,
    child: &Mutex<Option<Pid>>,
    source: &MasterKeySource,
    step: Option<Step>,
    asked: Option<&Result<Found, String>>,
) -> io::Result<VaultExit> {
    let (ours, theirs) = descriptors::seqpacket_pair()?;
    if let Some(asked) = asked {
        descriptors::send(ours.as_fd(), &asker::encode(asked))?;
    }
    let started = Command::new("/proc/self/exe")
        .arg0("keyward")
        .arg("vault")
        .args(source.to_arguments())
        .args(step.map(Step::word))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = Pid::from_raw(started.id().cast_signed());
    *child.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid);
    let report = KeeperReport::Started { pid: started.id() }.encode();
    let told = descriptors::send_with(main.as_fd(), &report, &[ours.as_fd()]);
    drop(ours);
    // Left unreaped until nobody can kill it by its number any more.
    while let Err(nix::errno::Errno::EINTR) =
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED.union(WaitPidFlag::WNOWAIT))
    {}
    *child.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let exit = match waitid(Id::Pid(pid), WaitPidFlag::WEXITED) {
        Ok(WaitStatus::Exited(_, code)) => VaultExit::Status(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => VaultExit::Signal(signal as i32),
        _ => VaultExit::Unseen,
    };
    told?;
    Ok(exit)
}

fn end_with_main(main: &OwnedFd, child: &Mutex<Option<Pid>>) {
    // Main never writes here, so whatever wakes this thread is the end.
    let _gone = descriptors::receive(main.as_fd(), &mut [0; 1]);
    terminal::restore();
    let held = child.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pid) = *held {
        // It may have ended by itself already: its socket hung up as well.
        let _ended = nix::sys::signal::kill(pid, Signal::SIGKILL);
        let _reaped = waitid(Id::Pid(pid), WaitPidFlag::WEXITED);
    }
    sandbox::exit_now(status::DONE)
}
