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
    pub(super) weight: u32,
}

impl Upstream {
    /// The servers of `origin`, if it has any.
    pub(super) fn of(origin: &Origin, trusting: &mut Trusting) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Origin::Servers(servers) = origin else { return None };
        let new = |server| Target::new(server, &servers.tls, trusting);
        let targets: Vec<_> = servers.list.iter().map(new).collect();
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        (!targets.is_empty()).then(|| Self { id, targets, asking: servers.asking })
    }
}

impl Target {
    fn new(server: &Server, tls: &OriginTls, trusting: &mut Trusting) -> Self {
        let Server { address, weight } = server;
        let mut key = address.to_string();
        let mut secure = None;
        if let Address::Https(authority) = address {
            let (found, way) = trusting.of(authority, tls);
            // A connection that was opened in one way is not used for a site that has another.
            key = format!("{key} {way}");
            secure = found;
        }
        let own = match address {
            Address::Http(authority) | Address::Https(authority) => {
                HeaderValue::from_str(authority.as_str()).ok()
            }
            // A socket has no name; this one is always of the machine itself.
            Address::Unix(_) => None,
        };
        Self {
            address: address.clone(),
            key: key.into_boxed_str(),
            secure,
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

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The Host it sees when the client's is not preserved.
    pub(super) const fn host(&self) -> &HeaderValue {
        &self.host
    }
}
