//! Fields on their way through: what goes no further, what is forged, what is added.
//!
//! Hop-by-hop fields end here in both directions (RFC 9110, section 7.6.1). What tells the origin
//! about the client is written by us alone: whatever a client says of the kind is removed.

use std::rc::Rc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderValue, Version};

use super::connection::Client;
use super::facts;
use super::serving::ServedSite;
use super::trailers;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that say which host was asked for; the same for each request to it on a connection.
#[derive(Debug)]
pub(super) struct HostFields {
    asked: Box<str>,
    host: HeaderValue,
    forwarded: HeaderValue,
    port: HeaderValue,
}

/// The protocol a client wants to change to, if it asks properly.
pub(super) fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(UPGRADE).iter();
    let wanted = values.next()?;
    let text = wanted.to_str().ok()?;
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/' | b'+');
    if values.next().is_some() || text.is_empty() || !text.bytes().all(token) {
        return None;
    }
    let name = text.to_ascii_lowercase();
    // Another version of HTTP, or TLS within TLS, would make us blind to what follows.
    if name == "h2c" || name == "h2" || name.starts_with("http/") || name.starts_with("tls/") {
        return None;
    }
    let asked = options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    asked.then(|| wanted.clone())
}

/// Whether a client waits with its body until it is wanted (RFC 9110, section 10.1.1).
pub(super) fn expects(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Makes the fields of a client's request those of ours to the origin.
pub(super) fn to_origin(
    headers: &mut HeaderMap,
    client: &Client,
    site: &ServedSite,
    asked: &str,
    version: Version,
) {
    let takes_trailers = accepts_trailers(headers);
    strip_connection(headers);
    let announced = trailers::announced(headers);
    for name in [TE, UPGRADE, PROXY_AUTHORIZATION, HTTP2_SETTINGS, EXPECT, TRAILER] {
        headers.remove(name);
    }
    strip_forged(headers);
    if version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    site.visitors.introduce(client.shown.as_ref(), headers);
    if site.tls_headers {
        facts::tell(client.facts.get(), client.name(), headers);
    }
    let fields = host_fields(client, asked);
    headers.insert(HOST, fields.host.clone());
    headers.insert(X_FORWARDED_FOR, client.peer.clone());
    headers.insert(X_REAL_IP, client.peer.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(X_FORWARDED_HOST, fields.host.clone());
    headers.insert(X_FORWARDED_PORT, fields.port.clone());
    headers.insert(FORWARDED, fields.forwarded.clone());
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }
    headers.append(VIA, via(version));
}

/// The version that a message came in (RFC 9110, section 7.6.3).
const fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_3 => "3.0 keyward",
        Version::HTTP_2 => "2.0 keyward",
        Version::HTTP_10 => "1.0 keyward",
        _ => "1.1 keyward",
    })
}

/// Whether the length of an origin's answer can be read in one way only (RFC 9112, section 6.3).
/// hyper undoes `chunked` and nothing below it, so another coding would reach the client unnamed.
pub(super) fn sound_lengths(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, more) = (lengths.next(), lengths.next());
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (coding, further) = (codings.next(), codings.next());
    let digits =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    more.is_none()
        && further.is_none()
        && (length.is_none() || coding.is_none())
        && length.is_none_or(digits)
        && coding.is_none_or(chunked)
}

/// Makes the fields of an origin's answer those of ours to the client.
pub(super) fn to_client(headers: &mut HeaderMap, site: &ServedSite, version: Version) {
    strip_connection(headers);
    for name in [UPGRADE, PROXY_AUTHENTICATE, TE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    headers.append(VIA, via(version));
    secure(headers, site);
}

/// Adds Strict-Transport-Security as the site has it; an origin's own gives way.
pub(super) fn secure(headers: &mut HeaderMap, site: &ServedSite) {
    if let Some(hsts) = &site.hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// What a message lists as meant for its next receiver only.
pub(super) fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Removes Connection, what it names, and what belongs to a connection without being named.
fn strip_connection(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = options(headers)
            .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
            .filter(|name| *name != HOST)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// Removes what only a proxy may say. Underscores count as dashes, because many an application
/// server makes them the same; for that reason a length with an underscore goes too.
fn strip_forged(headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| is_forged(name.as_str())).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Whether only a proxy may say it.
pub(super) fn is_forged(name: &str) -> bool {
    if !name.starts_with(['x', 'f', 'p', 'c', 't']) {
        return false;
    }
    let same = |wanted: &str, name: &str| {
        wanted.len() == name.len()
            && wanted.bytes().zip(name.bytes()).all(|(w, n)| w == n || w == b'-' && n == b'_')
    };
    name.get(.."x-forwarded-".len()).is_some_and(|start| same("x-forwarded-", start))
        || same("x-real-ip", name)
        || same("forwarded", name)
        || same("proxy", name)
        || same("x-tls-version", name)
        || same("x-tls-cipher", name)
        || same("x-tls-name", name)
        || same("x-tls-ja4", name)
        || same("client-cert", name)
        || same("client-cert-chain", name)
        || name.contains('_')
            && (same("content-length", name)
                || same("transfer-encoding", name)
                || same("x-request-id", name))
}

/// HTTP/2 and 3 split cookies; HTTP/1 has them in one field (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Parts that were values joined by printable bytes are a value.
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, value);
    }
}

fn host_fields(client: &Client, asked: &str) -> Rc<HostFields> {
    let mut cached = client.host_fields.borrow_mut();
    if let Some(fields) = cached.as_ref().filter(|fields| &*fields.asked == asked) {
        return Rc::clone(fields);
    }
    let address = client.peer_address.ip().to_canonical();
    // An IPv6 address is quoted and in brackets (RFC 7239, section 6).
    let node = match address {
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => format!("\"[{v6}]\""),
    };
    let forwarded = format!("for={node};host=\"{asked}\";proto=https");
    let unknown = || HeaderValue::from_static("unknown");
    let fields = Rc::new(HostFields {
        asked: asked.into(),
        // A host that was checked is a field value.
        host: HeaderValue::from_str(asked).unwrap_or_else(|_| unknown()),
        forwarded: HeaderValue::from_str(&forwarded).unwrap_or_else(|_| unknown()),
        port: HeaderValue::from(client.at.port()),
    });
    *cached = Some(Rc::clone(&fields));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_connection_names_goes_no_further() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Secret"),
            ("connection", "x-other , host"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("host", "a.example"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        strip_connection(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host"]);
    }

    #[test]
    fn what_a_client_says_about_itself_is_removed_in_every_spelling() {
        for forged in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-ssl",
            "x_forwarded_for",
            "x-forwarded_for",
            "x-real-ip",
            "x_real_ip",
            "x_request_id",
            "forwarded",
            "proxy",
            "client-cert",
            "client_cert_chain",
            "content_length",
            "transfer_encoding",
        ] {
            assert!(is_forged(forged), "{forged}");
        }
        for honest in [
            "x-forwarded",
            "proxy-feature",
            "x-real-ipx",
            "from",
            "x-request-id",
            "content-length",
            "content_type",
            "transfer-encoding",
        ] {
            assert!(!is_forged(honest), "{honest}");
        }
    }

    #[test]
    fn only_one_plain_protocol_can_be_changed_to() {
        let upgrade = |value| map(&[("connection", "Upgrade"), ("upgrade", value)]);
        assert!(wanted_upgrade(&upgrade("websocket")).is_some());
        for refused in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c", ""] {
            assert!(wanted_upgrade(&upgrade(refused)).is_none(), "{refused}");
        }
        assert!(wanted_upgrade(&map(&[("upgrade", "websocket")])).is_none());
        let twice = map(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")]);
        assert!(wanted_upgrade(&twice).is_none());
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
        assert_eq!(headers[COOKIE], "a=1; b=2; c=3");
    }
}
