//! Where the hosts of origins are: each name's addresses, asked for again when their time is over.
//!
//! One thread asks for all workers, so that no request waits for a name server: only the first
//! connection after a start does. Where names are not known any more, or nobody answers, the last
//! good answer holds.

use std::cell::RefCell;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::visitors::Stamp;
use super::visitors::stamp;
use crate::base::bounds::origins::NAME_ADDRESSES;
use crate::base::bounds::origins::NAME_ANSWER;
use crate::base::bounds::origins::NAME_KEPT;
use crate::base::bounds::origins::NAME_LOOK;
use crate::base::bounds::origins::NAME_RETRY;

/// The addresses of one host.
#[derive(Debug)]
pub(super) struct Addresses {
    host: Box<str>,
    known: watch::Sender<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Sorted.
    list: Arc<[IpAddr]>,
    /// Why there are none.
    failed: Option<Arc<str>>,
}

impl Addresses {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.into(), known: watch::Sender::default() }
    }

    /// Waits until something is known.
    ///
    /// # Errors
    /// In words, if the host has no address.
    pub(super) async fn get(&self) -> Result<Arc<[IpAddr]>, Arc<str>> {
        let mut known = self.known.subscribe();
        let something = |known: &Known| !known.list.is_empty() || known.failed.is_some();
        // The sender lives as long as `self`.
        let known = known.wait_for(something).await.map(|known| known.clone()).unwrap_or_default();
        match known.failed {
            Some(failed) if known.list.is_empty() => Err(failed),
            _ => Ok(known.list),
        }
    }

    /// Whether the host is still there.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.known.borrow().list.contains(&address)
    }

    fn found(&self, mut list: Vec<IpAddr>) {
        list.sort_unstable();
        list.dedup();
        list.truncate(NAME_ADDRESSES);
        self.known.send_if_modified(|known| {
            let new = *known.list != *list || known.failed.is_some();
            if new {
                tracing::debug!(host = &*self.host, addresses = ?list, "a host of an origin was found");
                *known = Known { list: list.into(), failed: None };
            }
            new
        });
    }

    fn failed(&self, why: &str) {
        self.known.send_if_modified(|known| {
            let new = known.failed.as_deref() != Some(why);
            if new {
                tracing::warn!(
                    host = &*self.host,
                    reason = why,
                    known = known.list.len(),
                    "a host of an origin cannot be looked up"
                );
                known.failed = Some(why.into());
            }
            new
        });
    }
}

/// Who asks name servers: those that the operator names, or the system's.
#[derive(Debug)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    made: RefCell<Option<(Stamps, TokioResolver)>>,
}

type Stamps = [Stamp; 2];

/// What says which name servers there are, and which hosts need none.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

impl Resolver {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, made: RefCell::default() }
    }

    fn stamps() -> Stamps {
        FILES.map(|file| stamp(Path::new(file)))
    }

    /// Made anew when its files have changed.
    fn current(&self) -> Result<TokioResolver, String> {
        let stamps = Self::stamps();
        let mut made = self.made.borrow_mut();
        if let Some((_, resolver)) = made.as_ref().filter(|(of, _)| *of == stamps) {
            return Ok(resolver.clone());
        }
        let provider = TokioRuntimeProvider::default();
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder(provider).map_err(|error| error.to_string())?
        } else {
            let servers = self.servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections.iter_mut().for_each(|c| c.port = server.port());
                config
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, provider)
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // What is known for how long is kept here.
        options.cache_size = 0;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        *made = Some((stamps, resolver.clone()));
        Ok(resolver)
    }

    /// The addresses of `host`, and for how long they hold.
    async fn ask(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let why = match self.current() {
            Err(why) => why,
            Ok(resolver) => match timeout(NAME_ANSWER, resolver.lookup_ip(host)).await {
                Ok(Ok(found)) => {
                    let now = Instant::now().into_std();
                    let holds = found.valid_until().saturating_duration_since(now);
                    return Ok((found.iter().collect(), holds));
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no name server answers".to_owned(),
            },
        };
        if !self.servers.is_empty() {
            return Err(why);
        }
        // The system may know hosts that name servers do not, as those of the local link.
        match timeout(NAME_ANSWER, tokio::net::lookup_host((host, 0))).await {
            Ok(Ok(found)) => Ok((found.map(|address| address.ip()).collect(), NAME_LOOK)),
            Ok(Err(_)) | Err(_) => Err(why),
        }
    }
}

/// Asks for the addresses of a host for as long as anybody wants them.
pub(super) async fn follow(addresses: Weak<Addresses>, resolver: Rc<Resolver>) {
    let mut failures = 0;
    while let Some(host) = addresses.upgrade().map(|addresses| addresses.host.clone()) {
        let answer = resolver.ask(&host).await;
        let Some(addresses) = addresses.upgrade() else { return };
        let pause = match answer {
            Ok((list, holds)) if !list.is_empty() => {
                failures = 0;
                addresses.found(list);
                holds.clamp(NAME_RETRY, NAME_KEPT)
            }
            Ok(_) | Err(_) => {
                addresses.failed(answer.err().as_deref().unwrap_or("it has no address"));
                failures = u32::min(failures + 1, 5);
                NAME_RETRY.saturating_mul(1 << failures.saturating_sub(1))
            }
        };
        drop(addresses);
        rest(pause).await;
    }
}

/// Waits so long, or until the files say something else.
async fn rest(pause: Duration) {
    let (until, before) = (Instant::now() + pause, Resolver::stamps());
    while let Some(left) = until.checked_duration_since(Instant::now())
        && !left.is_zero()
    {
        sleep(left.min(NAME_LOOK)).await;
        if Resolver::stamps() != before {
            return;
        }
    }
}
