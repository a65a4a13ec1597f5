//! What is served at one moment: sites by name, each with its origin.
//!
//! A [`ServingSet`] never changes; a reload makes another one. Of certificates it knows nothing:
//! they change at other times, and there may be many more of them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use super::access;
use super::certificates::Certificates;
use super::files::Files;
use super::guests::GuestSites;
use super::guests::Guests;
use super::policy::Policy;
use super::policy::page_names;
use super::routes::Routes;
use super::target::Target;
use super::target::Upstream;
use super::tcp::TcpSet;
use super::terms::Terms;
use super::tls::Mould;
use super::trusting::Trusting;
use super::visitors::Stamp;
use super::visitors::Visitors;
use super::visitors::stamp;
use super::visitors::stamps;
use super::watching::Watch;
use crate::cert::identifier::Identifier;
use crate::config;

/// The sites at one moment.
#[derive(Debug)]
pub(super) struct ServingSet {
    names: HashMap<Box<str>, Arc<ServedSite>>,
    /// By the name after `*.`.
    wildcards: HashMap<Box<str>, Arc<ServedSite>>,
    addresses: HashMap<IpAddr, Arc<ServedSite>>,
    fallback: Option<Arc<ServedSite>>,
    /// Names that are in no site, where some may be onboarded.
    pub(super) guests: Option<GuestSites>,
    /// What is no HTTP.
    pub(super) tcp: TcpSet,
    unknown_names: config::UnknownNames,
    balancers: Vec<config::IpNetwork>,
    /// What stands in the access log, if there is one.
    pub(super) access: Option<access::Terms>,
    /// Whether somebody is told what was agreed on in handshakes.
    pub(super) tells_of_tls: bool,
    /// Files with CAs and revocation lists, as they were when they were read.
    files: Vec<(PathBuf, Stamp)>,
    /// Deadlines and limits.
    pub(super) limits: config::Edge,
    /// Counts the sets, so that workers notice a new one.
    pub(super) generation: u64,
}

/// What a request needs to know of its site.
#[derive(Debug)]
pub(super) struct ServedSite {
    /// The first name, for logs, and for who is led here as to the default site.
    pub(super) name: Box<str>,
    /// The servers behind it; without any it is the welcome page.
    pub(super) upstream: Option<Upstream>,
    /// The files it has instead.
    pub(super) files: Option<Files>,
    /// Whether the origin sees the Host that the client asked for.
    pub(super) preserve_host: bool,
    pub(super) hsts: Option<HeaderValue>,
    pub(super) redirect: bool,
    /// What is agreed on with its clients.
    pub(super) terms: Arc<Terms>,
    pub(super) visitors: Visitors,
    /// Requests that came early are taken.
    pub(super) early_data: bool,
    pub(super) request_ids: config::RequestIds,
    pub(super) access_log: bool,
    /// Whether the origin is told what was agreed on in the handshake.
    pub(super) tls_headers: bool,
    /// What is asked of its requests, if anything is.
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) routes: Routes,
    /// Whether it is one of onboarded names, which belong to different people.
    pub(super) guest: bool,
}

/// What answers requests: servers or files; without either it is the welcome page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind<'a> {
    pub(super) upstream: Option<&'a Upstream>,
    pub(super) files: Option<&'a Files>,
    /// The path that the client knows, if a route made another of it.
    pub(super) shown: Option<&'a str>,
}

impl ServingSet {
    /// The set for `config`, after the one with the number before `generation`.
    pub(super) fn new(
        config: &config::Config,
        limits: config::Edge,
        certificates: &Certificates,
        (watch, guests): (&Arc<Watch>, &Arc<Guests>),
        generation: u64,
    ) -> Self {
        let mould = &certificates.mould;
        let mut set = Self {
            names: HashMap::new(),
            wildcards: HashMap::new(),
            addresses: HashMap::new(),
            fallback: None,
            guests: GuestSites::new(config, mould, (watch, guests), certificates.badges()),
            tcp: TcpSet::new(config, mould, watch),
            unknown_names: config.tls.unknown_names,
            balancers: config.listen.proxy_from.clone(),
            access: access::Terms::of(&config.access_log),
            tells_of_tls: config.access_log.to.is_some() && config.access_log.tls
                || config.sites.iter().any(|site| site.tls_headers || site.names_clients()),
            files: config
                .sites
                .iter()
                .flat_map(files)
                .chain(config.tcp.iter().flat_map(|tcp| stamps(tcp.clients())))
                .collect(),
            limits,
            generation,
        };
        let mut trusting = Trusting::new(watch, Some(certificates.badges()));
        for site in &config.sites {
            // It is there for its certificate.
            if site.origin == config::Origin::Service {
                continue;
            }
            trusting.site = site.name().to_string();
            let shared =
                Arc::new(ServedSite::new(site, mould, set.limits.request_ids, &mut trusting));
            if site.default {
                set.fallback = Some(Arc::clone(&shared));
            }
            for name in &site.names {
                let site = Arc::clone(&shared);
                match name {
                    Identifier::Dns(dns) => set.names.insert(dns.as_str().into(), site),
                    Identifier::Wildcard(base) => set.wildcards.insert(base.as_str().into(), site),
                    Identifier::Ip(address) => set.addresses.insert(*address, site),
                };
            }
        }
        set
    }

    /// Whether connections from `peer` begin with a header of the PROXY protocol.
    pub(super) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.balancers.iter().any(|network| network.contains(peer))
    }

    /// Whether files have changed since this set was made of them.
    pub(super) fn is_stale(&self) -> bool {
        self.files.iter().any(|(path, was)| stamp(path) != *was)
    }

    /// The site that has `host`, a lower-case name without a dot at the end, or an address.
    pub(super) fn by_host(&self, host: &str) -> Option<&Arc<ServedSite>> {
        if let Some(site) = self.names.get(host) {
            return Some(site);
        }
        if let Some(site) = host.split_once('.').and_then(|(_, base)| self.wildcards.get(base)) {
            return Some(site);
        }
        if self.addresses.is_empty() {
            return None;
        }
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().ok().and_then(|address| self.by_address(address))
    }

    /// The same, or the site that serves `host` as an onboarded name.
    pub(super) fn lead(&self, host: &str) -> Option<Arc<ServedSite>> {
        let guest = || self.guests.as_ref().and_then(|guests| guests.find(host));
        self.by_host(host).map(Arc::clone).or_else(guest)
    }

    /// Whether a site has `host` itself among its names.
    pub(super) fn has(&self, host: &str) -> bool {
        self.names.contains_key(host)
    }

    /// The site that has `address` as a name.
    pub(super) fn by_address(&self, address: IpAddr) -> Option<&Arc<ServedSite>> {
        self.addresses.get(&address.to_canonical())
    }

    /// The site for a handshake that asks for no name that a site has: for none at all, unless
    /// `named`.
    pub(super) fn for_unknown(&self, named: bool) -> Option<&Arc<ServedSite>> {
        let refused = named && self.unknown_names == config::UnknownNames::Refuse;
        self.fallback.as_ref().filter(|_| !refused)
    }

    /// The default site.
    pub(super) fn fallback(&self) -> Option<&Arc<ServedSite>> {
        self.fallback.as_ref()
    }

    /// All sites, some of them more than once.
    pub(super) fn sites(&self) -> impl Iterator<Item = &Arc<ServedSite>> {
        self.names.values().chain(self.wildcards.values()).chain(self.addresses.values())
    }

    /// The keys of all servers.
    pub(super) fn targets(&self) -> HashSet<&str> {
        self.sites()
            .flat_map(|site| site.routes.upstreams().chain(&site.upstream))
            .chain(self.tcp.upstreams())
            .flat_map(|upstream| upstream.targets.iter().map(Target::key))
            .collect()
    }
}

/// The files that `site` names, as they are now.
fn files(site: &config::Site) -> Vec<(PathBuf, Stamp)> {
    let mut files = stamps(site.clients.as_ref());
    // Routes inherit most of what their site has.
    let mut paths = BTreeSet::new();
    for policy in site.policies() {
        paths.extend(policy.auth.iter().filter_map(|auth| auth.file.clone()));
        let pages = policy.pages.iter();
        paths.extend(pages.flat_map(|pages| page_names().map(|name| pages.dir.join(name))));
    }
    files.extend(paths.into_iter().map(|path| (path.clone(), stamp(&path))));
    if let config::Origin::Servers(servers) = &site.origin {
        files.extend(servers.tls.ca.iter().map(|ca| (ca.clone(), stamp(ca))));
    }
    files
}

/// `host` in the form in which sites are found; borrows where nothing is to be done.
pub(super) fn normal(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

impl ServedSite {
    /// What answers its requests.
    pub(super) fn behind(&self) -> Behind<'_> {
        Behind { upstream: self.upstream.as_ref(), files: self.files.as_ref(), shown: None }
    }

    pub(super) fn new(
        site: &config::Site,
        mould: &Mould,
        request_ids: config::RequestIds,
        trusting: &mut Trusting<'_>,
    ) -> Self {
        let mut visitors = Visitors::of(site.clients.as_ref(), &site.name().to_string());
        let mut terms = Arc::clone(mould.terms(site.tls));
        if let Visitors::Checked(check) = &visitors {
            match mould.checked(site.tls, &check.verifier) {
                Ok(checked) => terms = checked,
                Err(error) => {
                    tracing::error!(site = %site.name(), %error, "TLS cannot be set up for a site");
                    visitors = Visitors::Nobody;
                }
            }
        }
        let policy = Policy::of(&site.policy, &site.name().to_string(), None);
        Self {
            name: site.name().to_string().into_boxed_str(),
            upstream: Upstream::of(&site.origin, trusting),
            files: Files::of(&site.origin, &site.name().to_string()),
            preserve_host: site.preserve_host,
            hsts: site.hsts.and_then(hsts),
            redirect: site.redirect,
            terms,
            visitors,
            early_data: site.early_data,
            request_ids,
            access_log: site.access_log,
            tls_headers: site.tls_headers,
            routes: Routes::new(site, policy.as_ref(), trusting),
            policy,
            guest: false,
        }
    }

    /// The same with another server behind it, for one that has nothing of its own but that.
    pub(super) fn with(&self, upstream: Upstream) -> Self {
        Self {
            name: self.name.clone(),
            upstream: Some(upstream),
            files: None,
            preserve_host: self.preserve_host,
            hsts: self.hsts.clone(),
            redirect: self.redirect,
            terms: Arc::clone(&self.terms),
            visitors: Visitors::Anyone,
            early_data: self.early_data,
            request_ids: self.request_ids,
            access_log: self.access_log,
            tls_headers: self.tls_headers,
            policy: None,
            routes: Routes::default(),
            guest: self.guest,
        }
    }
}

/// The field of RFC 6797, section 6.1.
fn hsts(hsts: config::Hsts) -> Option<HeaderValue> {
    let mut text = format!("max-age={}", hsts.max_age);
    if hsts.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if hsts.preload {
        text.push_str("; preload");
    }
    HeaderValue::from_str(&text).ok()
}
