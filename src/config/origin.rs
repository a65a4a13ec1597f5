//! Where the requests for a site go.
//!
//! How a server is asked is the edge's business.

use std::fmt;
use std::path::PathBuf;

use http::uri::Authority;

/// What is behind a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A server of the operator's.
    Server(Address),
    /// `builtin:welcome`: a page of keyward's own, for `keyward demo` and for a first look.
    Welcome,
}

/// Where a server listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    /// `http://host[:port]`: the authority with the port always present.
    Http(Authority),
    /// `unix:/path`: the path of a socket, absolute.
    Unix(PathBuf),
}

impl Origin {
    /// The server that speaks plain HTTP at `authority`, which has a port.
    pub const fn http(authority: Authority) -> Self {
        Self::Server(Address::Http(authority))
    }
}

impl fmt::Display for Origin {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(address) => address.fmt(f),
            Self::Welcome => f.write_str("builtin:welcome"),
        }
    }
}

impl fmt::Display for Address {
    /// As it is written in the file, with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
