//! Who is at the other end of a Unix socket, as the kernel saw it when the connection was made.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

/// The process that connected, at the moment it did. It may have ended since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Process id; 0 when it is not visible from this process' name space.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    /// Effective group. Supplementary groups are not told: leave those to the socket's mode.
    pub gid: u32,
}

impl Peer {
    /// Whether this is root or the user this process runs as.
    pub fn is_root_or_self(&self) -> bool {
        self.uid == 0 || self.uid == nix::unistd::geteuid().as_raw()
    }
}

/// Asks the kernel who is at the other end (`SO_PEERCRED`, unix(7)).
///
/// # Errors
/// When `socket` is not a connected Unix socket.
pub fn of(socket: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(socket, PeerCredentials)?;
    // What the kernel answers for a socket that has no such peer, instead of an error.
    if credentials.uid() == u32::MAX {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(Peer { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _two) = UnixStream::pair().unwrap();
        let peer = of(&one).unwrap();
        assert_eq!(peer.pid.unsigned_abs(), std::process::id());
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
        assert!(peer.is_root_or_self());
    }

    #[test]
    fn another_user_is_told_apart() {
        let stranger = nix::unistd::geteuid().as_raw().wrapping_add(1).max(1);
        assert!(!Peer { pid: 1, uid: stranger, gid: 0 }.is_root_or_self());
    }

    #[test]
    fn an_unconnected_socket_has_no_peer() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(of(&tcp).is_err());
    }
}
