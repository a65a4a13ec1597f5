//! A new process goes on where this one ends, and no client notices.
//!
//! The keeper of the vault starts the program anew (`vault::handing`). The new process gets copies of
//! the listening sockets, reads the configuration, opens a vault, and walls itself in; nothing of the
//! old one has changed by then, so whatever is wrong with the new program, its file or its key
//! is told and forgotten. Then the old one stops accepting, so that clients wait in the queues of
//! the very same sockets, closes store and second copy, and the new one opens them and accepts. The
//! keys of session tickets lie beside the store. Only when the new one serves is the service manager
//! told that it is the main process; the old one lets its connections come to their end, as long as
//! `[edge] linger_timeout` says, and ends. If the new one fails on the way the old one takes back
//! what it gave and goes on. If either is killed, the other one serves.
//!
//! Why not otherwise. A process that overlaps with its predecessor in accepting would share neither
//! its challenges nor its memory of early data. `systemctl restart` is a stop and then a start, and
//! systemd waits for the main process to end in between: whoever is new waits in the queue until the
//! last open request has ended, and a download that is longer than `[edge] drain_timeout` breaks.
//! Nothing in a process can tell such a stop from another in time to change that. The descriptor
//! store keeps sockets across it, as the socket units do already, but no connection, of which most
//! is TLS state in memory.
//!
//! Of HTTP/3 all datagrams of a port come to the same sockets, whosever connection they are for. The
//! new process reads them from when it serves, and passes on to the former ones what is theirs, which
//! it knows by the connection id; they answer by the same sockets. So a new client comes to the new
//! process at once, and an open connection is told to go, as on HTTP/2, and ends with its last request.
//! After a process that has left none of this HTTP/3 is offered again when the last former one has ended.
//!
//! Deliberately absent: connections that move from one process to the other.

pub(super) mod elders;
pub(super) mod giving;
pub(super) mod taking;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::base::bounds;
use crate::os::descriptors;

/// What listeners are called that are not the service manager's: for TLS, for plain HTTP, for
/// services that are neither.
pub(super) const OWN: [&str; 3] = ["own https", "own http", "own tcp"];

/// What the two processes say to each other.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    /// From the old one: sockets, by name, which come along.
    Sockets {
        names: Vec<String>,
        /// Where the admin socket is, if one called `admin` is not the service manager's.
        admin: Option<PathBuf>,
        /// Whether more follow.
        more: bool,
    },
    /// From the new one: everything is ready but the store.
    Prepared { pid: u32, version: String },
    /// From the new one: it ends, for this reason.
    Failed { report: String },
    /// From the old one: the store is closed, and nobody accepts.
    Yours,
    /// From the new one: it serves. Whether it goes on with the old one's admin socket, and where
    /// with its sockets of HTTP/3.
    Serving {
        admin: bool,
        #[serde(default)]
        http3: Vec<SocketAddr>,
    },
    /// From the old one: the new one is the main process. Those before the old one come along.
    Main,
    /// From the old one: it goes on itself.
    NeverMind,
    /// From the new one, to all before it: end within so many milliseconds.
    Hurry { millis: u64 },
}

/// Why nothing more is heard.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("the other process is gone")]
    Gone,
    #[error("the other process does not answer in time")]
    Late,
    #[error("the other process says what cannot be understood")]
    Odd,
}

/// The socket between the two.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

impl Line {
    /// Says `word`, with descriptors along.
    fn say(&self, word: &Word, along: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = serde_json::to_vec(word)?;
        descriptors::send_with(self.0.as_fd(), &frame, along)
    }

    /// The next word, and what came along. Blocks for at most `limit`.
    fn hear(&self, limit: Duration) -> Result<(Word, Vec<OwnedFd>), Silence> {
        descriptors::set_deadline(self.0.as_fd(), limit).map_err(|_| Silence::Gone)?;
        let mut frame = vec![0; bounds::takeover::WORDS];
        let received = match descriptors::receive_with(self.0.as_fd(), &mut frame) {
            Ok(received) if received.len == 0 => return Err(Silence::Gone),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Silence::Late),
            Err(_) => return Err(Silence::Gone),
        };
        let bytes = frame.get(..received.len).ok_or(Silence::Odd)?;
        let word = serde_json::from_slice(bytes).map_err(|_| Silence::Odd)?;
        Ok((word, received.descriptors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_travel_with_their_sockets_and_nonsense_is_noticed() {
        let (ours, theirs) = descriptors::seqpacket_pair().unwrap();
        let (ours, theirs) = (Line(ours), Line(theirs));
        let word = Word::Sockets { names: vec!["https".to_owned()], admin: None, more: false };
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        ours.say(&word, &[socket.as_fd()]).unwrap();
        let (heard, along) = theirs.hear(Duration::from_secs(5)).unwrap();
        assert_eq!((heard, along.len()), (word, 1));
        let late = theirs.hear(Duration::from_millis(20));
        assert!(matches!(late, Err(Silence::Late)));
        for odd in [&b"{}"[..], b"\"yours", b"\"run this program\"", &[0xff; 9]] {
            descriptors::send(ours.0.as_fd(), odd).unwrap();
            assert!(matches!(theirs.hear(Duration::from_secs(5)), Err(Silence::Odd)));
        }
        descriptors::send(ours.0.as_fd(), &vec![b' '; bounds::takeover::WORDS + 1]).unwrap();
        assert!(matches!(theirs.hear(Duration::from_secs(5)), Err(Silence::Odd)));
        drop(ours);
        assert!(matches!(theirs.hear(Duration::from_secs(5)), Err(Silence::Gone)));
    }
}
