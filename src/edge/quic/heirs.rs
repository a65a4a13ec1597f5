//! What one process leaves to the next for HTTP/3: its sockets, and the way to its connections.
//!
//! The new one reads the sockets and passes on what is for connections that it does not have (see
//! `letters`), so that they come to their end where they are. Sockets that it does not want are read
//! on by the old one. Deliberately absent: connections that move to another process.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use super::letters::Former;
use super::letters::Gate;
use super::letters::Mark;
use super::letters::Means;
use crate::base::bounds::quic::QUIC_SOCKET_BUFFER;
use crate::base::tls;
use crate::edge::Edge;
use crate::edge::lock;
use crate::os::descriptors;

/// What the names of all that is left begin with.
const LEFT: &str = "quic ";

/// What is kept of a socket for whoever comes next.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) address: SocketAddr,
    number: u16,
    /// Unless the service manager has it too, and gives it to the next process itself.
    socket: Option<UdpSocket>,
    mark: Mark,
    /// Where those write who pass on what is for this process.
    letters: OwnedFd,
    former: Vec<Former>,
    gate: Arc<Gate>,
}

/// What the process before this one has left.
#[derive(Debug, Default)]
pub struct Http3Left {
    sockets: Vec<(SocketAddr, u16, UdpSocket)>,
    letters: Vec<(SocketAddr, u16, Former)>,
}

impl Http3Left {
    /// Whether something of this name is for [`Self::read`].
    pub fn has(name: &str) -> bool {
        name.starts_with(LEFT)
    }

    /// What came along, by its names. What is not understood is closed: whoever left it reads on.
    pub fn read(all: Vec<(String, OwnedFd)>) -> Self {
        let mut left = Self::default();
        for (name, descriptor) in all {
            if left.add(&name, descriptor).is_none() {
                tracing::warn!(name, "something that was left for HTTP/3 is not understood");
            }
        }
        left
    }

    fn add(&mut self, name: &str, descriptor: OwnedFd) -> Option<()> {
        let mut words = name.strip_prefix(LEFT)?.split(' ');
        let (kind, number) = (words.next()?, words.next()?.parse().ok()?);
        let address: SocketAddr = words.next()?.parse().ok()?;
        match (kind, words.next()) {
            ("socket", None) => {
                let socket = UdpSocket::from(descriptor);
                // It may be anything.
                let there = socket.local_addr().is_ok_and(|at| at == address);
                there.then(|| self.sockets.push((address, number, socket)))
            }
            ("letters", Some(mark)) => {
                let mark = u16::from_str_radix(mark, 16).ok()?.to_be_bytes();
                let former = Former { mark, letters: descriptor };
                self.letters.push((address, number, former));
                Some(())
            }
            _ => None,
        }
    }

    /// Whether nothing was left.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.letters.is_empty()
    }

    /// The sockets at `address`, each with its number among them.
    pub(super) fn take(&mut self, address: SocketAddr) -> Vec<(u16, UdpSocket)> {
        let found = self.sockets.extract_if(.., |(at, ..)| *at == address);
        found.map(|(_, number, socket)| (number, socket)).collect()
    }

    /// The processes before this one whose connections came over this socket.
    fn former(&mut self, address: SocketAddr, number: u16) -> Vec<Former> {
        let here = |of: &mut (SocketAddr, u16, Former)| of.0 == address && of.1 == number;
        self.letters.extract_if(.., here).map(|(.., former)| former).collect()
    }

    /// A mark that none of them has; `None` without randomness.
    pub(super) fn fresh_mark(&self) -> Option<Mark> {
        loop {
            let mut mark = Mark::default();
            tls::fill(&mut mark)?;
            if self.letters.iter().all(|(.., former)| former.mark != mark) {
                return Some(mark);
            }
        }
    }

    /// What the socket with this number at `address` begins with, and what is kept of it.
    pub(super) fn begin(
        &mut self,
        mark: Mark,
        (address, number, socket, own): (SocketAddr, u16, &UdpSocket, bool),
    ) -> io::Result<(Means, Kept)> {
        let (inbox, letters) = descriptors::seqpacket_pair()?;
        let letters = UnixDatagram::from(letters);
        letters.set_nonblocking(true)?;
        // The kernel gives what it may.
        let _ = socket2::SockRef::from(&letters).set_send_buffer_size(QUIC_SOCKET_BUFFER);
        let gate = Arc::<Gate>::default();
        let former = self.former(address, number);
        let copies = former.iter().map(Former::copy).collect::<io::Result<_>>()?;
        let socket = if own { Some(socket.try_clone()?) } else { None };
        let kept = Kept {
            address,
            number,
            socket,
            mark,
            letters: letters.into(),
            former: copies,
            gate: Arc::clone(&gate),
        };
        Ok((Means { mark, gate, inbox, former }, kept))
    }
}

impl Former {
    fn copy(&self) -> io::Result<Self> {
        Ok(Self { mark: self.mark, letters: self.letters.try_clone()? })
    }
}

impl Kept {
    /// Whoever reads after this process gets these, by name.
    fn leave(&self, to: &mut Vec<(String, OwnedFd)>) -> io::Result<()> {
        let (number, address) = (self.number, self.address);
        if let Some(socket) = &self.socket {
            to.push((format!("{LEFT}socket {number} {address}"), socket.try_clone()?.into()));
        }
        let mut letters = |mark: Mark, letters: &OwnedFd| {
            let mark = u16::from_be_bytes(mark);
            let name = format!("{LEFT}letters {number} {address} {mark:04x}");
            letters.try_clone().map(|letters| to.push((name, letters)))
        };
        for former in &self.former {
            if !descriptors::is_hung_up(former.letters.as_fd()) {
                letters(former.mark, &former.letters)?;
            }
        }
        letters(self.mark, &self.letters)
    }
}

impl Edge {
    /// What another process needs to go on with HTTP/3, by name.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn leave_http3(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut left = Vec::new();
        lock(&self.quic.kept).iter().try_for_each(|kept| kept.leave(&mut left))?;
        Ok(left)
    }

    /// Goes on with what the process before has left: to be called before
    /// [`follow_http3`](Self::follow_http3).
    pub fn inherit_http3(&self, left: Http3Left) {
        *lock(&self.quic.left) = left;
    }

    /// Reads no socket any more, but for what is passed on.
    pub(in crate::edge) fn stop_reading_http3(&self) {
        lock(&self.quic.kept).iter().for_each(|kept| kept.gate.shut());
    }

    /// Reads again the sockets of all addresses but those that somebody else has `taken`.
    pub fn read_http3_but(&self, taken: &[SocketAddr]) {
        let kept = lock(&self.quic.kept);
        kept.iter().filter(|kept| !taken.contains(&kept.address)).for_each(|kept| kept.gate.open());
    }
}
