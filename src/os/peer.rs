//! The groups of the process at the other end of a Unix socket, as the kernel knew them when it connected.
//!
//! Deliberately absent: its user and first group, which the runtime tells.
#![expect(unsafe_code, reason = "no library asks for SO_PEERGROUPS")]

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;

/// More than a process can have (`NGROUPS_MAX`; setgroups(2)).
const MOST: usize = 65_536;

/// The supplementary groups of the peer, by number (`SO_PEERGROUPS`, since Linux 4.13).
///
/// # Errors
/// When the kernel does not tell, or the socket is none of a connection.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let room = groups.len() * size_of::<u32>();
        let mut length = libc::socklen_t::try_from(room).unwrap_or(0);
        // SAFETY: the buffer has `length` octets, and the kernel writes no more than that.
        let told = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
        if told == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // What is needed stands in the length then.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > MOST {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_groups_of_the_peer_are_those_that_this_process_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let _peer = UnixStream::connect(&path).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut told = groups(stream.as_fd()).unwrap();
        let mut own: Vec<_> =
            nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        told.sort_unstable();
        own.sort_unstable();
        assert_eq!(told, own);
        let file = std::fs::File::open(dir.path()).unwrap();
        assert!(groups(file.as_fd()).is_err());
    }
}
