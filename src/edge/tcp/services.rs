//! The services of one serving set, found by where a client came and by what it asked for.
//!
//! Like sites they never change; a reload makes others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cert::identifier::Identifier;
use crate::config;
use crate::config::Config;
use crate::config::Origin;
use crate::config::ProxyVersion;
use crate::config::StartTls;
use crate::config::TcpService;
use crate::config::TcpWay;
use crate::edge::target::Upstream;
use crate::edge::terms::Terms;
use crate::edge::tls::Mould;
use crate::edge::trusting::Trusting;
use crate::edge::visitors::Visitors;
use crate::edge::watching::Watch;

/// The services at one moment.
#[derive(Debug, Default)]
pub(in crate::edge) struct TcpSet {
    /// On the port of HTTPS.
    beside: Door,
    doors: HashMap<SocketAddr, Door>,
    all: Vec<Arc<ServedTcp>>,
}

/// The services that one address leads to.
#[derive(Debug, Default)]
pub(super) struct Door {
    names: HashMap<Box<str>, Arc<ServedTcp>>,
    /// By the name after `*.`.
    wildcards: HashMap<Box<str>, Arc<ServedTcp>>,
    /// Who gets clients that name nothing.
    first: Option<Arc<ServedTcp>>,
    /// Whether one of them does not end TLS here.
    pub(super) through: bool,
    pub(super) starttls: Option<StartTls>,
}

/// What a connection needs to know of its service.
#[derive(Debug)]
pub(super) struct ServedTcp {
    /// The first name, for logs, and for who names none.
    pub(super) name: Box<str>,
    pub(super) upstream: Upstream,
    pub(super) way: Way,
    pub(super) proxy: Option<ProxyVersion>,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) access_log: bool,
}

/// What becomes of TLS.
#[derive(Debug)]
pub(super) enum Way {
    Through,
    /// Without terms, client certificates cannot be checked, and nobody is let in.
    Ended(Option<Arc<Terms>>, Option<StartTls>),
}

impl TcpSet {
    pub(in crate::edge) fn new(config: &Config, mould: &Mould, watch: &Watch) -> Self {
        let mut set = Self::default();
        for service in &config.tcp {
            let Some(served) = ServedTcp::new(service, mould, watch).map(Arc::new) else {
                continue;
            };
            if service.listen.is_empty() {
                set.beside.add(service, &served);
            }
            for address in &service.listen {
                set.doors.entry(*address).or_default().add(service, &served);
            }
            set.all.push(served);
        }
        set
    }

    /// Whether there are services on the port of HTTPS.
    pub(in crate::edge) fn has_neighbours(&self) -> bool {
        !self.beside.names.is_empty() || !self.beside.wildcards.is_empty()
    }

    /// The service on the port of HTTPS that has `name`, which is in normal form; one that has it
    /// among others only if it is not `taken`.
    pub(super) fn neighbour(&self, name: &str, taken: bool) -> Option<&Arc<ServedTcp>> {
        if taken { self.beside.names.get(name) } else { self.beside.by_name(name) }
    }

    /// The services that a listener on `address` is for.
    pub(super) fn door(&self, address: &SocketAddr) -> Option<&Door> {
        self.doors.get(address)
    }

    pub(in crate::edge) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.all.iter().map(|service| &service.upstream)
    }
}

impl Door {
    fn add(&mut self, service: &TcpService, served: &Arc<ServedTcp>) {
        for name in &service.names {
            let served = Arc::clone(served);
            match name {
                Identifier::Dns(dns) => self.names.insert(dns.as_str().into(), served),
                Identifier::Wildcard(base) => self.wildcards.insert(base.as_str().into(), served),
                // Nobody asks for an address by name (RFC 6066, section 3).
                Identifier::Ip(_) => None,
            };
        }
        match served.way {
            Way::Through => self.through = true,
            Way::Ended(_, starttls) => self.starttls = self.starttls.or(starttls),
        }
        self.first.get_or_insert_with(|| Arc::clone(served));
    }

    fn by_name(&self, name: &str) -> Option<&Arc<ServedTcp>> {
        let wild = || name.split_once('.').and_then(|(_, base)| self.wildcards.get(base));
        self.names.get(name).or_else(wild)
    }

    /// The service for a client that asks for `name`, in normal form, or for nothing.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&Arc<ServedTcp>> {
        match name {
            Some(name) => self.by_name(name),
            None => self.first.as_ref(),
        }
    }

    /// What whoever is asked for no name yet calls itself.
    pub(super) fn name(&self) -> &str {
        self.first.as_ref().map_or("", |first| &first.name)
    }
}

impl ServedTcp {
    fn new(service: &TcpService, mould: &Mould, watch: &Watch) -> Option<Self> {
        let name = service.name().to_string().into_boxed_str();
        let way = match &service.way {
            TcpWay::Through => Way::Through,
            TcpWay::Ended(tls) => Way::Ended(terms(tls, &name, mould), tls.starttls),
        };
        // Their connections are not under TLS.
        let mut trusting = Trusting::new(watch, None);
        trusting.site = service.name().to_string();
        Some(Self {
            upstream: Upstream::of(&Origin::Servers(service.to.clone()), &mut trusting)?,
            name,
            way,
            proxy: service.proxy,
            connect_timeout: service.connect_timeout,
            idle_timeout: service.idle_timeout,
            access_log: service.access_log,
        })
    }
}

fn terms(tls: &config::TcpTls, name: &str, mould: &Mould) -> Option<Arc<Terms>> {
    let visitors = Visitors::of(tls.clients.as_ref(), name);
    let verifier = match &visitors {
        Visitors::Anyone => None,
        Visitors::Checked(check) => Some(&check.verifier),
        Visitors::Nobody => return None,
    };
    let terms = mould.service(tls.agreement, verifier, &tls.alpn);
    let told = |error: &rustls::Error| {
        tracing::error!(service = name, %error, "TLS cannot be set up for a service");
    };
    terms.inspect_err(told).ok()
}
