//! Starts a hand for each errand that main has, because main may start nothing.
//!
//! It is started before main walls itself off, and knows nothing but where the configuration is: main
//! sends it one end of a socket, which becomes a hand's standard input. It reads no secret and ends with
//! main; a hand that is at work then ends by itself.

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

/// Starts hands until main hangs up. Called for `keyward deploy-porter CONFIG` with main's socket as
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
    let mut hands: Vec<Child> = Vec::new();
    loop {
        hands.retain_mut(|hand| matches!(hand.try_wait(), Ok(None)));
        // Zero is for ever.
        let patience = if hands.is_empty() { Duration::ZERO } else { bounds::hand::LOOK };
        if descriptors::set_deadline(main.as_fd(), patience).is_err() {
            break;
        }
        match descriptors::receive_with(main.as_fd(), &mut [0; 1]) {
            Ok(received) if received.len == 0 => break,
            Ok(received) => {
                for socket in received.descriptors {
                    // Without a hand the socket is closed, and main hears that nobody answers.
                    if hands.len() < bounds::hand::HANDS
                        && let Ok(hand) = start(&config, socket)
                    {
                        hands.push(hand);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    // A hand that is killed leaves work to the next; one that goes on hears that main is gone.
    ExitCode::SUCCESS
}

fn start(config: &OsStr, socket: OwnedFd) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("keyward")
        .arg("deploy-one")
        .arg(config)
        .current_dir("/")
        // A terminal ends the group of main; a hand finishes what it began.
        .process_group(0)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
