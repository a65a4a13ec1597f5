//! HAProxy: the file that it reads when it starts, and its runtime API, over which it takes the same pair
//! without a reload.
//!
//! See "set ssl cert" and "commit ssl cert" in the management guide of HAProxy, section 9.3. What it
//! is sent is what the file holds, so putting the file back and telling it again puts everything back.
//! Deliberately absent: certificates that its configuration does not name.

use std::ffi::OsStr;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::Fault;
use super::Target;
use super::files::Files;
use crate::base::bounds;
use crate::cert::chain::Chain;
use crate::config::FileTarget;
use crate::config::HaproxyTarget;
use crate::config::path_for;
use crate::deploy::hand::deadline::Deadline;
use crate::deploy::hand::one_line;
use crate::deploy::pair::Pair;
use crate::os::trusted::TrustedDir;

/// Octets of an answer that are read.
const ANSWER: u64 = 64 * 1024;

/// One certificate of one HAProxy.
#[derive(Debug)]
pub(super) struct Haproxy {
    files: Files,
    socket: PathBuf,
    /// As its configuration names it.
    file: PathBuf,
}

impl Haproxy {
    pub(super) fn open(
        target: &HaproxyTarget,
        target_name: &str,
        name: &str,
        deadline: Deadline,
    ) -> Result<Self, Fault> {
        let files = FileTarget {
            combined: Some(target.file.clone()),
            owner: target.owner.clone(),
            group: target.group.clone(),
            mode: target.mode,
            ..FileTarget::default()
        };
        let files = Files::open(&files, target_name, name, deadline)?;
        let file = path_for(&target.file, name);
        if file.to_string_lossy().contains(|c: char| c.is_whitespace() || c == ';') {
            let text = format!("HAProxy cannot be told of {}, for its blanks", file.display());
            return Err(Fault::harmless(text));
        }
        Ok(Self { files, socket: target.socket.clone(), file })
    }

    /// The answer to one command.
    fn ask(&self, command: &[u8], deadline: Deadline) -> Result<String, String> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => "HAProxy did not answer in time".to_owned(),
            _ => format!("HAProxy does not answer at {}: {error}", self.socket.display()),
        };
        let mut stream = connect(&self.socket)?;
        let left = deadline.left().max(std::time::Duration::from_millis(1));
        let mut answer = Vec::new();
        let mut exchange = || {
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
            stream.write_all(command)?;
            // It closes the connection after its answer to the one command.
            (&mut stream).take(ANSWER).read_to_end(&mut answer)
        };
        exchange().map_err(failed)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn command(&self, words: &str, deadline: Deadline) -> Result<String, String> {
        self.ask(format!("{words} {}\n", self.file.display()).as_bytes(), deadline)
    }

    /// Has it take up what the file holds.
    fn tell(&self, pem: &[u8], deadline: Deadline) -> Result<(), String> {
        let head = format!("set ssl cert {} <<\n", self.file.display());
        let answer = self.ask(&payload(&head, pem), deadline)?;
        if !answer.contains("Transaction created") && !answer.contains("Transaction updated") {
            return Err(format!("HAProxy does not take it: {}", short(&answer)));
        }
        let answer = self.command("commit ssl cert", deadline).and_then(|answer| {
            let done = answer.lines().any(|line| line.trim_end().ends_with("Success!"));
            if done { Ok(()) } else { Err(format!("HAProxy does not use it: {}", short(&answer))) }
        });
        if answer.is_err() {
            // Whoever comes next would find a transaction of somebody else's.
            let _gone = self.command("abort ssl cert", deadline);
        }
        answer?;
        self.see(pem, deadline)
    }

    /// That it has what it was told.
    fn see(&self, pem: &[u8], deadline: Deadline) -> Result<(), String> {
        // What was there before may be anything that HAProxy reads.
        let Ok(Ok(leaf)) = Chain::from_pem(pem).map(|chain| chain.leaf()) else { return Ok(()) };
        let answer = self.command("show ssl cert", deadline)?;
        let shown = answer.lines().find_map(|line| line.strip_prefix("Serial: "));
        let plain = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
        match shown {
            Some(serial) if plain(serial) == plain(&leaf.serial) => Ok(()),
            Some(serial) => Err(format!("HAProxy took it, and has {} all the same", short(serial))),
            None => Err(format!("HAProxy does not say what it has: {}", short(&answer))),
        }
    }
}

impl Target for Haproxy {
    fn place(&mut self, pair: &Pair) -> Result<(), Fault> {
        self.files.place(pair)
    }

    fn take_up(&mut self, deadline: Deadline) -> Result<(), Fault> {
        match self.files.first_fixed().map_err(Fault::half_done)? {
            Some(pem) => self.tell(&pem, deadline).map_err(Fault::half_done),
            // There was none before either, so HAProxy has no such certificate.
            None => Ok(()),
        }
    }

    fn put_back(&mut self) -> Result<(), Fault> {
        self.files.put_back()
    }

    fn keep(&mut self) {
        self.files.keep();
    }
}

/// A command with lines after it, which an empty line ends: so there may be none before.
fn payload(head: &str, pem: &[u8]) -> Zeroizing<Vec<u8>> {
    let room = head.len().saturating_add(pem.len()).saturating_add(8);
    let mut command = Zeroizing::new(Vec::with_capacity(room));
    command.extend_from_slice(head.as_bytes());
    for line in pem.split(|octet| *octet == b'\n') {
        let line = line.trim_ascii();
        if !line.is_empty() {
            command.extend_from_slice(line);
            command.push(b'\n');
        }
    }
    command.push(b'\n');
    command
}

/// Connects to a socket in a directory that no stranger can bend: what is sent there is a private key.
fn connect(path: &Path) -> Result<UnixStream, String> {
    use std::os::fd::AsRawFd as _;
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    let directory = TrustedDir::open(parent).map_err(|error| error.to_string())?;
    let name: &OsStr = path.file_name().unwrap_or_default();
    let through = format!("/proc/self/fd/{}", directory.as_raw_fd());
    UnixStream::connect(Path::new(&through).join(name))
        .map_err(|error| format!("HAProxy does not answer at {}: {error}", path.display()))
}

fn short(answer: &str) -> String {
    one_line(answer, bounds::hand::SAID)
}
