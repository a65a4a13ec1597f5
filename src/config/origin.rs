//! Where the requests for a site go.
//!
//! Choosing among servers is the edge's business.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;

use super::files::Files;
use super::tcp::ProxyVersion;
use crate::cert::identifier::Identifier;

/// What is behind a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Servers of the operator's.
    Servers(Servers),
    /// A directory of files.
    Files(Files),
    /// `builtin:welcome`: a page of keyward's own, for `keyward demo` and for a first look.
    Welcome,
    /// What a site has that is only a holder of certificates, for TCP services.
    Service,
}

/// Servers that do the same, one of which is chosen for each request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Servers {
    /// Never empty; each address once.
    pub list: Vec<Server>,
    /// How they are asked.
    pub asking: Asking,
    /// How those that speak TLS are believed.
    pub tls: OriginTls,
    /// How they are asked whether they are well, if they are.
    pub health: Option<Health>,
    /// The name of the cookie by which a client comes to the same server again, if there is one.
    pub sticky: Option<String>,
}

/// `[site.origins.health]`: what a server is asked again and again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// What it is asked for, with GET.
    pub path: String,
    /// How often.
    pub interval: Duration,
    /// How long it may take to answer, the connection included.
    pub timeout: Duration,
    /// The statuses of one that is well.
    pub status: RangeInclusive<u16>,
    /// The Host it is asked for, instead of its own.
    pub host: Option<String>,
    /// Good answers in a row after which it is up again; at least 1.
    pub rise: u32,
    /// Others in a row after which it is down; at least 1.
    pub fall: u32,
}

impl Health {
    /// What holds where nothing is said but what is asked for.
    pub fn at(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            status: 200..=399,
            host: None,
            rise: 2,
            fall: 3,
        }
    }
}

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Where it listens.
    pub address: Address,
    /// Its share of the requests beside those of the others; at least 1.
    pub weight: u32,
}

/// `tls_*` of `[site.origins]`: when a server is believed that it is the one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginTls {
    /// PEM file with the CAs that are believed, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have and that it is asked for, instead of its host.
    pub name: Option<Box<str>>,
    /// Whether its certificate is looked at.
    pub verify: bool,
    /// The name of the certificate that it is shown, if it asks for one.
    pub certificate: Option<Box<Identifier>>,
}

impl Default for OriginTls {
    /// What holds where nothing is said.
    fn default() -> Self {
        Self { ca: None, name: None, verify: true, certificate: None }
    }
}

/// `[site.origins]`: how the servers of a site are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asking {
    /// The most requests that one server may have at a time, over all workers; 0 is no limit.
    pub max_requests: u32,
    /// How many of a hundred requests may be sent to another server after one failed.
    pub retries: u8,
    /// After so many failures in a row a server is left out; 0 is never.
    pub eject_after: u32,
    /// For how long at first; twice as long each further time.
    pub eject_for: Duration,
    /// Whether an answer with a status of 500 or more is a failure.
    pub eject_on_errors: bool,
    /// What they speak.
    pub http: OriginHttp,
    /// For how long a server that came back gets less than its share; zero is not at all.
    pub slow_start: Duration,
    /// The header by which they learn who a client is.
    pub proxy: Option<ProxyVersion>,
}

/// The version of HTTP that servers are asked in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OriginHttp {
    /// As the address says: HTTP/2 for `h2c://`, what both ends like best for `https://`, and
    /// HTTP/1.1 otherwise.
    #[default]
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2, without TLS by prior knowledge (RFC 9113, section 3.3).
    Two,
}

impl Default for Asking {
    /// What holds where nothing is said.
    fn default() -> Self {
        Self {
            max_requests: 0,
            retries: 20,
            eject_after: 3,
            eject_for: Duration::from_secs(10),
            eject_on_errors: false,
            http: OriginHttp::Auto,
            slow_start: Duration::ZERO,
            proxy: None,
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    /// `http://host[:port]`: the authority with the port always present.
    Http(Authority),
    /// `h2c://host[:port]`: the same; it speaks HTTP/2 without TLS.
    H2c(Authority),
    /// `https://host[:port]`: the same.
    Https(Authority),
    /// `unix:/path`: the path of a socket, absolute.
    Unix(PathBuf),
}

impl Origin {
    /// The server that speaks plain HTTP at `authority`, which has a port.
    pub fn http(authority: Authority) -> Self {
        Self::several([Address::Http(authority)])
    }

    /// Whether there are servers that learn by a header who a client is.
    pub fn names_clients(&self) -> bool {
        matches!(self, Self::Servers(servers) if servers.asking.proxy.is_some())
    }

    /// The file with the CAs that are believed of its servers, if there is one.
    pub const fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Servers(servers) => servers.tls.ca.as_ref(),
            Self::Files(_) | Self::Welcome | Self::Service => None,
        }
    }

    /// Servers that have equal shares.
    pub fn several(addresses: impl IntoIterator<Item = Address>) -> Self {
        let list = addresses.into_iter().map(|address| Server { address, weight: 1 }).collect();
        let (asking, tls) = (Asking::default(), OriginTls::default());
        Self::Servers(Servers { list, asking, tls, health: None, sticky: None })
    }
}

impl fmt::Display for Origin {
    /// As it is written in the file, without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self {
            Self::Servers(Servers { list, .. }) => list,
            Self::Files(files) => return write!(f, "files:{}", files.root.display()),
            Self::Welcome => return f.write_str("builtin:welcome"),
            Self::Service => return f.write_str("tcp"),
        };
        for (number, Server { address, weight }) in list.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { ", " })?;
            address.fmt(f)?;
            if *weight != 1 {
                write!(f, " weight={weight}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Address {
    /// As it is written in the file, with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::H2c(authority) => write!(f, "h2c://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
