//! One client connection from its handshake to its end: protocol, deadlines, draining.
//!
//! hyper speaks; here is what it leaves open: an end for connections that are idle, for clients
//! that take nothing of an answer, and an orderly one when the worker drains.

mod stall;

use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use self::stall::StallWatch;
use self::stall::Standing;
use super::access::Entry;
use super::client_body::ClientBody;
use super::early::Unproven;
use super::facts::Facts;
use super::flow::Flow;
use super::flow::Streams;
use super::guard::Farewell;
use super::guard::Guard;
use super::guard::Pulse;
use super::headers::HostFields;
use super::own::Own;
use super::plain as plain_http;
use super::rest;
use super::route::Identity;
use super::site;
use super::visitors::Shown;
use super::worker::Worker;
use crate::base::bounds::DRAIN_IDLE;
use crate::base::bounds::H1_BUFFER;
use crate::base::bounds::H2_CONNECTION_WINDOW;
use crate::base::bounds::H2_LOCAL_RESETS;
use crate::base::bounds::H2_PENDING_RESETS;
use crate::base::bounds::H2_SEND_BUFFER;
use crate::base::bounds::H2_STREAM_WINDOW;
use crate::base::bounds::H2_STREAMS;
use crate::base::bounds::H2_TAKEN_BACK;
use crate::base::bounds::HEAD_BYTES;
use crate::base::bounds::HEAD_FIELDS;
use crate::base::bounds::client::HELD_FOR;
use crate::base::bounds::client::REST_AFTER;

/// A client while it is connected.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    /// `None` on plain HTTP.
    pub(super) identity: Option<Identity>,
    /// The client's address as a field value.
    pub(super) peer: HeaderValue,
    pub(super) peer_address: SocketAddr,
    /// The address the client came to; unspecified where nobody is told.
    pub(super) at: SocketAddr,
    pub(super) pulse: Pulse,
    /// Requests run beside each other, each in a task of its own: HTTP/2 and 3.
    streams: bool,
    /// The certificate that the client showed.
    pub(super) shown: Option<Shown>,
    /// What was agreed on, where that is told.
    pub(super) facts: OnceCell<Facts>,
    /// What the client says may be a repetition.
    pub(super) unproven: Unproven,
    /// Fields made for the last host that was asked for; mostly it is the only one.
    pub(super) host_fields: RefCell<Option<Rc<HostFields>>>,
    /// Connections to servers that are for this client alone.
    pub(super) own: Own,
    closing: Cell<bool>,
    /// Of the stream that is about to begin, on HTTP/2.
    pub(super) starting: RefCell<Option<Rc<Flow>>>,
    /// Of the streams that are open.
    flows: RefCell<Vec<Rc<Flow>>>,
    /// Requests that were answered to the end, less those that the client took back.
    credit: Cell<i64>,
    active: Cell<usize>,
    /// Of the active ones, those that wait for an origin and have deadlines of their own.
    waiting: Cell<usize>,
    last: Cell<Instant>,
}

/// A request while it is being answered.
#[derive(Debug)]
pub(super) struct Exchange {
    client: Rc<Client>,
    /// On HTTP/2.
    flow: Option<Rc<Flow>>,
    /// What the access log is told, if there is one.
    pub(super) entry: Option<Box<Entry>>,
    finished: bool,
}

/// A stream that is no request any more: it has a deadline of its own.
#[derive(Debug)]
pub(super) struct Occupied(Rc<Client>);

/// A request while it waits for the head of an answer.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Client);

impl Client {
    fn new(
        worker: &Rc<Worker>,
        identity: Option<Identity>,
        (peer, at): (SocketAddr, SocketAddr),
        (streams, unproven, shown): (bool, Unproven, Option<Shown>),
    ) -> Rc<Self> {
        let address = peer.ip().to_canonical().to_string();
        Rc::new(Self {
            worker: Rc::clone(worker),
            identity,
            peer: HeaderValue::from_str(&address)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            peer_address: peer,
            at,
            pulse: Pulse::default(),
            streams,
            shown,
            unproven,
            facts: OnceCell::new(),
            host_fields: RefCell::new(None),
            own: Own::default(),
            closing: Cell::new(false),
            starting: RefCell::new(None),
            flows: RefCell::new(Vec::new()),
            credit: Cell::new(0),
            active: Cell::new(0),
            waiting: Cell::new(0),
            last: Cell::new(Instant::now()),
        })
    }

    /// A client on HTTP/3, who has proven where it is.
    pub(super) fn over_quic(
        worker: &Rc<Worker>,
        identity: Identity,
        ends: (SocketAddr, SocketAddr),
        shown: Option<Shown>,
        facts: Option<Facts>,
    ) -> Rc<Self> {
        let client = Self::new(worker, Some(identity), ends, (true, Unproven::default(), shown));
        client.agreed(facts);
        client
    }

    /// Notes what was agreed on.
    fn agreed(&self, facts: Option<Facts>) {
        // It is empty until here.
        facts.map(|facts| self.facts.set(facts));
    }

    /// From now on answers should end the connection.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// The name that was asked for in the handshake.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.identity {
            Some(Identity::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether answers should end the connection.
    pub(super) fn closing(&self) -> bool {
        self.closing.get()
    }

    pub(super) fn begin(self: &Rc<Self>) -> Exchange {
        self.active.set(self.active.get() + 1);
        let flow = self.starting.take();
        self.flows.borrow_mut().extend(flow.clone());
        Exchange { client: Rc::clone(self), flow, entry: None, finished: false }
    }

    /// Whether the client takes back far more requests than it lets be answered.
    pub(super) fn fickle(&self) -> bool {
        self.credit.get() < -H2_TAKEN_BACK
    }

    /// When it is idle for too long, if it says nothing.
    pub(super) fn idle_until(&self) -> Instant {
        self.last.get() + self.worker.set().limits.idle_timeout
    }

    /// Whether it has been between two requests for a while, with nothing under way.
    fn rests(&self, now: Instant) -> bool {
        let quiet = self.active.get() == 0 && !self.closing.get() && self.pulse.settled();
        quiet && self.last.get() + REST_AFTER <= now
    }

    /// Whether no stream of HTTP/2 has anything that the client could take. What is to come of those
    /// that are open, or of their requests, has deadlines of its own.
    fn waits_for_us(&self) -> bool {
        let flows = self.flows.borrow();
        !flows.is_empty() && !flows.iter().any(|flow| flow.offers())
    }

    /// Whether its connection carries other requests beside each.
    pub(super) const fn is_shared(&self) -> bool {
        self.streams
    }

    /// Keeps the connection for a stream that is no request any more.
    pub(super) fn occupy(self: &Rc<Self>) -> Occupied {
        self.active.set(self.active.get() + 1);
        self.waiting.set(self.waiting.get() + 1);
        Occupied(Rc::clone(self))
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.set(self.waiting.get() + 1);
        Waiting(self)
    }
}

impl Exchange {
    /// A part of the answer is there for the client to take.
    pub(super) fn offer(&self) {
        if let Some(flow) = &self.flow {
            flow.offer();
        }
    }

    /// The next part of the answer is not there yet.
    pub(super) fn wait(&self) {
        if let Some(flow) = &self.flow {
            flow.wait();
        }
    }

    /// A part of the answer was taken for the client.
    pub(super) fn took(&mut self, frame: &Frame<Bytes>) {
        if let (Some(entry), Some(data)) = (&mut self.entry, frame.data_ref()) {
            entry.took(data.len() as u64);
        }
    }

    /// The client has been given the whole answer.
    pub(super) const fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let client = &self.client;
        if let Some(entry) = self.entry.take() {
            client.worker.pen.write(&entry, client, self.finished);
        }
        client.active.set(client.active.get().saturating_sub(1));
        client.last.set(Instant::now());
        if let Some(flow) = &self.flow {
            client.flows.borrow_mut().retain(|open| !Rc::ptr_eq(open, flow));
        }
        if client.streams {
            let credit = client.credit.get();
            // Good conduct counts for a while, not for ever.
            client.credit.set(if self.finished {
                (credit + 1).min(H2_TAKEN_BACK)
            } else {
                credit - 1
            });
        }
        // Other faults cost the connection, and are counted there.
        if client.streams && std::thread::panicking() {
            client.worker.counters.panics.up();
            tracing::error!("a request panicked and is given up");
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let Self(client) = self;
        client.waiting.set(client.waiting.get().saturating_sub(1));
        client.active.set(client.active.get().saturating_sub(1));
        client.last.set(Instant::now());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// A client with whom hands are shaken, or who may speak before.
pub(super) struct Shaken<S> {
    pub(super) stream: S,
    /// Something waits that is to be sent before long.
    pub(super) held: bool,
    pub(super) h2: bool,
    pub(super) unproven: Unproven,
    pub(super) shown: Option<Shown>,
    pub(super) facts: Option<Facts>,
}

/// Speaks HTTP over a TLS connection until it ends.
pub(super) async fn tls<S>(
    worker: &Rc<Worker>,
    shaken: Shaken<S>,
    ends: (SocketAddr, SocketAddr),
    identity: Identity,
) where
    S: Farewell + Send + 'static,
{
    let Shaken { stream, held, h2, unproven, shown, facts } = shaken;
    let client = Client::new(worker, Some(identity), ends, (h2, unproven, shown));
    client.agreed(facts);
    let pulse = client.pulse.clone();
    let head = worker.set().limits.header_timeout;
    let mut guard = Guard::new(stream, pulse, head, false);
    let answering = Rc::clone(&client);
    let mut service = service_fn(move |request: Request<Incoming>| {
        site::serve(Rc::clone(&answering), request.map(|body| ClientBody::hyper(body, h2)))
    });
    if h2 {
        client.pulse.look_away();
        let connection =
            Box::pin(speaks_h2(&client).serve_connection(TokioIo::new(guard), service));
        drive(connection, |c| c.graceful_shutdown(), &client, Soon { held, rest: false }).await;
        return;
    }
    let mut soon = Soon { held, rest: true };
    loop {
        // Most clients have asked by now. Those that have not may take a while, as browsers do that
        // open connections ahead.
        let heard = poll_fn(|cx| Poll::Ready(guard.poll_heard(cx).is_ready())).await;
        if !heard && !Box::pin(rest::rest(&mut guard, &client, &mut soon.held)).await {
            return;
        }
        let connection = speaks_h1().serve_connection(TokioIo::new(guard), service);
        let connection = Box::pin(connection.with_upgrades());
        let driven = drive(connection, |c| c.graceful_shutdown(), &client, soon).await;
        let Some(resting) = driven else { return };
        let Some(parts) = Pin::into_inner(resting).into_parts() else { return };
        guard = parts.io.into_inner();
        guard.put_back(parts.read_buf);
        service = parts.service;
        soon.held = false;
    }
}

/// What is to be done before long.
#[derive(Clone, Copy)]
struct Soon {
    /// Something waits that is to be sent.
    held: bool,
    /// The connection may be taken apart when it rests.
    rest: bool,
}

/// An address of the family of `peer` that is none.
pub(super) const fn unknown(peer: SocketAddr) -> IpAddr {
    match peer {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Speaks plain HTTP until the connection ends.
pub(super) async fn plain(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, port: u16) {
    let ends = (peer, SocketAddr::new(unknown(peer), port));
    let client = Client::new(worker, None, ends, (false, Unproven::default(), None));
    let head = worker.set().limits.header_timeout;
    let io = TokioIo::new(Guard::new(stream, client.pulse.clone(), head, true));
    let answering = Rc::clone(&client);
    let service = service_fn(move |request| plain_http::serve(Rc::clone(&answering), request));
    let connection = Box::pin(speaks_h1().serve_connection(io, service));
    let nothing = Soon { held: false, rest: false };
    drive(connection, |c| c.graceful_shutdown(), &client, nothing).await;
}

fn speaks_h1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(HEAD_BYTES)
        .max_buf_size(H1_BUFFER)
        .header_read_timeout(None)
        .auto_date_header(true);
    // hyper's own default is the same number and needs no allocation.
    if HEAD_FIELDS != 100 {
        builder.max_headers(HEAD_FIELDS);
    }
    builder
}

fn speaks_h2(client: &Rc<Client>) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams(Rc::clone(client)));
    builder
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(H2_LOCAL_RESETS)
        .enable_connect_protocol();
    builder
}

/// Polls `connection` to its end, or ends it. It is on the heap, as every move of it costs a
/// kilobyte of copies. Given back when it rests.
async fn drive<F>(
    mut connection: Pin<Box<F>>,
    finish: fn(Pin<&mut F>),
    client: &Client,
    soon: Soon,
) -> Option<Pin<Box<F>>>
where
    F: Future<Output = hyper::Result<()>>,
{
    let mut draining = client.worker.draining.clone();
    let mut drained = pin!(async move { drop(draining.wait_for(|draining| *draining).await) });
    let mut watch = StallWatch { writes: 0, since: Instant::now(), rest: soon.rest };
    let first = {
        let set = client.worker.set();
        let first = set.limits.idle_timeout.min(set.limits.body_timeout);
        match soon {
            Soon { held: true, .. } => first.min(HELD_FOR),
            Soon { rest: true, .. } => first.min(REST_AFTER),
            Soon { .. } => first,
        }
    };
    let mut timer = pin!(sleep_until(Instant::now() + first));
    let mut finishing = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(reason = %error, "connection ended");
                }
                return None;
            }
            () = poll_fn(|_| if client.fickle() { Poll::Ready(()) } else { Poll::Pending }) => {
                tracing::debug!("a client takes back its requests, its connection is closed");
                return None;
            }
            () = timer.as_mut() => match watch.look(client) {
                Standing::Good(_) if soon.rest && client.rests(Instant::now()) => {
                    return Some(connection);
                }
                Standing::Good(until) => timer.as_mut().reset(until),
                Standing::Idle if !finishing => {
                    finishing = true;
                    finish(connection.as_mut());
                    // A client that is gone does not even take the farewell.
                    timer.as_mut().reset(Instant::now() + DRAIN_IDLE);
                }
                Standing::Idle | Standing::Stalled => return None,
            },
            () = drained.as_mut(), if !client.closing() => {
                client.closing.set(true);
                if client.streams || client.active.get() > 0 {
                    finish(connection.as_mut());
                }
                timer.as_mut().reset(Instant::now() + DRAIN_IDLE);
            }
        }
    }
}
