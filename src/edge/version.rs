//! A request in the form that each version of HTTP has for it.
//!
//! It comes in that of HTTP/1.1 and may be sent in either, to one server after another. What it says
//! of the client and the connection is settled in `headers`.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::uri::PathAndQuery;
use http::uri::Scheme;
use http::{HeaderValue, Request, Uri, Version};

use super::body::UpBody;

/// In the form of HTTP/2: what was Host is in the target (RFC 9113, section 8.3.1), and no field is
/// about the connection (section 8.2.2). Trailers may follow. `None` if there is no such form.
pub(super) fn to_two(request: &mut Request<UpBody>, secure: bool) -> Option<()> {
    // hyper does not say what comes before an answer of HTTP/2, so nobody could be waited for.
    request.body().go_on();
    let headers = request.headers_mut();
    for name in [CONNECTION, EXPECT, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let authority = match headers.remove(HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).ok()?,
        None => request.uri().authority()?.clone(),
    };
    let scheme = if secure { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path(request));
    *request.uri_mut() = uri.build().ok()?;
    *request.version_mut() = Version::HTTP_2;
    let _kept = request.body().with_trailers(true);
    Some(())
}

/// In the form of HTTP/1.1, if it has that of HTTP/2. It has lost what it wanted of the connection.
pub(super) fn to_one(request: &mut Request<UpBody>) -> Option<()> {
    // They come behind chunks alone, and only those that were announced.
    let headers = request.headers();
    let announced = headers.contains_key(TRAILER) && !headers.contains_key(CONTENT_LENGTH);
    if !request.body().with_trailers(announced) {
        request.headers_mut().remove(TRAILER);
    }
    if request.version() != Version::HTTP_2 {
        return Some(());
    }
    let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    let uri = Uri::builder().path_and_query(path(request)).build().ok()?;
    let unknown = !request.headers().contains_key(CONTENT_LENGTH)
        && matches!(request.body(), UpBody::Streaming(_));
    let headers = request.headers_mut();
    if !headers.contains_key(HOST) {
        headers.insert(HOST, host?);
    }
    if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if unknown {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    Some(())
}

fn path(request: &Request<UpBody>) -> PathAndQuery {
    let path = request.uri().path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
