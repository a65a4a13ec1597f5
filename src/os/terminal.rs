//! The terminal that this process was started from: a question, and an answer that is not shown.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;

use nix::sys::termios::LocalFlags;
use nix::sys::termios::SetArg;
use nix::sys::termios::Termios;
use nix::sys::termios::tcgetattr;
use nix::sys::termios::tcsetattr;
use zeroize::Zeroizing;

/// A terminal whose echo is off, and how it was before.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Asks, and reads one line of at most `most` octets that is not shown. `None` when there is no
/// terminal.
///
/// # Errors
/// When the terminal goes away, or the line is longer.
pub fn ask(question: &str, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return Ok(None);
    };
    silence(&terminal)?;
    let answer = terminal
        .write_all(question.as_bytes())
        .and_then(|()| read_line(&mut terminal, most))
        .and_then(|line| terminal.write_all(b"\n").map(|()| line));
    restore();
    answer.map(Some)
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

fn read_line(terminal: &mut File, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Has its room from the start: one that grows would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    loop {
        let mut octet = [0; 1];
        if terminal.read(&mut octet)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match octet {
            [b'\n'] => return Ok(line),
            _ if line.len() == most => return Err(io::ErrorKind::InvalidInput.into()),
            [octet] => line.push(octet),
        }
    }
}
