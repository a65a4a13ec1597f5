//! Starts a program that is no child of its starter: whoever collects orphans collects it, which is
//! the service manager for a service.
//!
//! A child's end is told to its parent alone, so a service manager does not hear of the end of a main
//! process that somebody else has started. Deliberately absent: the new process's number, which it
//! tells itself.
#![expect(unsafe_code, reason = "between fork and exec nothing but system calls may be made")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::SigHandler;
use nix::sys::signal::Signal;
use nix::unistd::ForkResult;

/// What [`super::sandbox::ignore_group_signals`] has ignored, and a new program would inherit.
const HEARD_AGAIN: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Starts `command` as an orphan that hears every signal. Returns when its program runs.
///
/// # Errors
/// When there is no process to be had, or no such program.
pub fn spawn(command: &mut Command) -> io::Result<()> {
    // SAFETY: between fork and exec `leave` makes three kinds of system calls, signal, fork and
    // _exit, none of which takes a lock or allocates.
    let prepared = unsafe { command.pre_exec(leave) };
    let mut between = prepared.spawn()?;
    between.wait().map(drop)
}

/// What a process does between the two that are to have nothing to do with each other.
fn leave() -> io::Result<()> {
    for signal in HEARD_AGAIN {
        // SAFETY: the default is no handler, so none can do harm.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
    }
    // SAFETY: a process that was forked by `Command` has one thread, and this one goes on to exec.
    match unsafe { nix::unistd::fork() }? {
        // Whoever waits for the exec waits on: the other one has the pipe as well.
        ForkResult::Parent { .. } => super::sandbox::exit_now(0),
        ForkResult::Child => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_is_started_is_nobodys_child_and_a_program_that_is_not_there_is_an_error() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "cut -d' ' -f4 /proc/self/stat; grep SigIgn /proc/$$/status"]);
        spawn(command.stdout(Stdio::from(writer))).unwrap();
        drop(command);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        // The parent of `cut` is the shell; the shell is there and no child of ours.
        let shell: i32 = said.lines().next().unwrap().parse().unwrap();
        let none = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(shell), None);
        assert_eq!(none, Err(nix::errno::Errno::ECHILD), "{said}");
        assert!(spawn(&mut Command::new("/nonexistent/program")).is_err());
    }
}
