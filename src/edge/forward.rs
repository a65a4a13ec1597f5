//! One request to an origin and its answer back, with every deadline on the way.
//!
//! Interim answers (1xx) of an origin are not passed on, as hyper has no way to say them to a client,
//! but for 100: a client that asks whether its body is wanted is told so by the origin's word.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};

use super::answer;
use super::asking;
use super::asking::Failed;
use super::asking::Limits;
use super::body::AnswerBody;
use super::body::UpBody;
use super::client_body::ClientBody;
use super::connection::Client;
use super::gate::Gate;
use super::headers;
use super::origin::Sending;
use super::policy::LongestBody;
use super::relay;
use super::routes::ServedRoute;
use super::serving::ServedSite;
use super::target::Upstream;
use super::tunnel::Tunnel;

/// Sends a request for `asked` to one of the servers `upstream` and gives its answer.
pub(super) async fn forward(
    client: &Rc<Client>,
    site: &ServedSite,
    upstream: &Upstream,
    asked: &str,
    parts: Parts,
    body: ClientBody,
) -> Response<AnswerBody> {
    let h1 = parts.version < Version::HTTP_2;
    let _waiting = client.wait();
    match exchange(client, site, upstream, asked, parts, body).await {
        Ok(response) => response,
        Err(failed) => {
            let status = failed.status();
            let counters = &client.worker.counters;
            if matches!(failed, Failed::Full) {
                counters.origins_full.up();
            } else if matches!(failed, Failed::TooLong) {
                counters.bodies_too_long.up();
            } else if status.is_server_error() {
                counters.origin_failures.up();
            }
            tracing::debug!(site = %site.name, reason = %failed, "request failed");
            let mut response = answer::failure(status);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of a body cannot be told from a next request.
            if h1 && status.is_client_error() { answer::last(response) } else { response }
        }
    }
}

async fn exchange(
    client: &Rc<Client>,
    site: &ServedSite,
    upstream: &Upstream,
    asked: &str,
    mut parts: Parts,
    body: ClientBody,
) -> Result<Response<AnswerBody>, Failed> {
    let limits = Limits::of(&client.worker.set().limits);
    let most = parts.extensions.remove::<LongestBody>().map(|LongestBody(bytes)| bytes);
    let (mut body, state) = UpBody::new(body, limits.body, most);
    let expects = state.is_some() && headers::expects(&parts.headers);
    let tunnel = parts.extensions.remove::<Tunnel>();
    let upgrade = ((parts.version == Version::HTTP_11 || tunnel.is_some()) && state.is_none())
        .then(|| headers::wanted_upgrade(&parts.headers))
        .flatten();
    let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
    let ours = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let route = parts.extensions.remove::<Arc<ServedRoute>>();
    parts.extensions.clear();
    headers::to_origin(&mut parts.headers, client, site, asked, version);
    if let Some(route) = route {
        route.dress(&mut parts.headers);
        // They could bring what the route has taken out.
        body.without_trailers();
    }
    if let Some(protocol) = &upgrade {
        parts.headers.insert(UPGRADE, protocol.clone());
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if state.is_some() && !parts.headers.contains_key(CONTENT_LENGTH) {
        // hyper would leave out a body of unknown length where the method has none by custom.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    parts.uri = origin_form(&parts.uri)?;
    let key = &client.worker.shared.sticky;
    let sticky = upstream.sticky.as_ref();
    let meant = sticky.and_then(|sticky| sticky.take(&mut parts.headers, key));
    let mut waiting = None;
    if expects {
        parts.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        let gate = Arc::<Gate>::default();
        body.wait_for(&gate);
        waiting = Some(gate);
    }
    let mut request = Request::from_parts(parts, body);
    if let Some(gate) = waiting {
        hyper::ext::on_informational(&mut request, move |interim| {
            if interim.status() == StatusCode::CONTINUE {
                gate.open();
            }
        });
    }
    let asked = (upstream, site.preserve_host, meant);
    let (mut response, mut lease) =
        asking::send(client, asked, request, state.as_deref(), limits).await?;
    if let Some(sticky) = sticky.filter(|_| meant != Some(lease.number())) {
        sticky.give(lease.number(), response.headers_mut(), key);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let chosen = response.headers().get(UPGRADE);
        let same = |asked: &HeaderValue| {
            chosen.is_some_and(|chosen| chosen.as_bytes().eq_ignore_ascii_case(asked.as_bytes()))
        };
        let (Some(_), Some(ours)) = (upgrade.filter(same), ours) else {
            return Err(Failed::Unasked);
        };
        if tunnel.as_ref().is_some_and(|tunnel| !tunnel.leave(response.headers_mut())) {
            return Err(Failed::Unasked);
        }
        let theirs = hyper::upgrade::on(&mut response);
        return Ok(relay::switch(
            client,
            site,
            response,
            (ours, theirs),
            lease.into_turn(),
            limits.idle,
        ));
    }
    let (mut parts, body) = response.into_parts();
    if !headers::sound_lengths(&parts.headers) {
        return Err(Failed::Framing);
    }
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(CONTENT_LENGTH);
    }
    parts.extensions.clear();
    let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
    headers::to_client(&mut parts.headers, site, version);
    lease.sending = state.map(Sending);
    Ok(Response::from_parts(parts, AnswerBody::origin(body, lease, limits.body)))
}

fn origin_form(uri: &Uri) -> Result<Uri, Failed> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().path_and_query(path).build().map_err(|_| Failed::Target)
}
