//! The body of a request over HTTP/3: as long as it was announced, to the end of its stream.
//!
//! Trailers are left where they are; they go no further on any way to an origin.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};

use super::streams::Progress;
use super::streams::Taking;
use crate::edge::body::BodyError;

/// What is left of a request behind its head.
pub(in crate::edge) struct StreamBody {
    stream: RequestStream<Taking, Bytes>,
    progress: Rc<Progress>,
    /// What came with the head.
    first: Option<Bytes>,
    /// Octets that are announced and have not come; `None` where nothing was announced.
    left: Option<u64>,
    ended: bool,
    /// Empty DATA frames that were not taken for the end.
    passed: u32,
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamBody(..)")
    }
}

impl StreamBody {
    /// The body behind `headers`. What has come in already is looked at, so that one that is empty is
    /// known to be.
    pub(super) async fn new(
        stream: RequestStream<Taking, Bytes>,
        progress: Rc<Progress>,
        headers: &HeaderMap,
    ) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let left = length.and_then(|text| text.parse().ok());
        let mut body = Self { stream, progress, first: None, left, ended: false, passed: 0 };
        // Faults come up again when it is read.
        if let Some(Ok(data)) = poll_fn(|cx| Poll::Ready(ready_now(body.poll_data(cx)))).await {
            body.ended = data.is_none();
            body.first = data;
        }
        body
    }

    /// The next part of it; empty ones do not end it.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let data = ready!(self.stream.poll_recv_data(cx)).map_err(|error| {
                tracing::debug!(reason = %error, "the body of a request broke off");
                BodyError::Cut("its stream was reset")
            })?;
            if let Some(mut data) = data {
                return Poll::Ready(Ok(Some(data.copy_to_bytes(data.remaining()))));
            }
            if self.passed == self.progress.empty.get() {
                return Poll::Ready(Ok(None));
            }
            self.passed = self.passed.saturating_add(1);
        }
    }

    pub(in crate::edge) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = match self.first.take() {
            Some(first) => Some(first),
            None if self.ended => None,
            None => ready!(self.poll_data(cx))?,
        };
        let Some(data) = data else {
            self.ended = true;
            let short = self.left.take().is_some_and(|left| left > 0);
            return Poll::Ready(short.then_some(Err(BodyError::Cut("it is too short"))));
        };
        if let Some(left) = &mut self.left {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(BodyError::Cut("it is too long")))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    pub(in crate::edge) fn is_end_stream(&self) -> bool {
        self.ended && self.first.is_none() && self.left.is_none_or(|left| left == 0)
    }

    pub(in crate::edge) fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn ready_now<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(ready) => Some(ready),
        Poll::Pending => None,
    }
}
