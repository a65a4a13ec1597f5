//! One request over TLS: checked, led to its site, answered.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::answer;
use super::body::AnswerBody;
use super::connection::Client;
use super::forward;
use super::headers;
use super::route;
use super::route::Refused;
use super::serving::ServedSite;
use crate::config::Origin;

/// Answers one request. Never fails: a refusal is an answer.
pub(super) async fn serve(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let exchange = client.begin();
    client.worker.counters.requests.up();
    let h1 = request.version() != Version::HTTP_2;
    let (parts, body) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let response = match choose(&client, &parts) {
        Ok((site, asked)) => {
            let mut response = match &site.origin {
                Origin::Http(authority) => {
                    forward::forward(&client, &site, authority, &asked, parts, body).await
                }
                Origin::Welcome => welcome(&parts),
            };
            headers::secure(response.headers_mut(), &site);
            response
        }
        Err(refused) => {
            client.worker.counters.refused.up();
            let response = answer::failure(refused.status());
            let harmless = matches!(refused, Refused::Misdirected | Refused::Unknown);
            if h1 && !harmless { answer::last(response) } else { response }
        }
    };
    let response = if head { answer::to_head(response) } else { response };
    let leaving = h1 && client.closing() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    let response = if leaving { answer::last(response) } else { response };
    Ok(response.map(|body| body.hold(exchange)))
}

fn choose(client: &Client, parts: &Parts) -> Result<(Arc<ServedSite>, Box<str>), Refused> {
    let asked = route::host(parts)?;
    let identity = client.identity.as_ref().ok_or(Refused::Bad)?;
    let site = identity.site(&client.worker.set(), &route::key(&asked))?;
    Ok((site, asked.into()))
}

fn welcome(parts: &Parts) -> Response<AnswerBody> {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        answer::welcome()
    } else {
        answer::failure(StatusCode::METHOD_NOT_ALLOWED)
    }
}
