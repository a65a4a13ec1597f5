//! From a new connection to a service: what the client asks for, and TLS as the service has it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::first;
use super::first::First;
use super::serve::Unread;
use super::services::Door;
use super::services::ServedTcp;
use super::services::Way;
use super::starttls;
use super::starttls::Begun;
use crate::edge::accept;
use crate::edge::accept::Failed;
use crate::edge::bulk::BulkStream;
use crate::edge::facts::Facts;
use crate::edge::hello;
use crate::edge::hello::Greeted;
use crate::edge::ja4;
use crate::edge::ja4::Carrier;
use crate::edge::network::Network;
use crate::edge::proxied::Ends;
use crate::edge::serving::normal;
use crate::edge::shake::Admitted;
use crate::edge::worker::Worker;

/// A client that is to be led to a server.
pub(super) struct Opened {
    pub(super) service: Arc<ServedTcp>,
    pub(super) client: Client,
    /// The address that the client came to.
    pub(super) at: SocketAddr,
    /// The name that it asked for.
    pub(super) name: Option<Box<str>>,
    pub(super) facts: Option<Facts>,
    /// What its first message looked like, where that is told.
    pub(super) ja4: Option<Box<str>>,
}

/// The client's side of a connection.
pub(super) enum Client {
    /// With what was read of it, which its server is to read.
    Through(TcpStream, Vec<u8>),
    Tls(Box<BulkStream>),
}

/// Opens a connection that came to the listener behind `door`; whether it is told of TLS.
pub(super) async fn at_door(
    worker: &Worker,
    mut stream: TcpStream,
    ends: Ends,
    (door, tells): (&Door, bool),
) -> Result<Opened, Failed> {
    let mut unread = Vec::new();
    if let Some(protocol) = door.starttls {
        match starttls::speak(&mut stream, protocol, door.name()).await? {
            Begun::Tls(read) => unread = read,
            Begun::Over => return Err(Failed::TurnedAway),
            Begun::Refused(reason) => {
                worker.counters.tcp_refused.up();
                tracing::debug!(reason, "a client does not ask for TLS as it should");
                return Err(Failed::TurnedAway);
            }
        }
    }
    let mut ja4 = None;
    if door.through || tells {
        let first = first::read(&mut stream, unread).await?;
        ja4 = first
            .hello
            .as_deref()
            .filter(|_| tells)
            .and_then(|hello| ja4::ja4(hello, Carrier::Tcp));
        if let Some(service) = door.find(first.name().map(normal).as_deref())
            && matches!(service.way, Way::Through)
            && first.hello.is_some()
        {
            return through(stream, ends, service, (first, ja4));
        }
        unread = first.octets;
    }
    ended(worker, (stream, unread, ja4), ends, |name| door.find(name)).await
}

/// Opens a connection that came to the port of HTTPS and is for `service`.
pub(super) async fn at_neighbour(
    worker: &Worker,
    stream: TcpStream,
    ends: Ends,
    service: &Arc<ServedTcp>,
    (first, ja4): (First, Option<Box<str>>),
) -> Result<Opened, Failed> {
    if matches!(service.way, Way::Through) {
        return through(stream, ends, service, (first, ja4));
    }
    ended(worker, (stream, first.octets, ja4), ends, |_| Some(service)).await
}

fn through(
    stream: TcpStream,
    ends: Ends,
    service: &Arc<ServedTcp>,
    (first, ja4): (First, Option<Box<str>>),
) -> Result<Opened, Failed> {
    let at = at(&stream, ends)?;
    let name = first.name().map(|name| normal(name).into());
    let client = Client::Through(stream, first.octets);
    Ok(Opened { service: Arc::clone(service), client, at, name, facts: None, ja4 })
}

/// Ends TLS for the service that `find` finds for the name that the client asks for.
async fn ended<'a>(
    worker: &Worker,
    (stream, unread, ja4): Unread,
    ends: Ends,
    find: impl Fn(Option<&str>) -> Option<&'a Arc<ServedTcp>>,
) -> Result<Opened, Failed> {
    let certificates = &worker.shared.certificates;
    let good = |ticket: &[u8]| certificates.mould.knows(ticket);
    let Greeted { start, ticket, meter } = Box::pin(hello::read(stream, unread, good)).await?;
    let name: Option<Box<str>> = start.client_hello().server_name().map(|n| normal(n).into());
    let Some(service) = find(name.as_deref()) else {
        accept::refuse(start.io, accept::UNRECOGNIZED_NAME).await;
        return Err(Failed::UnknownName);
    };
    let Way::Ended(Some(terms), _) = &service.way else {
        accept::refuse(start.io, accept::INTERNAL_ERROR).await;
        return Err(Failed::NoCertificate);
    };
    let at = at(&start.io, ends)?;
    // Up to here nothing costly was done.
    let network = Network::of(ends.client.ip());
    let Some(admitted) = Admitted::ask(worker, network, ticket) else {
        accept::close_hard(&start.io);
        return Err(Failed::TurnedAway);
    };
    let host = name.as_deref().unwrap_or(&service.name);
    let config = certificates.find(host, terms, &start.client_hello(), &worker.counters);
    let Some(config) = config else {
        accept::refuse(start.io, accept::INTERNAL_ERROR).await;
        return Err(Failed::NoCertificate);
    };
    let mut stream = admitted.shake(start, meter, config).await?;
    accept::look(&worker.counters, stream.get_ref().1);
    let facts = Facts::of(stream.get_ref().1, None);
    // Nobody knows when a server has something to say that would take it along.
    stream.get_mut().0.held.release();
    stream.flush().await?;
    let kernel = certificates.mould.kernel;
    let stream = BulkStream::new(stream, kernel, Arc::clone(&worker.counters));
    let client = Client::Tls(Box::new(stream));
    Ok(Opened { service: Arc::clone(service), client, at, name, facts: Some(facts), ja4 })
}

/// Where the client came to, as it sees it.
fn at(stream: &TcpStream, ends: Ends) -> io::Result<SocketAddr> {
    ends.server.map_or_else(|| stream.local_addr(), Ok)
}
