//! One UDP socket of a worker, from the first packet of a connection to the last of all.
//!
//! What a connection costs before anything is known of its client: a place, if the client's network may
//! have one more, and the reading of a ClientHello. Addresses can be forged on UDP, so only few
//! connections may be at that point; beyond them a client has to show first that it is where it says.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connecting;
use quinn::ConnectionError;
use quinn::Endpoint;
use quinn::EndpointConfig;
use quinn::IdleTimeout;
use quinn::Incoming;
use quinn::ServerConfig;
use quinn::TokioRuntime;
use quinn::TransportConfig;
use quinn::VarInt;
use quinn::crypto::rustls::QuicServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio::time::timeout;

use super::Arrived;
use super::greeting::Greeting;
use super::greeting::Met;
use super::letters::Post;
use super::requests;
use super::requests::Caller;
use super::sockets::Numbered;
use crate::base::bounds::quic::QUIC_CONNECTION_WINDOW;
use crate::base::bounds::quic::QUIC_FAREWELL;
use crate::base::bounds::quic::QUIC_LOOK;
use crate::base::bounds::quic::QUIC_SEND_WINDOW;
use crate::base::bounds::quic::QUIC_STREAM_WINDOW;
use crate::base::bounds::quic::QUIC_STREAMS;
use crate::base::bounds::quic::QUIC_UNI_STREAMS;
use crate::base::bounds::quic::QUIC_UNPROVEN;
use crate::base::bounds::quic::QUIC_WAITING;
use crate::base::bounds::quic::QUIC_WAITING_BYTES;
use crate::base::bounds::quic::QUIC_WAITING_TOTAL;
use crate::config;
use crate::config::Agreement;
use crate::edge::crowd::Away;
use crate::edge::network::Network;
use crate::edge::tickets;
use crate::edge::visitors::Shown;
use crate::edge::worker::Place;
use crate::edge::worker::Worker;

/// QUIC version 1 (RFC 9000, section 15); all browsers have it.
const VERSION: u32 = 1;

/// RFC 9114, section 8.1: nothing was wrong.
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// What all endpoints of the edge share: what they seal for clients to bring back to any of them.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Seals {
    pub(super) reset: Arc<ring::hmac::Key>,
    pub(super) token: Arc<ring::hkdf::Prk>,
}

/// A socket while it is served.
struct Door {
    worker: Rc<Worker>,
    endpoint: Endpoint,
    post: Arc<Post>,
    /// What connections begin with; each gets a greeting of its own.
    config: ServerConfig,
    ground: Arc<QuicServerConfig>,
    port: u16,
    address: IpAddr,
    /// Connections whose clients have not shown where they are.
    unproven: Rc<Cell<usize>>,
    /// Connections, and whether one has ended.
    open: Rc<(Cell<usize>, Notify)>,
}

/// Serves a socket until `closing` says so, lets its connections end, and those of former processes
/// that it reads for, and says goodbye.
pub(super) async fn run(
    worker: Rc<Worker>,
    arrived: Arrived,
    seals: Seals,
    mut closing: watch::Receiver<bool>,
) {
    let door = match Door::new(worker, arrived, &seals) {
        Ok(door) => door,
        Err(error) => {
            tracing::error!(%error, "a socket for HTTP/3 is not usable, going on without it");
            return;
        }
    };
    let told = closing.clone();
    tokio::select! {
        biased;
        // An error means that whoever could say so is gone.
        _ = closing.wait_for(|closing| *closing) => {}
        () = door.serve(&told) => {}
    }
    // Who came before that is not left waiting.
    while let Some(incoming) = door.next_at_once().await {
        door.begin(incoming, &told);
    }
    door.endpoint.set_server_config(None);
    let (open, ended) = &*door.open;
    while open.get() > 0 {
        ended.notified().await;
    }
    while door.post.reads_for_others() {
        sleep(QUIC_LOOK).await;
    }
    door.endpoint.close(NO_ERROR, b"");
    // Clients that do not hear of it notice when they come again.
    drop(timeout(QUIC_FAREWELL, door.endpoint.wait_idle()).await);
}

impl Door {
    fn new(worker: Rc<Worker>, arrived: Arrived, seals: &Seals) -> io::Result<Self> {
        let Arrived { number, socket, means } = arrived;
        let (local, mark) = (socket.local_addr()?, means.mark);
        let mould = &worker.shared.certificates.mould;
        let ground = Arc::new(mould.terms(Agreement::default()).bare().clone());
        let ground = QuicServerConfig::try_from(ground).map_err(io::Error::other)?;
        let ground = Arc::new(ground);
        let crypto = Arc::<QuicServerConfig>::clone(&ground);
        let mut config = ServerConfig::new(crypto, Arc::<ring::hkdf::Prk>::clone(&seals.token));
        config
            .max_incoming(QUIC_WAITING)
            .incoming_buffer_size(QUIC_WAITING_BYTES)
            .incoming_buffer_size_total(QUIC_WAITING_TOTAL);
        let mut settings = EndpointConfig::new(Arc::<ring::hmac::Key>::clone(&seals.reset));
        settings
            .supported_versions(vec![VERSION])
            .cid_generator(move || Box::new(Numbered(number, mark)));
        let runtime = Arc::new(TokioRuntime);
        let post = Arc::new(Post::new(socket, means)?);
        let begun = Some(config.clone());
        let socket = Arc::<Post>::clone(&post);
        let endpoint = Endpoint::new_with_abstract_socket(settings, begun, socket, runtime)?;
        Ok(Self {
            worker,
            endpoint,
            post,
            config,
            ground,
            port: local.port(),
            address: local.ip(),
            unproven: Rc::default(),
            open: Rc::default(),
        })
    }

    async fn serve(&self, closing: &watch::Receiver<bool>) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.begin(incoming, closing);
        }
    }

    /// Somebody who has come already.
    async fn next_at_once(&self) -> Option<Incoming> {
        tokio::select! {
            biased;
            incoming = self.endpoint.accept() => incoming,
            () = std::future::ready(()) => None,
        }
    }

    fn begin(&self, incoming: Incoming, closing: &watch::Receiver<bool>) {
        let worker = &self.worker;
        let peer = incoming.remote_address();
        let set = worker.set();
        // It cannot say for whom it speaks.
        if set.is_balancer(peer.ip()) {
            incoming.refuse();
            return;
        }
        let proven = incoming.remote_address_validated();
        if !proven && self.unproven.get() >= QUIC_UNPROVEN {
            worker.counters.quic_retries.up();
            // Only who has had one cannot have another, and that one is proven.
            drop(incoming.retry());
            return;
        }
        if worker.is_full() {
            worker.turn_away(Away::Connections, Network::of(peer.ip()));
            incoming.refuse();
            return;
        }
        let Some(place) = worker.enter(peer.ip()) else {
            incoming.refuse();
            return;
        };
        let mut config = self.config.clone();
        config.transport = Arc::new(transport(&set.limits));
        config.crypto = Arc::new(Greeting {
            ground: Arc::clone(&self.ground),
            network: Network::of(peer.ip()),
            local: incoming.local_ip().unwrap_or(self.address),
        });
        // Counted until it is known, or over.
        let unproven = (!proven).then(|| Counted::new(&self.unproven));
        // An error was told to the client, and counted where it was found.
        let Ok(connecting) = incoming.accept_with(Arc::new(config)) else { return };
        let (port, closing) = (self.port, closing.clone());
        let (worker, open) = (Rc::clone(worker), Left::new(&self.open));
        drop(tokio::task::spawn_local(async move {
            if let Some(caller) = shake(&worker, connecting).await {
                drop(unproven);
                Box::pin(requests::serve(&worker, caller, port, closing)).await;
            }
            leave(place, open);
        }));
    }
}

/// In this order: whoever waits for the last connection finds its place free.
fn leave(place: Place, open: Left) {
    drop(place);
    drop(open);
}

/// Shakes hands; what went wrong is counted.
async fn shake(worker: &Worker, connecting: Connecting) -> Option<Caller> {
    let counters = &worker.counters;
    let limit = worker.set().limits.handshake_timeout;
    let limit = worker.crowd.borrow().patience(limit);
    let shaken = timeout(limit, connecting).await;
    tickets::settle(counters);
    let connection = match shaken {
        Ok(Ok(connection)) => connection,
        // Counted where it was found.
        Ok(Err(ConnectionError::TransportError(_))) => return None,
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => {
            counters.timeout.up();
            return None;
        }
        Ok(Err(_)) => {
            counters.closed.up();
            return None;
        }
    };
    let met = connection.handshake_data().and_then(|met| met.downcast::<Met>().ok())?;
    if met.resumed {
        counters.resumed.up()
    } else {
        counters.full.up()
    }
    counters.quic.up();
    let chain = connection.peer_identity();
    let chain = chain.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let shown = Shown::new(chain.as_deref().map(Vec::as_slice));
    let Met { identity, facts, .. } = *met;
    Some(Caller { connection, identity, shown, facts })
}

fn transport(limits: &config::Edge) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = limits.idle_timeout.max(Duration::from_secs(1));
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(QUIC_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(QUIC_UNI_STREAMS))
        .stream_receive_window(VarInt::from_u32(QUIC_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(QUIC_CONNECTION_WINDOW))
        .send_window(QUIC_SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok());
    transport
}

/// Counts one while it is held.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A connection that is open.
struct Left(Rc<(Cell<usize>, Notify)>);

impl Left {
    fn new(open: &Rc<(Cell<usize>, Notify)>) -> Self {
        open.0.set(open.0.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let (open, ended) = &*self.0;
        open.set(open.get().saturating_sub(1));
        ended.notify_one();
    }
}
