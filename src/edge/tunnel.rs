//! WebSocket over HTTP/2 (RFC 8441): a stream of many, as an upgrade of HTTP/1.1 to the origin.
//!
//! A client that opens one says CONNECT with a protocol. On the way to its origin that is a GET with an
//! Upgrade, under a key of ours, as clients have none there; on the way back a 101 is a 200. Not over
//! HTTP/3 (RFC 9220): the library takes no such protocol.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::response;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use hyper::ext::Protocol;
use ring::digest;

use crate::base::tls;

/// The protocol, in the request and in the fields of HTTP/1.1.
const WEBSOCKET: &str = "websocket";

/// RFC 6455, section 1.3.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// That a request was such a CONNECT, and what the origin has to show that it read it.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    accept: HeaderValue,
}

impl Tunnel {
    /// Makes `parts` a request for an upgrade, if a client asks for one in the manner of HTTP/2; whether
    /// it does.
    pub(super) fn enter(parts: &mut Parts) -> bool {
        let asked = parts.method == Method::CONNECT && parts.version == Version::HTTP_2;
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        if !asked || !protocol.is_some_and(|name| name.eq_ignore_ascii_case(WEBSOCKET)) {
            return false;
        }
        let mut nonce = [0; 16];
        if tls::fill(&mut nonce).is_none() {
            return false;
        }
        let key = STANDARD.encode(nonce);
        let values = (HeaderValue::from_str(&key), HeaderValue::from_str(&accept(&key)));
        let (Ok(key), Ok(accept)) = values else { return false };
        parts.method = Method::GET;
        parts.headers.insert(SEC_WEBSOCKET_KEY, key);
        parts.headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.extensions.insert(Self { accept });
        true
    }

    /// Whether the origin has taken the request for what it was; makes the fields of its answer those of
    /// an answer to CONNECT.
    pub(super) fn leave(&self, headers: &mut HeaderMap) -> bool {
        for name in [UPGRADE, CONNECTION] {
            headers.remove(name);
        }
        headers.remove(SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept == self.accept)
    }

    /// Makes `parts` the answer that there is a way.
    pub(super) fn through(parts: &mut response::Parts) {
        parts.status = StatusCode::OK;
        parts.extensions.insert(Through);
    }

    /// Whether this is such an answer.
    pub(super) fn is_through<T>(response: &Response<T>) -> bool {
        response.extensions().get::<Through>().is_some()
    }
}

/// On an answer: there is a way to the origin.
#[derive(Clone, Copy, Debug)]
struct Through;

/// RFC 6455, section 4.2.2.
fn accept(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(MAGIC);
    STANDARD.encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn an_origin_shows_that_it_read_the_key() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let tunnel = Tunnel { accept: HeaderValue::from_static("mine") };
        let mut headers = HeaderMap::new();
        assert!(!tunnel.leave(&mut headers));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("another's"));
        assert!(!tunnel.leave(&mut headers));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("mine"));
        headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
        assert!(tunnel.leave(&mut headers) && headers.is_empty());
    }
}
