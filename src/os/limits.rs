//! Limits of the operating system that must cost an error and not the process.

use std::io;

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;

/// Has a write beyond the largest file size allowed (`RLIMIT_FSIZE`, `LimitFSIZE=`) end in an
/// error instead of `SIGXFSZ`, which would end the process: a full disk is lived with, and so is
/// this. Holds for the calling thread and for every thread and process it starts afterwards.
///
/// # Errors
/// When the kernel refuses, which it has no known reason to do.
pub fn survive_file_size() -> io::Result<()> {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block()?;
    Ok(())
}
