//! From a new TCP connection to HTTP: accept, look at the ClientHello, choose, shake hands.
//!
//! The only file that knows that a handshake blocks its worker while the vault signs.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use rustls::server::ClientHello;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection;
use super::route::Identity;
use super::serving::normal;
use super::tls::ACME_TLS;
use super::worker::Kind;
use super::worker::Worker;
use crate::base::bounds::ACCEPT_PAUSE;
use crate::base::bounds::LISTEN_BACKLOG;

/// Accepts from `listener` until `stop`, then takes what the kernel has queued already: closing a
/// listener resets what is in its queue.
pub(super) async fn run(worker: Rc<Worker>, kind: Kind, listener: TcpListener, stop: Rc<Notify>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.notified() => break,
            accepted = async { worker.room().await; listener.accept().await } => accepted,
        };
        match accepted {
            Ok((stream, peer)) => begin(&worker, kind, stream, peer),
            Err(error) => refused(&error).await,
        }
    }
    // Asked of the kernel itself: the runtime may not have heard of the newest ones yet.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..LISTEN_BACKLOG {
        let Ok((stream, peer)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            begin(&worker, kind, stream, peer);
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

fn begin(worker: &Rc<Worker>, kind: Kind, stream: TcpStream, peer: SocketAddr) {
    let place = worker.enter();
    let worker = Rc::clone(worker);
    drop(tokio::task::spawn_local(async move {
        // Answers go out whole; waiting for more to say only costs time.
        let _ = stream.set_nodelay(true);
        match kind {
            Kind::Https => https(&worker, stream, peer).await,
            Kind::Http => connection::plain(&worker, stream, peer).await,
        }
        drop(place);
    }));
}

async fn https(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let limit = worker.set().limits.handshake_timeout;
    let counters = &worker.counters;
    let Ok(shaken) = timeout(limit, handshake(worker, stream)).await else {
        counters.timeout.up();
        return;
    };
    match shaken {
        Ok(Shaken::Site(stream, identity)) => {
            match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => counters.resumed.up(),
                _ => counters.full.up(),
            }
            connection::tls(worker, stream, peer, identity).await;
        }
        Ok(Shaken::Challenge) => counters.challenges.up(),
        Err(Failed::UnknownName) => counters.unknown_name.up(),
        Err(Failed::NoCertificate) => counters.no_certificate.up(),
        Err(Failed::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            counters.protocol.up();
            tracing::debug!(reason = %error, "handshake failed");
        }
        Err(Failed::Io(_)) => counters.closed.up(),
    }
}

enum Shaken {
    Site(Box<TlsStream<TcpStream>>, Identity),
    Challenge,
}

enum Failed {
    UnknownName,
    NoCertificate,
    Io(io::Error),
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
const UNRECOGNIZED_NAME: u8 = 112;
/// RFC 8446, section 6.2.
const INTERNAL_ERROR: u8 = 80;

async fn handshake(worker: &Worker, stream: TcpStream) -> Result<Shaken, Failed> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    if let Some(chosen) = challenge(worker, &start.client_hello()) {
        let Some(config) = chosen else {
            refuse(start.io, UNRECOGNIZED_NAME).await;
            return Err(Failed::UnknownName);
        };
        // The CA has seen what it came for; the connection carries nothing (RFC 8737, section 3).
        let mut stream = start.into_stream(config).await?;
        let _ = stream.shutdown().await;
        return Ok(Shaken::Challenge);
    }
    let identity = match start.client_hello().server_name() {
        Some(name) => Identity::Name(normal(name).into()),
        None => Identity::Address(start.io.local_addr()?.ip()),
    };
    let tls = identity.entry(&worker.set()).map(|entry| entry.tls.clone());
    match tls {
        Some(Some(config)) => {
            let stream = start.into_stream(config).await?;
            Ok(Shaken::Site(Box::new(stream), identity))
        }
        Some(None) => {
            refuse(start.io, INTERNAL_ERROR).await;
            Err(Failed::NoCertificate)
        }
        None => {
            refuse(start.io, UNRECOGNIZED_NAME).await;
            Err(Failed::UnknownName)
        }
    }
}

/// For a client that speaks `acme-tls/1` and nothing else: the configuration, if there is one.
fn challenge(worker: &Worker, hello: &ClientHello<'_>) -> Option<Option<Arc<ServerConfig>>> {
    let mut offered = hello.alpn()?;
    if offered.next() != Some(ACME_TLS) || offered.next().is_some() {
        return None;
    }
    Some(hello.server_name().and_then(|name| worker.shared.challenges.handshake(name)))
}

async fn refuse(mut stream: TcpStream, description: u8) {
    // The client may be gone; then nobody misses the alert.
    let _ = stream.write_all(&alert(description)).await;
    let _ = stream.shutdown().await;
}
