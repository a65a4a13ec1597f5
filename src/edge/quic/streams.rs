//! What the HTTP/3 library knows of QUIC: streams that are opened, read and written.
//!
//! Each stream of a client is watched ([`Frames`]), is reset unless its answer was given to the end, and
//! can be asked whether the client still wants that answer. Deliberately absent: streams that we would
//! open for requests. A server opens none.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic;
use h3::quic::ConnectionErrorIncoming;
use h3::quic::StreamErrorIncoming;
use h3::quic::StreamId;
use h3::quic::WriteBuf;
use quinn::ConnectionError;
use quinn::ReadError;
use quinn::StoppedError;
use quinn::VarInt;
use quinn::WriteError;

use super::frames::Frames;
use crate::base::bounds::quic::QUIC_PIECE;

type Pending<T> = Pin<Box<dyn Future<Output = T>>>;
type Bidirectional = (quinn::SendStream, quinn::RecvStream);

/// A connection of a client, as the library takes it.
pub(super) struct Link {
    connection: quinn::Connection,
    hands: Hands,
    requests: Option<Pending<Result<Bidirectional, ConnectionError>>>,
    one_way: Option<Pending<Result<quinn::RecvStream, ConnectionError>>>,
    opening: Option<Pending<Result<quinn::SendStream, ConnectionError>>>,
}

/// The streams of a connection that carry requests, from outside.
#[derive(Clone, Default)]
pub(super) struct Hands(Rc<RefCell<HashMap<StreamId, Hand>>>);

/// One of them.
pub(super) struct Hand {
    /// Ready when the client wants nothing more of the answer, or has acknowledged all of it.
    pub(super) stopped: Pending<Result<Option<VarInt>, StoppedError>>,
    /// How the request comes in.
    pub(super) progress: Rc<Progress>,
}

/// How a stream fares.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// An answer was begun: unless it is given to the end, the stream is reset.
    pub(super) answering: Cell<bool>,
    /// DATA frames without data that came in so far.
    pub(super) empty: Cell<u32>,
}

impl Link {
    pub(super) fn new(connection: quinn::Connection) -> (Self, Hands) {
        let hands = Hands::default();
        let link =
            Self { connection, hands: hands.clone(), requests: None, one_way: None, opening: None };
        (link, hands)
    }
}

impl Hands {
    /// The stream of a request, once.
    pub(super) fn take(&self, id: StreamId) -> Option<Hand> {
        self.0.borrow_mut().remove(&id)
    }
}

/// Answers are written to it.
pub(super) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    finished: bool,
    progress: Rc<Progress>,
    hands: Hands,
}

/// Requests are read from it.
pub(super) struct Taking {
    stream: quinn::RecvStream,
    connection: quinn::Connection,
    frames: Frames,
    ended: bool,
    progress: Rc<Progress>,
}

/// A stream with a request.
pub(super) struct Both {
    sending: Sending,
    taking: Taking,
}

/// Opens nothing: a server has no requests.
pub(super) struct Closed;

impl quic::Connection<Bytes> for Link {
    type RecvStream = Taking;
    type OpenStreams = Closed;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Taking, ConnectionErrorIncoming>> {
        let connection = &self.connection;
        let accepting = self.one_way.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await })
        });
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.one_way = None;
        let stream = accepted.map_err(lost)?;
        Poll::Ready(Ok(Taking {
            stream,
            connection: self.connection.clone(),
            frames: Frames::of_one_way(),
            ended: false,
            progress: Rc::default(),
        }))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        let connection = &self.connection;
        let accepting = self.requests.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        });
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.requests = None;
        let (send, recv) = accepted.map_err(lost)?;
        let progress = Rc::<Progress>::default();
        let hand = Hand { stopped: Box::pin(send.stopped()), progress: Rc::clone(&progress) };
        self.hands.0.borrow_mut().insert(id(send.id()), hand);
        let sending = Sending {
            stream: send,
            writing: None,
            finished: false,
            progress: Rc::clone(&progress),
            hands: self.hands.clone(),
        };
        let taking = Taking {
            stream: recv,
            connection: self.connection.clone(),
            frames: Frames::of_request(),
            ended: false,
            progress,
        };
        Poll::Ready(Ok(Both { sending, taking }))
    }

    fn opener(&self) -> Closed {
        Closed
    }
}

impl quic::OpenStreams<Bytes> for Link {
    type BidiStream = Both;
    type SendStream = Sending;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        Poll::Ready(Err(unasked()))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sending, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        let stream = opened.map_err(|error| StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: lost(error),
        })?;
        Poll::Ready(Ok(Sending {
            stream,
            writing: None,
            finished: false,
            progress: Rc::default(),
            hands: self.hands.clone(),
        }))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(number(code.value()), reason);
    }
}

impl quic::OpenStreams<Bytes> for Closed {
    type BidiStream = Both;
    type SendStream = Sending;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        Poll::Ready(Err(unasked()))
    }

    fn poll_open_send(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Result<Sending, StreamErrorIncoming>> {
        Poll::Ready(Err(unasked()))
    }

    fn close(&mut self, _: Code, _: &[u8]) {}
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
                data.advance(written.map_err(unwritten)?);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(unasked());
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_ready(cx))?;
        self.finished = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        self.finished = true;
        // It may have ended already.
        let _ = self.stream.reset(number(reset_code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for Sending {
    /// By itself the end of the stream would look like the end of the answer.
    fn drop(&mut self) {
        self.hands.0.borrow_mut().remove(&id(self.stream.id()));
        if self.progress.answering.get() && !self.finished {
            let _ = self.stream.reset(number(Code::H3_INTERNAL_ERROR.value()));
        }
    }
}

impl quic::RecvStream for Taking {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let mut piece = [0; QUIC_PIECE];
        let count = ready!(self.stream.poll_read(cx, &mut piece)).map_err(unread)?;
        let read = piece.get(..count).unwrap_or_default();
        let sound = if read.is_empty() { self.frames.end() } else { self.frames.pass(read) };
        self.progress.empty.set(self.frames.empty);
        if let Err(code) = sound {
            self.connection.close(number(code.value()), b"");
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated {
                error_code: code.value(),
            }));
        }
        self.ended = read.is_empty();
        Poll::Ready(Ok((!self.ended).then(|| Bytes::copy_from_slice(read))))
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.ended = true;
        // It may have ended already.
        let _ = self.stream.stop(number(error_code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for Taking {
    /// What was not read is not needed for the answer, which is no mistake of the client's (RFC 9114,
    /// section 4.1).
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.stream.stop(number(Code::H3_NO_ERROR.value()));
        }
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.sending.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.taking.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.taking.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.taking.recv_id()
    }
}

impl quic::BidiStream<Bytes> for Both {
    type SendStream = Sending;
    type RecvStream = Taking;

    fn split(self) -> (Sending, Taking) {
        (self.sending, self.taking)
    }
}

#[expect(clippy::expect_used, reason = "both are numbers of at most 62 bits")]
fn id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner()).expect("both have 62 bits")
}

fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// The library asks for what it never needs.
fn unasked() -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: ConnectionErrorIncoming::InternalError("not for servers".to_owned()),
    }
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn unread(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        ReadError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
        }
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        WriteError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
        }
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}
