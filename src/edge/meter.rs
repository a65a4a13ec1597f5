//! The records of a client, measured on their way to rustls: is one of them under way?
//!
//! rustls does not say whether it holds the beginning of a record, and nobody else opens them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::hold::Held;
use super::hold::SEALED;

/// Where a stream of TLS records stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    /// How much of the next record's header was there already, and its length as far as it came.
    header: u8,
    length: u16,
    /// What is to come of the record's body.
    left: usize,
    /// One of them was under keys.
    sealed: bool,
}

impl Meter {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            let body = self.left.min(bytes.len());
            self.left -= body;
            bytes = bytes.get(body..).unwrap_or_default();
            let Some((octet, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.sealed |= self.header == 0 && *octet == SEALED;
            // Kind and version, then two octets of length (RFC 8446, section 5.1).
            self.length = self.length << 8 | u16::from(*octet);
            self.header += 1;
            if self.header == 5 {
                (self.left, self.header) = (usize::from(self.length), 0);
            }
        }
    }

    /// Whether everything so far were whole records.
    pub(super) const fn between_records(self) -> bool {
        self.header == 0 && self.left == 0
    }

    /// Whether a record under keys has begun, by what it says it is.
    pub(super) const fn sealed(self) -> bool {
        self.sealed
    }
}

/// A connection that is measured while it is read.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) socket: TcpStream,
    pub(super) meter: Meter,
    pub(super) held: Held,
    /// The socket is closed right after the farewell, which says that nothing follows.
    pub(super) closes: bool,
}

impl Measured {
    /// For a handshake; `meter` has seen what was read of `socket` before.
    pub(super) fn new(socket: TcpStream, meter: Meter) -> Self {
        Self { socket, meter, held: Held::shaking(), closes: false }
    }
}

impl AsyncRead for Measured {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        this.meter.feed(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Measured {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(taken) = this.held.take(this.meter.sealed(), bufs) {
            return Poll::Ready(Ok(taken));
        }
        this.held.poll_write(&mut this.socket, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.held.poll_due(&mut this.socket, cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.held.poll_write(&mut this.socket, cx, &[]))?;
        if this.closes {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(bodies: &[usize]) -> Vec<u8> {
        let record = |len: &usize| {
            let [high, low] = u16::try_from(*len).unwrap().to_be_bytes();
            // Bodies that look like headers.
            [vec![23, 3, 3, high, low], vec![23; *len]].concat()
        };
        bodies.iter().flat_map(record).collect()
    }

    proptest! {
        /// However the octets come, it is between records exactly where one ends.
        #[test]
        fn between_records_is_where_one_ends(
            bodies in prop::collection::vec(0_usize..700, 1..6),
            cuts in prop::collection::vec(1_usize..50, 1..8),
        ) {
            let bytes = stream(&bodies);
            let mut ends = vec![0];
            bodies.iter().for_each(|len| ends.push(ends[ends.len() - 1] + 5 + len));
            let (mut meter, mut at) = (Meter::default(), 0);
            for cut in cuts.iter().cycle() {
                prop_assert_eq!(meter.between_records(), ends.contains(&at), "{}", at);
                if at == bytes.len() {
                    break;
                }
                let next = (at + cut).min(bytes.len());
                meter.feed(&bytes[at..next]);
                at = next;
            }
        }
    }
}
