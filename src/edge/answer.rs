//! Answers of our own: refusals, failures of origins, redirects, and the welcome page.
//!
//! They name nothing of the inside: no origin, no address, no version.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};

use super::body::AnswerBody;

/// A short text.
pub(super) fn text(status: StatusCode, line: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::ready(Bytes::from_static(line.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal or failure, in words for whoever sees it.
pub(super) fn failure(status: StatusCode) -> Response<AnswerBody> {
    let line = match status {
        StatusCode::BAD_REQUEST => "The request is malformed.\n",
        StatusCode::UNAUTHORIZED => "A name and its password are needed here.\n",
        StatusCode::FORBIDDEN => "This is not for everybody.\n",
        StatusCode::PAYLOAD_TOO_LARGE => "That is more than is taken here.\n",
        StatusCode::TOO_MANY_REQUESTS => "That was too much at a time. Come back later.\n",
        StatusCode::NOT_FOUND => "There is no such site here.\n",
        StatusCode::METHOD_NOT_ALLOWED => "This method is not served here.\n",
        StatusCode::REQUEST_TIMEOUT => "The request did not arrive in time.\n",
        StatusCode::MISDIRECTED_REQUEST => "This connection is for another site.\n",
        StatusCode::NOT_IMPLEMENTED => "There is no WebSocket here.\n",
        StatusCode::BAD_GATEWAY => "The server behind this site gives no proper answer.\n",
        StatusCode::SERVICE_UNAVAILABLE => "The server behind this site is busy.\n",
        StatusCode::GATEWAY_TIMEOUT => "The server behind this site does not answer in time.\n",
        _ => "The request cannot be answered.\n",
    };
    let mut response = text(status, line);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        response.headers_mut().insert(http::header::ALLOW, methods);
    }
    response
}

/// Marks an answer as the last one of an HTTP/1 connection.
pub(super) fn last(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Makes an answer of our own one to HEAD; an origin's is one already. HTTP/2 takes no body there.
pub(super) fn to_head(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    if let Some(length) = response.body_mut().empty() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// 308, so that method and body are kept (RFC 9110, section 15.4.9).
pub(super) fn redirect(location: &str) -> Response<AnswerBody> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return failure(StatusCode::BAD_REQUEST);
    };
    let mut response = text(StatusCode::PERMANENT_REDIRECT, "This site is served over HTTPS.\n");
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Sends the client to `location`.
pub(super) fn moved(status: StatusCode, location: &str) -> Response<AnswerBody> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return failure(StatusCode::BAD_REQUEST);
    };
    let mut response = text(status, "What was asked for is elsewhere.\n");
    response.headers_mut().insert(LOCATION, location);
    response
}

/// The answer to an HTTP-01 challenge (RFC 8555, section 8.3).
pub(super) fn challenge(key_authorization: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::ready(Bytes::from(key_authorization)));
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, octets);
    response
}

/// The page of `builtin:welcome`.
pub(super) fn welcome() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::ready(Bytes::from_static(PAGE.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    response
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>keyward is at the door</title>
<style>
body { max-width: 34rem; margin: 12vh auto; padding: 0 1.5rem; line-height: 1.55;
  font-family: system-ui, sans-serif; color: #1c2430; background: #f6f7f9 }
h1 { font-size: 1.5rem } code { background: #e6e9ee; padding: .1em .35em; border-radius: .25em }
@media (prefers-color-scheme: dark) { body { color: #dde3ea; background: #14181d }
  code { background: #2a313a } }
</style>
<h1>keyward is at the door</h1>
<p>This page came to you over HTTPS, with a certificate that keyward keeps for you.</p>
<p>Put your own server behind it: set <code>origin = "http://127.0.0.1:8080"</code> in the
site's table and reload. To see what is served and until when, run
<code>keyward status</code>.</p>
</html>
"#;
