//! A program that is run to its end, within a time, and whose last words are kept.
//!
//! It is run without a shell, in a group of its own, in an environment of its own. Deliberately absent:
//! which program, and what its end means.

use std::ffi::OsStr;
use std::io;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::base::bounds;
use crate::deploy::hand::deadline::Deadline;
use crate::deploy::hand::one_line;

/// Where it finds other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Prepared with its own environment and nothing of this process's but the language.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").current_dir("/");
    command
}

/// Runs it to its end. What it says on either output is read, and thrown away but for the end of it.
///
/// # Errors
/// In words, with its last words, when it cannot be started, ends with another status than 0, or
/// not within the time: then it is killed, with whatever it has started.
pub(super) fn run(command: &mut Command, deadline: Deadline) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (said, ended) =
        attempt(command, deadline).map_err(|error| format!("{name} cannot be started: {error}"))?;
    let said = one_line(&String::from_utf8_lossy(&said), bounds::hand::SAID);
    match ended {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(words(&name, &status.to_string(), &said)),
        None => Err(words(&name, "it did not end in time, and was killed", &said)),
    }
}

fn words(name: &str, reason: &str, said: &str) -> String {
    if said.is_empty() { format!("{name}: {reason}") } else { format!("{name}: {reason}: {said}") }
}

fn attempt(command: &mut Command, deadline: Deadline) -> io::Result<(Vec<u8>, Option<ExitStatus>)> {
    let (reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors).process_group(0);
    let mut child = command.spawn()?;
    // The command holds ends for writing as well.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut last = Last::default();
    let status = wait(&mut child, reader, deadline, &mut last)?;
    if status.is_none() {
        let group = Pid::from_raw(child.id().cast_signed());
        // It may have ended just now.
        let _ended = nix::sys::signal::killpg(group, Signal::SIGKILL);
        let _reaped = child.wait();
    }
    Ok((last.0, status))
}

/// The end of what was said.
#[derive(Default)]
struct Last(Vec<u8>);

impl Last {
    fn add(&mut self, said: &[u8]) {
        self.0.extend_from_slice(said);
        let over = self.0.len().saturating_sub(bounds::hand::SAID);
        self.0.drain(..over);
    }
}

/// `None` when the time is over. A descendant that goes on and keeps the pipe is not waited for.
fn wait(
    child: &mut Child,
    reader: io::PipeReader,
    deadline: Deadline,
    last: &mut Last,
) -> io::Result<Option<ExitStatus>> {
    let mut reader = Some(reader);
    let mut buffer = [0; 4096];
    loop {
        let status = child.try_wait()?;
        // What it said before it ended is there by now.
        while let Some(open) = &mut reader
            && is_readable(open, if status.is_some() { Duration::ZERO } else { LOOK })
        {
            match open.read(&mut buffer)? {
                0 => reader = None,
                count => last.add(buffer.get(..count).unwrap_or_default()),
            }
            if deadline.is_past() {
                break;
            }
        }
        if status.is_some() {
            return Ok(status);
        }
        if deadline.is_past() {
            return Ok(None);
        }
        if reader.is_none() {
            pause(LOOK);
        }
    }
}

fn is_readable(reader: &io::PipeReader, patience: Duration) -> bool {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    let mut polled = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    matches!(nix::poll::poll(&mut polled, timeout), Ok(1..))
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "there is no runtime in a hand")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, seconds: u64) -> Result<String, String> {
        let mut command = command("/bin/sh");
        command.args(["-c", script]);
        run(&mut command, Deadline::within(Duration::from_secs(seconds)))
    }

    #[test]
    fn what_it_says_last_is_told_with_how_it_ended() {
        assert_eq!(sh("echo all well", 60).unwrap(), "all well");
        let error = sh("echo one; echo two >&2; exit 3", 60).unwrap_err();
        assert_eq!(error, "/bin/sh: exit status: 3: one two");
        let error = sh("kill -9 $$", 60).unwrap_err();
        assert!(error.starts_with("/bin/sh: signal: 9"), "{error}");
        // Neither what it says nor the time it takes to say so is without bounds.
        let error = sh("yes | head -c 3000000; echo the end; exit 1", 60).unwrap_err();
        assert!(error.ends_with("y y the end") && error.len() < 1200, "{}", error.len());
        let gone = run(&mut command("/nonexistent"), Deadline::within(Duration::from_secs(9)));
        assert!(gone.unwrap_err().starts_with("/nonexistent cannot be started: No such file"));
    }

    #[test]
    fn it_has_an_environment_of_its_own_and_no_terminal() {
        let said =
            sh("env | grep -v ^_= | cut -d= -f1 | sort | tr '\\n' ' '; pwd; cat", 60).unwrap();
        assert_eq!(said, "LANG PATH PWD /");
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {0}; echo begun; wait", file.display());
        let error = sh(&script, 10).unwrap_err();
        assert_eq!(error, "/bin/sh: it did not end in time, and was killed: begun");
        let pid = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let goes_on = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
        // The kernel takes a moment.
        let until = Deadline::within(Duration::from_secs(60));
        while goes_on() {
            assert!(!until.is_past(), "it goes on");
            pause(LOOK);
        }
    }

    #[test]
    fn what_goes_on_in_the_background_is_not_waited_for() {
        let begun = Deadline::within(Duration::from_secs(30));
        let said = sh("sleep 60 & echo done", 50).unwrap();
        assert_eq!(said, "done");
        assert!(!begun.is_past(), "it was waited for");
    }
}
