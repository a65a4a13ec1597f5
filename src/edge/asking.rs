//! One request on its way to a server: which one, on which connection, and when to try again.
//!
//! What the request is, and what becomes of the answer, is the business of `forward`.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{HOST, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use super::balance::Choice;
use super::body::UpBody;
use super::body::UpFault;
use super::body::UpState;
use super::connection::Client;
use super::dial::ConnectError;
use super::link::Link;
use super::origin;
use super::origin::Lease;
use super::origin::Turn;
use super::target::Target;
use super::target::Upstream;
use super::version;
use crate::base::bounds::origins::ORIGIN_TRIES;
use crate::config;

/// Why there is no answer from the origin.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("origin gave no proper answer: {0}")]
    Answer(#[source] hyper::Error),
    #[error("origin did not answer in time")]
    Timeout,
    #[error("origin changed the protocol unasked")]
    Unasked,
    #[error("origin's answer could be read in two ways")]
    Framing,
    #[error("origin has as many requests as it may have")]
    Full,
    #[error("client broke off its body")]
    Client,
    #[error("client did not go on with its body")]
    ClientStalled,
    #[error("client's body is longer than the site takes")]
    TooLong,
    #[error("target cannot be forwarded")]
    Target,
}

impl Failed {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Connect(ConnectError::Timeout) | Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Connect(_) | Self::Answer(_) | Self::Unasked | Self::Framing => {
                StatusCode::BAD_GATEWAY
            }
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Client | Self::Target => StatusCode::BAD_REQUEST,
            Self::ClientStalled => StatusCode::REQUEST_TIMEOUT,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// Whether the server is to blame.
    const fn is_its(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Answer(_) | Self::Timeout)
    }
}

/// Deadlines of one exchange.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) response: Duration,
    pub(super) body: Duration,
    pub(super) idle: Duration,
}

impl Limits {
    pub(super) const fn of(limits: &config::Edge) -> Self {
        Self {
            response: limits.response_timeout,
            body: limits.body_timeout,
            idle: limits.idle_timeout,
        }
    }
}

/// Sends a request to one of the servers. If that one fails it before there is any answer, and
/// nothing of it was sent or it may be sent twice, others are tried, as far as the budget goes.
///
/// Unless `preserve_host`, each server sees its own Host. The server with the number that is `meant`
/// comes first, if it is well.
pub(super) async fn send(
    client: &Rc<Client>,
    (upstream, preserve_host, meant): (&Upstream, bool, Option<usize>),
    mut request: Request<UpBody>,
    state: Option<&UpState>,
    limits: Limits,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let worker = &client.worker;
    let workers = worker.shared.counters.len();
    let group = worker.pools.group(&worker.set(), upstream, workers);
    group.begin(upstream);
    let (mut tried, mut last) = (0_u64, None);
    loop {
        let number = match group.choose(upstream, tried, meant) {
            Choice::Server(number) => number,
            // Whatever came before says more than that nobody is left.
            Choice::Full | Choice::Nobody => return Err(last.unwrap_or(Failed::Full)),
        };
        let (Some(target), Some(turn)) = (upstream.targets.get(number), group.turn(number)) else {
            return Err(Failed::Full);
        };
        let turn = match target.reach.proxy {
            Some(_) => turn.apart(client.own.pool(target, worker.set().limits.origin_idle)),
            None => turn,
        };
        if !preserve_host {
            request.headers_mut().insert(HOST, target.reach.host.clone());
        }
        let several = upstream.targets.len() > 1;
        let (failed, unsent) = match ask(client, target, turn, request, state, limits, several)
            .await
        {
            Ok((response, lease)) => {
                let bad = upstream.asking.eject_on_errors && response.status().is_server_error();
                note(client, &group, (upstream, number), !bad);
                return Ok((response, lease));
            }
            Err(failed) => failed,
        };
        if failed.is_its() {
            note(client, &group, (upstream, number), false);
        }
        tried |= 1 << number;
        let Some(again) = unsent.filter(|_| failed.is_its()) else { return Err(failed) };
        if !several || tried.count_ones() >= ORIGIN_TRIES || !group.another() {
            return Err(failed);
        }
        tracing::debug!(server = target.key(), reason = %failed, "another server is tried");
        worker.counters.origin_retries.up();
        (request, last) = (again, Some(failed));
    }
}

/// Remembers how a server fared.
fn note(
    client: &Client,
    group: &origin::Group,
    (upstream, number): (&Upstream, usize),
    good: bool,
) {
    // With one server there is nothing to choose.
    if upstream.targets.len() > 1 && group.note(number, good, upstream) {
        client.worker.counters.origin_ejections.up();
        let server = upstream.targets.get(number).map_or("", Target::key);
        tracing::warn!(server, "a server of a site fails and is left out for a while");
    }
}

/// Sends on a connection that is there, or else on a new one. One that died while it was idle
/// costs nothing if the request can be sent again: it was not sent at all, or the server says that it
/// did not look at it, or it has no body and its method may be repeated (RFC 9110, section 9.2.2).
///
/// With a failure comes the request, if it may be sent again; of one that was sent only if a
/// `spare` was asked for.
async fn ask(
    client: &Rc<Client>,
    target: &Target,
    mut turn: Turn,
    mut request: Request<UpBody>,
    state: Option<&UpState>,
    limits: Limits,
    spare: bool,
) -> Result<(Response<Incoming>, Lease), (Failed, Option<Request<UpBody>>)> {
    let empty = state.is_none();
    let repeatable = empty && request.method().is_idempotent();
    let again = |failed: &Failed| refused(failed) || repeatable && is_broken(failed);
    // A connection changes its protocol as a whole.
    let alone = request.headers().contains_key(UPGRADE);
    let (reach, secure) = (&*target.reach, target.reach.secure.is_some());
    if let Some(link) = turn.reuse(reach, !repeatable, alone).await {
        let copied = (repeatable || empty && link.is_shared()).then(|| copy(&request));
        let mut lease = turn.on(link);
        match attempt(&mut lease, request, secure, state, limits).await {
            Ok(response) => return Ok((response, lease)),
            Err((failed, unsent)) => match unsent.or_else(|| copied.filter(|_| again(&failed))) {
                Some(left) => request = left,
                None => return Err((failed, None)),
            },
        }
        turn = lease.into_turn();
    }
    let link = match turn.open(client, reach, alone).await {
        Ok(link) => link,
        Err(error) => return Err((error.into(), Some(request))),
    };
    let copied = ((repeatable || empty && link.is_shared()) && spare).then(|| copy(&request));
    let mut lease = turn.on(link);
    match attempt(&mut lease, request, secure, state, limits).await {
        Ok(response) => Ok((response, lease)),
        Err((failed, unsent)) => {
            let left = unsent.or_else(|| copied.filter(|_| again(&failed)));
            Err((failed, left))
        }
    }
}

/// Whether the connection ended before there was an answer, as it may while it is idle.
fn is_broken(failed: &Failed) -> bool {
    use std::error::Error as _;
    let Failed::Answer(error) = failed else { return false };
    let source = error.source();
    let io = source.and_then(|source| {
        let of_two = source.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
        source.downcast_ref::<std::io::Error>().or(of_two)
    });
    let reset = io.is_some_and(|io| {
        matches!(
            io.kind(),
            std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::UnexpectedEof
        )
    });
    // The last is a server that does not say any more whether it is there.
    reset
        || error.is_canceled()
        || error.is_closed()
        || error.is_incomplete_message()
        || error.is_timeout()
}

/// Whether the server says that it did not look at the request (RFC 9113, section 8.7). Of a
/// connection that it ends, h2 tells so only those whose streams it did not get to.
fn refused(failed: &Failed) -> bool {
    use std::error::Error as _;
    let Failed::Answer(error) = failed else { return false };
    let said = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    said.is_some_and(|said| {
        said.is_remote()
            && (said.is_go_away()
                || said.is_reset() && said.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn copy(request: &Request<UpBody>) -> Request<UpBody> {
    let mut copy = Request::new(UpBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// One try. With a failure comes the request, if nothing of it was sent.
async fn attempt(
    lease: &mut Lease,
    mut request: Request<UpBody>,
    secure: bool,
    state: Option<&UpState>,
    limits: Limits,
) -> Result<Response<Incoming>, (Failed, Option<Request<UpBody>>)> {
    let link = lease.link();
    let formed = if link.is_shared() {
        version::to_two(&mut request, secure)
    } else {
        version::to_one(&mut request)
    };
    if formed.is_none() {
        return Err((Failed::Target, None));
    }
    let result = wait(link, request, state, limits).await;
    if let Err((failed, _)) = &result
        && (refused(failed) || is_broken(failed))
    {
        link.spend();
    }
    result
}

async fn wait(
    link: &mut Link,
    request: Request<UpBody>,
    state: Option<&UpState>,
    limits: Limits,
) -> Result<Response<Incoming>, (Failed, Option<Request<UpBody>>)> {
    let mut answer = pin!(link.send(request));
    let started = Instant::now();
    let mut timer = pin!(sleep_until(due(state, limits, started)));
    loop {
        tokio::select! {
            biased;
            result = answer.as_mut() => {
                return result.map_err(|mut error| {
                    let unsent = error.take_message();
                    match state.and_then(|state| state.fault.get()) {
                        Some(UpFault::Broken) => (Failed::Client, None),
                        Some(UpFault::Stalled) => (Failed::ClientStalled, None),
                        Some(UpFault::TooLong) => (Failed::TooLong, None),
                        None => (Failed::Answer(error.into_error()), unsent),
                    }
                });
            }
            () = timer.as_mut() => {
                let due = due(state, limits, started);
                if due <= Instant::now() {
                    return Err((Failed::Timeout, None));
                }
                timer.as_mut().reset(due);
            }
        }
    }
}

/// When the head of the answer is overdue, as things stand. Without a body the
/// request ended when it was `sent`.
fn due(state: Option<&UpState>, limits: Limits, sent: Instant) -> Instant {
    match state {
        None => sent + limits.response,
        Some(state) if state.done.get() => state.last.get() + limits.response,
        // A client that stalls is noticed by the body itself, a moment before this.
        Some(state) => state.last.get() + limits.body + Duration::from_millis(500),
    }
}
