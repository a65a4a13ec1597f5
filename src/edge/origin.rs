//! Connections to origins: one pool for each origin, in each worker.
//!
//! A connection is leased for one exchange and given back when its answer has ended. One that is
//! dropped before is closed, because nobody knows where its next answer begins.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio::time::timeout;

use super::body::UpBody;
use super::body::UpState;
use super::serving::ServingSet;
use super::target::Target;
use super::worker::Worker;
use crate::base::bounds::H1_BUFFER;
use crate::base::bounds::HEAD_FIELDS;
use crate::base::bounds::ORIGIN_IDLE;
use crate::base::bounds::ORIGIN_SURE;
use crate::config::Address;

type Sender = http1::SendRequest<UpBody>;

/// The pools of one worker, by the key of their server.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: RefCell<HashMap<Box<str>, Rc<Pool>>>,
    /// Of the serving set for which pools were last cleared out.
    generation: Cell<u64>,
}

/// Idle connections to one origin, the one used last at the end, each with when that was.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<Vec<(Sender, Instant)>>,
    most: Cell<usize>,
}

/// A connection that is in use.
pub(super) struct Lease {
    sender: Sender,
    pool: Rc<Pool>,
    /// The body that is sent on it, if there is one.
    pub(super) sending: Option<Rc<UpState>>,
    /// Whether it has carried an exchange before, and so may have died unnoticed.
    pub(super) reused: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.idle.borrow().len())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease(reused: {})", self.reused)
    }
}

/// Why there is no connection to an origin.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("origin cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("origin did not accept in time")]
    Timeout,
    #[error("origin connection failed: {0}")]
    Http(#[from] hyper::Error),
}

impl Pools {
    /// The pool for `target`. Pools of servers that `set` has not are dropped on the way, once
    /// for each set.
    pub(super) fn get(&self, set: &ServingSet, target: &Target) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if self.generation.replace(set.generation) != set.generation {
            let present = set.targets();
            pools.retain(|known, _| present.contains(&**known));
        }
        if let Some(pool) = pools.get(target.key()) {
            pool.most.set(set.limits.origin_idle);
            return Rc::clone(pool);
        }
        let pool = Rc::<Pool>::default();
        pool.most.set(set.limits.origin_idle);
        pools.insert(target.key().into(), Rc::clone(&pool));
        pool
    }
}

impl Pool {
    /// An idle connection that is good as far as can be seen. One that must be `sure` was in use
    /// a moment ago: where it has been idle for longer, the origin may be closing it just now.
    pub(super) async fn reuse(self: &Rc<Self>, sure: bool) -> Option<Lease> {
        loop {
            let (mut sender, since) = self.idle.borrow_mut().pop()?;
            if sender.is_closed() {
                continue;
            }
            if sure && since.elapsed() > ORIGIN_SURE {
                // All others have been idle for longer.
                self.idle.borrow_mut().push((sender, since));
                return None;
            }
            if sender.is_ready() || sender.ready().await.is_ok() {
                return Some(Lease { sender, pool: Rc::clone(self), sending: None, reused: true });
            }
        }
    }

    /// A new connection to `target`.
    pub(super) async fn connect(
        self: &Rc<Self>,
        worker: &Worker,
        target: &Target,
    ) -> Result<Lease, ConnectError> {
        let limit = worker.set().limits.connect_timeout;
        let late = |_| ConnectError::Timeout;
        match target.address() {
            Address::Http(authority) => {
                let host = authority.host();
                let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                let port = authority.port_u16().unwrap_or(80);
                let connecting = TcpStream::connect((host, port));
                let stream = timeout(limit, connecting).await.map_err(late)??;
                stream.set_nodelay(true)?;
                self.speak(worker, stream).await
            }
            Address::Unix(path) => {
                let stream = timeout(limit, UnixStream::connect(path)).await.map_err(late)??;
                self.speak(worker, stream).await
            }
        }
    }

    /// Begins to speak HTTP/1.1.
    async fn speak<S>(self: &Rc<Self>, worker: &Worker, stream: S) -> Result<Lease, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(H1_BUFFER);
        // hyper's own default is the same number and needs no allocation for each answer.
        if HEAD_FIELDS != 100 {
            builder.max_headers(HEAD_FIELDS);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        worker.counters.origin_connections.up();
        drop(tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(reason = %error, "origin connection ended");
            }
        }));
        Ok(Lease { sender, pool: Rc::clone(self), sending: None, reused: false })
    }
}

impl Lease {
    pub(super) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Makes the connection free for the next exchange; unless the origin answered before it had
    /// the whole body, as it may still wait for the rest.
    pub(super) fn give_back(self) {
        if self.sending.is_some_and(|state| !state.done.get()) {
            return;
        }
        let (now, most) = (Instant::now(), self.pool.most.get());
        let mut idle = self.pool.idle.borrow_mut();
        // The ones at the front have been idle for longest; looking at the first suffices mostly.
        let old = |since: &Instant| now.duration_since(*since) > ORIGIN_IDLE;
        if idle.len() >= most || idle.first().is_some_and(|(_, since)| old(since)) {
            idle.retain(|(sender, since)| !old(since) && !sender.is_closed());
        }
        if idle.len() < most && !self.sender.is_closed() {
            idle.push((self.sender, now));
        }
    }
}
