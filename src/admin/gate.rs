//! Who asks, found out for each request, and whether there is something left of their share.
//!
//! Each request is looked at anew, so whoever was taken out of the configuration is out at once.
//! Deliberately absent: what a route needs, which `ways` knows.

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::response::Response;
use http::HeaderMap;
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
use super::tokens::Granted;
use super::wire::PROBLEM_JSON;
use super::wire::Problem;
use crate::cert::rights::Role;
use crate::cert::token;

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
        let caller = match self.caller(seen, request.headers()) {
            Ok(caller) => caller,
            Err(refused) => return *refused,
        };
        // Nobody behind here has a use for it.
        request.headers_mut().remove(header::AUTHORIZATION);
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

    /// Who asks. A token counts, if one is shown, and then nothing else does.
    fn caller(&self, seen: &Seen, headers: &HeaderMap) -> Result<Caller, Box<Response>> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = shown.next() else {
            return self
                .access
                .caller(seen)
                .ok_or_else(|| stranger(seen.peer).into_response().into());
        };
        // By user and not by client: a token that is none is nobody's.
        let party = Party::Stranger(seen.peer.uid);
        self.shares.hears(&party).map_err(|used_up| Box::new(refusal(&used_up)))?;
        let granted = match shown.next() {
            None => self.granted(first),
            Some(_) => Err("two of them were sent".to_owned()),
        };
        let (granted, role) = granted.map_err(|why| {
            // It only counts them: the next one is not heard if this was the last.
            let _counted = self.shares.take(&party, What::BadToken);
            Box::new(bad_token(why))
        })?;
        Ok(Caller::bearer(granted, role, seen.peer))
    }

    fn granted(&self, value: &HeaderValue) -> Result<(Granted, Role), String> {
        let text = value.to_str().map_err(|_| "it is no text".to_owned())?;
        let (scheme, text) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("it is shown as \"Authorization: Bearer kw_...\"".to_owned());
        }
        let hash = token::read(text.trim()).map_err(|error| error.to_string())?;
        // One that never was, that was revoked, and that has run out look alike.
        let none = || "it is none, or none any more".to_owned();
        let granted = self.desk.house.granted(&hash).ok_or_else(none)?;
        let role = self.access.role_of(&granted.client);
        let role = role.ok_or_else(|| "its client is not in the configuration".to_owned())?;
        Ok((granted, role))
    }
}

/// RFC 6750, section 3.
fn bad_token(why: String) -> Response {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "bad-token", "the token lets nobody in")
        .detail(why)
        .hint("keyward token list shows those that are good");
    let mut response = problem.into_response();
    let asks = HeaderValue::from_static("Bearer realm=\"keyward\", error=\"invalid_token\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
    response
}

fn stranger(peer: Peer) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not-allowed", "you may not use this socket")
        .detail(format!(
            "user {} is neither root nor the daemon's user nor in its group, and no client",
            peer.uid
        ))
        .hint("run as root, join the group named by [admin] group, be named by a [[client]], or show a token")
}

/// What somebody is told whose share is used up.
pub(super) fn used_up(used_up: &UsedUp) -> Problem {
    let most = used_up.most;
    let what = match used_up.what {
        What::Connection => "connections at a time",
        What::Request if used_up.rate => "requests in a minute",
        What::Request => "requests at a time",
        What::Follower => "followers of the journal at a time",
        What::BadToken => "tokens in a minute that are none",
    };
    let (status, kind) = match used_up.what {
        What::Connection => (StatusCode::SERVICE_UNAVAILABLE, "too-many-connections"),
        What::Follower => (StatusCode::SERVICE_UNAVAILABLE, "too-many-followers"),
        What::Request | What::BadToken => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests"),
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
