//! The servers behind a site, with what each request to them needs made once.
//!
//! They are the same for all workers and never change; connections, and how each server fares, are
//! in `origin`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use http::uri::Authority;

use super::addresses::Addresses;
use super::standing::Standing;
use super::sticky::Sticky;
use super::trusting::Secure;
use super::trusting::Trusting;
use crate::config::Address;
use crate::config::Asking;
use crate::config::Origin;
use crate::config::OriginHttp;
use crate::config::ProxyVersion;
use crate::config::Server;
use crate::config::Servers;

/// The servers of a site.
#[derive(Debug)]
pub(super) struct Upstream {
    /// No other has it, as long as the process lives.
    pub(super) id: u64,
    /// Never empty.
    pub(super) targets: Vec<Target>,
    pub(super) asking: Asking,
    /// How a client comes to the same server again, if it does.
    pub(super) sticky: Option<Sticky>,
}

/// A server.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) reach: Arc<Reach>,
    /// What tells it from others; servers with the same key share their connections.
    key: Box<str>,
    /// How it is, as all workers know it.
    pub(super) standing: Arc<Standing>,
    pub(super) weight: u32,
}

/// How a server is reached.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) address: Address,
    /// The Host it sees when the client's is not preserved.
    pub(super) host: HeaderValue,
    /// If it speaks TLS.
    pub(super) secure: Option<Secure>,
    pub(super) speech: Speech,
    /// The header by which it learns who the client is; its connections are for one client each.
    pub(super) proxy: Option<ProxyVersion>,
    /// Where its host is, if that has to be looked up.
    pub(super) found: Option<Arc<Addresses>>,
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
    pub(super) fn of(origin: &Origin, trusting: &mut Trusting<'_>) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Origin::Servers(servers) = origin else { return None };
        let how = (servers, &servers.asking);
        let new = |server| Target::new(server, how, trusting);
        let targets: Vec<_> = servers.list.iter().map(new).collect();
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let sticky = servers.sticky.as_deref().filter(|_| targets.len() > 1);
        let sticky = sticky.map(|name| Sticky::new(name, &trusting.site, &servers.list));
        (!targets.is_empty()).then(|| Self { id, targets, asking: servers.asking, sticky })
    }
}

impl Target {
    fn new(
        server: &Server,
        (servers, asking): (&Servers, &Asking),
        trusting: &mut Trusting<'_>,
    ) -> Self {
        let Server { address, weight } = server;
        let speech = Speech::of(address, asking.http);
        let proxy = asking.proxy;
        let mut key = address.to_string();
        if speech == Speech::Two && !matches!(address, Address::H2c(_)) {
            key.push_str(" HTTP/2");
        }
        if let Some(version) = proxy {
            key = format!("{key} PROXY {version:?}");
        }
        let mut secure = None;
        if let Address::Https(authority) = address {
            let (found, way) = trusting.of(authority, &servers.tls);
            // A connection that was opened in one way is not used for a site that has another.
            key = format!("{key} {way}");
            secure = found;
        }
        let (own, found) = match address {
            Address::Http(authority) | Address::H2c(authority) | Address::Https(authority) => {
                let host = bare(authority);
                let found = host.parse::<IpAddr>().is_err().then(|| trusting.watch.host(host));
                (HeaderValue::from_str(authority.as_str()).ok(), found)
            }
            // A socket has no name; this one is always of the machine itself.
            Address::Unix(_) => (None, None),
        };
        let reach = Arc::new(Reach {
            address: address.clone(),
            host: own.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            secure,
            speech,
            proxy,
            found,
        });
        let names = (key.as_str(), trusting.site.as_str());
        let standing = trusting.watch.standing(names, &reach, servers.health.as_ref());
        Self { reach, key: key.into_boxed_str(), standing, weight: (*weight).max(1) }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

impl Reach {
    /// Whether a connection to `peer` is still one to this server.
    pub(super) fn is_at(&self, peer: Option<IpAddr>) -> bool {
        match (&self.found, peer) {
            (Some(found), Some(peer)) => found.has(peer),
            _ => true,
        }
    }
}

/// The host of `authority`, without brackets.
pub(super) fn bare(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}
