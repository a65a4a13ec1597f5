//! The keeper: starts the vault, hands its socket to main, and starts another when it ends.
//!
//! Main walls itself off from the master key, and what it starts afterwards inherits its walls.
//! So this small process is started before, and does nothing else: it reads no key, no file and
//! no frame, unless the master key comes from a passphrase, which it asks for once and hands to
//! each vault. It ends with main's socket, and takes its vault with it. Main may ask it for one
//! thing: to start the program anew (`handing`).

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
use super::handing;
use super::handing::Asked;
use super::handing::Program;
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
    /// The program was started anew; the socket to it comes along.
    BegunAnew,
    /// It was not, with this number of the operating system's.
    NotBegun { errno: i32 },
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
            Self::BegunAnew => (5, 0),
            Self::NotBegun { errno } => (6, errno.cast_unsigned()),
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
            5 if value == 0 => Ok(Self::BegunAnew),
            4 | 5 => Err(WireError::BadField("exit")),
            6 => Ok(Self::NotBegun { errno: value.cast_signed() }),
            unknown => Err(WireError::UnknownTag(unknown)),
        }
    }
}

/// Keeps a vault running until main hangs up. Called for `keyward vault-keeper KIND PATH CONFIG
/// [handed]` with main's socket as standard input. An empty `CONFIG`, or none, is never begun anew.
pub fn serve_keeper() -> ExitCode {
    ExitCode::from(keep())
}

fn keep() -> u8 {
    sandbox::ignore_group_signals();
    let _unnamed = nix::sys::prctl::set_name(c"keyward-keeper");
    let mut arguments = std::env::args_os().skip(2);
    let source = match (arguments.next(), arguments.next()) {
        (Some(kind), Some(path)) => MasterKeySource::from_arguments(&kind, path),
        _ => None,
    };
    let config = arguments.next().unwrap_or_default();
    let handed = arguments.next().map(|word| word == handing::HANDED);
    let (Some(mut source), None | Some(true), None) = (source, handed, arguments.next()) else {
        return status::USAGE;
    };
    let Ok(main) = descriptors::take_stdin() else { return status::SYSTEM };
    // Main runs under the same user: it must not be able to make this process read the key.
    if sandbox::forbid_dumps().is_err() {
        return status::SYSTEM;
    }
    // A kernel without `close_range` leaves what main forgot to close on exec: nothing of its own.
    let _older_kernel = descriptors::close_all_but(&main);
    let main = Arc::new(main);
    let child: Arc<Mutex<Option<Pid>>> = Arc::default();
    let asked = Asked::default();
    if handed.is_some() {
        // Before anybody else reads from there.
        set(&asked, Some(handing::handed(&main)));
    }
    let program = Program::new(config, source.clone(), Arc::clone(&asked));
    let watched = (Arc::clone(&main), Arc::clone(&child));
    let watcher = std::thread::Builder::new()
        .name("keeper-watch".to_owned())
        .spawn(move || obey(&watched.0, &watched.1, program.as_ref()));
    if watcher.is_err() {
        return status::SYSTEM;
    }
    match &source {
        _ if handed.is_some() => {}
        MasterKeySource::Passphrase(path) => set(&asked, Some(asker::ask(path, false))),
        MasterKeySource::NewPassphrase(path) => set(&asked, Some(asker::ask(path, true))),
        _ => {}
    }
    if source.is_asked_for() {
        // From now on a key lies here. Where the limit is too low it may be swapped.
        let _partly = sandbox::lock_memory();
    }
    let mut pause = Duration::ZERO;
    let mut step = None;
    loop {
        let started = now();
        let exit = match run_one(&main, &child, &source, step, &asked) {
            Ok(exit) => exit,
            // Main is told as if a vault had ended at once: the pause below is the same.
            Err(_) => VaultExit::Unseen,
        };
        // Taken by the very next vault, or not at all.
        step = match exit {
            VaultExit::Status(status) => Step::of_status(status),
            VaultExit::Signal(_) | VaultExit::Unseen => None,
        };
        if step == Some(Step::Finish)
            && let Some(Ok(found)) = &mut *asked.lock().unwrap_or_else(PoisonError::into_inner)
        {
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

fn set(asked: &Asked, became: Option<Result<super::master::Found, String>>) {
    *asked.lock().unwrap_or_else(PoisonError::into_inner) = became;
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
    asked: &Asked,
) -> io::Result<VaultExit> {
    let (ours, theirs) = descriptors::seqpacket_pair()?;
    if let Some(asked) = &*asked.lock().unwrap_or_else(PoisonError::into_inner) {
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

/// Starts the program anew as often as main says so; whatever else wakes this thread is the end.
fn obey(main: &OwnedFd, child: &Mutex<Option<Pid>>, program: Option<&Program>) {
    let mut frame = [0; handing::BEGIN_ANEW.len() + 1];
    while let Ok(len) = descriptors::receive(main.as_fd(), &mut frame) {
        if frame.get(..len) != Some(handing::BEGIN_ANEW) {
            break;
        }
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let told = match program.ok_or_else(absent).and_then(Program::begin) {
            Ok(socket) => {
                let report = KeeperReport::BegunAnew.encode();
                descriptors::send_with(main.as_fd(), &report, &[socket.as_fd()])
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::ENOENT);
                descriptors::send(main.as_fd(), &KeeperReport::NotBegun { errno }.encode())
            }
        };
        if told.is_err() {
            break;
        }
    }
    end_with_main(child)
}

fn end_with_main(child: &Mutex<Option<Pid>>) {
    terminal::restore();
    let held = child.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pid) = *held {
        // It may have ended by itself already: its socket hung up as well.
        let _ended = nix::sys::signal::kill(pid, Signal::SIGKILL);
        let _reaped = waitid(Id::Pid(pid), WaitPidFlag::WEXITED);
    }
    sandbox::exit_now(status::DONE)
}
