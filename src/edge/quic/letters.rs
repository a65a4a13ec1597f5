//! A UDP socket whose datagrams are for the connections of several processes.
//!
//! One process reads it. What comes for a connection of one before it, known by the mark in its
//! connection id, is passed on as a letter, and the other one answers the client by the very same
//! socket. Deliberately absent: where the letters are sent in the end is settled in `heirs`.

use std::io;
use std::io::IoSliceMut;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use quinn::AsyncUdpSocket;
use quinn::Runtime as _;
use quinn::TokioRuntime;
use quinn::UdpPoller;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use serde::{Deserialize, Serialize};
use tokio::io::ReadBuf;
use tokio::net::UnixDatagram;

use super::sockets::LENGTH;
use super::sockets::MARK_AT;
use crate::base::bounds::quic::QUIC_LETTER;
use crate::edge::lock;
use crate::os::descriptors;

/// What tells the connection ids of one process from those of another.
pub(super) type Mark = [u8; 2];

/// Where what is for another process goes.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) mark: Mark,
    /// Does not wait.
    pub(super) letters: OwnedFd,
}

/// Whether a socket is read by this process.
#[derive(Debug, Default)]
pub(super) struct Gate {
    shut: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

/// What a socket begins with.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) mark: Mark,
    pub(super) gate: Arc<Gate>,
    /// From whoever reads the socket after this process.
    pub(super) inbox: OwnedFd,
    pub(super) former: Vec<Former>,
}

/// The socket, as quinn sees it.
#[derive(Debug)]
pub(super) struct Post {
    socket: Arc<dyn AsyncUdpSocket>,
    mark: Mark,
    gate: Arc<Gate>,
    inbox: UnixDatagram,
    former: Mutex<Vec<Former>>,
    /// Whether there is a former process at all.
    sorts: AtomicBool,
}

/// A datagram on its way to another process.
#[derive(Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Letter<'a> {
    from: SocketAddr,
    /// Of an address that is good on one link only (RFC 4007, section 11), which `from` leaves out.
    scope: u32,
    to: Option<IpAddr>,
    ecn: u8,
    datagram: &'a [u8],
}

impl Gate {
    /// Somebody else reads from now on.
    pub(super) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// This process reads.
    pub(super) fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
        if let Some(waiting) = lock(&self.waiting).take() {
            waiting.wake();
        }
    }

    /// Whether this process may read; if not, `cx` is told when it may.
    fn poll(&self, cx: &Context<'_>) -> bool {
        if !self.shut.load(Ordering::SeqCst) {
            return true;
        }
        *lock(&self.waiting) = Some(cx.waker().clone());
        // It may have been opened in between.
        !self.shut.load(Ordering::SeqCst)
    }
}

impl Post {
    /// # Errors
    /// When a socket is not usable.
    pub(super) fn new(socket: std::net::UdpSocket, means: Means) -> io::Result<Self> {
        let inbox = std::os::unix::net::UnixDatagram::from(means.inbox);
        inbox.set_nonblocking(true)?;
        Ok(Self {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
            mark: means.mark,
            gate: means.gate,
            inbox: UnixDatagram::from_std(inbox)?,
            sorts: AtomicBool::new(!means.former.is_empty()),
            former: Mutex::new(means.former),
        })
    }

    /// Whether this process reads for others that still have connections.
    pub(super) fn reads_for_others(&self) -> bool {
        let mut former = lock(&self.former);
        former.retain(|former| !descriptors::is_hung_up(former.letters.as_fd()));
        !former.is_empty() && !self.gate.shut.load(Ordering::SeqCst)
    }

    /// What others have passed on to this process.
    fn poll_inbox(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<usize> {
        let mut space = [0; QUIC_LETTER];
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let mut read = ReadBuf::new(&mut space);
            let Poll::Ready(Ok(())) = self.inbox.poll_recv(cx, &mut read) else { break };
            // An empty one is told once nobody can write any more.
            if read.filled().is_empty() {
                break;
            }
            *meta = RecvMeta::default();
            if let Ok(letter) = postcard::from_bytes::<Letter<'_>>(read.filled())
                && let Some(place) = buf.get_mut(..letter.datagram.len())
            {
                place.copy_from_slice(letter.datagram);
                *meta = letter.meta();
            }
            count += 1;
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(count) }
    }

    /// Passes on what is for others; whether there is anything left.
    fn sort(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> bool {
        let mut former = lock(&self.former);
        let mut left = false;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(octets) = buf.get_mut(..meta.len) else { continue };
            let (mut at, mut kept) = (0, 0);
            while at < octets.len() {
                // Several of one size may come at once, the last of them shorter.
                let end = octets.len().min(at + meta.stride.max(1));
                let datagram = octets.get(at..end).unwrap_or_default();
                let theirs = mark_of(datagram).filter(|mark| *mark != self.mark);
                let known =
                    theirs.and_then(|mark| former.iter().position(|former| former.mark == mark));
                if let Some(number) = known {
                    let gone = former.get(number).is_some_and(|to| !to.pass_on(meta, datagram));
                    if gone {
                        former.remove(number);
                        self.sorts.store(!former.is_empty(), Ordering::Relaxed);
                    }
                } else {
                    octets.copy_within(at..end, kept);
                    kept += end - at;
                }
                at = end;
            }
            meta.len = kept;
            left |= kept > 0;
        }
        left
    }
}

impl Former {
    /// Whether there is still somebody who may get it. What does not fit into the queue is lost, as
    /// datagrams may be.
    fn pass_on(&self, meta: &RecvMeta, datagram: &[u8]) -> bool {
        let mut space = [0; QUIC_LETTER];
        let Ok(letter) = postcard::to_slice(&Letter::of(meta, datagram), &mut space) else {
            // Longer than any that quinn would take.
            return true;
        };
        match descriptors::send(self.letters.as_fd(), letter) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl<'a> Letter<'a> {
    fn of(meta: &RecvMeta, datagram: &'a [u8]) -> Self {
        let ecn = match meta.ecn {
            None => 0,
            Some(EcnCodepoint::Ect1) => 1,
            Some(EcnCodepoint::Ect0) => 2,
            Some(EcnCodepoint::Ce) => 3,
        };
        let scope = match meta.addr {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        Self { from: meta.addr, scope, to: meta.dst_ip, ecn, datagram }
    }

    fn meta(&self) -> RecvMeta {
        let mut addr = self.from;
        if let SocketAddr::V6(address) = &mut addr {
            address.set_scope_id(self.scope);
        }
        let (len, ecn) = (self.datagram.len(), EcnCodepoint::from_bits(self.ecn));
        RecvMeta { addr, len, stride: len, ecn, dst_ip: self.to }
    }
}

/// The mark in the connection id that a datagram is for, if it is one of keyward's (RFC 9000,
/// sections 17.2 and 17.3): an id that the client chose for its first packet is nobody's.
fn mark_of(datagram: &[u8]) -> Option<Mark> {
    let first = datagram.first()?;
    let id = if first & 0x80 == 0 {
        datagram.get(1..)?
    } else {
        let (length, id) = datagram.get(5..)?.split_first()?;
        (usize::from(*length) == LENGTH).then_some(id)?
    };
    id.get(..LENGTH)?.get(MARK_AT..)?.first_chunk().copied()
}

impl AsyncUdpSocket for Post {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(count) = self.poll_inbox(cx, bufs, meta) {
            return Poll::Ready(Ok(count));
        }
        if !self.gate.poll(cx) {
            return Poll::Pending;
        }
        loop {
            let count = ready!(self.socket.poll_recv(cx, bufs, meta))?;
            if !self.sorts.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(count));
            }
            let (bufs, meta) = (bufs.get_mut(..count), meta.get_mut(..count));
            if let (Some(bufs), Some(meta)) = (bufs, meta)
                && self.sort(bufs, meta)
            {
                return Poll::Ready(Ok(count));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
#[path = "letters_tests.rs"]
mod tests;
