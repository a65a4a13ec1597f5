//! What rustls says when hands are shaken, held back so that it goes out with the first answer.
//!
//! In TLS 1.3 that is the session ticket. The client waits for nothing any more then, mostly it has
//! asked already, and a segment of its own costs both sides more than making the ticket does. It goes
//! out with what is said next, be it the farewell, or by itself once it is due.
//!
//! Deliberately absent: what waits. Only that it is no part of the handshake is looked at.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::base::bounds::client::HELD_FOR;
use crate::base::bounds::client::HELD_MOST;
use crate::base::bounds::client::HELD_SLICES;

/// The type of records under keys (RFC 8446, section 5.2).
pub(super) const SEALED: u8 = 23;

/// Octets that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    octets: Vec<u8>,
    /// Hands are being shaken.
    shaking: bool,
    due: Option<Instant>,
}

impl Held {
    /// For a connection on which hands are shaken now.
    pub(super) fn shaking() -> Self {
        Self { shaking: true, ..Self::default() }
    }

    /// Hands are shaken; whether something waits.
    pub(super) fn shaken(&mut self) -> bool {
        self.shaking = false;
        let waits = self.waits();
        self.due = waits.then(|| Instant::now() + HELD_FOR);
        waits
    }

    /// What waits is due.
    pub(super) fn release(&mut self) {
        self.due = Some(Instant::now());
    }

    pub(super) const fn waits(&self) -> bool {
        !self.octets.is_empty()
    }

    /// Takes what is to be written, if it can wait: a record under keys, once the client has sent one,
    /// which it cannot before it has all of our part of the handshake. Gives how much it was.
    pub(super) fn take(&mut self, client_sealed: bool, bufs: &[IoSlice<'_>]) -> Option<usize> {
        if !self.shaking || !client_sealed {
            return None;
        }
        let first = bufs.iter().find_map(|buf| buf.first())?;
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        if *first != SEALED || self.octets.len() + len > HELD_MOST {
            return None;
        }
        bufs.iter().for_each(|buf| self.octets.extend_from_slice(buf));
        Some(len)
    }

    /// Writes `bufs` behind what waits; gives how much of `bufs` was written.
    pub(super) fn poll_write(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while self.waits() {
            let mut all = [IoSlice::new(&[]); HELD_SLICES];
            for (slice, octets) in
                all.iter_mut().zip([&*self.octets].into_iter().chain(bufs.iter().map(|buf| &**buf)))
            {
                *slice = IoSlice::new(octets);
            }
            let written = ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &all))?;
            let Some(beyond) = written.checked_sub(self.octets.len()) else {
                self.octets.drain(..written);
                continue;
            };
            self.octets = Vec::new();
            if beyond > 0 {
                return Poll::Ready(Ok(beyond));
            }
        }
        match bufs {
            [] => Poll::Ready(Ok(0)),
            bufs => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    /// Sends what waits if it is due.
    pub(super) fn poll_due(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits() && self.due.is_some_and(|due| due <= Instant::now()) {
            ready!(self.poll_write(socket, cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits as far as it can be sent at once: the handshake has failed, and that is the
    /// alert which says why.
    pub(super) fn let_go(&mut self, socket: &TcpStream) {
        if self.waits() {
            // The client may be gone; then nobody misses it.
            let _gone = socket.try_write(&std::mem::take(&mut self.octets));
        }
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
