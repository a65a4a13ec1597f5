//! The listening sockets of the edge, as another process may go on with them.
//!
//! A socket is not closed here while somebody else has it, so who waits in its queue is not lost:
//! accepting is left to the other one, or begun again. Deliberately absent: what the service manager
//! holds for itself, which whoever was given it hands on.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;

use super::Edge;
use super::EdgeError;
use super::lock;
use super::worker::Kind;

/// A copy of a listener that is at work in some worker.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
}

/// Copies of what the edge listens on.
#[derive(Debug, Default)]
pub struct Copies {
    /// For TLS.
    pub https: Vec<TcpListener>,
    /// For plain HTTP.
    pub http: Vec<TcpListener>,
    /// For services that are no HTTP.
    pub tcp: Vec<TcpListener>,
}

impl Edge {
    /// Copies of all listeners, to be handed to another process.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn copies(&self) -> io::Result<Copies> {
        let mut copies = Copies::default();
        for held in lock(&self.held).iter() {
            let copy = held.listener.try_clone()?;
            match held.kind {
                Kind::Https => copies.https.push(copy),
                Kind::Http => copies.http.push(copy),
                Kind::Tcp => copies.tcp.push(copy),
            }
        }
        Ok(copies)
    }

    /// Accepts nobody any more, and reads no socket of HTTP/3; who waits in the queues is left to whoever has copies.
    pub fn stand_aside(&self) {
        for worker in &self.workers {
            worker.stand_aside();
        }
        self.stop_reading_http3();
    }

    /// Accepts again after [`Self::stand_aside`].
    ///
    /// # Errors
    /// When there are no descriptors left, or a worker is gone.
    pub fn stand_in(&self) -> Result<(), EdgeError> {
        let copies = self.copies().map_err(EdgeError::Inherited)?;
        let listening = std::mem::take(&mut *lock(&self.listening));
        let held = std::mem::take(&mut *lock(&self.held));
        let again = self
            .add(Kind::Https, copies.https)
            .and_then(|()| self.add(Kind::Http, copies.http))
            .and_then(|()| self.add(Kind::Tcp, copies.tcp));
        self.read_http3_but(&[]);
        if again.is_err() {
            lock(&self.held).extend(held);
            lock(&self.listening).extend(listening);
        }
        again
    }

    /// Closes the copies of what is no longer listened on: a queue ends with the last one.
    pub(super) fn let_go(&self, gone: impl Fn(&Held) -> bool) {
        lock(&self.held).retain(|held| !gone(held));
    }
}
