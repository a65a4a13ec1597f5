//! HTTP/3: where it is listened for, and how clients learn of it.
//!
//! Beside each address for HTTPS stands a UDP socket of the same port, for each worker its own. What
//! comes in goes the way of all requests from `site` on. HTTP/3 is an offer: where a socket cannot be
//! had, HTTPS goes on over TCP, and clients are told nothing of it.

mod body;
mod door;
mod frames;
mod greeting;
mod heirs;
mod letters;
mod requests;
mod sockets;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Edge;
use super::EdgeError;
use super::lock;
use super::route::split;
use super::worker::Shared;
use super::worker::Worker;
use crate::base::bounds::quic::ALT_SVC_AGE;
use crate::base::tls;

use self::door::Seals;
use self::heirs::Kept;
use self::letters::Mark;
use self::letters::Means;

pub(super) use self::body::StreamBody;

pub use self::heirs::Http3Left;

/// What the edge listens on for HTTP/3.
#[derive(Debug, Default)]
pub(super) struct Listening {
    addresses: Mutex<Vec<SocketAddr>>,
    /// Where UDP was not to be had, which was told.
    refused: Mutex<Vec<SocketAddr>>,
    /// Whether it is wanted, and whether sockets may be opened; `None` until that is said.
    terms: Mutex<Option<(bool, bool)>>,
    seals: OnceLock<Seals>,
    mark: OnceLock<Mark>,
    /// For the process that may follow.
    kept: Mutex<Vec<Kept>>,
    /// Of the one before.
    left: Mutex<Http3Left>,
}

/// What clients are told: the ports.
#[derive(Debug, Default)]
pub(super) struct Offer(ArcSwap<Vec<u16>>);

/// What a worker is told.
pub(super) enum Order {
    Listen(SocketAddr, Arrived, Seals),
    Unlisten(SocketAddr),
}

/// A socket on its way to the worker that serves it.
pub(super) struct Arrived {
    /// Among those of its address.
    number: u16,
    socket: UdpSocket,
    means: Means,
}

/// The sockets of a worker.
pub(super) struct Doors {
    worker: Rc<Worker>,
    open: Vec<(SocketAddr, watch::Sender<bool>)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Edge {
    /// Offers HTTP/3 on the ports of HTTPS, over those of `inherited` that are there and else, if they
    /// may be `opened`, over sockets of its own; or no longer, unless it is `wanted`. To be called
    /// again when the listeners have changed. What cannot be had is told once, gone without, and tried
    /// again at each [`refresh`](Self::refresh). A port that was given up is free when its last client
    /// has gone.
    pub fn follow_http3(&self, wanted: bool, opened: bool, inherited: Vec<UdpSocket>) {
        *lock(&self.quic.terms) = Some((wanted, opened));
        let mut present = lock(&self.quic.addresses);
        let mut refused = lock(&self.quic.refused);
        let here = if wanted { self.addresses().0 } else { Vec::new() };
        present.retain(|address| {
            // A service manager's are where they are.
            let stays = wanted && (!opened || here.contains(address));
            if !stays {
                self.tell(|| Order::Unlisten(*address));
                lock(&self.quic.kept).retain(|kept| kept.address != *address);
            }
            stays
        });
        for socket in inherited.into_iter().filter(|_| wanted) {
            match socket.local_addr() {
                Ok(address) if !present.contains(&address) => {
                    // There is one, so one worker has it.
                    if self.hand_over(address, vec![(0, socket)], false) {
                        present.push(address);
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "an inherited UDP socket is not usable"),
            }
        }
        refused.retain(|address| here.contains(address));
        for address in here.into_iter().filter(|_| opened) {
            if present.contains(&address) {
                continue;
            }
            match self.open(address) {
                Ok(sockets) => {
                    refused.retain(|other| *other != address);
                    if self.hand_over(address, sockets, true) {
                        present.push(address);
                    }
                }
                Err(error) if !refused.contains(&address) => {
                    tracing::warn!(%address, %error, "UDP is not to be had, so HTTP/3 is not offered");
                    refused.push(address);
                }
                Err(_) => {}
            }
        }
        // What is not wanted is read on by whoever left it.
        *lock(&self.quic.left) = Http3Left::default();
        self.shared.quic.set(&present);
    }

    /// Sockets for `address`, with their numbers: those that the process before has left, or new ones.
    fn open(&self, address: SocketAddr) -> io::Result<Vec<(u16, UdpSocket)>> {
        let left = lock(&self.quic.left).take(address);
        if !left.is_empty() {
            return Ok(left);
        }
        let opened = sockets::bind(address, self.workers.len())?;
        Ok((0..=u16::MAX).zip(opened).collect())
    }

    /// Tries again what could not be had.
    pub(super) fn retry_http3(&self) {
        let terms = *lock(&self.quic.terms);
        if terms == Some((true, true)) {
            self.follow_http3(true, true, Vec::new());
        }
    }

    /// Whether it was said yet if HTTP/3 is wanted: it is not while a former process has the sockets
    /// to itself.
    pub fn has_http3_terms(&self) -> bool {
        lock(&self.quic.terms).is_some()
    }

    /// The addresses on which HTTP/3 is spoken.
    pub fn http3(&self) -> Vec<SocketAddr> {
        lock(&self.quic.addresses).clone()
    }

    /// Gives the workers sockets, which are our `own` or a service manager's.
    fn hand_over(&self, address: SocketAddr, sockets: Vec<(u16, UdpSocket)>, own: bool) -> bool {
        let mut left = lock(&self.quic.left);
        let (Some(seals), Some(mark)) = (self.quic.seals(), self.quic.mark(&left)) else {
            tracing::error!("there is no randomness for HTTP/3");
            return false;
        };
        // There may be more of them than workers, where a process before had more.
        let handed = sockets.into_iter().zip(self.workers.iter().cycle()).try_for_each(
            |((number, socket), worker)| {
                socket.set_nonblocking(true).map_err(EdgeError::Inherited)?;
                let begun = left.begin(mark, (address, number, &socket, own));
                let (means, kept) = begun.map_err(EdgeError::Inherited)?;
                lock(&self.quic.kept).push(kept);
                let arrived = Arrived { number, socket, means };
                worker.quic(Order::Listen(address, arrived, seals.clone()))
            },
        );
        match handed {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%address, %error, "HTTP/3 is not offered");
                self.tell(|| Order::Unlisten(address));
                lock(&self.quic.kept).retain(|kept| kept.address != address);
                false
            }
        }
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for worker in &self.workers {
            // A worker that is gone listens no more.
            let _ = worker.quic(order());
        }
    }
}

impl Listening {
    /// Made once, so that a client may bring what it was given to any worker and any port.
    fn seals(&self) -> Option<&Seals> {
        if self.seals.get().is_none() {
            let (mut reset, mut token) = ([0; 32], [0; 32]);
            tls::fill(&mut reset).and_then(|()| tls::fill(&mut token))?;
            let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset);
            let token = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(&token);
            // Another call may have been faster; both are as good.
            let _ = self.seals.set(Seals { reset: Arc::new(reset), token: Arc::new(token) });
        }
        self.seals.get()
    }

    /// What connection ids of this process are known by.
    fn mark(&self, left: &Http3Left) -> Option<Mark> {
        if self.mark.get().is_none() {
            // As above.
            let _ = self.mark.set(left.fresh_mark()?);
        }
        self.mark.get().copied()
    }

    /// Nothing is listened on any more.
    pub(super) fn forget(&self, shared: &Shared) {
        lock(&self.addresses).clear();
        shared.quic.set(&[]);
    }
}

impl Offer {
    fn set(&self, addresses: &[SocketAddr]) {
        self.0.store(Arc::new(addresses.iter().map(SocketAddr::port).collect()));
    }

    /// The field (RFC 7838, section 3) for a client that came to `port` for the host `asked`. The port
    /// in it is the one that the client knows, which a router may have made another of.
    pub(super) fn offer(&self, port: u16, asked: &str) -> Option<HeaderValue> {
        if !self.0.load().contains(&port) {
            return None;
        }
        match split(asked)?.1 {
            None | Some(443) => Some(HeaderValue::from_static(USUAL)),
            Some(port) => HeaderValue::from_str(&format!("h3=\":{port}\"; ma={ALT_SVC_AGE}")).ok(),
        }
    }
}

/// With the port of nearly everybody, and [`ALT_SVC_AGE`].
const USUAL: &str = "h3=\":443\"; ma=86400";

impl Doors {
    pub(super) fn new(worker: &Rc<Worker>) -> Self {
        greeting::belong(worker);
        Self { worker: Rc::clone(worker), open: Vec::new(), tasks: Vec::new() }
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Listen(address, arrived, seals) => {
                let (closing, told) = watch::channel(false);
                let worker = Rc::clone(&self.worker);
                let door = door::run(worker, arrived, seals, told);
                self.tasks.retain(|task| !task.is_finished());
                self.tasks.push(tokio::task::spawn_local(Box::pin(door)));
                self.open.push((address, closing));
            }
            Order::Unlisten(address) => {
                for (_, closing) in self.open.extract_if(.., |(open, _)| *open == address) {
                    // The socket may be gone already.
                    let _ = closing.send(true);
                }
            }
        }
    }

    /// Takes no further clients, and lets those go that are there.
    pub(super) fn close(&mut self) {
        for (_, closing) in self.open.drain(..) {
            // As above.
            let _ = closing.send(true);
        }
    }

    /// Closes them all; ready when every client has gone and was told.
    pub(super) async fn left(&mut self) {
        self.close();
        for task in self.tasks.drain(..) {
            if task.await.is_err() {
                tracing::error!("a task of HTTP/3 panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http3_is_offered_where_it_is_and_with_the_port_that_the_client_knows() {
        let offer = Offer::default();
        assert_eq!(offer.offer(443, "a.example"), None);
        offer.set(&["[::]:8443".parse().unwrap()]);
        assert_eq!(offer.offer(443, "a.example"), None);
        let said = |asked| offer.offer(8443, asked).unwrap();
        assert_eq!(said("a.example"), format!("h3=\":443\"; ma={ALT_SVC_AGE}"));
        assert_eq!(said("a.example:443"), said("a.example"));
        assert_eq!(said("a.example:8443"), format!("h3=\":8443\"; ma={ALT_SVC_AGE}"));
        assert_eq!(said("[2001:db8::1]:444"), format!("h3=\":444\"; ma={ALT_SVC_AGE}"));
    }
}
