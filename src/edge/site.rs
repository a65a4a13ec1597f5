//! One request over TLS: checked, led to its site, answered.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ALT_SVC, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Body;

use super::answer;
use super::body::AnswerBody;
use super::client_body::ClientBody;
use super::connection::Client;
use super::forward;
use super::grpc;
use super::headers;
use super::route;
use super::route::Refused;
use super::route::split;
use super::serving::Behind;
use super::serving::ServedSite;
use super::serving::ServingSet;
use super::trace;
use super::tunnel::Tunnel;
use super::way;

/// Answers one request. Never fails: a refusal is an answer.
pub(super) async fn serve(
    client: Rc<Client>,
    request: Request<ClientBody>,
) -> Result<Response<AnswerBody>, Infallible> {
    let mut exchange = client.begin();
    client.worker.counters.requests.up();
    if request.version() == Version::HTTP_3 {
        client.worker.counters.quic_requests.up();
    }
    let h1 = request.version() < Version::HTTP_2;
    let (mut parts, body) = request.into_parts();
    let version = parts.version;
    let wanted = Tunnel::enter(&mut parts);
    let head = parts.method == Method::HEAD;
    let call = !h1 && grpc::is_call(&parts.headers);
    // Asked once: the client may prove itself while the request is under way.
    let unproven = client.unproven.get();
    let chosen = {
        let set = client.worker.set();
        exchange.entry = client.worker.pen.begin(set.access, &parts);
        choose(&client, &set, &parts)
    };
    if let (Some(entry), Ok((site, asked))) = (&mut exchange.entry, &chosen) {
        entry.led(site, asked);
    }
    let response = match chosen {
        Ok((site, _)) if unproven && !may_be_repeated(&site, &parts, &body) => {
            client.worker.counters.too_early.up();
            let mut response = answer::failure(TOO_EARLY);
            headers::secure(response.headers_mut(), &site);
            // Its body is not read.
            if h1 && !body.is_end_stream() { answer::last(response) } else { response }
        }
        Ok((site, asked)) => {
            if unproven {
                client.worker.counters.early.up();
                parts.headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
            }
            let ids = trace::identify(site.request_ids, &mut parts.headers);
            let way = if site.routes.is_empty() {
                Ok(None)
            } else {
                site.routes.lead(&mut parts, split(&asked).map_or(&*asked, |(host, _)| host))
            };
            let policy = match &way {
                Ok(Some(way)) => way.route.policy.clone(),
                Ok(None) => site.policy.clone(),
                Err(_) => None,
            };
            let mut response = match (way, policy) {
                (Err(refused), _) => {
                    let response = refuse(&client, refused, h1);
                    match &site.policy {
                        Some(policy) => policy.show(response),
                        None => response,
                    }
                }
                (Ok(way), Some(policy)) => {
                    Box::pin(policy.keep(&client, &site, way, &asked, (parts, body), h1)).await
                }
                (Ok(None), None) => reach(&client, &site, site.behind(), &asked, parts, body).await,
                (Ok(Some(way)), None) => {
                    Box::pin(way::follow(&client, &site, way, &asked, parts, body)).await
                }
            };
            headers::secure(response.headers_mut(), &site);
            if version < Version::HTTP_3
                && let Some(service) = client.worker.shared.quic.offer(client.at.port(), &asked)
            {
                response.headers_mut().insert(ALT_SVC, service);
            }
            if let Some(ids) = ids {
                response.headers_mut().insert(trace::X_REQUEST_ID, ids.request.clone());
                if let Some(entry) = &mut exchange.entry {
                    entry.identified(ids);
                }
            }
            response
        }
        Err(refused) => refuse(&client, refused, h1),
    };
    // To CONNECT any success would mean that there is a way.
    let through = !wanted || !response.status().is_success() || Tunnel::is_through(&response);
    let response = if through { response } else { answer::failure(StatusCode::NOT_IMPLEMENTED) };
    let response = if head { answer::to_head(response) } else { response };
    let leaving = h1 && client.closing() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    let response = if leaving { answer::last(response) } else { response };
    if let Some(entry) = &mut exchange.entry {
        entry.answered(response.status());
    }
    let response = if call { grpc::answer(response) } else { response };
    Ok(response.map(|body| body.hold(exchange)))
}

/// Has one of the servers answer, or a file; without any it is the welcome page.
pub(super) async fn reach(
    client: &Rc<Client>,
    site: &ServedSite,
    behind: Behind<'_>,
    asked: &str,
    parts: Parts,
    body: ClientBody,
) -> Response<AnswerBody> {
    let Behind { upstream, files, shown } = behind;
    match (upstream, files) {
        (Some(upstream), _) => forward::forward(client, site, upstream, asked, parts, body).await,
        (None, Some(files)) => {
            let unread = parts.version < Version::HTTP_2 && !body.is_end_stream();
            let _waiting = client.wait();
            let response = Box::pin(files.serve(parts, shown)).await;
            if unread { answer::last(response) } else { response }
        }
        (None, None) => welcome(&parts),
    }
}

fn refuse(client: &Client, refused: Refused, h1: bool) -> Response<AnswerBody> {
    client.worker.counters.refused.up();
    let response = answer::failure(refused.status());
    let harmless = matches!(refused, Refused::Misdirected | Refused::Unknown);
    if h1 && !harmless { answer::last(response) } else { response }
}

/// RFC 8470, section 5.1. A client's own field stays as it is: it came through another gateway.
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// RFC 8470, section 5.2.
const TOO_EARLY: StatusCode = StatusCode::TOO_EARLY;

/// Whether a request that came early does no harm when it comes again: safe by its method
/// (RFC 9110, section 9.2.1), whole, and for a site that takes such requests. A client that is
/// told otherwise asks again when it has shaken hands.
fn may_be_repeated(site: &ServedSite, parts: &Parts, body: &ClientBody) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
    // What a client lists as hop-by-hop goes no further, and the origin must see that field.
    let hidden = headers::options(&parts.headers)
        .any(|option| option.eq_ignore_ascii_case(EARLY_DATA.as_str()));
    let plain = !parts.headers.contains_key(UPGRADE) && !hidden;
    site.early_data && safe && plain && body.is_end_stream()
}

fn choose(
    client: &Client,
    set: &ServingSet,
    parts: &Parts,
) -> Result<(Arc<ServedSite>, Box<str>), Refused> {
    let asked = route::host(parts)?;
    let identity = client.identity.as_ref().ok_or(Refused::Bad)?;
    let site = identity.site(set, &route::key(&asked))?;
    let now = || client.worker.shared.certificates.mould.now();
    site.visitors.admit(client.shown.as_ref(), now)?;
    Ok((site, asked.into()))
}

fn welcome(parts: &Parts) -> Response<AnswerBody> {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        answer::welcome()
    } else {
        answer::failure(StatusCode::METHOD_NOT_ALLOWED)
    }
}
