//! Octets between a client and a server until both have ended, or neither says anything for long.
//!
//! An end of one direction is passed on and leaves the other as it is. While nothing is under way a
//! connection holds no buffer: there is one for each worker, and what a slow reader has not taken
//! yet is kept for it alone.

use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::base::bounds::RELAY_BUFFER;

/// What has passed, and how it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Passed {
    pub(super) from_client: u64,
    pub(super) to_client: u64,
    pub(super) end: End,
}

impl Passed {
    /// Where no server was reached.
    pub(super) const NOTHING: Self = Self { from_client: 0, to_client: 0, end: End::Broken };
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Both sides said that they were done.
    Whole,
    /// Nobody said anything for too long.
    Silent,
    /// One side broke off.
    Broken,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    /// What was read and could not be written at once; `sent` of it is written.
    waiting: Vec<u8>,
    sent: usize,
    passed: u64,
    unflushed: bool,
    ended: bool,
    done: bool,
    /// Something has moved since this was asked last.
    moved: bool,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Passes octets both ways; `first` goes to the client before all that the server sends.
pub(super) async fn relay<C, S>(
    client: &mut C,
    server: &mut S,
    first: Vec<u8>,
    idle: Duration,
) -> Passed
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Lane::default();
    let mut down = Lane { waiting: first, ..Lane::default() };
    let mut timer = pin!(sleep_until(Instant::now() + idle));
    let mut last = Instant::now();
    let end = poll_fn(|cx| {
        let one = up.poll(cx, Pin::new(&mut *client), Pin::new(&mut *server));
        let two = down.poll(cx, Pin::new(&mut *server), Pin::new(&mut *client));
        match (one, two) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Whole),
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                tracing::debug!(reason = %error, "a connection to a service is broken off");
                return Poll::Ready(End::Broken);
            }
            _ => {}
        }
        if std::mem::take(&mut up.moved) | std::mem::take(&mut down.moved) {
            last = Instant::now();
        }
        while timer.as_mut().poll(cx).is_ready() {
            if last + idle <= Instant::now() {
                return Poll::Ready(End::Silent);
            }
            timer.as_mut().reset(last + idle);
        }
        Poll::Pending
    })
    .await;
    Passed { from_client: up.passed, to_client: down.passed, end }
}

impl Lane {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(RELAY_BUFFER, 0);
            loop {
                ready!(self.poll_waiting(cx, to.as_mut()))?;
                if self.ended {
                    ready!(to.as_mut().poll_shutdown(cx))?;
                    self.done = true;
                    return Poll::Ready(Ok(()));
                }
                let mut buf = ReadBuf::new(scratch);
                match from.as_mut().poll_read(cx, &mut buf)? {
                    Poll::Pending => {
                        if self.unflushed {
                            ready!(to.as_mut().poll_flush(cx))?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(()) if buf.filled().is_empty() => self.ended = true,
                    Poll::Ready(()) => self.pass(cx, to.as_mut(), buf.filled())?,
                }
                self.moved = true;
            }
        })
    }

    /// Writes what can be written now, and keeps the rest.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        to: Pin<&mut impl AsyncWrite>,
        octets: &[u8],
    ) -> io::Result<()> {
        let written = match to.poll_write(cx, octets)? {
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        self.wrote(written);
        self.waiting.extend_from_slice(octets.get(written..).unwrap_or_default());
        Ok(())
    }

    fn poll_waiting(
        &mut self,
        cx: &mut Context<'_>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        while let Some(octets) = self.waiting.get(self.sent..).filter(|left| !left.is_empty()) {
            let written = ready!(to.as_mut().poll_write(cx, octets))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.wrote(written);
            self.moved = true;
        }
        if self.sent > 0 {
            (self.waiting, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, written: usize) {
        self.passed = self.passed.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        self.unflushed |= written > 0;
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
