//! Bodies under way: to the origin, and back to the client.
//!
//! Frames are passed on one by one and never collected; who takes none gets none, which is all the
//! backpressure there is. A body that does not move for the body deadline is given up.

use std::cell::Cell;
use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::client_body::ClientBody;
use super::connection::Exchange;
use super::gate::Gate;
use super::origin::Lease;
use super::trailers;
use crate::base::bounds::origins::CONTINUE_PATIENCE;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The other side broke off or broke the rules.
    #[error("body broken off: {0}")]
    Broken(#[from] hyper::Error),
    /// It is not what was announced, or its stream was reset.
    #[error("body broken off: {0}")]
    Cut(&'static str),
    /// Nothing moved until the deadline.
    #[error("body stalled")]
    Stalled,
    /// It is longer than the site takes.
    #[error("body too long")]
    TooLong,
    /// An encoder failed.
    #[error("body cannot be encoded")]
    Encoding,
    /// A file cannot be read to its end.
    #[error("file broken off: {0}")]
    File(#[from] std::io::Error),
    /// The origin has answered without it.
    #[error("body not wanted")]
    Unwanted,
}

/// How the body from a client fares; shared with whoever waits for the origin.
#[derive(Debug)]
pub(super) struct UpState {
    pub(super) last: Cell<Instant>,
    pub(super) done: Cell<bool>,
    pub(super) fault: Cell<Option<UpFault>>,
    /// Whether its trailers go with it.
    trailers: Cell<Trailers>,
    /// Whether its origin wants it, if that is waited for.
    gate: OnceCell<Arc<Gate>>,
}

/// What becomes of a body's trailers. An origin that merges them with the head would take from them
/// what was removed there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Trailers {
    /// They end here.
    #[default]
    Dropped,
    /// The server tells them from the head, or was told of them, and no route changes that.
    Kept,
    /// They end here, whatever the server is like.
    Never,
}

/// What went wrong with a client's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UpFault {
    Broken,
    Stalled,
    TooLong,
}

/// A body on its way to the origin.
pub(super) enum UpBody {
    Empty,
    Streaming(Box<Streaming>),
}

pub(super) struct Streaming {
    incoming: ClientBody,
    state: Rc<UpState>,
    limit: Duration,
    /// Bytes that may still come.
    left: u64,
    timer: Option<Pin<Box<Sleep>>>,
    /// For its gate.
    waits: bool,
}

impl Streaming {
    /// Ready when the origin wants the body, or has not said anything about it for long enough.
    fn poll_wanted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let wanted = self.state.gate.get().map_or(Poll::Ready(true), |gate| gate.poll(cx));
        match wanted {
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Poll::Ready(Err(BodyError::Unwanted)),
            Poll::Pending => ready!(poll_limit(&mut self.timer, CONTINUE_PATIENCE, None, cx)),
        }
        (self.waits, self.timer) = (false, None);
        self.state.last.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl UpState {
    /// The exchange is over: a body that still waits need not any longer.
    pub(super) fn end(&self) {
        if let Some(gate) = self.gate.get() {
            gate.shut();
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ours() { "ours" } else { "an origin's" })
    }
}

impl fmt::Debug for UpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Streaming(_) => "Streaming",
        })
    }
}

impl UpBody {
    /// The body of a request, of at most so many bytes, and its state unless it is empty.
    pub(super) fn new(
        incoming: ClientBody,
        limit: Duration,
        most: Option<u64>,
    ) -> (Self, Option<Rc<UpState>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let state = Rc::new(UpState {
            last: Cell::new(Instant::now()),
            done: Cell::new(false),
            fault: Cell::new(None),
            trailers: Cell::default(),
            gate: OnceCell::new(),
        });
        let left = most.unwrap_or(u64::MAX);
        let (timer, waits) = (None, false);
        let streaming = Streaming { incoming, state: Rc::clone(&state), limit, left, timer, waits };
        (Self::Streaming(Box::new(streaming)), Some(state))
    }

    /// Whether trailers go with it, unless [`Self::without_trailers`] has been said; and whether they
    /// do then.
    pub(super) fn with_trailers(&self, kept: bool) -> bool {
        let Self::Streaming(body) = self else { return false };
        let trailers = &body.state.trailers;
        if trailers.get() != Trailers::Never {
            trailers.set(if kept { Trailers::Kept } else { Trailers::Dropped });
        }
        trailers.get() == Trailers::Kept
    }

    /// Waits with it until its origin wants it, which `gate` is told.
    pub(super) fn wait_for(&mut self, gate: &Arc<Gate>) {
        if let Self::Streaming(body) = self
            && body.state.gate.set(Arc::clone(gate)).is_ok()
        {
            body.waits = true;
        }
    }

    /// It is wanted as far as anybody can say.
    pub(super) fn go_on(&self) {
        if let Self::Streaming(body) = self
            && let Some(gate) = body.state.gate.get()
        {
            gate.open();
        }
    }

    /// No trailers go with it, whatever the server is like.
    pub(super) fn without_trailers(&self) {
        if let Self::Streaming(body) = self {
            body.state.trailers.set(Trailers::Never);
        }
    }
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Streaming(body) = self.get_mut() else { return Poll::Ready(None) };
        if body.waits
            && let Err(unwanted) = ready!(body.poll_wanted(cx))
        {
            return Poll::Ready(Some(Err(unwanted)));
        }
        let Poll::Ready(frame) = Pin::new(&mut body.incoming).poll_frame(cx) else {
            ready!(poll_limit(&mut body.timer, body.limit, Some(&body.state.last), cx));
            body.state.fault.set(Some(UpFault::Stalled));
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        body.timer = None;
        body.state.last.set(Instant::now());
        let kept = body.state.trailers.get() == Trailers::Kept;
        let frame =
            frame.filter(|frame| kept || !matches!(frame, Ok(frame) if frame.is_trailers()));
        let frame = frame.map(|frame| frame.map(trailers::clean));
        if !within(&mut body.left, frame.as_ref()) {
            body.state.fault.set(Some(UpFault::TooLong));
            return Poll::Ready(Some(Err(BodyError::TooLong)));
        }
        body.state.done.set(frame.is_none() || body.incoming.is_end_stream());
        Poll::Ready(
            frame.map(|result| result.inspect_err(|_| body.state.fault.set(Some(UpFault::Broken)))),
        )
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(body) => body.incoming.size_hint(),
        }
    }
}

/// A body on its way to the client. The exchange lasts as long as it does.
pub(super) struct AnswerBody {
    source: Source,
    /// Bytes of an origin's answer that may still come.
    left: u64,
    exchange: Option<Exchange>,
}

/// A body that is made here as it is taken.
type Making = Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>;

enum Source {
    Ready(Option<Bytes>),
    Made(Making),
    Origin(Incoming, Option<Lease>, Duration, Option<Pin<Box<Sleep>>>),
}

impl AnswerBody {
    /// A body that is there.
    pub(super) fn ready(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { source: Source::Ready(bytes), left: u64::MAX, exchange: None }
    }

    /// The body of an origin's answer; the connection in `lease` is free again at its end.
    pub(super) fn origin(incoming: Incoming, lease: Lease, limit: Duration) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream() {
            give_back(&mut lease);
        }
        Self {
            source: Source::Origin(incoming, lease, limit, None),
            left: u64::MAX,
            exchange: None,
        }
    }

    /// The same, cut off if an origin's is longer.
    pub(super) const fn at_most(mut self, bytes: u64) -> Self {
        self.left = bytes;
        self
    }

    /// A body that is made here: read from a file, or another one in other words.
    pub(super) fn made(body: impl Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self { source: Source::Made(Box::pin(body)), left: u64::MAX, exchange: None }
    }

    /// Whether it is of our own making, and no origin's.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self.source, Source::Ready(_) | Source::Made(_))
    }

    /// Takes out the bytes of a body that is there, and says how many they were.
    pub(super) fn empty(&mut self) -> Option<usize> {
        match &mut self.source {
            Source::Ready(bytes) => bytes.take().map(|bytes| bytes.len()),
            Source::Made(_) | Source::Origin(..) => None,
        }
    }

    /// Keeps `exchange` open until this body has ended.
    pub(super) fn hold(mut self, mut exchange: Exchange) -> Self {
        exchange.offer();
        if self.is_end_stream() {
            exchange.finish();
        }
        self.exchange = Some(exchange);
        self
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let exchange = &mut this.exchange;
        match &mut this.source {
            Source::Ready(bytes) => {
                let frame = bytes.take().map(Frame::data);
                if let Some(exchange) = exchange {
                    exchange.finish();
                    frame.iter().for_each(|frame| exchange.took(frame));
                }
                Poll::Ready(frame.map(Ok))
            }
            Source::Made(body) => {
                let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                    exchange.as_ref().map(Exchange::wait);
                    return Poll::Pending;
                };
                if let Some(exchange) = exchange {
                    exchange.offer();
                    if let Some(Ok(frame)) = &frame {
                        exchange.took(frame);
                    }
                    if frame.is_none() || body.is_end_stream() {
                        exchange.finish();
                    }
                }
                Poll::Ready(frame)
            }
            Source::Origin(incoming, lease, limit, timer) => {
                let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
                    exchange.as_ref().map(Exchange::wait);
                    // Of a request that still goes on, the other direction may move.
                    let other = lease.as_ref().and_then(Lease::upload);
                    ready!(poll_limit(timer, *limit, other, cx));
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                };
                *timer = None;
                if !within(&mut this.left, frame.as_ref()) {
                    return Poll::Ready(Some(Err(BodyError::TooLong)));
                }
                if let Some(last) = lease.as_ref().and_then(Lease::upload) {
                    last.set(Instant::now());
                }
                let frame = frame.map(|frame| frame.map(trailers::clean));
                if let Some(exchange) = exchange {
                    exchange.offer();
                    if let Some(Ok(frame)) = &frame {
                        exchange.took(frame);
                    }
                }
                if frame.is_none() || incoming.is_end_stream() {
                    exchange.as_mut().map(Exchange::finish);
                    give_back(lease);
                }
                Poll::Ready(frame.map(|result| result.map_err(BodyError::Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ready(bytes) => bytes.is_none(),
            Source::Made(body) => body.is_end_stream(),
            Source::Origin(incoming, ..) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ready(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Source::Made(body) => body.size_hint(),
            Source::Origin(incoming, ..) => incoming.size_hint(),
        }
    }
}

/// Takes the bytes of a frame from those that may still come, if they are not more.
fn within<E>(left: &mut u64, frame: Option<&Result<Frame<Bytes>, E>>) -> bool {
    let data = frame.and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
    let length = data.map_or(0, |data| data.len() as u64);
    let within = length <= *left;
    *left = left.saturating_sub(length);
    within
}

fn give_back(lease: &mut Option<Lease>) {
    if let Some(lease) = lease.take() {
        lease.give_back();
    }
}

/// Ready once nothing has moved for `limit`; nor in the other direction, where `other` says when
/// something did.
fn poll_limit(
    timer: &mut Option<Pin<Box<Sleep>>>,
    limit: Duration,
    other: Option<&Cell<Instant>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
    loop {
        ready!(timer.as_mut().poll(cx));
        match other.map(|last| last.get() + limit) {
            Some(due) if due > Instant::now() => timer.as_mut().reset(due),
            _ => return Poll::Ready(()),
        }
    }
}
