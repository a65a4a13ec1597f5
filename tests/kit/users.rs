//! Connections as other users of the machine: of a thread that has become one.
#![expect(unsafe_code, reason = "the library would make the whole process another user")]

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

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

/// Sends one request and reads the whole answer.
pub(crate) fn ask_on(mut stream: UnixStream, method: &str, path: &str, more: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\n{more}\r\n");
    // One that is turned away may be so before it has said anything.
    let _turned_away = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0 if there is none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}
