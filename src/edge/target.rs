//! The servers behind a site, with what each request to them needs made once.
//!
//! They are the same for all workers and never change; connections, and how each server fares, are
//! in `origin`.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

use super::trusting::Secure;
use super::trusting::Trusting;
use crate::config::Address;
use crate::config::Asking;
use crate::config::Origin;
use crate::config::OriginHttp;
use crate::config::OriginTls;
use crate::config::Server;

/// The servers of a site.
#[derive(Debug)]
pub(super) struct Upstream {
    /// No other has it, as long as the process lives.
    pub(super) id: u64,
    /// Never empty.
    pub(super) targets: Vec<Target>,
    pub(super) asking: Asking,
}

/// A server.
#[derive(Debug)]
pub(super) struct Target {
    address: Address,
    /// What tells it from others; servers with the same key share their connections.
    key: Box<str>,
    host: HeaderValue,
    /// If it speaks TLS.
    secure: Option<Secure>,
    speech: Speech,
    pub(super) weight: u32,
}

/// The version of HTTP that a server is spoken with in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speech {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
    /// Whichever it chooses in the handshake.
    Either,
}

impl Speech {
    const fn of(address: &Address, http: OriginHttp) -> Self {
        match (address, http) {
            (Address::H2c(_), _) | (_, OriginHttp::Two) => Self::Two,
            (Address::Https(_), OriginHttp::Auto) => Self::Either,
            (Address::Http(_) | Address::Https(_) | Address::Unix(_), _) => Self::One,
        }
    }
}

impl Upstream {
    /// The servers of `origin`, if it has any.
    pub(super) fn of(origin: &Origin, trusting: &mut Trusting) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Origin::Servers(servers) = origin else { return None };
        let http = servers.asking.http;
        let new = |server| Target::new(server, &servers.tls, http, trusting);
        let targets: Vec<_> = servers.list.iter().map(new).collect();
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        (!targets.is_empty()).then(|| Self { id, targets, asking: servers.asking })
    }
}

impl Target {
    fn new(server: &Server, tls: &OriginTls, http: OriginHttp, trusting: &mut Trusting) -> Self {
        let Server { address, weight } = server;
        let speech = Speech::of(address, http);
        let mut key = address.to_string();
        if speech == Speech::Two && !matches!(address, Address::H2c(_)) {
            key.push_str(" HTTP/2");
        }
        let mut secure = None;
        if let Address::Https(authority) = address {
            let (found, way) = trusting.of(authority, tls);
            // A connection that was opened in one way is not used for a site that has another.
            key = format!("{key} {way}");
            secure = found;
        }
        let own = match address {
            Address::Http(authority) | Address::H2c(authority) | Address::Https(authority) => {
                HeaderValue::from_str(authority.as_str()).ok()
            }
            // A socket has no name; this one is always of the machine itself.
            Address::Unix(_) => None,
        };
        Self {
            address: address.clone(),
            key: key.into_boxed_str(),
            secure,
            speech,
            host: own.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            weight: (*weight).max(1),
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) const fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    pub(super) const fn speech(&self) -> Speech {
        self.speech
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The Host it sees when the client's is not preserved.
    pub(super) const fn host(&self) -> &HeaderValue {
        &self.host
    }
}
