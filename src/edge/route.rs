//! Which site a request is for, and whether the client may ask for it here.
//!
//! Host (or `:authority`) is parsed strictly: a name or address and perhaps a port, nothing else.
//! On TLS it must lead to the site that the handshake was for (RFC 9110, section 7.4).

use std::borrow::Cow;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;

use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header::CONNECTION;
use http::header::CONTENT_LENGTH;
use http::header::HOST;
use http::header::TE;
use http::header::TRANSFER_ENCODING;
use http::header::UPGRADE;
use http::request::Parts;

use super::serving::ServedSite;
use super::serving::ServingSet;
use super::serving::normal;

/// What a TLS client asked for in its handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Identity {
    /// A server name, normalised.
    Name(Box<str>),
    /// No name; the address it connected to.
    Address(IpAddr),
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    /// Host, target or method make no sense.
    #[error("bad request")]
    Bad,
    /// The site is not the one this connection is for (RFC 9110, section 15.5.20).
    #[error("misdirected request")]
    Misdirected,
    /// The site asks for a client certificate, and this connection has shown none that is good. A
    /// client may try again on another connection, where it is asked for one.
    #[error("a client certificate is needed")]
    Unproven,
    /// No such site here.
    #[error("not found")]
    Unknown,
    /// CONNECT is for forward proxies.
    #[error("method not allowed")]
    Connect,
}

impl Refused {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Bad => StatusCode::BAD_REQUEST,
            Self::Misdirected | Self::Unproven => StatusCode::MISDIRECTED_REQUEST,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl Identity {
    /// The site in `set` that has it as a name.
    pub(super) fn known(&self, set: &ServingSet) -> Option<Arc<ServedSite>> {
        match self {
            Self::Name(name) => set.lead(name),
            Self::Address(address) => set.by_address(*address).map(Arc::clone),
        }
    }

    /// As a certificate would name it.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Address(address) => Cow::Owned(address.to_canonical().to_string()),
        }
    }

    /// The site for a request to `host` on a connection with this identity.
    pub(super) fn site(&self, set: &ServingSet, host: &str) -> Result<Arc<ServedSite>, Refused> {
        let fallback = || set.fallback().map(Arc::clone);
        let here = self.known(set).or_else(fallback).ok_or(Refused::Misdirected)?;
        if matches!(self, Self::Name(name) if &**name == host) {
            return Ok(here);
        }
        // An unknown host is for the default site, and so only on a connection to it. Onboarded names
        // share a site and belong to different people.
        let wanted = set.lead(host).or_else(fallback).ok_or(Refused::Misdirected)?;
        let same = Arc::ptr_eq(&wanted, &here) && !here.guest;
        if same { Ok(here) } else { Err(Refused::Misdirected) }
    }
}

/// The host a request is for, as it was written, checked.
pub(super) fn host(parts: &Parts) -> Result<Cow<'_, str>, Refused> {
    if parts.method == Method::CONNECT {
        return Err(Refused::Connect);
    }
    check_target(parts)?;
    if parts.version >= http::Version::HTTP_2 {
        check_unwatched(parts)?;
    }
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = match fields.next() {
        Some(value) => Some(value.to_str().map_err(|_| Refused::Bad)?),
        None => None,
    };
    if fields.next().is_some() {
        return Err(Refused::Bad);
    }
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    let chosen = match (target, field) {
        // In HTTP/1 the target wins over a Host that says otherwise (RFC 9112, section 3.2.2),
        // after it the two must agree (RFC 9113, section 8.3.1; RFC 9114, section 4.3.1).
        (Some(target), Some(field)) => {
            if parts.version >= http::Version::HTTP_2 && !target.eq_ignore_ascii_case(field) {
                return Err(Refused::Bad);
            }
            split(field).ok_or(Refused::Bad)?;
            target
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Err(Refused::Bad),
    };
    split(chosen).ok_or(Refused::Bad)?;
    Ok(Cow::Borrowed(chosen))
}

/// What the scanner refuses on HTTP/1 connections and the libraries let pass on HTTP/2 and 3: bytes in
/// the target that no HTTP/1 target has, and a length that stands there twice or is no number.
fn check_unwatched(parts: &Parts) -> Result<(), Refused> {
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let (length, more) = (lengths.next(), lengths.next());
    let number =
        length.is_none_or(|l| !l.is_empty() && l.as_bytes().iter().all(u8::is_ascii_digit));
    if parts.version == http::Version::HTTP_3 && !is_apart(&parts.headers) {
        return Err(Refused::Bad);
    }
    if more.is_some() || !number || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refused::Bad);
    }
    Ok(())
}

/// Whether a request says nothing of its connection, as it must not after HTTP/1 (RFC 9114, section 4.2).
/// On HTTP/2 the library looks.
fn is_apart(headers: &HeaderMap) -> bool {
    let none = [CONNECTION, TRANSFER_ENCODING, UPGRADE];
    let others = ["keep-alive", "proxy-connection"];
    let trailers = headers.get_all(TE).iter().all(|value| value == "trailers");
    trailers
        && !none.iter().any(|name| headers.contains_key(name))
        && !others.iter().any(|name| headers.contains_key(*name))
}

/// Only origin-form, absolute-form for HTTP, and `*` for OPTIONS.
fn check_target(parts: &Parts) -> Result<(), Refused> {
    let uri = &parts.uri;
    if uri.scheme_str().is_some_and(|scheme| scheme != "https" && scheme != "http") {
        return Err(Refused::Bad);
    }
    // A bare authority is for CONNECT alone.
    if uri.scheme().is_none() && uri.authority().is_some() {
        return Err(Refused::Bad);
    }
    match uri.path() {
        "*" if parts.method == Method::OPTIONS => Ok(()),
        path if path.starts_with('/') => Ok(()),
        "" if uri.scheme().is_some() => Ok(()),
        _ => Err(Refused::Bad),
    }
}

/// Host and port of `authority`, if it has exactly these.
pub(super) fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            let host = authority.get(..address.len() + 2)?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.starts_with('[')
        && (host.is_empty()
            || host.len() > 254
            || host.starts_with('.')
            || host.contains("..")
            || !host.bytes().all(name))
    {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(port) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().ok().map(|port| (host, Some(port)))
        }
        Some(_) => None,
    }
}

/// The name under which the site of a checked `authority` is found.
pub(super) fn key(authority: &str) -> Cow<'_, str> {
    normal(split(authority).map_or(authority, |(host, _)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "a.example",
            "A.Example.",
            "a.example:443",
            "192.0.2.7",
            "[2001:db8::1]",
            "[::1]:8443",
            "a_b.example",
            "localhost",
        ] {
            assert!(split(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ":443",
            "a.example:",
            "a.example:x",
            "a.example:99999",
            "a.example:+1",
            "user@a.example",
            "a.example/",
            "a.example,b.example",
            "a b",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[a.example]",
            "::1",
            "a..example",
            ".example",
            "a.example\u{e9}",
            "a%41",
            "a.example?x",
            "a.example#x",
            "a.example:443:443",
        ] {
            assert!(split(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn sites_are_found_without_regard_to_case_port_and_final_dot() {
        assert_eq!(key("A.Example.:8443"), "a.example");
        assert_eq!(key("[::1]:8443"), "[::1]");
    }
}
