//! Connections as other users of the machine: of a thread that has become one.
#![expect(unsafe_code, reason = "the library would make the whole process another user")]

use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects as `user` with `groups`, the first of which is its own. Only root can.
pub(crate) fn connect_as(socket: &Path, user: u32, groups: &[u32]) -> UnixStream {
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let [first, ..] = groups else { panic!("a user has a group") };
            // The kernel keeps these for each thread; this one ends here.
            let became = |number: libc::c_long, call: &str| assert_eq!(number, 0, "{call}");
            // SAFETY: the list has as many numbers as is said, and outlives the call.
            let done = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
            became(done, "setgroups");
            // SAFETY: three numbers, no memory.
            let done = unsafe { libc::syscall(libc::SYS_setresgid, *first, *first, *first) };
            became(done, "setresgid");
            // SAFETY: three numbers, no memory.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
            became(done, "setresuid");
            UnixStream::connect(socket).unwrap()
        });
        connecting.join().unwrap()
    })
}

/// Whether this process can be somebody else.
pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
