//! The plain-HTTP side: challenges of the CA, redirects to HTTPS, and nothing else.

use std::convert::Infallible;
use std::rc::Rc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::answer;
use super::body::AnswerBody;
use super::connection::Client;
use super::connection::Exchange;
use super::route;
use super::route::Refused;
use super::route::{key, split};

/// Where a CA looks for tokens (RFC 8555, section 8.3).
const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// Answers one request. Never fails: a refusal is an answer.
pub(super) async fn serve(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let mut exchange = client.begin();
    client.worker.counters.requests.up();
    let (parts, _) = request.into_parts();
    note(&client, &mut exchange, &parts);
    let response = match challenge(&client, &parts) {
        Some(response) => response,
        None => redirect(&client, &parts).unwrap_or_else(|refused| {
            client.worker.counters.refused.up();
            let response = answer::failure(refused.status());
            if refused == Refused::Unknown { response } else { answer::last(response) }
        }),
    };
    let response = if client.closing() { answer::last(response) } else { response };
    if let Some(entry) = &mut exchange.entry {
        entry.answered(response.status());
    }
    Ok(response.map(|body| body.hold(exchange)))
}

/// Begins the line of the access log, if there is one.
fn note(client: &Client, exchange: &mut Exchange, parts: &Parts) {
    let set = client.worker.set();
    exchange.entry = client.worker.pen.begin(set.access, parts);
    if let (Some(entry), Ok(asked)) = (&mut exchange.entry, route::host(parts))
        && let Some(site) = set.lead(&key(&asked))
    {
        entry.led(&site, &asked);
    }
}

/// A token is answered under every name: the CA asks for the name that is to be proven, which may
/// not be served yet.
fn challenge(client: &Client, parts: &Parts) -> Option<Response<AnswerBody>> {
    let token = parts.uri.path().strip_prefix(CHALLENGE)?;
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return None;
    }
    let authorization = client.worker.shared.challenges.token(token)?;
    client.worker.counters.challenges.up();
    Some(answer::challenge(authorization))
}

fn redirect(client: &Client, parts: &Parts) -> Result<Response<AnswerBody>, Refused> {
    let asked = route::host(parts)?;
    let set = client.worker.set();
    let site = set.lead(&key(&asked)).ok_or(Refused::Unknown)?;
    if !site.redirect {
        return Err(Refused::Unknown);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.starts_with('/') {
        return Ok(answer::failure(StatusCode::BAD_REQUEST));
    }
    let (host, _) = split(&asked).ok_or(Refused::Bad)?;
    Ok(answer::redirect(&match client.worker.shared.https_port() {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    }))
}
