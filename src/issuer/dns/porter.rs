//! Starts a clerk for each change of a zone that main wants, because main may start nothing.
//!
//! It is started before main walls itself off, and knows nothing but where the configuration is:
//! main sends it one end of a socket, which becomes a clerk's standard input. It reads no secret and
//! ends with main.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Duration;

use crate::base::bounds;
use crate::os::descriptors;
use crate::os::sandbox;

/// How often it looks for clerks that have ended, while there are any.
const LOOK: Duration = Duration::from_secs(1);

/// Starts clerks until main hangs up. Called for `keyward dns-porter CONFIG` with main's socket as
/// standard input.
pub fn serve_porter() -> ExitCode {
    sandbox::ignore_group_signals();
    let _unnamed = nix::sys::prctl::set_name(c"keyward-porter");
    let Some(config) = std::env::args_os().nth(2) else { return ExitCode::from(64) };
    let Ok(main) = descriptors::take_stdin() else { return ExitCode::from(71) };
    if sandbox::forbid_dumps().is_err() {
        return ExitCode::from(71);
    }
    let _older_kernel = descriptors::close_all_but(&main);
    let mut clerks: Vec<Child> = Vec::new();
    loop {
        clerks.retain_mut(|clerk| matches!(clerk.try_wait(), Ok(None)));
        // Zero is for ever.
        let patience = if clerks.is_empty() { Duration::ZERO } else { LOOK };
        if descriptors::set_deadline(main.as_fd(), patience).is_err() {
            break;
        }
        match descriptors::receive_with(main.as_fd(), &mut [0; 1]) {
            Ok(received) if received.len == 0 => break,
            Ok(received) => {
                for socket in received.descriptors {
                    // Without a clerk the socket is closed, and main hears that nobody answers.
                    if clerks.len() < bounds::dns::HELPERS
                        && let Ok(clerk) = start(&config, socket)
                    {
                        clerks.push(clerk);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    for mut clerk in clerks {
        // It may have ended by itself.
        let _ended = clerk.kill();
        let _reaped = clerk.wait();
    }
    ExitCode::SUCCESS
}

fn start(config: &OsStr, socket: OwnedFd) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("keyward")
        .arg("dns-clerk")
        .arg(config)
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
