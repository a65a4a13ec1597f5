//! Servers behind sites as a worker knows them: connections, and how each has fared.
//!
//! A connection is leased for one exchange and given back when its answer has ended. One that is
//! dropped before is closed, because nobody knows where its next answer begins. What to conclude
//! from failures is decided in `balance`.

use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::Authority;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::balance;
use super::balance::Budget;
use super::balance::Choice;
use super::balance::Health;
use super::balance::View;
use super::body::UpBody;
use super::body::UpState;
use super::serving::ServingSet;
use super::target::Target;
use super::target::Upstream;
use super::trusting::Secure;
use super::worker::Worker;
use crate::base::bounds::H1_BUFFER;
use crate::base::bounds::HEAD_FIELDS;
use crate::base::bounds::ORIGIN_IDLE;
use crate::base::bounds::ORIGIN_SURE;
use crate::config::Address;
use crate::config::Asking;

type Sender = http1::SendRequest<UpBody>;

/// The servers of one worker.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// By their keys.
    pools: RefCell<HashMap<Box<str>, Rc<Pool>>>,
    /// By the number of their upstream.
    groups: RefCell<HashMap<u64, Rc<Group>>>,
    /// Of the serving set for which pools were last cleared out.
    generation: Cell<u64>,
}

/// The servers of one site.
#[derive(Debug)]
pub(super) struct Group {
    /// In the order of the upstream.
    pools: Vec<Rc<Pool>>,
    budget: Cell<Budget>,
    /// The most requests that each of them may have from this worker; 0 is no limit.
    most: u32,
}

/// One server.
#[derive(Default)]
pub(super) struct Pool {
    /// Connections, the one used last at the end, each with when that was.
    idle: RefCell<Vec<(Sender, Instant)>>,
    most: Cell<usize>,
    /// Requests under way.
    open: Cell<u32>,
    health: Cell<Health>,
}

/// Counts a request to a server while it is held.
#[derive(Debug)]
pub(super) struct Turn(Rc<Pool>);

/// A connection that is in use.
pub(super) struct Lease {
    sender: Sender,
    turn: Turn,
    /// The body that is sent on it, if there is one.
    pub(super) sending: Option<Rc<UpState>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.idle.borrow().len())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

/// Why there is no connection to an origin.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("origin cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("origin's certificate cannot be checked")]
    Unchecked,
    #[error("origin did not accept in time")]
    Timeout,
    #[error("origin connection failed: {0}")]
    Http(#[from] hyper::Error),
}

impl Pools {
    /// The servers of `upstream`. Those that `set` has not are dropped on the way, once for each
    /// set.
    pub(super) fn group(&self, set: &ServingSet, upstream: &Upstream, workers: usize) -> Rc<Group> {
        if self.generation.replace(set.generation) != set.generation {
            let present = set.targets();
            self.pools.borrow_mut().retain(|known, _| present.contains(&**known));
            // Whoever asks for a site of a former set makes its group anew.
            self.groups.borrow_mut().clear();
        }
        let mut groups = self.groups.borrow_mut();
        if let Some(group) = groups.get(&upstream.id) {
            return Rc::clone(group);
        }
        let mut pools = self.pools.borrow_mut();
        let pools = upstream.targets.iter().map(|target| {
            let pool = pools.entry(target.key().into()).or_default();
            pool.most.set(set.limits.origin_idle);
            Rc::clone(pool)
        });
        let share =
            upstream.asking.max_requests.div_ceil(u32::try_from(workers).unwrap_or(1).max(1));
        let group = Rc::new(Group {
            pools: pools.collect(),
            budget: Cell::new(Budget::new(upstream.asking.retries)),
            most: share,
        });
        groups.insert(upstream.id, Rc::clone(&group));
        group
    }
}

impl Group {
    /// One more request is to be sent to one of them.
    pub(super) fn begin(&self, upstream: &Upstream) {
        self.budget.set(self.budget.get().taken(upstream.asking.retries));
    }

    /// Chooses a server for a request that those in `tried` have failed, by their bits.
    pub(super) fn choose(&self, upstream: &Upstream, tried: u64) -> Choice {
        if let [only] = self.pools.as_slice() {
            return match tried {
                0 if self.most == 0 || only.open.get() < self.most => Choice::Server(0),
                0 => Choice::Full,
                _ => Choice::Nobody,
            };
        }
        // Taken once, and only if some server has failed.
        let moment = OnceCell::new();
        let now = || *moment.get_or_init(Instant::now);
        let weight = |number: usize| upstream.targets.get(number).map_or(1, |t| t.weight);
        let see = |number: usize| match self.pools.get(number) {
            Some(pool) => View {
                weight: weight(number),
                open: pool.open.get(),
                most: self.most,
                out: pool.health.get().is_out(now),
                tried: tried & (1 << number) != 0,
            },
            // There are as many as were counted.
            None => View { weight: 1, open: 0, most: 0, out: true, tried: true },
        };
        balance::choose(self.pools.len(), see, |below| fastrand::u64(..below))
    }

    /// Whether another server may be tried; it is then one less.
    pub(super) fn another(&self) -> bool {
        match self.budget.get().spend() {
            Some(left) => {
                self.budget.set(left);
                true
            }
            None => false,
        }
    }

    /// Counts a request to the server with this number.
    pub(super) fn turn(&self, number: usize) -> Option<Turn> {
        let pool = self.pools.get(number)?;
        pool.open.set(pool.open.get().saturating_add(1));
        Some(Turn(Rc::clone(pool)))
    }

    /// Whether the server with this number is left out from now on, and was not before.
    pub(super) fn note(&self, number: usize, good: bool, asking: &Asking) -> bool {
        let Some(pool) = self.pools.get(number) else { return false };
        let before = pool.health.get();
        if good && before == Health::default() {
            return false;
        }
        let now = Instant::now();
        pool.health.set(before.after(good, || now, asking));
        !before.is_out(|| now) && pool.health.get().is_out(|| now)
    }
}

impl Turn {
    /// An idle connection that is good as far as can be seen. One that must be `sure` was in use
    /// a moment ago: where it has been idle for longer, the origin may be closing it just now.
    pub(super) async fn reuse(&self, sure: bool) -> Option<Sender> {
        loop {
            let (mut sender, since) = self.0.idle.borrow_mut().pop()?;
            if sender.is_closed() {
                continue;
            }
            if sure && since.elapsed() > ORIGIN_SURE {
                // All others have been idle for longer.
                self.0.idle.borrow_mut().push((sender, since));
                return None;
            }
            if sender.is_ready() || sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// The connection that this request is sent on.
    pub(super) const fn on(self, sender: Sender) -> Lease {
        Lease { sender, turn: self, sending: None }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

/// A new connection to `target`.
pub(super) async fn connect(worker: &Worker, target: &Target) -> Result<Sender, ConnectError> {
    let limit = worker.set().limits.connect_timeout;
    let late = |_| ConnectError::Timeout;
    match target.address() {
        Address::Http(authority) => {
            let stream = timeout(limit, dial(authority)).await.map_err(late)??;
            speak(worker, stream).await
        }
        Address::Https(authority) => {
            let Some(Secure { config: Some(config), name }) = target.secure() else {
                return Err(ConnectError::Unchecked);
            };
            let connector = TlsConnector::from(Arc::clone(config));
            let connecting = async {
                let stream = dial(authority).await?;
                connector.connect(name.clone(), stream).await
            };
            let stream = timeout(limit, connecting).await.map_err(late)??;
            speak(worker, stream).await
        }
        Address::Unix(path) => {
            let stream = timeout(limit, UnixStream::connect(path)).await.map_err(late)??;
            speak(worker, stream).await
        }
    }
}

/// A connection to the host and port of `authority`.
pub(super) async fn dial(authority: &Authority) -> io::Result<TcpStream> {
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    // The configuration has it always.
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Begins to speak HTTP/1.1.
async fn speak<S>(worker: &Worker, stream: S) -> Result<Sender, ConnectError>
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
    Ok(sender)
}

impl Lease {
    pub(super) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// The request goes on without HTTP, or on another connection.
    pub(super) fn into_turn(self) -> Turn {
        self.turn
    }

    /// Makes the connection free for the next exchange; unless the origin answered before it had
    /// the whole body, as it may still wait for the rest.
    pub(super) fn give_back(self) {
        if self.sending.is_some_and(|state| !state.done.get()) {
            return;
        }
        let pool = &self.turn.0;
        let (now, most) = (Instant::now(), pool.most.get());
        let mut idle = pool.idle.borrow_mut();
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
