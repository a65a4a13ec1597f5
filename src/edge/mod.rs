//! The front door: TLS, HTTP and the way to the origins.
//!
//! [`Edge`] serves what it was given last and needs nobody for it: neither store nor scheduler nor
//! issuer. Each worker is a thread with a runtime, listeners, origin connections and counters of
//! its own; what they share is read-only and swapped whole.

mod accept;
mod access;
mod addresses;
mod answer;
mod asking;
mod badge;
mod balance;
mod body;
mod bulk;
mod cast;
mod certificates;
mod challenge;
mod checking;
mod client_body;
mod compress;
mod connection;
mod crowd;
mod dial;
mod doors;
mod early;
mod facts;
mod files;
mod flow;
mod forward;
mod framing;
mod gate;
mod groups;
mod grpc;
mod guard;
mod guests;
mod headers;
mod hello;
mod hold;
mod ja4;
mod kernel;
mod knock;
mod ledger;
mod link;
pub mod listen;
mod meter;
mod network;
mod origin;
mod own;
mod path;
mod plain;
mod policy;
mod preset;
mod proxied;
mod quic;
mod relay;
mod rest;
mod route;
mod routes;
mod servers;
mod serving;
mod sessions;
mod shake;
mod site;
mod standing;
mod stats;
mod sticky;
mod target;
mod tcp;
mod terms;
pub mod tickets;
mod tls;
mod trace;
mod trailers;
mod trusting;
mod tunnel;
mod version;
mod visitors;
mod watching;
mod way;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use self::certificates::Certificates;
use self::challenge::Challenges;
use self::challenge::EdgeSolver;
use self::doors::Held;
use self::guests::Guests;
use self::knock::Knocker;
use self::serving::ServingSet;
use self::tickets::Tickets;
use self::watching::Watch;
use self::worker::Kind;
use self::worker::Shared;
use self::worker::WorkerHandle;
use crate::base::Clock;
use crate::cert::challenge::Solver;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Catalog;
use crate::cert::ports::Signers;
use crate::config;
use crate::config::Config;
use crate::os::ktls;
use crate::os::ktls::Suites;
use crate::vault::ticket::RawTicketKey;

pub use self::access::try_open as try_access_log;
pub use self::doors::Copies;
pub use self::framing::{Refusal, Scanner, Violation};
pub use self::knock::Knock;
pub use self::network::Network;
pub use self::quic::Http3Left;
pub use self::servers::{ServerState, ServerView};
pub use self::stats::{
    AccessFigures, Connections, EarlyFigures, EdgeStats, HandshakeFailures, Handshakes,
    Http3Figures, KernelTlsFigures, Lookups, TcpFigures, TicketFigures, TurnedAway,
};
pub use self::watching::ServerNews;

/// What an edge begins with.
#[derive(Debug)]
pub struct EdgeOptions {
    /// Listeners for TLS, as [`listen::bind`] or [`listen::share`] make them.
    pub https: Vec<TcpListener>,
    /// Listeners for plain HTTP.
    pub http: Vec<TcpListener>,
    /// Listeners for services that are no HTTP.
    pub tcp: Vec<TcpListener>,
    /// Deadlines and limits until the first [`Edge::publish`], which brings its own; the number of
    /// workers and of connections stays.
    pub limits: config::Edge,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The sites.
    pub config: Arc<Config>,
    /// Where certificates are found. It must say what is new before [`Edge::changed`] is called.
    pub catalog: Arc<dyn Catalog>,
    /// Where the keys of session tickets are found; whoever keeps them has the other handle.
    pub tickets: Tickets,
}

/// Why the edge cannot begin or listen.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {hint}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
        /// What to try.
        hint: &'static str,
    },
    /// An inherited descriptor is no listening TCP socket.
    #[error("an inherited socket is not usable: {0}")]
    Inherited(#[source] io::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// A worker thread cannot be started.
    #[error("worker {index} cannot be started: {source}")]
    Worker {
        /// Which one, from 0.
        index: usize,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread of the access log cannot be started.
    #[error("the access log's thread cannot be started: {0}")]
    AccessLog(#[source] io::Error),
    /// The thread that looks after the servers of sites cannot be started.
    #[error("the thread that looks after origins cannot be started: {0}")]
    Watch(#[source] io::Error),
    /// A worker is not there any more.
    #[error("worker {0} has ended")]
    WorkerGone(usize),
}

/// The front door while it is open. Dropping it closes every connection.
#[derive(Debug)]
pub struct Edge {
    watch: Arc<Watch>,
    guests: Arc<Guests>,
    knocks: Mutex<Option<mpsc::Receiver<Knock>>>,
    shared: Arc<Shared>,
    workers: Vec<WorkerHandle>,
    /// What is listened on; held over no await.
    listening: Mutex<Vec<(Kind, SocketAddr)>>,
    /// Copies of the listeners.
    held: Mutex<Vec<Held>>,
    /// One publication at a time.
    publishing: Mutex<()>,
    quic: quic::Listening,
}

impl Edge {
    /// Starts the workers and serves.
    ///
    /// # Errors
    /// When TLS cannot be set up, a listener is not usable, or a thread cannot be started.
    pub fn start(options: EdgeOptions, signers: Arc<dyn Signers>) -> Result<Self, EdgeError> {
        let EdgeOptions { https, http, tcp, limits, clock, config, catalog, tickets } = options;
        let kernel = kernel_suites(&config);
        let mould = tls::Mould::new(Arc::clone(&clock), tickets, kernel).map_err(EdgeError::Tls)?;
        let bound = Arc::clone(&signers);
        let access = Arc::new(access::Log::start().map_err(EdgeError::AccessLog)?);
        access.aim(config.access_log.to.as_ref());
        let hands = Arc::clone(&clock);
        let certificates = Certificates::new(catalog, signers, clock, mould);
        let count = limits.workers.max(1);
        let watch = Watch::start(limits.name_servers.clone()).map_err(EdgeError::Watch)?;
        let (watch, guests) = (Arc::new(watch), Arc::default());
        let set = ServingSet::new(&config, limits, &certificates, (&watch, &guests), 0);
        let (knocker, knocks) = Knocker::new();
        let challenges = Arc::new(Challenges::default());
        let told = (access, hands);
        let shared = Shared::new(count, set, certificates, challenges, told, knocker);
        let shared = Arc::new(shared);
        let mut workers = Vec::with_capacity(count);
        for index in 0..count {
            let signers = Arc::clone(&bound);
            workers.push(worker::start(index, Arc::clone(&shared), signers)?);
        }
        let (listening, held) = (Mutex::default(), Mutex::default());
        let (publishing, quic) = (Mutex::default(), quic::Listening::default());
        let knocks = Mutex::new(Some(knocks));
        let edge =
            Self { watch, guests, knocks, shared, workers, listening, held, publishing, quic };
        edge.add(Kind::Https, https)?;
        edge.add(Kind::Http, http)?;
        edge.add(Kind::Tcp, tcp)?;
        Ok(edge)
    }

    /// Serves the sites of `config` from the next handshake and the next request on. Open
    /// connections stay, and so do those to origins that did not change.
    pub fn publish(&self, config: &Config) {
        let _turn = lock(&self.publishing);
        let generation = self.shared.set.load().generation.wrapping_add(1);
        let next = ServingSet::new(
            config,
            config.edge.clone(),
            &self.shared.certificates,
            (&self.watch, &self.guests),
            generation,
        );
        self.shared.access.aim(config.access_log.to.as_ref());
        self.shared.set.store(Arc::new(next));
    }

    /// Opens the file of the access log again, if there is one: somebody may have moved it away.
    pub fn reopen_access_log(&self) {
        self.shared.access.reopen();
    }

    /// Reads the files that sites name again if they have changed, and tries to listen for HTTP/3
    /// where that could not be had; `config` is what was
    /// published last. Costs a look at each file.
    pub fn refresh(&self, config: &Config) {
        if self.shared.set.load().is_stale() {
            tracing::info!("files that sites name have changed and are read again");
            self.publish(config);
        }
        self.retry_http3();
    }

    /// The catalog says something else about these names now: the next handshake for one of them
    /// gets what it says. Costs as much as there are names, and for a wildcard among them as much
    /// as there are names at hand, however many certificates there are.
    pub fn changed(&self, names: &[Identifier]) {
        self.shared.certificates.forget(names);
    }

    /// The catalog may say something else about any name now.
    pub fn changed_throughout(&self) {
        self.shared.certificates.forget_all();
    }

    /// Where challenges are answered.
    pub fn solver(&self) -> Arc<dyn Solver> {
        Arc::new(EdgeSolver(Arc::clone(&self.shared.challenges)))
    }

    /// What was done so far.
    pub fn stats(&self) -> EdgeStats {
        let mut stats = EdgeStats::sum(&self.shared.counters);
        (stats.access_log.written, stats.access_log.lost) = self.shared.access.figures();
        stats
    }

    /// Seals the cookies that lead clients to servers under `key` from now on, so that they hold
    /// beyond the end of this process.
    pub fn stick_by(&self, key: &RawTicketKey) {
        self.shared.sticky.change(key);
    }

    /// How the servers are of the site that has `host`, those of its routes as well.
    pub fn servers(&self, host: &str) -> Vec<ServerView> {
        servers::of_site(&self.shared.set.load(), host)
    }

    /// The servers of all sites that are not well.
    pub fn unwell(&self) -> Vec<ServerView> {
        servers::unwell(&self.shared.set.load())
    }

    /// Which servers went down or came back since this was asked last.
    pub fn server_news(&self) -> Vec<ServerNews> {
        self.watch.news()
    }

    /// The network of a client that was turned away lately.
    pub fn crowding(&self) -> Option<Network> {
        let numbers = self.shared.counters.iter().map(|counters| counters.crowding.get());
        numbers.filter_map(Network::from_number).next_back()
    }

    /// The addresses listened on, for TLS and for plain HTTP.
    pub fn addresses(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        (self.of_kind(Kind::Https), self.of_kind(Kind::Http))
    }

    fn of_kind(&self, wanted: Kind) -> Vec<SocketAddr> {
        let listening = lock(&self.listening);
        let mut all: Vec<_> =
            listening.iter().filter(|(kind, _)| *kind == wanted).map(|(_, a)| *a).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Listens on exactly these addresses from now on. Addresses that stay are not touched; all
    /// new ones are opened before anything changes, and nothing changes if one cannot be.
    ///
    /// # Errors
    /// [`EdgeError::Listen`] for an address that cannot be listened on.
    pub fn relisten(&self, https: &[SocketAddr], http: &[SocketAddr]) -> Result<(), EdgeError> {
        let (present_https, present_http) = self.addresses();
        let fresh = |wanted: &[SocketAddr], present: &[SocketAddr]| {
            let new: Vec<_> = wanted.iter().filter(|a| !present.contains(a)).copied().collect();
            listen::bind(&new, self.workers.len())
        };
        let new_https = fresh(https, &present_https)?;
        let new_http = fresh(http, &present_http)?;
        self.add(Kind::Https, new_https)?;
        self.add(Kind::Http, new_http)?;
        self.remove(Kind::Https, present_https.iter().filter(|a| !https.contains(a)));
        self.remove(Kind::Http, present_http.iter().filter(|a| !http.contains(a)));
        Ok(())
    }

    /// Opens those of `wanted` that no service listens on yet.
    ///
    /// # Errors
    /// [`EdgeError::Listen`] for an address that cannot be listened on.
    pub fn open_tcp(&self, wanted: &[SocketAddr]) -> Result<Vec<TcpListener>, EdgeError> {
        let present = self.of_kind(Kind::Tcp);
        let new: Vec<_> = wanted.iter().filter(|a| !present.contains(a)).copied().collect();
        listen::bind(&new, self.workers.len())
    }

    /// Services listen on `wanted` and nowhere else from now on; `opened` are those of them that
    /// were not listened on. Connections that are open stay.
    ///
    /// # Errors
    /// When a listener is not usable.
    pub fn use_tcp(
        &self,
        opened: Vec<TcpListener>,
        wanted: &[SocketAddr],
    ) -> Result<(), EdgeError> {
        let present = self.of_kind(Kind::Tcp);
        self.add(Kind::Tcp, opened)?;
        self.remove(Kind::Tcp, present.iter().filter(|a| !wanted.contains(a)));
        Ok(())
    }

    /// Whether every worker answers within `limit`, as none does that is stuck in a task.
    pub async fn pulse(&self, limit: Duration) -> bool {
        let beats: Vec<_> = self.workers.iter().map(WorkerHandle::pulse).collect();
        let all = async {
            for beat in beats {
                let Some(beat) = beat else { return false };
                if beat.await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(limit, all).await.unwrap_or(false)
    }

    /// Stops accepting, lets open requests end until `deadline` has passed, then ends the workers.
    pub async fn drain(&self, deadline: Duration) {
        self.let_go(|_| true);
        let done: Vec<_> = self.workers.iter().filter_map(|w| w.drain(deadline)).collect();
        for receiver in done {
            // An error means that the worker is gone already.
            let _ = receiver.await;
        }
        self.shared.access.finish().await;
        lock(&self.listening).clear();
        self.quic.forget(&self.shared);
        self.note_listeners();
    }

    /// Hands listeners to the workers: each worker gets one of each address. Where there are
    /// fewer, they are shared.
    fn add(&self, kind: Kind, listeners: Vec<TcpListener>) -> Result<(), EdgeError> {
        let mut groups: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
        for listener in listeners {
            let address = listener.local_addr().map_err(EdgeError::Inherited)?;
            match groups.iter_mut().find(|(known, _)| *known == address) {
                Some((_, group)) => group.push(listener),
                None => groups.push((address, vec![listener])),
            }
        }
        for (address, mut group) in groups {
            let mut copies = Vec::new();
            for missing in group.len()..self.workers.len() {
                if let Some(original) = group.get(missing % group.len()) {
                    copies.push(original.try_clone().map_err(EdgeError::Inherited)?);
                }
            }
            group.append(&mut copies);
            for (index, listener) in group.into_iter().enumerate() {
                listener.set_nonblocking(true).map_err(EdgeError::Inherited)?;
                listen::prepare(kind, &listener);
                let copy = listener.try_clone().map_err(EdgeError::Inherited)?;
                lock(&self.held).push(Held { kind, address, listener: copy });
                if let Some(worker) = self.workers.get(index % self.workers.len()) {
                    worker.listen(kind, address, listener)?;
                }
            }
            lock(&self.listening).push((kind, address));
        }
        self.note_listeners();
        Ok(())
    }

    fn remove<'a>(&self, kind: Kind, addresses: impl Iterator<Item = &'a SocketAddr>) {
        for address in addresses {
            self.let_go(|held| held.kind == kind && held.address == *address);
            for worker in &self.workers {
                worker.unlisten(kind, *address);
            }
            lock(&self.listening).retain(|(k, a)| *k != kind || a != address);
        }
        self.note_listeners();
    }

    /// Tells those who ask which listeners there are.
    fn note_listeners(&self) {
        let (https, http) = self.addresses();
        self.shared.challenges.listeners(!https.is_empty(), !http.is_empty());
        let port = https.iter().map(SocketAddr::port).find(|port| *port == 443);
        let port = port.or_else(|| https.first().map(SocketAddr::port)).unwrap_or(443);
        self.shared.set_https_port(port);
    }
}

/// What the kernel may do of TLS.
fn kernel_suites(config: &Config) -> Suites {
    match config.tls.ktls {
        config::KernelTls::Auto => ktls::probe().unwrap_or_default(),
        config::KernelTls::Off => Suites::default(),
    }
}

/// What is behind the lock is whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The set that is served, as workers hold it.
type CurrentSet = ArcSwap<ServingSet>;
