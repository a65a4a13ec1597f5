//! One request to an origin and its answer back, with every deadline on the way.
//!
//! Interim answers (1xx) of an origin are not passed on; 100 is given by hyper when the origin
//! begins to take the body.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use super::answer;
use super::body::AnswerBody;
use super::body::UpBody;
use super::body::UpFault;
use super::body::UpState;
use super::connection::Client;
use super::headers;
use super::origin::ConnectError;
use super::origin::Lease;
use super::origin::Pool;
use super::relay;
use super::serving::ServedSite;
use super::target::Target;

/// Why there is no answer from the origin.
#[derive(Debug, thiserror::Error)]
enum Failed {
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
    #[error("client broke off its body")]
    Client,
    #[error("client did not go on with its body")]
    ClientStalled,
    #[error("target cannot be forwarded")]
    Target,
}

impl Failed {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Connect(ConnectError::Timeout) | Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Connect(_) | Self::Answer(_) | Self::Unasked | Self::Framing => {
                StatusCode::BAD_GATEWAY
            }
            Self::Client | Self::Target => StatusCode::BAD_REQUEST,
            Self::ClientStalled => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Deadlines of one exchange.
#[derive(Clone, Copy)]
struct Limits {
    response: Duration,
    body: Duration,
    idle: Duration,
}

/// Sends a request for `asked` to the server `target` and gives its answer.
pub(super) async fn forward(
    client: &Rc<Client>,
    site: &ServedSite,
    target: &Target,
    asked: &str,
    parts: Parts,
    body: Incoming,
) -> Response<AnswerBody> {
    let h1 = parts.version != Version::HTTP_2;
    let _waiting = client.wait();
    match exchange(client, site, target, asked, parts, body).await {
        Ok(response) => response,
        Err(failed) => {
            let status = failed.status();
            if status.is_server_error() {
                client.worker.counters.origin_failures.up();
            }
            tracing::debug!(site = %site.name, reason = %failed, "request failed");
            let response = answer::failure(status);
            // What is left of a body cannot be told from a next request.
            if h1 && status.is_client_error() { answer::last(response) } else { response }
        }
    }
}

async fn exchange(
    client: &Rc<Client>,
    site: &ServedSite,
    target: &Target,
    asked: &str,
    mut parts: Parts,
    body: Incoming,
) -> Result<Response<AnswerBody>, Failed> {
    let (pool, limits) = {
        let set = client.worker.set();
        let limits = Limits {
            response: set.limits.response_timeout,
            body: set.limits.body_timeout,
            idle: set.limits.idle_timeout,
        };
        (client.worker.pools.get(&set, target), limits)
    };
    let (body, state) = UpBody::new(body, limits.body);
    let upgrade = (parts.version == Version::HTTP_11 && state.is_none())
        .then(|| headers::wanted_upgrade(&parts.headers))
        .flatten();
    let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
    let ours = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    parts.extensions.clear();
    headers::to_origin(&mut parts.headers, client, site, target, asked, version);
    if let Some(protocol) = &upgrade {
        parts.headers.insert(UPGRADE, protocol.clone());
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if state.is_some() && !parts.headers.contains_key(CONTENT_LENGTH) {
        // hyper would leave out a body of unknown length where the method has none by custom.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    parts.uri = origin_form(&parts.uri)?;
    let request = Request::from_parts(parts, body);
    let (mut response, mut lease) =
        send(client, &pool, target, request, state.as_deref(), limits).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let chosen = response.headers().get(UPGRADE);
        let same = |asked: &HeaderValue| {
            chosen.is_some_and(|chosen| chosen.as_bytes().eq_ignore_ascii_case(asked.as_bytes()))
        };
        let (Some(_), Some(ours)) = (upgrade.filter(same), ours) else {
            return Err(Failed::Unasked);
        };
        let theirs = hyper::upgrade::on(&mut response);
        return Ok(relay::switch(client, site, response, ours, theirs, limits.idle));
    }
    let (mut parts, body) = response.into_parts();
    if !headers::sound_lengths(&parts.headers) {
        return Err(Failed::Framing);
    }
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(CONTENT_LENGTH);
    }
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    headers::to_client(&mut parts.headers, site);
    lease.sending = state;
    Ok(Response::from_parts(parts, AnswerBody::origin(body, lease, limits.body)))
}

/// Sends on a connection that is there, or else on a new one. One that died while it was idle
/// costs nothing if the request can be sent again: it was not sent at all, or it has no body and
/// its method may be repeated (RFC 9110, section 9.2.2).
async fn send(
    client: &Rc<Client>,
    pool: &Rc<Pool>,
    target: &Target,
    mut request: Request<UpBody>,
    state: Option<&UpState>,
    limits: Limits,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let repeatable = state.is_none() && request.method().is_idempotent();
    if let Some(mut lease) = pool.reuse(!repeatable).await {
        let again = repeatable.then(|| copy(&request));
        match attempt(&mut lease, request, state, limits).await {
            Ok(response) => return Ok((response, lease)),
            Err((Failed::Answer(error), unsent)) => {
                let broken =
                    error.is_canceled() || error.is_closed() || error.is_incomplete_message();
                let again = again.filter(|_| broken || is_reset(&error));
                request = unsent.or(again).ok_or(Failed::Answer(error))?;
            }
            Err((failed, _)) => return Err(failed),
        }
    }
    let mut lease = pool.connect(&client.worker, target).await?;
    match attempt(&mut lease, request, state, limits).await {
        Ok(response) => Ok((response, lease)),
        Err((failed, _)) => Err(failed),
    }
}

/// Whether the origin tore the connection down, as it may while it is idle.
fn is_reset(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        matches!(io.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
    })
}

fn copy(request: &Request<UpBody>) -> Request<UpBody> {
    let mut copy = Request::new(UpBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// One try. With a failure comes the request, if nothing of it was sent.
async fn attempt(
    lease: &mut Lease,
    request: Request<UpBody>,
    state: Option<&UpState>,
    limits: Limits,
) -> Result<Response<Incoming>, (Failed, Option<Request<UpBody>>)> {
    let mut answer = pin!(lease.sender().try_send_request(request));
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

fn origin_form(uri: &Uri) -> Result<Uri, Failed> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().path_and_query(path).build().map_err(|_| Failed::Target)
}
