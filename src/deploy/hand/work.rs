//! One pair to one target, in a process of its own that may have more rights than main.
//!
//! It takes a target's name from main, and what that is from the configuration, which it reads itself. So
//! whoever has main can have certificates brought where the operator wrote it down, and nowhere else. The
//! key comes from the vault, and main's state is out of the reach of this process and of what it starts.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::resource::Resource;
use nix::sys::resource::setrlimit;
use nix::sys::socket::sockopt::PeerCredentials;

use super::deadline::Deadline;
use super::mailbox::Mailbox;
use super::wire;
use super::wire::Order;
use super::wire::Report;
use super::wire::Stage;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::chain::Chain;
use crate::cert::identifier::Identifier;
use crate::config;
use crate::deploy::pair::Pair;
use crate::deploy::targets;
use crate::deploy::targets::Fault;
use crate::deploy::targets::Target;
use crate::os::carve;
use crate::os::descriptors;
use crate::os::sandbox;

/// Carries one pair. Called for `keyward deploy-one CONFIG` with main's socket as standard input.
pub fn serve_hand() -> ExitCode {
    let _unnamed = nix::sys::prctl::set_name(c"keyward-hand");
    let Some(config) = std::env::args_os().nth(2).map(PathBuf::from) else {
        return ExitCode::from(64);
    };
    let Ok(socket) = descriptors::take_stdin() else { return ExitCode::from(71) };
    if sandbox::forbid_dumps().is_err() {
        return ExitCode::from(71);
    }
    let _older_kernel = descriptors::close_all_but(&socket);
    // What it starts may well be meant to hear them.
    sandbox::hear_group_signals();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let main = Main(socket);
    if let Err(failed) = work(&main, &config) {
        main.tell(&Report::failed(failed.stage, &failed.fault.reason, failed.fault.as_it_was));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What did not work, and at what.
struct Failed {
    stage: Stage,
    fault: Fault,
}

impl Stage {
    /// At this, before anything was changed.
    fn harmless(self, reason: impl ToString) -> Failed {
        self.fault(Fault::harmless(reason))
    }

    const fn fault(self, fault: Fault) -> Failed {
        Failed { stage: self, fault }
    }
}

/// The process at the other end.
struct Main(OwnedFd);

impl Main {
    /// Whether it heard.
    fn tell(&self, report: &Report) -> bool {
        let sent = wire::encode(report).map(|frame| descriptors::send(self.0.as_fd(), &frame));
        matches!(sent, Ok(Ok(())))
    }

    fn hear(&self, patience: std::time::Duration) -> Result<Order, String> {
        let mut frame = vec![0; bounds::hand::FRAME];
        let within = descriptors::set_deadline(self.0.as_fd(), patience);
        within.map_err(|error| error.to_string())?;
        let length = descriptors::receive(self.0.as_fd(), &mut frame)
            .map_err(|error| format!("main says nothing: {error}"))?;
        let frame = frame.get(..length).filter(|frame| !frame.is_empty());
        wire::order(frame.ok_or_else(|| "main is gone".to_owned())?).map_err(|e| e.to_string())
    }

    /// The user at the other end, as the kernel knew it when the two were connected.
    fn user(&self) -> io::Result<u32> {
        Ok(nix::sys::socket::getsockopt(&self.0, PeerCredentials)?.uid())
    }
}

fn work(main: &Main, config: &Path) -> Result<(), Failed> {
    let begun = main.hear(bounds::hand::GREETING).map_err(|e| Stage::Start.harmless(e))?;
    let Order::Begin { version: wire::VERSION, target: wanted, name, chain } = begun else {
        let text = "main and the process that deploys are of different versions: keyward upgrade";
        return Err(Stage::Start.harmless(text));
    };
    let part = config::target_part(config, std::env::vars_os())
        .map_err(|e| Stage::Prepare.harmless(format!("the configuration cannot be used: {e}")))?;
    let user = main.user().map_err(|e| Stage::Start.harmless(e))?;
    if !may_ask(user, &part.state) {
        return Err(Stage::Start.harmless("another user than keyward's asks"));
    }
    let target = part.targets.iter().find(|target| target.name.as_str() == wanted);
    let target = target
        .ok_or_else(|| Stage::Prepare.harmless(format!("the file has no target {wanted}")))?;
    let time = target.deadline;
    alarm(time);
    let deadline = Deadline::within(time);
    let chain = Chain::from_der(chain).map_err(|e| Stage::Start.harmless(e))?;
    let name = Identifier::parse(&name).map_err(|e| Stage::Start.harmless(e))?;
    let mut closed = part.closed;
    if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        closed.push(PathBuf::from(directory).join("keyward.master"));
    }
    let opened = targets::open(target, &name.to_string(), deadline);
    let mut opened = opened.map_err(|fault| Stage::Prepare.fault(fault))?;
    // After the directories were made of which a part was missing: those would lie beside the wall.
    carve::leave_out(&closed).map_err(|e| Stage::Start.harmless(format!("no wall: {e}")))?;
    let memory = bounds::hand::MEMORY;
    let _without = setrlimit(Resource::RLIMIT_DATA, memory, memory);

    let key = receive_key(main, deadline)?;
    let pair = Pair::new(name, chain, key).map_err(|e| Stage::Key.harmless(e))?;
    main.tell(&Report::At(Stage::Place));
    opened.place(&pair).map_err(|fault| Stage::Place.fault(fault))?;
    drop(pair);
    main.tell(&Report::At(Stage::TakeUp));
    if let Err(fault) = opened.take_up(deadline) {
        return Err(Stage::TakeUp.fault(put_back(&mut *opened, &fault.reason, time)));
    }
    crash::point("hand-taken-up");
    judge(main, &mut *opened, time)
}

fn receive_key(main: &Main, deadline: Deadline) -> Result<zeroize::Zeroizing<Vec<u8>>, Failed> {
    let (mailbox, end) = Mailbox::new().map_err(|e| Stage::Key.harmless(e))?;
    let ready = wire::encode(&Report::Ready).map_err(|e| Stage::Key.harmless(e))?;
    let sent = descriptors::send_with(main.0.as_fd(), &ready, &[end.as_fd()]);
    sent.map_err(|e| Stage::Key.harmless(e))?;
    drop(end);
    mailbox.receive(deadline).map_err(|e| Stage::Key.harmless(e))
}

/// Waits for main's verdict, and does as it says. Where none comes, the pair stays; the next hand
/// knows that nobody judged it.
fn judge(main: &Main, target: &mut dyn Target, time: std::time::Duration) -> Result<(), Failed> {
    main.tell(&Report::Placed);
    match main.hear(bounds::hand::VERDICT) {
        Ok(Order::Keep) => {
            target.keep();
            main.tell(&Report::Kept);
            Ok(())
        }
        Ok(Order::PutBack) => {
            let fault = put_back(target, "", time);
            if !fault.as_it_was || !fault.reason.is_empty() {
                return Err(Stage::PutBack.fault(fault));
            }
            main.tell(&Report::IsBack);
            Ok(())
        }
        Ok(Order::Begin { .. }) | Err(_) => Ok(()),
    }
}

/// Puts everything back and has it taken up, with a time of its own. The reasons for it and of what
/// did not work of it are joined.
fn put_back(target: &mut dyn Target, reason: &str, time: std::time::Duration) -> Fault {
    let back = target.put_back().and_then(|()| target.take_up(Deadline::within(time)));
    match back {
        Ok(()) => Fault { reason: reason.to_owned(), as_it_was: true },
        Err(more) if reason.is_empty() => Fault { as_it_was: false, ..more },
        Err(more) => Fault::half_done(format!("{reason}; and putting it back: {}", more.reason)),
    }
}

/// Root, the user of this process, and the one whose main's state is.
fn may_ask(user: u32, state: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(state).map(|known| known.uid());
    user == 0 || user == nix::unistd::geteuid().as_raw() || owner.is_ok_and(|owner| owner == user)
}

/// The kernel ends this process when everything should be over long since: a file system may hang.
fn alarm(time: std::time::Duration) {
    let most = time
        .saturating_mul(2)
        .saturating_add(bounds::hand::VERDICT)
        .saturating_add(bounds::hand::GRACE.saturating_mul(2));
    let _none_before = nix::unistd::alarm::set(u32::try_from(most.as_secs()).unwrap_or(u32::MAX));
}
