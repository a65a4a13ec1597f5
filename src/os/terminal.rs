//! The terminal that this process was started from: a question, and an answer that is not shown.
//!
//! Whoever gives up at the question, or puts it aside, finds the terminal as it was: signals that
//! would end or stop the process wait until it is.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signal::raise;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::LocalFlags;
use nix::sys::termios::SetArg;
use nix::sys::termios::Termios;
use nix::sys::termios::tcgetattr;
use nix::sys::termios::tcsetattr;
use zeroize::Zeroizing;

/// A terminal whose echo is off, and how it was before.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// What a terminal sends, and whoever wants a process to end.
const HELD: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTERM, Signal::SIGHUP];

/// Signals to this thread that wait until the terminal is as it was. Let go on drop.
struct Held {
    before: SigSet,
    arriving: SignalFd,
}

/// What came first.
enum Heard {
    Line(Zeroizing<Vec<u8>>),
    Signal(Signal),
}

/// Asks, and reads one line of at most `most` octets that is not shown. `None` when there is no
/// terminal.
///
/// A signal that ends the process ends it with the terminal as it was; after one that stopped it,
/// the question is asked again. That is so for signals to the calling thread: those that another
/// thread takes are its own matter.
///
/// # Errors
/// When the terminal goes away, or the line is longer.
pub fn ask(question: &str, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return Ok(None);
    };
    loop {
        let held = Held::hold()?;
        silence(&terminal)?;
        let heard = terminal
            .write_all(question.as_bytes())
            .and_then(|()| read_line(&mut terminal, &held, most))
            .and_then(|heard| terminal.write_all(b"\n").map(|()| heard));
        restore();
        match heard? {
            Heard::Line(line) => return Ok(Some(line)),
            Heard::Signal(signal) => {
                raise(signal)?;
                // Here the process ends, or stops for a while.
                drop(held);
            }
        }
    }
}

/// Writes a line to the terminal, if there is one.
pub fn tell(line: &str) {
    if let Ok(mut terminal) = OpenOptions::new().write(true).open("/dev/tty") {
        // Nobody looks at a terminal that takes nothing.
        let _unseen = writeln!(terminal, "{line}");
    }
}

/// Lets a terminal show again what is typed. Also for whoever ends the process during a question.
pub fn restore() {
    let held = SILENCED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((terminal, before)) = held {
        // A terminal that is gone needs nothing.
        let _gone = tcsetattr(&terminal, SetArg::TCSAFLUSH, &before);
    }
}

fn silence(terminal: &File) -> io::Result<()> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    let copy = terminal.try_clone()?;
    *SILENCED.lock().unwrap_or_else(PoisonError::into_inner) = Some((copy, before));
    tcsetattr(terminal, SetArg::TCSAFLUSH, &silent).map_err(|error| {
        restore();
        error.into()
    })
}

impl Held {
    fn hold() -> io::Result<Self> {
        let signals: SigSet = HELD.into_iter().collect();
        let arriving = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
        let before = SigSet::thread_get_mask()?;
        signals.thread_block()?;
        Ok(Self { before, arriving })
    }

    /// Waits until the terminal has something to read, or a signal arrives.
    fn wait(&self, terminal: &File) -> io::Result<Option<Signal>> {
        let mut either = [
            PollFd::new(self.arriving.as_fd(), PollFlags::POLLIN),
            PollFd::new(terminal.as_fd(), PollFlags::POLLIN),
        ];
        while let Err(error) = poll(&mut either, PollTimeout::NONE) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        if either[0].any() != Some(true) {
            return Ok(None);
        }
        let arrived = self.arriving.read_signal()?;
        let number = arrived.and_then(|info| i32::try_from(info.ssi_signo).ok());
        Ok(number.and_then(|number| Signal::try_from(number).ok()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It was a mask of this thread before.
        let _fails_never = self.before.thread_set_mask();
    }
}

fn read_line(terminal: &mut File, held: &Held, most: usize) -> io::Result<Heard> {
    // Has its room from the start: one that grows would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    loop {
        if let Some(signal) = held.wait(terminal)? {
            return Ok(Heard::Signal(signal));
        }
        let mut octet = [0; 1];
        if terminal.read(&mut octet)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match octet {
            [b'\n'] => return Ok(Heard::Line(line)),
            _ if line.len() == most => return Err(io::ErrorKind::InvalidInput.into()),
            [octet] => line.push(octet),
        }
    }
}
