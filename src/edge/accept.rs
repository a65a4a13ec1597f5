//! From a new TCP connection to HTTP: accept, look at the ClientHello, choose, shake hands.
//!
//! The only file that knows that a handshake blocks its worker while the vault signs.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::server::ClientHello;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::bulk::BulkStream;
use super::connection;
use super::early::EarlyStream;
use super::early::Unproven;
use super::facts::Facts;
use super::hello;
use super::hello::Greeted;
use super::knock;
use super::listen;
use super::meter::Measured;
use super::network::Network;
use super::proxied;
use super::proxied::Ends;
use super::route::Identity;
use super::serving::ServedSite;
use super::serving::normal;
use super::shake::Admitted;
use super::stats::Counters;
use super::tcp as services;
use super::tickets;
use super::tls::ACME_TLS;
use super::tls::Mould;
use super::visitors::Shown;
use super::visitors::Visitors;
use super::worker::Kind;
use super::worker::Place;
use super::worker::Worker;
use crate::base::bounds::ACCEPT_BATCH;
use crate::base::bounds::ACCEPT_PAUSE;
use crate::base::bounds::DEFER_ACCEPT_REST;
use crate::base::bounds::LISTEN_BACKLOG;
use crate::os::tcp;

/// Accepts from `listener` until `stop`, then takes what the kernel holds already: closing a
/// listener resets that.
pub(super) async fn run(worker: Rc<Worker>, kind: Kind, listener: TcpListener, stop: Rc<Notify>) {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = listener.local_addr().unwrap_or(unknown);
    let port = address.port();
    let door = match tcp::watch(listener) {
        Ok(listener) => Door { kind, address, listener },
        Err(error) => {
            tracing::error!(port, %error, "listener is not usable, going on without it");
            return;
        }
    };
    tokio::select! {
        biased;
        () = stop.notified() => {}
        () = door.serve(&worker) => return,
    }
    let listener = door.listener.get_ref();
    if listen::is_own(listener) {
        // Who waits in the kernel for a first octet is to come as well. In vain, this costs time
        // only.
        let _ = tcp::set_defer_accept(listener, 0);
        drop(timeout(DEFER_ACCEPT_REST, door.serve(&worker)).await);
    }
    // Asked of the kernel itself, and whether there is room or not.
    for _ in 0..LISTEN_BACKLOG {
        let Ok((stream, peer)) = tcp::accept(listener) else { return };
        door.begin(&worker, stream, peer);
    }
}

/// A listener and what it is for.
struct Door {
    kind: Kind,
    address: SocketAddr,
    listener: AsyncFd<TcpListener>,
}

/// Where a turn of accepting has ended.
enum Turn {
    /// Nobody waits any more.
    Empty,
    /// Others of this worker have waited long enough.
    Over,
    /// The kernel refuses.
    Refused(io::Error),
}

impl Door {
    /// Accepts without end.
    async fn serve(&self, worker: &Rc<Worker>) {
        loop {
            worker.room().await;
            let mut ready = match self.listener.readable().await {
                Ok(ready) => ready,
                Err(error) => {
                    refused(&error).await;
                    continue;
                }
            };
            match self.turn(worker) {
                Turn::Empty => ready.clear_ready(),
                Turn::Over => yield_now().await,
                Turn::Refused(error) => refused(&error).await,
            }
        }
    }

    /// Takes connections until there is none, or it is the turn of others.
    fn turn(&self, worker: &Rc<Worker>) -> Turn {
        for _ in 0..ACCEPT_BATCH {
            if worker.is_full() {
                return Turn::Over;
            }
            match tcp::accept(self.listener.get_ref()) {
                Ok((stream, peer)) => self.begin(worker, stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Empty,
                Err(error) => return Turn::Refused(error),
            }
        }
        Turn::Over
    }

    fn begin(&self, worker: &Rc<Worker>, stream: std::net::TcpStream, peer: SocketAddr) {
        let Some(place) = worker.enter(peer.ip()) else {
            close_hard(&stream);
            return;
        };
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be watched and is closed");
                return;
            }
        };
        let arrived = Arrived { stream, peer, port: self.address.port(), place };
        let worker = Rc::clone(worker);
        drop(match self.kind {
            Kind::Tcp => tokio::task::spawn_local(attend(worker, self.address, arrived)),
            kind => tokio::task::spawn_local(serve(worker, kind, arrived)),
        });
    }
}

/// A connection that was accepted.
struct Arrived {
    stream: TcpStream,
    /// Whoever is connected.
    peer: SocketAddr,
    /// The port they came to.
    port: u16,
    place: Place,
}

/// One connection, to its end. This is the task of every client while it is connected, and it is moved
/// several times before it is at its place: so it is small, and what only some need is on the heap while
/// they need it.
async fn serve(worker: Rc<Worker>, kind: Kind, arrived: Arrived) {
    let Some((arrived, ends)) = introduced(&worker, arrived).await else { return };
    let Arrived { stream, port, place, .. } = arrived;
    match kind {
        Kind::Http => connection::plain(&worker, stream, ends.client, port).await,
        Kind::Https | Kind::Tcp => https(&worker, stream, ends, port).await,
    }
    drop(place);
}

/// The same for a service that is no HTTP, whose listener is on `address`.
async fn attend(worker: Rc<Worker>, address: SocketAddr, arrived: Arrived) {
    let Some((arrived, ends)) = introduced(&worker, arrived).await else { return };
    let Arrived { stream, place, .. } = arrived;
    services::own(&worker, stream, ends, address).await;
    drop(place);
}

/// A connection with who is at its other end. `None` when it is over.
async fn introduced(worker: &Rc<Worker>, arrived: Arrived) -> Option<(Arrived, Ends)> {
    if worker.set().is_balancer(arrived.peer.ip()) {
        return Box::pin(announced(worker, arrived)).await;
    }
    let ends = Ends { client: arrived.peer, server: None };
    Some((arrived, ends))
}

/// A connection from a balancer: who is at its other end, with the port they came to and their place.
/// `None` when the connection is over.
async fn announced(worker: &Rc<Worker>, mut arrived: Arrived) -> Option<(Arrived, Ends)> {
    let peer = arrived.peer;
    let limit = worker.set().limits.handshake_timeout;
    match timeout(limit, proxied::read(&mut arrived.stream)).await {
        Ok(Ok(None)) => Some((arrived, Ends { client: peer, server: None })),
        Ok(Ok(Some(ends))) => {
            let Arrived { stream, peer, port, place } = arrived;
            let Some(place) = worker.change(place, ends.client.ip()) else {
                close_hard(&stream);
                return None;
            };
            let port = ends.server.map_or(port, |server| server.port());
            Some((Arrived { stream, peer, port, place }, ends))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            worker.counters.protocol.up();
            tracing::debug!(%peer, reason = %error, "a listed network sends no PROXY header");
            None
        }
        Ok(Err(_)) => {
            worker.counters.closed.up();
            None
        }
        Err(_) => {
            worker.counters.timeout.up();
            None
        }
    }
}

async fn refused(error: &io::Error) {
    // A client that left before it was accepted is no trouble of ours.
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        tracing::warn!(%error, "connection cannot be accepted, pausing");
        sleep(ACCEPT_PAUSE).await;
    }
}

async fn https(worker: &Rc<Worker>, stream: TcpStream, ends: Ends, port: u16) {
    let peer = ends.client;
    let (looks, tells) = {
        let set = worker.set();
        (set.tcp.has_neighbours() || set.tells_of_tls, set.tells_of_tls)
    };
    // Asked of the kernel only where somebody is told.
    let at = match ends.server {
        None if tells => stream.local_addr().ok(),
        known => known,
    };
    let at = SocketAddr::new(at.map_or_else(|| connection::unknown(peer), |at| at.ip()), port);
    let (stream, unread, ja4) = if looks {
        match Box::pin(services::beside(worker, stream, ends)).await {
            Some(back) => back,
            None => return,
        }
    } else {
        (stream, Vec::new(), None)
    };
    let limit = worker.set().limits.handshake_timeout;
    let limit = worker.crowd.borrow().patience(limit);
    let counters = &worker.counters;
    // Gone when it is over, so that it takes no memory while the client stays.
    let more = Cell::new(Duration::ZERO);
    let shaking = Box::pin(handshake(worker, (stream, unread), ends, &more));
    let shaken = knock::patiently(limit, &more, shaking).await;
    tickets::settle(counters);
    let Some(shaken) = shaken else {
        counters.timeout.up();
        return;
    };
    match shaken {
        Ok(Shaken::Site(stream, identity)) => {
            let h2 = look(counters, stream.get_ref().1);
            let shown = Shown::new(stream.get_ref().1.peer_certificates());
            let facts = tells.then(|| Facts::of(stream.get_ref().1, ja4));
            let held = stream.get_ref().0.held.waits();
            let kernel = worker.shared.certificates.mould.kernel;
            let stream = BulkStream::new(stream, kernel, Arc::clone(counters));
            let unproven = Unproven::default();
            let shaken = connection::Shaken { stream, held, h2, unproven, shown, facts };
            connection::tls(worker, shaken, (peer, at), identity).await;
        }
        Ok(Shaken::Early(stream, identity)) => {
            let h2 = look(counters, stream.session());
            let unproven = stream.unproven();
            let facts = tells.then(|| Facts::of(stream.session(), ja4));
            let shaken =
                connection::Shaken { stream, held: false, h2, unproven, shown: None, facts };
            Box::pin(connection::tls(worker, shaken, (peer, at), identity)).await;
        }
        Ok(Shaken::Challenge) => counters.challenges.up(),
        Err(failed) => failed.count(counters),
    }
}

/// Counts a handshake; whether HTTP/2 is spoken.
pub(super) fn look(counters: &Counters, session: &ServerConnection) -> bool {
    match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => counters.resumed.up(),
        _ => counters.full.up(),
    }
    session.alpn_protocol() == Some(b"h2")
}

enum Shaken {
    Site(Box<TlsStream<Measured>>, Identity),
    /// Where clients may speak before they have shaken hands.
    Early(Box<EarlyStream>, Identity),
    Challenge,
}

/// Why a handshake is not finished.
pub(super) enum Failed {
    UnknownName,
    NoCertificate,
    /// Counted where it was decided.
    TurnedAway,
    Io(io::Error),
}

impl Failed {
    pub(super) fn count(self, counters: &Counters) {
        match self {
            Self::UnknownName => counters.unknown_name.up(),
            Self::NoCertificate => counters.no_certificate.up(),
            Self::TurnedAway => {}
            Self::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                counters.protocol.up();
                tracing::debug!(reason = %error, "handshake failed");
            }
            Self::Io(_) => counters.closed.up(),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A fatal alert as a TLS record, before any version is agreed on (RFC 8446, section 5.1).
const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// RFC 6066, section 3.
pub(super) const UNRECOGNIZED_NAME: u8 = 112;
/// RFC 8446, section 6.2.
pub(super) const INTERNAL_ERROR: u8 = 80;

async fn handshake(
    worker: &Worker,
    (stream, unread): (TcpStream, Vec<u8>),
    ends: Ends,
    more: &Cell<Duration>,
) -> Result<Shaken, Failed> {
    let network = Network::of(ends.client.ip());
    let Greeted { start, ticket, meter } = Box::pin(hello::read(stream, unread, |ticket| {
        worker.shared.certificates.mould.knows(ticket)
    }))
    .await?;
    if let Some(chosen) = challenge(worker, &start.client_hello()) {
        let Some(config) = chosen else {
            refuse(start.io, UNRECOGNIZED_NAME).await;
            return Err(Failed::UnknownName);
        };
        // The CA has seen what it came for; the connection carries nothing (RFC 8737, section 3).
        let admitted = Admitted::unasked(worker, network);
        let mut stream = Box::pin(admitted.shake(start, meter, config)).await?;
        let _ = stream.shutdown().await;
        return Ok(Shaken::Challenge);
    }
    let identity = match start.client_hello().server_name() {
        Some(name) => Identity::Name(normal(name).into()),
        None => Identity::Address(match ends.server {
            Some(server) => server.ip(),
            // Asked of the kernel only here: nearly all clients say a name.
            None => start.io.local_addr()?.ip(),
        }),
    };
    let mut set = worker.set().clone();
    let mut known = identity.known(&set);
    if let Some(name) = knock::wanting(worker, &set, known.as_ref(), &identity)
        && Box::pin(knock::hold(worker, name, network, more)).await
    {
        set = worker.set().clone();
        known = identity.known(&set);
    }
    let unknown = known.is_none();
    let named = matches!(identity, Identity::Name(_));
    let Some(site) = known.or_else(|| set.for_unknown(named).map(Arc::clone)) else {
        refuse(start.io, UNRECOGNIZED_NAME).await;
        return Err(Failed::UnknownName);
    };
    if matches!(site.visitors, Visitors::Nobody) {
        refuse(start.io, INTERNAL_ERROR).await;
        return Err(Failed::NoCertificate);
    }
    // Up to here nothing costly was done.
    let Some(admitted) = Admitted::ask(worker, network, ticket) else {
        close_hard(&start.io);
        return Err(Failed::TurnedAway);
    };
    let Some(config) = find(worker, &identity, (&site, unknown), &start.client_hello()) else {
        refuse(start.io, INTERNAL_ERROR).await;
        return Err(Failed::NoCertificate);
    };
    if site.early_data {
        let stream = Box::pin(admitted.shake_early(start, Mould::early(&config))).await?;
        return Ok(Shaken::Early(Box::new(stream), identity));
    }
    let stream = admitted.shake(start, meter, config).await?;
    Ok(Shaken::Site(stream, identity))
}

/// The configuration for `identity`, which leads to `site`. A name that no site has leads to the default
/// site, as `unknown` says, under a certificate of its own where there is one, such as one that was brought here.
pub(super) fn find(
    worker: &Worker,
    identity: &Identity,
    (site, unknown): (&ServedSite, bool),
    hello: &ClientHello<'_>,
) -> Option<Arc<ServerConfig>> {
    let find =
        |host: &str| worker.shared.certificates.find(host, &site.terms, hello, &worker.counters);
    find(&identity.text()).or_else(|| if unknown { find(&site.name) } else { None })
}

/// For a client that speaks `acme-tls/1` and nothing else: the configuration, if there is one.
fn challenge(worker: &Worker, hello: &ClientHello<'_>) -> Option<Option<Arc<ServerConfig>>> {
    let mut offered = hello.alpn()?;
    if offered.next() != Some(ACME_TLS) || offered.next().is_some() {
        return None;
    }
    Some(hello.server_name().and_then(|name| worker.shared.challenges.handshake(name)))
}

/// Ends a connection with a reset. There is no alert for "not now", and a browser takes a reset
/// for an accident of the network, which it tries again, where an alert would be the site's
/// last word. It also leaves nothing behind in the kernel.
pub(super) fn close_hard(stream: &impl AsFd) {
    // If it cannot be had, the usual end does.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

pub(super) async fn refuse(mut stream: TcpStream, description: u8) {
    // The client may be gone; then nobody misses the alert.
    let _ = stream.write_all(&alert(description)).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bounds::client::CONNECTION_TASK;
    use crate::base::bounds::client::HANDSHAKE_TASK;

    /// What `make` gives, without making it.
    fn size<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// It is moved several times on its way to the heap, and stays there as long as the client.
    #[test]
    fn the_task_of_a_connection_is_small() {
        let task = size(serve);
        let shaking = size(|worker: Rc<Worker>, stream, ends| async move {
            drop(handshake(&worker, stream, ends, &Cell::default()).await);
        });
        println!("a connection's task: {task} octets, while it shakes hands {shaking} more");
        assert!(task <= CONNECTION_TASK, "{task}");
        assert!(shaking <= HANDSHAKE_TASK, "{shaking}");
    }
}
