//! A connection over HTTP/3: each request on its way to its site, and its answer back.
//!
//! The library speaks; here is what it leaves open, as `connection` does it for hyper: an end for
//! connections that are idle, for clients that take nothing of an answer or take back what they asked
//! for, and an orderly one when the worker drains. A client that moves to another address stays who it
//! was when hands were shaken, in logs, in fields and in what it may do: QUIC takes packets from a new
//! address before the client has shown that it is there.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h3::error::Code;
use h3::error::ConnectionError;
use h3::error::StreamError;
use h3::server;
use h3::server::RequestResolver;
use h3::server::RequestStream;
use http::header::{CONTENT_LENGTH, DATE, EXPECT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use quinn::VarInt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};

use super::body::StreamBody;
use super::streams::Hands;
use super::streams::Link;
use super::streams::Sending;
use crate::base::bounds::DRAIN_IDLE;
use crate::base::bounds::HEAD_BYTES;
use crate::base::bounds::quic::QUIC_GOODBYE;
use crate::base::bounds::quic::QUIC_GOODBYE_TRIPS;
use crate::edge::body::AnswerBody;
use crate::edge::body::BodyError;
use crate::edge::client_body::ClientBody;
use crate::edge::connection::Client;
use crate::edge::connection::unknown;
use crate::edge::facts::Facts;
use crate::edge::route::Identity;
use crate::edge::site;
use crate::edge::visitors::Shown;
use crate::edge::worker::Worker;

/// A client with whom hands are shaken.
pub(super) struct Caller {
    pub(super) connection: quinn::Connection,
    pub(super) identity: Identity,
    pub(super) shown: Option<Shown>,
    pub(super) facts: Option<Facts>,
}

/// Why an answer did not get to its end.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the client takes nothing of it")]
    Stalled(#[from] Elapsed),
}

/// Speaks HTTP/3 until the connection ends.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    caller: Caller,
    port: u16,
    closing: watch::Receiver<bool>,
) {
    let Caller { connection, identity, shown, facts } = caller;
    let peer: SocketAddr = connection.remote_address();
    let local = connection.local_ip().unwrap_or_else(|| unknown(peer));
    let ends = (peer, SocketAddr::new(local, port));
    let client = Client::over_quic(worker, identity, ends, shown, facts);
    let limit = worker.set().limits.handshake_timeout;
    let (link, hands) = Link::new(connection.clone());
    let mut speaks = server::builder();
    speaks.max_field_section_size(HEAD_BYTES as u64).send_grease(false);
    let spoken = match timeout(limit, speaks.build(link)).await {
        Ok(Ok(spoken)) => spoken,
        Ok(Err(error)) => {
            tracing::debug!(reason = %error, "HTTP/3 did not begin");
            return;
        }
        // The client lets us open no stream to say anything on.
        Err(_) => return connection.close(number(Code::H3_STREAM_CREATION_ERROR), b""),
    };
    if let Err(error) = drive(&client, spoken, &connection, hands, closing).await {
        tracing::debug!(reason = %error, "connection ended");
    }
}

/// Takes requests until the end, orderly or not.
async fn drive(
    client: &Rc<Client>,
    mut spoken: server::Connection<Link, Bytes>,
    connection: &quinn::Connection,
    hands: Hands,
    mut closing: watch::Receiver<bool>,
) -> Result<(), ConnectionError> {
    let mut draining = client.worker.draining.clone();
    let mut told = pin!(async move {
        tokio::select! {
            _ = draining.wait_for(|draining| *draining) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
    let mut requests = JoinSet::new();
    let mut timer = pin!(sleep_until(client.idle_until()));
    let (mut over, mut goodbye) = (false, None);
    loop {
        tokio::select! {
            biased;
            // A panic was counted where it was.
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
            () = poll_fn(|_| if client.fickle() { Poll::Ready(()) } else { Poll::Pending }) => {
                tracing::debug!("a client takes back its requests, its connection is closed");
                connection.close(number(Code::H3_EXCESSIVE_LOAD), b"");
                return Ok(());
            }
            accepted = spoken.accept(), if !over => match accepted? {
                Some(request) => {
                    let (client, hands) = (Rc::clone(client), hands.clone());
                    requests.spawn_local(Box::pin(answer(client, request, hands)));
                }
                // The client has said goodbye, and has all its answers.
                None => over = true,
            },
            () = told.as_mut(), if !client.closing() => {
                client.close();
                // What the client has begun before it hears of this is answered all the same
                // (RFC 9114, section 5.2).
                spoken.shutdown(usize::MAX >> 8).await?;
                let (least, most) = QUIC_GOODBYE;
                let trips = connection.rtt().saturating_mul(QUIC_GOODBYE_TRIPS);
                goodbye = Some(Instant::now() + trips.clamp(least, most));
            }
            () = until(goodbye), if goodbye.is_some_and(|due| due > Instant::now()) => {}
            () = timer.as_mut() => {
                let due = client.idle_until();
                if !requests.is_empty() {
                    timer.as_mut().reset(Instant::now() + DRAIN_IDLE);
                } else if due > Instant::now() {
                    timer.as_mut().reset(due);
                } else {
                    spoken.shutdown(0).await?;
                    over = true;
                }
            }
        }
        let left = client.closing() && goodbye.is_none_or(|due| due <= Instant::now());
        if (over || left) && requests.is_empty() {
            return Ok(());
        }
    }
}

/// Waits for that moment, if there is one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// One request, to the moment when the client has its answer.
async fn answer(client: Rc<Client>, request: RequestResolver<Link, Bytes>, hands: Hands) {
    let (head, limit) = {
        let limits = &client.worker.set().limits;
        (limits.header_timeout, limits.body_timeout)
    };
    let resolved = match timeout(head, request.resolve_request()).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => {
            tracing::debug!(reason = %error, "a request is not readable");
            return;
        }
        Err(_) => {
            tracing::debug!("the head of a request does not come");
            return;
        }
    };
    let (request, stream) = resolved;
    let Some(mut hand) = hands.take(stream.id()) else { return };
    hand.progress.answering.set(true);
    let (mut send, recv) = stream.split();
    let body = StreamBody::new(recv, Rc::clone(&hand.progress), request.headers()).await;
    let answered = async {
        let waits = request.headers().get(EXPECT).is_some_and(|expect| expect == "100-continue");
        if waits && !body.is_end_stream() {
            proceed(&mut send, limit).await?;
        }
        let request = request.map(|()| ClientBody::stream(body));
        let to_head = request.method() == Method::HEAD;
        let response = ask(Rc::clone(&client), request).await;
        let date = (!response.headers().contains_key(DATE)).then(|| date(&client)).flatten();
        write(&mut send, response, (to_head, date), limit).await
    };
    let answered = tokio::select! {
        biased;
        answered = answered => answered,
        _ = &mut hand.stopped => {
            tracing::debug!("a client wants no answer any more");
            return;
        }
    };
    match answered {
        // Until then a close would take from the client what it has not got yet.
        Ok(()) => drop(timeout(limit, hand.stopped).await),
        Err(error) => tracing::debug!(reason = %error, "an answer is broken off"),
    }
}

async fn ask(client: Rc<Client>, request: Request<ClientBody>) -> Response<AnswerBody> {
    match site::serve(client, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Lets the client send its body (RFC 9110, section 10.1.1).
async fn proceed(send: &mut RequestStream<Sending, Bytes>, limit: Duration) -> Result<(), Unsent> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    Ok(timeout(limit, send.send_response(response)).await??)
}

/// Gives the client an answer, part by part; each it takes within `limit`.
async fn write(
    send: &mut RequestStream<Sending, Bytes>,
    response: Response<AnswerBody>,
    (to_head, date): (bool, Option<HeaderValue>),
    limit: Duration,
) -> Result<(), Unsent> {
    let (mut parts, body) = response.into_parts();
    let mut body = pin!(body);
    let bare = to_head || parts.status == StatusCode::NO_CONTENT;
    if !bare
        && !parts.headers.contains_key(CONTENT_LENGTH)
        && parts.status != StatusCode::NOT_MODIFIED
        && let Some(length) = body.size_hint().exact()
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(date) = date {
        parts.headers.insert(DATE, date);
    }
    timeout(limit, send.send_response(Response::from_parts(parts, ()))).await??;
    while let Some(frame) = poll_fn(|cx| Pin::as_mut(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => timeout(limit, send.send_data(data)).await??,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    timeout(limit, send.send_trailers(trailers)).await??;
                }
            }
        }
    }
    Ok(timeout(limit, send.finish()).await??)
}

/// RFC 9110, section 6.6.1. Answers of HTTP/1 and 2 get it from hyper.
fn date(client: &Client) -> Option<HeaderValue> {
    let now = client.worker.shared.certificates.mould.now().as_secs();
    let now = Timestamp::from_second(i64::try_from(now).ok()?).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()?;
    HeaderValue::from_str(&text).ok()
}

fn number(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}
