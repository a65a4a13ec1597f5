//! One connection to a service, to its end: opened, led to a server, told to the access log.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::first;
use super::open;
use super::open::Client;
use super::open::Opened;
use super::preface;
use super::relay;
use super::relay::End;
use super::relay::Passed;
use super::services::ServedTcp;
use super::services::Way;
use super::starttls;
use crate::base::bounds::DRAIN_IDLE;
use crate::base::bounds::origins::ORIGIN_TRIES;
use crate::base::bounds::tcp::UNSETTLED;
use crate::config::Address;
use crate::edge::accept::Failed;
use crate::edge::access::Told;
use crate::edge::balance::Choice;
use crate::edge::dial;
use crate::edge::ja4;
use crate::edge::ja4::Carrier;
use crate::edge::origin::Turn;
use crate::edge::proxied::Ends;
use crate::edge::serving::ServingSet;
use crate::edge::serving::normal;
use crate::edge::target::Target;
use crate::edge::tickets;
use crate::edge::worker::Worker;

/// Serves a connection that came to a service's own listener on `address`.
pub(in crate::edge) async fn own(
    worker: &Rc<Worker>,
    stream: TcpStream,
    ends: Ends,
    address: SocketAddr,
) {
    let Some(set) = settled(worker, &address).await else { return };
    let Some(door) = set.tcp.door(&address) else { return };
    let limit = worker.crowd.borrow().patience(set.limits.handshake_timeout);
    let opening = open::at_door(worker, stream, ends, (door, set.tells_of_tls));
    let opened = timeout(limit, Box::pin(opening)).await;
    drop(set);
    conclude(worker, opened, ends).await;
}

/// A connection, what was read of it, and what that looks like if somebody wants to know.
pub(in crate::edge) type Unread = (TcpStream, Vec<u8>, Option<Box<str>>);

/// Looks whom a connection to the port of HTTPS is for. Given back, with what was read of it, if
/// that is no service.
pub(in crate::edge) async fn beside(
    worker: &Rc<Worker>,
    mut stream: TcpStream,
    ends: Ends,
) -> Option<Unread> {
    let set = Arc::clone(&worker.set());
    let limit = worker.crowd.borrow().patience(set.limits.handshake_timeout);
    let due = Instant::now() + limit;
    let first = match timeout(limit, first::read(&mut stream, Vec::new())).await {
        Ok(Ok(first)) => first,
        Ok(Err(_)) => {
            worker.counters.closed.up();
            return None;
        }
        Err(_) => {
            worker.counters.timeout.up();
            return None;
        }
    };
    let name = first.name().map(normal);
    let service = name.and_then(|name| set.tcp.neighbour(&name, set.has(&name)).map(Arc::clone));
    // A CA that looks for a challenge is answered where those of sites are.
    let service = service.filter(|s| matches!(s.way, Way::Through) || !first.is_challenge());
    let ja4 = first
        .hello
        .as_deref()
        .filter(|_| set.tells_of_tls)
        .and_then(|hello| ja4::ja4(hello, Carrier::Tcp));
    let Some(service) = service else { return Some((stream, first.octets, ja4)) };
    drop(set);
    let opening = open::at_neighbour(worker, stream, ends, &service, (first, ja4));
    let opened = tokio::time::timeout_at(due, Box::pin(opening)).await;
    conclude(worker, opened, ends).await;
    None
}

/// The set that has a service for `address`: what a reload opens is listened on a moment before.
async fn settled(worker: &Worker, address: &SocketAddr) -> Option<Arc<ServingSet>> {
    let due = Instant::now() + UNSETTLED;
    loop {
        let set = Arc::clone(&worker.set());
        if set.tcp.door(address).is_some() {
            return Some(set);
        }
        if Instant::now() >= due {
            return None;
        }
        sleep(UNSETTLED / 16).await;
    }
}

async fn conclude(
    worker: &Rc<Worker>,
    opened: Result<Result<Opened, Failed>, tokio::time::error::Elapsed>,
    ends: Ends,
) {
    tickets::settle(&worker.counters);
    match opened {
        Ok(Ok(opened)) => Box::pin(serve(worker, opened, ends)).await,
        Ok(Err(failed)) => failed.count(&worker.counters),
        Err(_) => worker.counters.timeout.up(),
    }
}

/// Counts a connection as open while it is held.
struct Counted<'a>(&'a Worker);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.counters.tcp_open.down();
    }
}

async fn serve(worker: &Rc<Worker>, opened: Opened, ends: Ends) {
    let counters = &worker.counters;
    counters.tcp_total.up();
    counters.tcp_open.up();
    let _counted = Counted(worker);
    let access = worker.set().access.filter(|_| opened.service.access_log);
    let visit = worker.pen.arrive(access);
    let Opened { service, client, at, name, facts, ja4 } = opened;
    let preface = service.proxy.map(|version| {
        preface::header(version, (ends.client, at), name.as_deref(), facts.as_ref())
    });
    let preface = preface.transpose().map(Option::unwrap_or_default);
    let reached = reach(worker, &service).await;
    let (passed, end) = match (preface, reached) {
        (Ok(preface), Some((server, turn))) => {
            let passed = lead(&service, client, server, preface).await;
            drop(turn);
            match passed {
                Ok(passed) => (passed, word(passed.end)),
                Err(error) => {
                    tracing::debug!(service = &*service.name, reason = %error, "a server went away");
                    (Passed::NOTHING, "no-server")
                }
            }
        }
        _ => (Passed::NOTHING, "no-server"),
    };
    if end == "no-server" {
        counters.tcp_no_server.up();
    }
    if facts.is_none() {
        counters.tcp_through.up();
    }
    counters.tcp_sent.add(passed.to_client);
    counters.tcp_received.add(passed.from_client);
    if let Some(visit) = visit {
        let told = Told {
            client: ends.client.ip(),
            service: &service.name,
            name: name.as_deref(),
            facts: facts.as_ref(),
            ja4: ja4.as_deref(),
            received: passed.from_client,
            sent: passed.to_client,
            end,
        };
        worker.pen.depart(&visit, &told);
    }
}

const fn word(end: End) -> &'static str {
    match end {
        End::Whole => "whole",
        End::Silent => "silent",
        End::Broken => "broken",
    }
}

/// Passes octets between a client and its server, which gets `preface` first.
async fn lead(
    service: &ServedTcp,
    client: Client,
    mut server: Box<dyn Both>,
    preface: Vec<u8>,
) -> io::Result<Passed> {
    if !preface.is_empty() {
        server.write_all(&preface).await?;
    }
    let (server, idle) = (&mut server, service.idle_timeout);
    match client {
        Client::Through(mut client, read) => {
            server.write_all(&read).await?;
            let mut passed = relay::relay(&mut client, server, Vec::new(), idle).await;
            passed.from_client += u64::try_from(read.len()).unwrap_or(0);
            Ok(passed)
        }
        Client::Tls(mut client) => {
            let mut first = Vec::new();
            if let Way::Ended(_, Some(protocol)) = service.way {
                let greeting = starttls::greeting(server, protocol);
                first = timeout(service.connect_timeout, greeting).await??;
            }
            let passed = relay::relay(&mut *client, server, first, idle).await;
            if passed.end == End::Silent {
                // It may be gone as well.
                let _late = timeout(DRAIN_IDLE, client.shutdown()).await;
            }
            Ok(passed)
        }
    }
}

/// Both directions of a connection to a server.
trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

/// A connection to one of the servers, and its turn there.
async fn reach(worker: &Rc<Worker>, service: &ServedTcp) -> Option<(Box<dyn Both>, Turn)> {
    let upstream = &service.upstream;
    let group = worker.pools.group(&worker.set(), upstream, worker.shared.counters.len());
    group.begin(upstream);
    let several = upstream.targets.len() > 1;
    let mut tried = 0_u64;
    loop {
        let Choice::Server(number) = group.choose(upstream, tried, None) else { return None };
        let (target, turn) = (upstream.targets.get(number)?, group.turn(number)?);
        let dialled = timeout(service.connect_timeout, dial(target)).await;
        let dialled = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if several && group.note(number, dialled.is_ok(), upstream) {
            worker.counters.origin_ejections.up();
            let server = target.key();
            tracing::warn!(server, "a server of a service fails and is left out for a while");
        }
        match dialled {
            Ok(server) => return Some((server, turn)),
            Err(error) => {
                let server = target.key();
                tracing::debug!(server, reason = %error, "a server of a service is not reached");
            }
        }
        tried |= 1 << number;
        if !several || tried.count_ones() >= ORIGIN_TRIES || !group.another() {
            return None;
        }
    }
}

async fn dial(target: &Target) -> io::Result<Box<dyn Both>> {
    let reach = &*target.reach;
    Ok(match &reach.address {
        Address::Http(authority) | Address::H2c(authority) | Address::Https(authority) => {
            let dialled = dial::dial(reach, authority).await;
            Box::new(dialled.map_err(io::Error::other)?.0)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}
