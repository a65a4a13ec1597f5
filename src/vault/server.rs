//! The vault's own process: reads the master key, walls itself in, and answers.
//!
//! Synchronous, one thread for each channel. Anything that is not in the vocabulary ends the
//! process at once; main starts another.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Barrier;

use zeroize::Zeroizing;

use super::asker;
use super::channel::SeqPacket;
use super::channel::Transport;
use super::desk::Desk;
use super::desk::Role;
use super::desk::Room;
use super::gate;
use super::gate::Callee;
use super::gate::Mapped;
use super::keyring::Keyring;
use super::master::Found;
use super::master::MasterKeyError;
use super::master::MasterKeySource;
use super::seal::Mark;
use super::seal::Sealer;
use super::succession::Step;
use super::walls;
use super::walls::WALLS;
use super::walls::WallReport;
use super::wire::Refusal;
use super::wire::Reply;
use super::wire::Request;
use super::wire::VERSION;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::os::affinity;
use crate::os::descriptors;
use crate::os::sandbox;
use crate::os::sandbox::Standing;
use crate::os::shared;
use crate::os::shared::Shared;
use crate::os::slice;
use crate::os::wiped::scrub_stack;

/// Exit statuses of the vault, after sysexits.h.
pub mod status {
    /// Main hung up.
    pub const DONE: u8 = 0;
    /// Arguments that make no sense.
    pub const USAGE: u8 = 64;
    /// A frame that is not in the vocabulary.
    pub const PROTOCOL: u8 = 65;
    /// A fault of the vault itself.
    pub const FAULT: u8 = 70;
    /// The operating system refused something the vault cannot do without.
    pub const SYSTEM: u8 = 71;
    /// There is no usable master key.
    pub const MASTER_KEY: u8 = 78;
}

/// Room for one signature with the deepest call stack measured (RSA with PSS) four times over.
const STACK: usize = 512 * 1024;

/// Serves as the vault until main hangs up. Called for `keyward vault KIND PATH [STEP]` with the
/// control socket as standard input.
pub fn serve_vault() -> ExitCode {
    ExitCode::from(serve())
}

fn serve() -> u8 {
    sandbox::ignore_group_signals();
    // Started through /proc/self/exe, it would be called `exe`; a failure costs the name only.
    let _unnamed = nix::sys::prctl::set_name(c"keyward-vault");
    // A panic in any thread is a fault of the vault; its message might quote what it worked on.
    std::panic::set_hook(Box::new(|_| sandbox::exit_now(status::FAULT)));
    let mut arguments = std::env::args_os().skip(2);
    let (kind, path, word) = (arguments.next(), arguments.next(), arguments.next());
    let source =
        kind.zip(path).and_then(|(kind, path)| MasterKeySource::from_arguments(&kind, path));
    let step = word.as_deref().map(|word| word.to_str().and_then(Step::of_word));
    let (Some(source), None | Some(Some(_)), None) = (source, step, arguments.next()) else {
        return status::USAGE;
    };
    let Ok(control) = descriptors::take_stdin() else { return status::SYSTEM };
    if descriptors::silence_stderr().is_err() {
        return status::SYSTEM;
    }
    // Asked now: the last wall forbids even that.
    let pid = std::process::id();
    let mut walls = walls::raise_first(&control);
    let stepped = step.flatten().map_or(Ok(()), |step| step.take(&source));
    let loaded = stepped.and_then(|()| match source.is_asked_for() {
        true => handed_over(&control),
        false => source.load(),
    });
    let mut frame = vec![0; bounds::VAULT_FRAME + 1];
    let hello = match receive_hello(&control, &mut frame) {
        Ok(hello) => hello,
        Err(status) => return status,
    };
    let refuse = |code, text: &str| {
        let mut out = Vec::new();
        let reply = Reply::Refused { code, text: text.as_bytes() };
        if reply.encode(hello.id, &mut out).is_ok() {
            // Main being gone is no reason to say anything else.
            let _gone = descriptors::send(control.as_fd(), &out);
        }
    };
    let Found { present, former, created } = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let mut text = with_causes(&error);
            text.truncate(text.floor_char_boundary(bounds::VAULT_FRAME / 2));
            refuse(Refusal::MasterKey, &text);
            return status::MASTER_KEY;
        }
    };
    walls.extend(walls::raise_second(Keyring::places(hello.cache_bytes)));
    let Ok(sealer) = Sealer::under(present, former) else {
        refuse(Refusal::Crypto, "the master key cannot be used");
        return status::SYSTEM;
    };
    let marks = sealer.marks();
    // The master key passed through here on its way into secret memory.
    scrub_stack();
    let room = Arc::new(Room::new(sealer, hello.cache_bytes).counting(hello.workers.len()));
    // Both libraries look for their source of randomness at first use, which the walls forbid.
    if room.rehearse().is_err() {
        refuse(Refusal::Crypto, "the cryptographic libraries do not work here");
        return status::SYSTEM;
    }
    let opening = Arc::new(Opening::new(hello.workers.len()));
    for (index, worker) in hello.workers.into_iter().enumerate() {
        let (room, opening) = (Arc::clone(&room), Arc::clone(&opening));
        let started = std::thread::Builder::new()
            .name(format!("vault-{index}"))
            .stack_size(STACK)
            .spawn(move || serve_worker(&room, &opening, index, worker));
        if started.is_err() {
            refuse(Refusal::Wall, "the operating system gives no thread");
            return status::SYSTEM;
        }
    }
    opening.ready.wait();
    walls.push(walls::raise_last());
    opening.open.wait();
    let mut desk = Desk::new(&room, Role::Control, hello.id);
    if welcome(&control, hello.id, pid, created, &walls, hello.gates, marks).is_ok() {
        desk.serve(&mut SeqPacket::patient(control));
    }
    // The other threads sit in a receive: they end with the process, not before it.
    sandbox::exit_now(status::DONE)
}

/// What the keeper made of a passphrase, as the first frame.
fn handed_over(control: &OwnedFd) -> Result<Found, MasterKeyError> {
    let mut frame = Zeroizing::new([0; bounds::VAULT_TEXT + 1]);
    let len = descriptors::receive(control.as_fd(), &mut *frame).unwrap_or(0);
    asker::decode(frame.get(..len).unwrap_or_default()).map_err(MasterKeyError::Passphrase)
}

/// Nobody serves before the last wall stands, and it goes up when all threads exist.
struct Opening {
    ready: Barrier,
    open: Barrier,
}

impl Opening {
    fn new(workers: usize) -> Self {
        let everyone = workers.saturating_add(1);
        Self { ready: Barrier::new(everyone), open: Barrier::new(everyone) }
    }
}

struct Worker {
    role: Role,
    channel: Box<dyn Transport>,
    core: Option<usize>,
}

fn serve_worker(room: &Room, opening: &Opening, index: usize, mut worker: Worker) {
    if let Some(core) = worker.core {
        // Not permitted everywhere; the thread then runs where the kernel likes.
        let _unpinned = affinity::bind_thread(core);
    }
    if worker.role == Role::Worker {
        // Not permitted, or not known to the kernel: each crossing then costs more.
        let _longer = slice::shorten(bounds::gate::VAULT_TURN);
    }
    // Randomness is kept by thread, too.
    if room.rehearse().is_err() {
        sandbox::exit_now(status::SYSTEM);
    }
    opening.ready.wait();
    opening.open.wait();
    Desk::new(room, worker.role, 0).counting(index).serve(&mut *worker.channel);
}

struct Hello {
    id: u64,
    cache_bytes: u64,
    workers: Vec<Worker>,
    gates: bool,
}

fn receive_hello(control: &OwnedFd, frame: &mut [u8]) -> Result<Hello, u8> {
    let received =
        descriptors::receive_with(control.as_fd(), frame).map_err(|_| status::PROTOCOL)?;
    if received.len == 0 {
        return Err(status::DONE);
    }
    let bytes = frame.get(..received.len).ok_or(status::PROTOCOL)?;
    let (id, request) = Request::decode(bytes).map_err(|_| status::PROTOCOL)?;
    let Request::Hello { version: VERSION, cache_bytes, cores, gates } = request else {
        return Err(status::PROTOCOL);
    };
    if cores.is_empty() || cores.len() > bounds::VAULT_WORKERS + 1 {
        return Err(status::PROTOCOL);
    }
    let mut sockets = received.descriptors;
    let memory = if gates { sockets.pop() } else { None };
    if cores.len() != sockets.len() {
        return Err(status::PROTOCOL);
    }
    // The last channel is for whoever is no worker: a socket.
    let count = cores.len().saturating_sub(1);
    if memory.as_ref().is_some_and(|memory| !shared::is_sealed(memory, count * gate::GATE)) {
        return Err(status::PROTOCOL);
    }
    // Where they cannot be mapped, main is told to use the sockets.
    let mapped: Option<Vec<Shared>> =
        memory.and_then(|memory| (0..count).map(|index| gate::map(&memory, index).ok()).collect());
    let gates = mapped.is_some();
    let mut mapped = mapped.into_iter().flatten();
    let mut workers = Vec::with_capacity(cores.len());
    for (socket, core) in sockets.into_iter().zip(cores) {
        let role = if workers.len() == count { Role::Work } else { Role::Worker };
        let channel: Box<dyn Transport> = match mapped.next() {
            Some(memory) => Box::new(Callee::new(Mapped::new(memory, socket))),
            None => Box::new(SeqPacket::patient(socket)),
        };
        let core = (core != u16::MAX).then_some(usize::from(core));
        workers.push(Worker { role, channel, core });
    }
    Ok(Hello { id, cache_bytes, workers, gates })
}

fn welcome(
    control: &OwnedFd,
    id: u64,
    pid: u32,
    created: bool,
    walls: &[WallReport],
    gates: bool,
    masters: Vec<Mark>,
) -> Result<(), std::io::Error> {
    let mut out = Vec::new();
    let octet = |at: Option<usize>| at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX);
    let walls = walls
        .iter()
        .map(|report| {
            let standing = match report.standing {
                Standing::Full => 0,
                Standing::Partial => 1,
                Standing::Absent => 2,
            };
            let wall = octet(WALLS.iter().position(|wall| *wall == report.wall));
            let text = report.detail.as_bytes();
            (wall, standing, text.get(..bounds::VAULT_TEXT).unwrap_or(text))
        })
        .collect();
    let reply = Reply::Welcome { pid, created, walls, gates, masters };
    reply.encode(id, &mut out).map_err(std::io::Error::other)?;
    descriptors::send(control.as_fd(), &out)
}
