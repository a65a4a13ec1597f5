//! The body of a client's request, whatever the client speaks.
//!
//! Frames as they come, and what becomes of a body that is dropped before its end. Deadlines, and what
//! becomes of trailers, are the business of `body`.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::body::BodyError;
use super::quic::StreamBody;
use crate::base::bounds::LINGER;
use crate::base::bounds::LINGER_BYTES;

/// What is left of a request behind its head.
///
/// One that is dropped before its end, by whomever, is still read for a while on HTTP/2 and 3. There a
/// stream is reset where the rest of its request is dropped (RFC 9113, section 8.1; RFC 9114, section
/// 4.1), and there are clients that take the reset for the answer. On HTTP/1 hyper sees to it.
#[derive(Debug)]
pub(super) struct ClientBody {
    source: Source,
    /// It has its stream to itself, and is not at its end as far as has been seen.
    lingers: bool,
}

#[derive(Debug)]
enum Source {
    /// HTTP/1 and HTTP/2, as hyper reads them.
    Hyper(Incoming),
    /// HTTP/3.
    Stream(Box<StreamBody>),
    /// What another reads to the end.
    Gone,
}

impl ClientBody {
    /// One of HTTP/1, or of HTTP/2 with its `streams`.
    pub(super) const fn hyper(incoming: Incoming, streams: bool) -> Self {
        Self { source: Source::Hyper(incoming), lingers: streams }
    }

    /// One of HTTP/3.
    pub(super) fn stream(body: StreamBody) -> Self {
        Self { source: Source::Stream(Box::new(body)), lingers: true }
    }

    /// Reads what comes of it, for a while, and then resets its stream.
    async fn linger(mut self) {
        let read = async {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = self.frame().await {
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        drop(timeout(LINGER, read).await);
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        // A worker that ends takes its clients' connections with it.
        if !self.lingers || self.is_end_stream() || Handle::try_current().is_err() {
            return;
        }
        let rest = Self { source: mem::replace(&mut self.source, Source::Gone), lingers: false };
        drop(tokio::task::spawn_local(rest.linger()));
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(match &mut this.source {
            Source::Hyper(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Broken),
            Source::Stream(body) => body.poll_frame(cx),
            Source::Gone => Poll::Ready(None),
        });
        if !matches!(frame, Some(Ok(_))) {
            this.lingers = false;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Hyper(incoming) => incoming.is_end_stream(),
            Source::Stream(body) => body.is_end_stream(),
            Source::Gone => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Hyper(incoming) => incoming.size_hint(),
            Source::Stream(body) => body.size_hint(),
            Source::Gone => SizeHint::with_exact(0),
        }
    }
}
