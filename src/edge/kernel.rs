//! What remains of a client's TLS once the kernel makes and reads its records: alerts, and an end.
//!
//! Deliberately absent: a change of keys. Kernels before 6.14 cannot follow one, so whoever asks
//! for it is told goodbye.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::stats::Counters;
use crate::base::bounds::{KERNEL_TLS_EMPTY, KERNEL_TLS_RECORDS};
use crate::os::ktls;
use crate::os::ktls::Keys;
use crate::os::ktls::Record;
use crate::os::ktls::Suite;

/// A full record's content.
const RECORD: u64 = 16 * 1024;

/// Alerts and what they are about (RFC 8446, section 6), and the one handshake message that may
/// come from a client that has shaken hands (section 4).
const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const KEY_UPDATE: u8 = 24;

/// What remains of a connection in the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) socket: TcpStream,
    /// Records that may still be sent.
    records: u64,
    /// The client has said that it is done.
    ended: bool,
    /// We have said so.
    closing: bool,
}

impl Kernel {
    /// Gives `socket` and its keys away.
    ///
    /// # Errors
    /// When the kernel refuses; the connection is lost then.
    pub(super) fn take(socket: TcpStream, send: &Keys<'_>, receive: &Keys<'_>) -> io::Result<Self> {
        ktls::hand_over(&socket, send, receive)?;
        let records = match send.suite {
            Suite::Aes128 | Suite::Aes256 => KERNEL_TLS_RECORDS.saturating_sub(send.sequence),
            Suite::ChaCha20 => u64::MAX,
        };
        Ok(Self { socket, records, ended: false, closing: false })
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        counters: &Counters,
    ) -> Poll<io::Result<()>> {
        let mut empty = 0;
        while !self.ended && buf.remaining() > 0 {
            let socket = &self.socket;
            let room = buf.initialize_unfilled();
            let taken = socket.try_io(Interest::READABLE, || ktls::receive(socket, room));
            let (len, record) = match taken {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_read_ready(cx))?;
                    continue;
                }
                Err(error) => {
                    if error.raw_os_error() == Some(libc::EBADMSG) {
                        self.part(FATAL, BAD_RECORD_MAC);
                    }
                    return Poll::Ready(Err(error));
                }
            };
            let said = buf.initialize_unfilled().get(..len).unwrap_or_default();
            match (record, said) {
                (Record::Data, []) if empty < KERNEL_TLS_EMPTY => empty += 1,
                (Record::Data, [_, ..]) => {
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                (Record::End, _) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                (Record::Alert, [_, CLOSE_NOTIFY]) => self.ended = true,
                (Record::Alert, _) => {
                    return Poll::Ready(Err(fault("the client ends the connection by an alert")));
                }
                (Record::Handshake, [KEY_UPDATE, ..]) => {
                    counters.kernel_tls_rekeyed.up();
                    self.part(WARNING, CLOSE_NOTIFY);
                    return Poll::Ready(Err(fault("the client changes its keys")));
                }
                (Record::Data | Record::Handshake | Record::Other, _) => {
                    self.part(FATAL, UNEXPECTED_MESSAGE);
                    return Poll::Ready(Err(fault("a record that has no place here")));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye, as far as it can be said at once.
    fn part(&mut self, level: u8, description: u8) {
        if !self.closing {
            self.closing = true;
            // The client may be gone; then nobody misses it.
            let _gone = ktls::send_alert(&self.socket, level, description);
        }
    }

    /// Counts what was written.
    pub(super) fn count(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.records = self.records.saturating_sub(len.div_ceil(RECORD));
    }

    /// # Errors
    /// When we have said goodbye, or must.
    pub(super) fn may_write(&mut self) -> io::Result<()> {
        if self.closing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.records == 0 {
            self.part(WARNING, CLOSE_NOTIFY);
            return Err(io::Error::other("the key of the connection is used up"));
        }
        Ok(())
    }

    pub(super) fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.closing {
            let socket = &self.socket;
            // A record that waits for room would be left behind when the socket is closed.
            let told = socket.try_io(Interest::WRITABLE, || {
                if ktls::has_room(socket)? {
                    ktls::send_alert(socket, WARNING, CLOSE_NOTIFY)
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            });
            match told {
                Ok(()) => self.closing = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_farewell(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn fault(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
