//! The body of a client's request, whatever the client speaks.
//!
//! Frames as they come. Deadlines, and what becomes of trailers, are the business of `body`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::body::BodyError;
use super::quic::StreamBody;
use crate::base::bounds::LINGER;
use crate::base::bounds::LINGER_BYTES;

/// What is left of a request behind its head.
#[derive(Debug)]
pub(super) enum ClientBody {
    /// HTTP/1 and HTTP/2, as hyper reads them.
    Hyper(Incoming),
    /// HTTP/3.
    Stream(Box<StreamBody>),
}

impl ClientBody {
    /// Reads what comes of a body that nobody wants, for a while. On HTTP/2 a stream is reset where the
    /// rest of its request is dropped (RFC 9113, section 8.1), and there are clients that take the
    /// reset for the answer.
    pub(super) fn let_come(mut self) {
        if self.is_end_stream() {
            return;
        }
        drop(tokio::task::spawn_local(timeout(LINGER, async move {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = self.frame().await {
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        })));
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Hyper(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Broken),
            Self::Stream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(incoming) => incoming.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(incoming) => incoming.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
