//! A client's HTTP/1 connection with its bytes watched on the way to hyper.
//!
//! A violation is overwritten with a byte that hyper refuses in that very place, so that the
//! refusal (400, close) happens in the right order behind pipelined requests that were fine.
//! The deadline for a head lies here too, because only here it is known when one has begun.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::framing::Scanner;
use crate::base::bounds::{LINGER, LINGER_BYTES};

/// A connection that can say goodbye without an end of its own: that no octet follows, its client
/// hears when it is closed right after.
pub(super) trait Farewell: AsyncRead + AsyncWrite + Unpin {
    /// Says what its protocol has for the end.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when there is something to read, be it the end; needs no buffer to find that out.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Farewell for TcpStream {
    fn poll_farewell(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What is wrong with it, whoever reads next shall hear.
        self.poll_read_ready(cx).map(drop)
    }
}

impl<T: Farewell + ?Sized> Farewell for Box<T> {
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_farewell(cx)
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_heard(cx)
    }
}

/// What the two ends of a connection tell each other about its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The bytes are no HTTP/1, or not any more.
    opaque: AtomicBool,
    /// They are somebody else's, who may end one direction and go on with the other.
    given_away: AtomicBool,
    /// Everything is written, and what was read ends where a message does.
    settled: AtomicBool,
    /// Writes that the client's side took.
    writes: AtomicU64,
}

impl Pulse {
    /// From now on the client's bytes pass unseen.
    pub(super) fn look_away(&self) {
        self.0.opaque.store(true, Ordering::Release);
    }

    /// From now on the connection is no HTTP. To be called before a 101 is written.
    pub(super) fn give_away(&self) {
        self.0.given_away.store(true, Ordering::Release);
        self.look_away();
    }

    fn given_away(&self) -> bool {
        self.0.given_away.load(Ordering::Acquire)
    }

    /// Whether nothing is under way in either direction.
    pub(super) fn settled(&self) -> bool {
        self.0.settled.load(Ordering::Relaxed) && !self.opaque()
    }

    fn settle(&self, settled: bool) {
        self.0.settled.store(settled, Ordering::Relaxed);
    }

    fn opaque(&self) -> bool {
        self.0.opaque.load(Ordering::Acquire)
    }

    /// Changes whenever the client has taken something.
    pub(super) fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    fn wrote(&self) {
        self.0.writes.store(self.writes().wrapping_add(1), Ordering::Relaxed);
    }
}

/// The watched stream.
#[derive(Debug)]
pub(super) struct Guard<T> {
    io: T,
    scanner: Scanner,
    pulse: Pulse,
    refused: bool,
    head_timeout: Duration,
    /// Whether the time to the first byte counts as part of the first head.
    eager: bool,
    head_due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    linger: Option<usize>,
    /// Read and looked at before.
    unread: Bytes,
}

impl<T> Guard<T> {
    pub(super) fn new(io: T, pulse: Pulse, head_timeout: Duration, eager: bool) -> Self {
        Self {
            io,
            scanner: Scanner::default(),
            pulse,
            refused: false,
            head_timeout,
            eager,
            head_due: None,
            timer: None,
            linger: None,
            unread: Bytes::new(),
        }
    }

    /// Takes `read` back, to be read once more.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.unread = read;
    }

    /// Ready when the head that is being read is overdue.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = self.scanner.in_head() || self.eager && self.scanner.messages() == 0;
        if !waiting {
            (self.head_due, self.timer) = (None, None);
            return Poll::Pending;
        }
        let due = *self.head_due.get_or_insert_with(|| Instant::now() + self.head_timeout);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        timer.as_mut().poll(cx)
    }
}

impl<T: Farewell> Guard<T> {
    /// Ready when the client has said something, or is gone.
    pub(super) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unread.is_empty() { self.io.poll_heard(cx) } else { Poll::Ready(()) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let again = this.unread.split_to(this.unread.len().min(buf.remaining()));
            buf.put_slice(&again);
            return Poll::Ready(Ok(()));
        }
        if this.pulse.opaque() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        if this.refused {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => {
                ready!(this.poll_overdue(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Ready(result) => result?,
        }
        this.pulse.settle(false);
        let messages = this.scanner.messages();
        let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
        if let Err(refusal) = this.scanner.feed(fresh) {
            tracing::debug!(reason = %refusal.what, "request refused");
            this.refused = true;
            if let Some(byte) = fresh.get_mut(refusal.at) {
                *byte = refusal.poison;
                buf.set_filled(before + refusal.at + 1);
            }
        } else if !this.scanner.in_head() || this.scanner.messages() != messages {
            // The next head has its own time.
            (this.head_due, this.timer) = (None, None);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Farewell> AsyncWrite for Guard<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.pulse.settle(false);
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.pulse.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.pulse.settle(false);
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        this.pulse.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.pulse.settle(false);
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.pulse.settle(!this.refused && this.scanner.at_rest());
        Poll::Ready(Ok(()))
    }

    /// Says goodbye, which is all where the client is done: the connection is closed next, and that
    /// ends our half as well. Where it is not, our half is ended and the client heard for a moment: a
    /// socket closed with unread bytes resets the connection, and the client may lose the answer it was
    /// given.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            if this.pulse.given_away() {
                return Pin::new(&mut this.io).poll_shutdown(cx);
            }
            ready!(this.io.poll_farewell(cx))?;
            if this.pulse.opaque() || this.scanner.at_rest() {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.linger = Some(LINGER_BYTES);
            this.timer = Some(Box::pin(sleep_until(Instant::now() + LINGER)));
        }
        let mut scratch = [0_u8; 4096];
        while let Some(left) = this.linger.filter(|left| *left > 0) {
            if let Some(timer) = &mut this.timer
                && timer.as_mut().poll(cx).is_ready()
            {
                break;
            }
            let mut buf = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            this.linger = Some(left.saturating_sub(buf.filled().len()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A client that has sent something, and notes how it is left.
    #[derive(Default)]
    struct Left {
        sent: &'static [u8],
        farewells: usize,
        ends: usize,
    }

    impl Farewell for Left {
        fn poll_farewell(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.farewells += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_heard(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl AsyncRead for Left {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(std::mem::take(&mut self.sent));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Left {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.ends += 1;
            Poll::Ready(Ok(()))
        }
    }

    /// How a client is left that has sent `sent`: farewells, and ends of our half.
    async fn left(sent: &'static [u8], then: fn(&Pulse)) -> (usize, usize) {
        let pulse = Pulse::default();
        let client = Left { sent, ..Left::default() };
        let mut guard = Guard::new(client, pulse.clone(), Duration::from_secs(9), false);
        let _ = guard.read(&mut [0; 256]).await.unwrap();
        then(&pulse);
        guard.shutdown().await.unwrap();
        (guard.io.farewells, guard.io.ends)
    }

    #[tokio::test]
    async fn our_half_is_ended_by_itself_only_where_the_client_may_go_on() {
        assert_eq!(left(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", |_| ()).await, (1, 0));
        assert_eq!(left(b"", Pulse::look_away).await, (1, 0), "HTTP/2");
        // More is under way, and a close would be a reset.
        let half = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        assert_eq!(left(half, |_| ()).await, (1, 1));
        // A relay ends one direction and goes on with the other.
        assert_eq!(left(b"", Pulse::give_away).await, (0, 1));
    }
}
