//! Who asks, found out for each request, and whether there is something left of their share.
//!
//! Each request is looked at anew, so whoever was taken out of the configuration is out at once.
//! Deliberately absent: what a route needs, which `ways` knows.

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::response::Response;
use http::HeaderValue;
use http::Request;
use http::StatusCode;
use http::header;
use hyper::body::Incoming;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use super::access::Access;
use super::access::Peer;
use super::access::Seen;
use super::caller::Caller;
use super::routes::Desk;
use super::shares::Party;
use super::shares::Shares;
use super::shares::UsedUp;
use super::shares::What;
use super::wire::PROBLEM_JSON;
use super::wire::Problem;

/// Finds out who asks.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) access: Access,
    pub(super) shares: Shares,
    pub(super) desk: Desk,
}

impl Gate {
    /// Has a request answered, or says why it is not.
    pub(super) async fn answer(
        &self,
        router: Router,
        seen: &Seen,
        request: Request<Incoming>,
    ) -> Response {
        let mut request = request.map(Body::new);
        let caller = match self.caller(seen) {
            Ok(caller) => caller,
            Err(problem) => return problem.into_response(),
        };
        // Held until the answer begins; who follows the journal holds something else.
        let _held = match self.shares.take(&Party::of(&caller), What::Request) {
            Ok(held) => held,
            Err(used_up) => return refusal(&used_up),
        };
        request.extensions_mut().insert(caller);
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn caller(&self, seen: &Seen) -> Result<Caller, Problem> {
        self.access.caller(seen).ok_or_else(|| stranger(seen.peer))
    }
}

fn stranger(peer: Peer) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not-allowed", "you may not use this socket")
        .detail(format!(
            "user {} is neither root nor the daemon's user nor in its group, and no client",
            peer.uid
        ))
        .hint("run as root, join the group named by [admin] group, or be named by a [[client]]")
}

/// What somebody is told whose share is used up.
pub(super) fn used_up(used_up: &UsedUp) -> Problem {
    let most = used_up.most;
    let what = match used_up.what {
        What::Connection => "connections at a time",
        What::Request if used_up.rate => "requests in a minute",
        What::Request => "requests at a time",
        What::Follower => "followers of the journal at a time",
    };
    let (status, kind) = match used_up.what {
        What::Connection => (StatusCode::SERVICE_UNAVAILABLE, "too-many-connections"),
        What::Follower => (StatusCode::SERVICE_UNAVAILABLE, "too-many-followers"),
        What::Request => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests"),
    };
    Problem::new(status, kind, "your share is used up")
        .detail(format!("at most {most} {what}"))
        .hint("come again after the time in Retry-After")
}

/// The same as an answer, with the time.
pub(super) fn refusal(what: &UsedUp) -> Response {
    let mut response = used_up(what).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(what)));
    response
}

/// In whole seconds, at least one (RFC 9110, section 10.2.3).
fn seconds(used_up: &UsedUp) -> u64 {
    used_up.again.as_secs().saturating_add(u64::from(used_up.again.subsec_nanos() > 0)).max(1)
}

/// Tells somebody who has too many connections, as far as it fits without waiting, and lets go.
pub(super) fn turn_away(stream: &UnixStream, what: &UsedUp) {
    let problem = used_up(what);
    // A structure of strings and numbers always serialises.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\
         retry-after: {}\r\nconnection: close\r\n\r\n",
        body.len(),
        seconds(what)
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    // Who does not hear it is told by the end of the connection.
    let _heard = stream.try_write(&answer);
}
