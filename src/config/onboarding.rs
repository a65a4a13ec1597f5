//! `[onboarding]`: names that are in no site and are served all the same, because they lead here.
//!
//! What may be said in a file. Who asks the DNS, and what becomes of it, is elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check::onboarding::server;
use super::model::{Admin, Listen, Site};
use super::origin::{Origin, Server};
use crate::cert::identifier::DnsName;

/// `[onboarding]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Onboarding {
    /// Where the CNAME of a name has to lead.
    pub target: DnsName,
    /// A site as all of them are, but for name and origin.
    pub site: Site,
    /// The origin as it was written: `{name}` and `{label}` stand for parts of the name.
    pub origin: String,
    /// Names that may be onboarded: these and all below them; every name where there are none.
    pub suffixes: Vec<DnsName>,
    /// Names that may not: these and all below them.
    pub denied: Vec<DnsName>,
    /// Addresses of this machine; a name all of whose addresses are among them leads here, too.
    pub addresses: Vec<IpAddr>,
    /// The most labels that a name may have.
    pub labels: usize,
    /// The most names that are onboarded.
    pub names: u64,
    /// New names below one registered domain in seven days, by handshakes; 0 is no limit.
    pub per_domain: u32,
    /// New names that clients of one network bring about in an hour; 0 is no limit.
    pub per_network: u32,
    /// Who is asked whether a name may be onboarded, if anybody is.
    pub ask: Option<String>,
    /// How long a client may wait for its certificate; zero is not at all.
    pub hold: Duration,
    /// Who is asked where names lead, instead of those whom the system asks.
    pub name_servers: Vec<SocketAddr>,
    /// What an origin must not be: keyward itself.
    pub around: (Listen, Admin),
}

impl Onboarding {
    /// The origin of `name`, which may have one of its `own`.
    pub fn origin_of(&self, name: &str, own: Option<&str>) -> String {
        match own {
            Some(own) => own.to_owned(),
            None => fill(&self.origin, name),
        }
    }

    /// Whether all names without an origin of their own have the same.
    pub fn is_plain(&self) -> bool {
        !self.origin.contains('{')
    }

    /// The site with this `origin`.
    ///
    /// # Errors
    /// In words, when that is none.
    pub fn site_with(&self, origin: &str) -> Result<Site, String> {
        let address = server(origin, (&self.around.0, &self.around.1))?;
        let mut site = self.site.clone();
        if let Origin::Servers(servers) = &mut site.origin {
            servers.list = vec![Server { address, weight: 1 }];
        }
        Ok(site)
    }
}

/// `pattern` for `name`.
pub(super) fn fill(pattern: &str, name: &str) -> String {
    if !pattern.contains('{') {
        return pattern.to_owned();
    }
    let label = name.split('.').next().unwrap_or(name);
    pattern.replace("{name}", name).replace("{label}", label)
}
