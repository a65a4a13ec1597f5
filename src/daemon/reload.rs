//! A changed file applied without touching what did not change; a broken one changes nothing.

use std::net::UdpSocket;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::takeover::elders::Elders;
use crate::admin::HouseError;
use crate::admin::wire;
use crate::base::Clock;
use crate::base::Timestamp;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::config;
use crate::config::Config;
use crate::config::Origin;
use crate::config::Site;
use crate::edge;
use crate::edge::Edge;
use crate::os::logs::Logs;
use crate::store::Store;

/// What a reload may change.
pub(super) struct Reloader {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: watch::Sender<Arc<Config>>,
    pub(super) applied: watch::Sender<Timestamp>,
    pub(super) refused: Arc<ArcSwapOption<String>>,
    pub(super) edge: Arc<Edge>,
    pub(super) logs: Logs,
    /// Whether the addresses of the file count.
    pub(super) own_doors: bool,
    /// The processes before this one.
    pub(super) elders: Elders,
    pub(super) listeners: watch::Sender<Vec<wire::ListenerView>>,
    pub(super) store: Option<Store>,
}

impl Reloader {
    /// Reads the file again and applies it, or says why not.
    ///
    /// Dropped half-way, the former configuration may be in force with the listeners of the new
    /// one: the next reload puts that right.
    pub(super) async fn reload(&self) -> Result<wire::Reloaded, HouseError> {
        let outcome = self.attempt().await;
        // Whether the file is taken or not, its log may have been moved away.
        self.edge.reopen_access_log();
        let (kind, level, message) = match &outcome {
            Ok(reloaded) => (EntryKind::Reloaded, Level::Info, describe(reloaded)),
            Err(error) => (EntryKind::ReloadRefused, Level::Error, error.to_string()),
        };
        match &outcome {
            Ok(_) => {
                self.refused.store(None);
                tracing::info!(changes = message, "the configuration is applied");
            }
            Err(error) => {
                self.refused.store(Some(Arc::new(error.to_string())));
                tracing::error!(reason = %error, "the configuration is refused, the former one stays");
            }
        }
        if let Some(store) = &self.store {
            let entry = Entry::about_house(self.clock.now(), kind, level, message);
            if let Err(error) = store.append(vec![entry]).await {
                tracing::warn!(%error, "the journal takes no entry, going on");
            }
        }
        outcome
    }

    /// Speaks HTTP/3 as `config` says, over what the service manager holds and else sockets of our
    /// own. Not as long as a former process does that has left none of them: its clients' datagrams
    /// would come here.
    pub(super) fn offer_http3(&self, config: &Config, inherited: Vec<UdpSocket>) {
        self.edge.follow_http3(offers_http3(config), self.own_doors, inherited);
        self.listeners.send_modify(|views| {
            views.retain(|view| view.purpose != HTTP3);
            views.extend(http3_views(&self.edge, !self.own_doors));
        });
    }

    async fn attempt(&self) -> Result<wire::Reloaded, HouseError> {
        let old = Arc::clone(&self.config.borrow());
        let Some(path) = old.source.clone() else {
            return Err(HouseError::Refused {
                reason: "this daemon runs on embedded defaults, there is no file to read"
                    .to_owned(),
            });
        };
        // A file of ten thousand sites takes a moment to parse.
        let reading = tokio::task::spawn_blocking(move || {
            let loaded = config::load(&path, std::env::vars_os())?;
            let hidden = out_of_reach(&loaded.config);
            Ok::<_, config::Problems>((loaded, hidden))
        });
        let (loaded, hidden) = reading
            .await
            .map_err(|error| HouseError::Unavailable { reason: error.to_string() })?
            .map_err(|problems| HouseError::Configuration { report: problems.to_string() })?;
        let new = Arc::new(loaded.config);
        let changes = config::diff(&old, &new);
        let mut notes: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        notes.extend(hidden);
        notes.extend(changes.restart.iter().map(|key| format!("{key} needs a restart to be seen")));
        if let Some(first) = changes.chains.first() {
            let more = changes.chains.len().saturating_sub(1);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!(
                "preferred_chain: {first}{more} will be served up to that root from the next renewal on \
                 (keyward renew NAME does not wait for it)"
            ));
        }
        let addresses = new.tcp_addresses();
        let moved = old.tcp_addresses() != addresses;
        let opened = if moved { self.edge.open_tcp(&addresses) } else { Ok(Vec::new()) };
        let opened = opened.map_err(|error| HouseError::Refused {
            reason: format!("the listeners stay as they were: {error}"),
        })?;
        if old.listen != new.listen {
            if self.own_doors {
                let moved = self.edge.relisten(&new.listen.https, &new.listen.http);
                moved.map_err(|error| HouseError::Refused {
                    reason: format!("the listeners stay as they were: {error}"),
                })?;
            } else {
                notes.push(
                    "the service manager holds the sockets, so [listen] does not count".to_owned(),
                );
            }
        }
        if moved && let Err(error) = self.edge.use_tcp(opened, &addresses) {
            notes.push(format!("a service does not listen: {error}"));
        }
        if self.own_doors {
            self.listeners.send_replace(listener_views(&new));
        }
        if self.elders.count() == 0 || self.edge.has_http3_terms() {
            self.offer_http3(&new, Vec::new());
        }
        let turned_on = offers_http3(&new) && !offers_http3(&old);
        if turned_on && !self.own_doors && self.edge.http3().is_empty() {
            notes.push(
                "the service manager holds the sockets, and none for HTTP/3 is at hand".to_owned(),
            );
        }
        if old.log != new.log
            && let Err(error) = self.logs.set_level(&new.log.level)
        {
            notes.push(error.to_string());
        }
        self.config.send_replace(Arc::clone(&new));
        self.applied.send_replace(self.clock.now());
        let unchanged = new.sites.len() - changes.added.len() - changes.changed.len();
        Ok(wire::Reloaded {
            added: changes.added.iter().map(ToString::to_string).collect(),
            changed: changes.changed.iter().map(ToString::to_string).collect(),
            removed: changes.removed.iter().map(ToString::to_string).collect(),
            unchanged: u64::try_from(unchanged).unwrap_or(u64::MAX),
            notes,
        })
    }
}

/// Files that the configuration names and the running daemon cannot open, although they are
/// there: what it may read was settled when it started.
fn out_of_reach(config: &Config) -> Vec<String> {
    // The first is that of [acme].
    let acme = config.authorities().enumerate().flat_map(|(number, ca)| {
        let table = match number.checked_sub(1) {
            None => "acme".to_owned(),
            Some(place) => format!("ca[{place}]"),
        };
        let eab = ca.eab.as_ref().map(|eab| &eab.hmac_key_file);
        [
            (format!("{table}.ca_root"), ca.ca_root.as_ref()),
            (format!("{table}.eab.hmac_key_file"), eab),
        ]
    });
    let clients = config.client_certificates().flat_map(|clients| {
        [("client_ca", Some(&clients.ca)), ("client_crl", clients.crl.as_ref())]
    });
    let policies = config.sites.iter().flat_map(Site::policies).flat_map(|policy| {
        let users = policy.auth.as_ref().and_then(|auth| auth.file.as_ref());
        let pages = policy.pages.as_ref().map(|pages| &pages.dir);
        [("basic_auth.users_file", users), ("error_pages", pages)]
    });
    let origins = config.sites.iter().flat_map(Site::origins);
    let cas = origins.filter_map(Origin::ca).map(|ca| ("origins.tls_ca", Some(ca)));
    let roots = config.sites.iter().flat_map(Site::roots).map(|root| ("root", Some(root)));
    let log = config.access_log.file().and_then(|path| {
        let error = edge::try_access_log(path).err()?;
        Some(format!(
            "access_log.to: the running daemon cannot write it ({error}): name a file in \
             /var/log/keyward, or restart keyward"
        ))
    });
    let others = clients.chain(policies).chain(roots).chain(cas);
    acme.chain(others.map(|(key, path)| (key.to_owned(), path)))
        .filter_map(|(key, path)| {
            let error = std::fs::File::open(path?).err()?;
            Some(format!(
                "{key}: the running daemon cannot read it ({error}): keep it beside the \
                 configuration, or restart keyward"
            ))
        })
        .chain(log)
        .collect()
}

/// The listeners that the file asks for.
pub(super) fn listener_views(config: &Config) -> Vec<wire::ListenerView> {
    let view = |purpose: &str, address: &std::net::SocketAddr| wire::ListenerView {
        purpose: purpose.to_owned(),
        address: address.to_string(),
        inherited: false,
    };
    let https = config.listen.https.iter().map(|address| view("https", address));
    let http = config.listen.http.iter().map(|address| view("http", address));
    let tcp = config.tcp_addresses();
    https.chain(http).chain(tcp.iter().map(|address| view("tcp", address))).collect()
}

/// What listeners for HTTP/3 are called.
const HTTP3: &str = "http3";

/// Whether HTTP/3 is wanted: a balancer would not know of it.
pub(super) const fn offers_http3(config: &Config) -> bool {
    config.edge.http3 && config.listen.proxy_from.is_empty()
}

/// The listeners for HTTP/3 that there are.
pub(super) fn http3_views(edge: &Edge, inherited: bool) -> Vec<wire::ListenerView> {
    let view = |address: &std::net::SocketAddr| wire::ListenerView {
        purpose: HTTP3.to_owned(),
        address: address.to_string(),
        inherited,
    };
    edge.http3().iter().map(view).collect()
}

fn describe(reloaded: &wire::Reloaded) -> String {
    let mut parts = Vec::new();
    for (word, names) in
        [("added", &reloaded.added), ("changed", &reloaded.changed), ("removed", &reloaded.removed)]
    {
        if !names.is_empty() {
            let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            let more = if names.len() > 5 { ", ..." } else { "" };
            parts.push(format!("{word} {}: {}{more}", names.len(), shown.join(", ")));
        }
    }
    if parts.is_empty() {
        parts.push("no site changed".to_owned());
    }
    parts.extend(reloaded.notes.iter().cloned());
    parts.join("; ")
}
