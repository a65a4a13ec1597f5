//! What is served at one moment: sites by name, each with its origin and its certificate.
//!
//! A [`ServingSet`] never changes. [`Foundry::build`] makes the next one and takes over what stayed
//! the same, so that a reload of ten thousand sites costs what has changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use rustls::ServerConfig;

use super::tls::Mould;
use crate::base::Timestamp;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Signers;
use crate::cert::served::Served;
use crate::cert::served::Snapshot;
use crate::cert::spec::CertificateId;
use crate::config;

/// Sites and certificates at one moment.
#[derive(Debug)]
pub(super) struct ServingSet {
    names: HashMap<Box<str>, Entry>,
    /// By the name after `*.`.
    wildcards: HashMap<Box<str>, Entry>,
    addresses: HashMap<IpAddr, Entry>,
    fallback: Option<Entry>,
    credentials: HashMap<CertificateId, Credential>,
    /// Deadlines and limits.
    pub(super) limits: config::Edge,
    /// Counts the sets, so that workers notice a new one.
    pub(super) generation: u64,
}

/// A name of a site.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) site: Arc<ServedSite>,
    /// `None` while the site has no certificate.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// What a request needs to know of its site.
#[derive(Debug)]
pub(super) struct ServedSite {
    /// The first name, for logs.
    pub(super) name: Box<str>,
    pub(super) origin: config::Origin,
    /// The origin's own Host, when the client's is not preserved.
    pub(super) origin_host: Option<HeaderValue>,
    pub(super) hsts: Option<HeaderValue>,
    pub(super) redirect: bool,
    /// Requests that came early are taken.
    pub(super) early_data: bool,
}

#[derive(Clone, Debug)]
struct Credential {
    served: Arc<Served>,
    tls: Arc<ServerConfig>,
}

/// Makes serving sets.
#[derive(Debug)]
pub(super) struct Foundry {
    pub(super) mould: Arc<Mould>,
    pub(super) signers: Arc<dyn Signers>,
}

impl ServingSet {
    /// The site that has `host`, a lower-case name without a dot at the end, or an address.
    pub(super) fn by_host(&self, host: &str) -> Option<&Entry> {
        if let Some(entry) = self.names.get(host) {
            return Some(entry);
        }
        if let Some(entry) = host.split_once('.').and_then(|(_, base)| self.wildcards.get(base)) {
            return Some(entry);
        }
        if self.addresses.is_empty() {
            return None;
        }
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().ok().and_then(|address| self.by_address(address))
    }

    /// The site that has `address` as a name.
    pub(super) fn by_address(&self, address: IpAddr) -> Option<&Entry> {
        self.addresses.get(&address.to_canonical())
    }

    /// The default site.
    pub(super) fn fallback(&self) -> Option<&Entry> {
        self.fallback.as_ref()
    }

    /// The authorities of all origins.
    pub(super) fn origins(&self) -> HashSet<&str> {
        let all = self.names.values().chain(self.wildcards.values());
        all.chain(self.addresses.values())
            .filter_map(|entry| match &entry.site.origin {
                config::Origin::Http(authority) => Some(authority.as_str()),
                config::Origin::Welcome => None,
            })
            .collect()
    }
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

impl Foundry {
    /// The set for `config` and `snapshot`, with what `previous` can spare.
    pub(super) fn build(
        &self,
        config: &config::Config,
        limits: config::Edge,
        snapshot: &Snapshot,
        now: Timestamp,
        previous: Option<&ServingSet>,
    ) -> ServingSet {
        let mut set = ServingSet {
            names: HashMap::new(),
            wildcards: HashMap::new(),
            addresses: HashMap::new(),
            fallback: None,
            credentials: HashMap::new(),
            limits,
            generation: previous.map_or(0, |set| set.generation.wrapping_add(1)),
        };
        let index = index(snapshot);
        for site in &config.sites {
            let shared = Arc::new(ServedSite::new(site));
            for name in &site.names {
                let tls = self.credential(&index, name, now, previous, &mut set.credentials);
                let entry = Entry { site: Arc::clone(&shared), tls };
                if site.default && name == site.name() {
                    set.fallback = Some(entry.clone());
                }
                match name {
                    Identifier::Dns(dns) => set.names.insert(dns.as_str().into(), entry),
                    Identifier::Wildcard(base) => set.wildcards.insert(base.as_str().into(), entry),
                    Identifier::Ip(address) => set.addresses.insert(*address, entry),
                };
            }
        }
        set
    }

    /// The configuration for the best certificate that `name` has and the vault takes.
    fn credential(
        &self,
        index: &HashMap<&Identifier, Vec<&Arc<Served>>>,
        name: &Identifier,
        now: Timestamp,
        previous: Option<&ServingSet>,
        made: &mut HashMap<CertificateId, Credential>,
    ) -> Option<Arc<ServerConfig>> {
        let wildcard = name
            .as_dns()
            .and_then(|dns| dns.parent())
            .and_then(|parent| Identifier::parse(&format!("*.{parent}")).ok());
        let mut candidates: Vec<_> = index.get(name).into_iter().flatten().copied().collect();
        candidates.extend(wildcard.iter().filter_map(|w| index.get(w)).flatten().copied());
        // The order of `Snapshot::best_for`, with the next best at hand.
        candidates.sort_by_cached_key(|served| std::cmp::Reverse(served.rank(name, now)));
        for served in candidates {
            if let Some(ready) = made.get(&served.id) {
                return Some(Arc::clone(&ready.tls));
            }
            let former = previous
                .and_then(|set| set.credentials.get(&served.id))
                .filter(|former| former.serves_the_same_as(served));
            let tls = match former {
                Some(former) => Arc::clone(&former.tls),
                None => match self.signers.certified_key(&served.installed.chain, &served.key) {
                    Ok(key) => self.mould.cast(served.id, key),
                    Err(reason) => {
                        tracing::error!(cert = %served.id, %reason, "certificate is not usable, passing it over");
                        continue;
                    }
                },
            };
            let credential = Credential { served: Arc::clone(served), tls: Arc::clone(&tls) };
            made.insert(served.id, credential);
            return Some(tls);
        }
        None
    }
}

impl Credential {
    fn serves_the_same_as(&self, served: &Arc<Served>) -> bool {
        Arc::ptr_eq(&self.served, served)
            || (self.served.key == served.key
                && self.served.installed.chain == served.installed.chain)
    }
}

impl ServedSite {
    fn new(site: &config::Site) -> Self {
        let origin_host = match &site.origin {
            config::Origin::Http(authority) if !site.preserve_host => {
                HeaderValue::from_str(authority.as_str()).ok()
            }
            _ => None,
        };
        Self {
            name: site.name().to_string().into_boxed_str(),
            origin: site.origin.clone(),
            origin_host,
            hsts: site.hsts.and_then(hsts),
            redirect: site.redirect,
            early_data: site.early_data,
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

/// Which certificates have which names.
fn index(snapshot: &Snapshot) -> HashMap<&Identifier, Vec<&Arc<Served>>> {
    let mut index: HashMap<_, Vec<_>> = HashMap::new();
    for served in &snapshot.certificates {
        for name in served.spec.names() {
            index.entry(name).or_default().push(served);
        }
    }
    index
}
