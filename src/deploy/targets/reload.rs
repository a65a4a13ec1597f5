//! Has a program take up files that are new: through the service manager, by a signal, or by another
//! program.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;

use super::program;
use crate::config::Signal;
use crate::config::TargetReload as Reload;
use crate::deploy::hand::deadline::Deadline;

/// Octets of a file with the number of a process.
const NUMBER: u64 = 64;

/// Lines that a unit said last, in a message about its failure.
const LINES: &str = "8";

/// Does it, or says in words why not.
pub(super) fn reload(reload: &Reload, deadline: Deadline) -> Result<(), String> {
    match reload {
        Reload::Unit(unit) => by_manager(unit, deadline),
        Reload::Signal(which, path) => by_signal(*which, path),
        Reload::Program(words) => {
            let (program, arguments) =
                words.split_first().ok_or_else(|| "no program is named".to_owned())?;
            program::run(program::command(program).args(arguments), deadline).map(drop)
        }
    }
}

/// Reloads the unit, or restarts it where it cannot be reloaded. One that does not run is not started.
fn by_manager(unit: &str, deadline: Deadline) -> Result<(), String> {
    let mut command = program::command("systemctl");
    command.args(["--no-ask-password", "try-reload-or-restart", "--", unit]);
    let Err(reason) = program::run(&mut command, deadline) else { return Ok(()) };
    let mut command = program::command("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat", "--lines", LINES, "--unit", unit]);
    // The most of it is best: whoever reads it knows the program.
    let said = program::run(&mut command, deadline).unwrap_or_default();
    if said.is_empty() { Err(reason) } else { Err(format!("{reason}; {unit} said last: {said}")) }
}

fn by_signal(which: Signal, path: &Path) -> Result<(), String> {
    let signal = match which {
        Signal::Hup => signal::Signal::SIGHUP,
        Signal::Usr1 => signal::Signal::SIGUSR1,
        Signal::Usr2 => signal::Signal::SIGUSR2,
    };
    let pid = number(path)?;
    signal::kill(pid, signal).map_err(|errno| match errno {
        Errno::ESRCH => format!("no process has the number {pid} of {}", path.display()),
        other => format!("{signal} to the process {pid} of {}: {other}", path.display()),
    })
}

/// The number in the file: of a process, and neither of a group nor of this one or the first.
fn number(path: &Path) -> Result<Pid, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut text = String::new();
    let read = file.take(NUMBER).read_to_string(&mut text);
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    // Some programs write more than the number (PostgreSQL, on further lines).
    let first = text.lines().next().unwrap_or_default().trim();
    match first.parse() {
        Ok(pid @ 2..) if Pid::from_raw(pid) != Pid::this() => Ok(Pid::from_raw(pid)),
        _ => Err(format!("{} holds no number of a process", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn soon() -> Deadline {
        Deadline::within(Duration::from_secs(60))
    }

    #[test]
    fn a_signal_goes_to_the_process_of_the_file_and_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        for bad in ["", "x", "0", "1", "-1", "-5", &std::process::id().to_string()] {
            std::fs::write(&file, bad).unwrap();
            let error = by_signal(Signal::Hup, &file).unwrap_err();
            assert!(error.ends_with("pid holds no number of a process"), "{bad}: {error}");
        }
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        std::fs::write(&file, format!("{}\n/var/lib\n", child.id())).unwrap();
        reload(&Reload::Signal(Signal::Usr1, file.clone()), soon()).unwrap();
        let status = child.wait().unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(status.signal(), Some(10));
        let error = by_signal(Signal::Usr1, &file).unwrap_err();
        assert!(error.starts_with("no process has the number"), "{error}");
        let error = by_signal(Signal::Hup, &dir.path().join("none")).unwrap_err();
        assert!(error.contains("none: No such file"), "{error}");
    }

    #[test]
    fn a_program_is_run_with_its_arguments_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a b;$HOME");
        let words = ["/bin/touch".to_owned(), file.to_str().unwrap().to_owned()];
        reload(&Reload::Program(words.to_vec()), soon()).unwrap();
        assert!(file.exists());
        let words = ["/bin/cat".to_owned(), "/nonexistent/x".to_owned()];
        let error = reload(&Reload::Program(words.to_vec()), soon()).unwrap_err();
        assert!(error.starts_with("/bin/cat: exit status: 1: ") && error.contains("x: No such"));
        assert!(reload(&Reload::Program(Vec::new()), soon()).is_err());
    }
}
