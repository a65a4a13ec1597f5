//! A server behind a site, with what each request to it needs made once.
//!
//! Connections to it are in `origin`.

use http::HeaderValue;

use crate::config::Address;
use crate::config::Origin;

/// A server.
#[derive(Debug)]
pub(super) struct Target {
    address: Address,
    /// What tells it from others; servers with the same key share their connections.
    key: Box<str>,
    host: HeaderValue,
}

impl Target {
    /// The server of `origin`, if it has one.
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let Origin::Server(address) = origin else { return None };
        let own = match address {
            Address::Http(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            // A socket has no name; this one is always of the machine itself.
            Address::Unix(_) => None,
        };
        Some(Self {
            address: address.clone(),
            key: address.to_string().into_boxed_str(),
            host: own.unwrap_or_else(|| HeaderValue::from_static("localhost")),
        })
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The Host it sees when the client's is not preserved.
    pub(super) const fn host(&self) -> &HeaderValue {
        &self.host
    }
}
