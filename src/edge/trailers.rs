//! Fields that come behind a body: which of them go on (RFC 9110, section 6.5.1).
//!
//! Whether any do is decided in `body`, by who gets them.

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::headers;

/// What has to be known before the body is read, or decides who may do what: a receiver that merges
/// trailers with the head would be told it twice, and differently. What a proxy alone may say is
/// known to `headers`.
const FORBIDDEN: [&str; 39] = [
    "accept-encoding",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "early-data",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-request-id",
];

fn may_follow(name: &HeaderName) -> bool {
    !FORBIDDEN.contains(&name.as_str()) && !headers::is_forged(name.as_str())
}

/// The fields that a request says come behind its body (RFC 9110, section 6.6.2), of those that may.
/// Over HTTP/1.1 no other does: a server knows by it that there is something to wait for.
pub(super) fn announced(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut names = String::new();
    for value in headers.get_all(TRAILER) {
        for name in value.to_str().ok()?.split(',').map(str::trim) {
            let name = HeaderName::from_bytes(name.as_bytes()).ok();
            if let Some(name) = name.filter(may_follow) {
                names.push_str(if names.is_empty() { "" } else { ", " });
                names.push_str(name.as_str());
            }
        }
    }
    if names.is_empty() { None } else { HeaderValue::from_str(&names).ok() }
}

/// A frame without those fields that no trailer may have.
pub(super) fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    let mut trailers = match frame.into_trailers() {
        Ok(trailers) => trailers,
        Err(frame) => return frame,
    };
    let forbidden: Vec<_> = trailers.keys().filter(|name| !may_follow(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
    Frame::trailers(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_how_a_message_is_taken_does_not_come_behind_it() {
        let mut fields = HeaderMap::new();
        for name in FORBIDDEN.into_iter().chain(["x-forwarded-for", "forwarded", "client-cert"]) {
            fields.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        for name in ["grpc-status", "grpc-message", "server-timing", "digest"] {
            fields.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let left = clean(Frame::trailers(fields)).into_trailers().unwrap();
        let mut left: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["digest", "grpc-message", "grpc-status", "server-timing"]);
        let mut request = HeaderMap::new();
        assert_eq!(announced(&request), None);
        for value in ["Digest, Host", "x y", "X-Forwarded-For,server-timing"] {
            request.append(TRAILER, HeaderValue::from_static(value));
        }
        assert_eq!(announced(&request).unwrap(), "digest, server-timing");
        request.insert(TRAILER, HeaderValue::from_static("content-length"));
        assert_eq!(announced(&request), None);
        let data = clean(Frame::data(Bytes::from_static(b"x")));
        assert_eq!(data.into_data().unwrap(), "x");
    }
}
