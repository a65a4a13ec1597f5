//! Servers behind sites as a worker knows them: connections, and how each has fared.
//!
//! A connection of HTTP/1.1 is leased for one exchange and given back when its answer has ended. One
//! that is dropped before is closed, because nobody knows where its next answer begins. One of
//! HTTP/2 is shared. What to conclude from failures is decided in `balance`.

use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http1;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::timeout;

use super::balance;
use super::balance::Budget;
use super::balance::Choice;
use super::balance::Health;
use super::balance::View;
use super::body::UpBody;
use super::body::UpState;
use super::connection::Client;
use super::dial;
use super::dial::ConnectError;
use super::dial::Opened;
use super::link::Link;
use super::link::Shared;
use super::link::Stream;
use super::own;
use super::serving::ServingSet;
use super::target::Reach;
use super::target::Speech;
use super::target::Upstream;
use crate::base::bounds::ORIGIN_IDLE;
use crate::base::bounds::ORIGIN_SURE;

/// A connection that nobody uses.
struct Idle {
    sender: http1::SendRequest<UpBody>,
    /// The address at its other end.
    peer: Option<IpAddr>,
    since: Instant,
}

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
    idle: RefCell<Vec<Idle>>,
    /// Those of HTTP/2, the ones at the front as full as they may be.
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Whether the last connection was one of HTTP/2.
    shares: Cell<Option<bool>>,
    /// Held while one is opened that those may share who wait for it.
    opening: Arc<Mutex<()>>,
    most: Cell<usize>,
    /// Requests under way.
    open: Cell<u32>,
    health: Cell<Health>,
}

/// Counts a request to a server while it is held.
#[derive(Debug)]
pub(super) struct Turn {
    pool: Rc<Pool>,
    number: usize,
    /// Where its connections are, if they are for one client.
    own: Option<Rc<Pool>>,
}

/// A connection that is in use.
pub(super) struct Lease {
    link: Link,
    turn: Turn,
    /// The body that is sent on it, if there is one.
    pub(super) sending: Option<Sending>,
}

/// A body that is sent for as long as this is held.
pub(super) struct Sending(pub(super) Rc<UpState>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.end();
    }
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

    /// Chooses a server for a request that those in `tried` have failed, by their bits: the one that
    /// is `meant`, if that is well.
    pub(super) fn choose(&self, upstream: &Upstream, tried: u64, meant: Option<usize>) -> Choice {
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
        let see = |number: usize| match self.pools.get(number).zip(upstream.targets.get(number)) {
            Some((pool, target)) => View {
                weight: target
                    .weight
                    .saturating_mul(target.standing.share(upstream.asking.slow_start, now)),
                open: pool.open.get(),
                most: self.most,
                out: target.standing.is_down() || pool.health.get().is_out(now),
                tried: tried & (1 << number) != 0,
            },
            // There are as many as were counted.
            None => View { weight: 1, open: 0, most: 0, out: true, tried: true },
        };
        if let Some(number) = meant.filter(|number| see(*number).is_fit()) {
            return Choice::Server(number);
        }
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
        Some(Turn { pool: Rc::clone(pool), number, own: None })
    }

    /// Whether the server with this number is left out from now on, and was not before.
    pub(super) fn note(&self, number: usize, good: bool, upstream: &Upstream) -> bool {
        let Some(pool) = self.pools.get(number) else { return false };
        let Some(target) = upstream.targets.get(number) else { return false };
        let before = pool.health.get();
        if good && before == Health::default() {
            return false;
        }
        let now = Instant::now();
        let after = before.after(good, || now, &upstream.asking);
        pool.health.set(after);
        match after.until() {
            Some(until) => target.standing.leave_out(until),
            None => target.standing.take_in(),
        }
        !before.is_out(|| now) && pool.health.get().is_out(|| now)
    }
}

impl Pool {
    /// One that keeps so many connections.
    pub(super) fn of(most: usize) -> Rc<Self> {
        Rc::new(Self { most: Cell::new(most), ..Self::default() })
    }

    /// A stream of a connection that is there.
    fn stream(&self, reach: &Reach) -> Option<Stream> {
        let mut shared = self.shared.borrow_mut();
        if shared.is_empty() {
            return None;
        }
        let now = Instant::now();
        shared.retain(|connection| connection.is_good(now) && reach.is_at(connection.peer));
        shared.iter().find(|connection| connection.has_room()).map(Shared::stream)
    }

    fn share(&self, connection: &Rc<Shared>) {
        let mut shared = self.shared.borrow_mut();
        // Several may have been opened while it was not known that one would do.
        if shared.iter().filter(|known| known.is_idle()).count() < self.most.get() {
            shared.push(Rc::clone(connection));
        }
    }
}

impl Turn {
    /// The same on connections of `own` alone.
    pub(super) fn apart(mut self, own: Rc<Pool>) -> Self {
        self.own = Some(own);
        self
    }

    /// Where its connections are.
    fn links(&self) -> &Rc<Pool> {
        self.own.as_ref().unwrap_or(&self.pool)
    }

    /// A connection that is good as far as can be seen. One that must be `sure` was in use a moment
    /// ago: where it has been idle for longer, the origin may be closing it just now. One that is
    /// shared is closed with a word about which requests were looked at. For a request that changes
    /// the protocol it must be `alone`.
    pub(super) async fn reuse(&self, reach: &Reach, sure: bool, alone: bool) -> Option<Link> {
        let links = self.links();
        if !alone && let Some(stream) = links.stream(reach) {
            return Some(Link::Stream(stream));
        }
        loop {
            let Idle { mut sender, peer, since } = links.idle.borrow_mut().pop()?;
            if sender.is_closed() {
                continue;
            }
            if !reach.is_at(peer) {
                // What the host has left, its other connections leave as well.
                links.idle.borrow_mut().retain(|idle| reach.is_at(idle.peer));
                continue;
            }
            if sure && since.elapsed() > ORIGIN_SURE {
                // All others have been idle for longer.
                links.idle.borrow_mut().push(Idle { sender, peer, since });
                return None;
            }
            if sender.is_ready() || sender.ready().await.is_ok() {
                return Some(Link::Alone(sender, peer));
            }
        }
    }

    /// A new connection; or a stream of one that was opened meanwhile for another
    /// request.
    pub(super) async fn open(
        &self,
        client: &Client,
        reach: &Reach,
        alone: bool,
    ) -> Result<Link, ConnectError> {
        let (pool, worker) = (self.links(), &client.worker);
        let limit = worker.set().limits.connect_timeout;
        let mut speech = reach.speech;
        if alone && speech == Speech::Either {
            speech = Speech::One;
        }
        let mut first = None;
        if speech != Speech::One && pool.shares.get() != Some(false) {
            let opening = timeout(limit, Arc::clone(&pool.opening).lock_owned()).await;
            first = Some(opening.map_err(|_| ConnectError::Timeout)?);
            if let Some(stream) = pool.stream(reach) {
                return Ok(Link::Stream(stream));
            }
            if speech == Speech::Either && pool.shares.get() == Some(false) {
                first = None;
            }
        }
        let opened =
            dial::connect(reach, speech, limit, &own::introduce(client, reach.proxy)?).await?;
        worker.counters.origin_connections.up();
        if speech == Speech::Either {
            pool.shares.set(Some(matches!(opened, Opened::Shared(_))));
        }
        Ok(match opened {
            Opened::Alone(sender, peer) => Link::Alone(sender, peer),
            Opened::Shared(connection) => {
                let stream = connection.stream();
                pool.share(&connection);
                // Those who wait see how many of them may share it.
                drop(tokio::task::spawn_local(async move {
                    connection.settle().await;
                    drop(first);
                }));
                Link::Stream(stream)
            }
        })
    }

    /// The connection that this request is sent on.
    pub(super) const fn on(self, link: Link) -> Lease {
        Lease { link, turn: self, sending: None }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.open.set(self.pool.open.get().saturating_sub(1));
    }
}

impl Lease {
    pub(super) const fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// When the request that is sent on it moved last, while it does not have an end.
    pub(super) fn upload(&self) -> Option<&Cell<Instant>> {
        let state = self.sending.as_ref().map(|sending| &*sending.0)?;
        (!state.done.get()).then_some(&state.last)
    }

    /// The number of the server.
    pub(super) const fn number(&self) -> usize {
        self.turn.number
    }

    /// The request goes on without HTTP, or on another connection.
    pub(super) fn into_turn(self) -> Turn {
        self.turn
    }

    /// Makes the connection free for the next exchange; unless the origin answered before it had
    /// the whole body, as it may still wait for the rest.
    pub(super) fn give_back(self) {
        let Link::Alone(sender, peer) = self.link else { return };
        if self.sending.is_some_and(|sending| !sending.0.done.get()) {
            return;
        }
        let pool = self.turn.links();
        let (now, most) = (Instant::now(), pool.most.get());
        let mut idle = pool.idle.borrow_mut();
        // The ones at the front have been idle for longest; looking at the first suffices mostly.
        let old = |since: &Instant| now.duration_since(*since) > ORIGIN_IDLE;
        if idle.len() >= most || idle.first().is_some_and(|first| old(&first.since)) {
            idle.retain(|idle| !old(&idle.since) && !idle.sender.is_closed());
        }
        if idle.len() < most && !sender.is_closed() {
            idle.push(Idle { sender, peer, since: now });
        }
    }
}
