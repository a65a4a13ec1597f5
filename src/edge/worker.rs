//! One worker of the edge: a thread with a runtime, listeners and connections of its own.
//!
//! Workers share nothing that is written while serving. A worker takes orders over a bounded
//! channel; when the other end is dropped it ends at once, with everything it has.

use std::cell::RefCell;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::CurrentSet;
use super::EdgeError;
use super::accept;
use super::access;
use super::certificates::Certificates;
use super::challenge::Challenges;
use super::crowd::Away;
use super::crowd::Crowd;
use super::knock::Knocker;
use super::network::Network;
use super::origin::Pools;
use super::policy::Guards;
use super::quic;
use super::serving::ServingSet;
use super::stats::Counters;
use super::sticky::StickyKey;
use crate::base::Clock;
use crate::base::bounds::WORKER_ORDERS;
use crate::base::bounds::heap::WORKER_HEAP_AHEAD;
use crate::base::bounds::policy::WORKER_HELPERS;
use crate::cert::ports::Signers;
use crate::os::affinity;
use crate::os::heap;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) set: CurrentSet,
    pub(super) certificates: Certificates,
    pub(super) challenges: Arc<Challenges>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) access: Arc<access::Log>,
    pub(super) guards: Guards,
    pub(super) sticky: StickyKey,
    clock: Arc<dyn Clock>,
    https_port: AtomicU16,
    /// Where HTTP/3 is spoken.
    pub(super) quic: quic::Offer,
    /// Where clients are told of that ask for a name which nobody has.
    pub(super) knocker: Knocker,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(super) enum Kind {
    Https,
    Http,
    /// Services that are no HTTP.
    Tcp,
}

/// A worker as the edge holds it.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    index: usize,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Listen(Kind, SocketAddr, TcpListener),
    Unlisten(Kind, SocketAddr),
    Quic(quic::Order),
    /// Leave every queue as it is.
    StandAside,
    Drain(Duration, oneshot::Sender<()>),
    /// To be answered: the worker is not stuck.
    Pulse(oneshot::Sender<()>),
}

/// A worker as its tasks see it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) pools: Pools,
    /// Becomes true when the worker drains.
    pub(super) draining: watch::Receiver<bool>,
    /// Borrowed for no longer than a call.
    pub(super) crowd: RefCell<Crowd>,
    /// Writes the access log.
    pub(super) pen: access::Pen,
    /// A connection has ended.
    closed: Notify,
}

/// Counts a connection while it is held.
#[derive(Debug)]
pub(super) struct Place {
    worker: Rc<Worker>,
    network: Network,
}

impl Shared {
    pub(super) fn new(
        workers: usize,
        set: ServingSet,
        certificates: Certificates,
        challenges: Arc<Challenges>,
        (access, clock): (Arc<access::Log>, Arc<dyn Clock>),
        knocker: Knocker,
    ) -> Self {
        Self {
            set: CurrentSet::from_pointee(set),
            certificates,
            challenges,
            counters: (0..workers).map(|_| Arc::default()).collect(),
            access,
            guards: Guards::default(),
            sticky: StickyKey::passing(),
            clock,
            https_port: AtomicU16::new(443),
            quic: quic::Offer::default(),
            knocker,
        }
    }

    /// The port that redirects name.
    pub(super) fn https_port(&self) -> u16 {
        self.https_port.load(Ordering::Relaxed)
    }

    pub(super) fn set_https_port(&self, port: u16) {
        self.https_port.store(port, Ordering::Relaxed);
    }
}

impl WorkerHandle {
    pub(super) fn listen(
        &self,
        kind: Kind,
        address: SocketAddr,
        listener: TcpListener,
    ) -> Result<(), EdgeError> {
        let order = Order::Listen(kind, address, listener);
        self.orders.try_send(order).map_err(|_| EdgeError::WorkerGone(self.index))
    }

    pub(super) fn unlisten(&self, kind: Kind, address: SocketAddr) {
        // A worker that is gone listens no more.
        let _ = self.orders.try_send(Order::Unlisten(kind, address));
    }

    pub(super) fn quic(&self, order: quic::Order) -> Result<(), EdgeError> {
        self.orders.try_send(Order::Quic(order)).map_err(|_| EdgeError::WorkerGone(self.index))
    }

    pub(super) fn stand_aside(&self) {
        // A worker that is gone accepts nobody.
        let _ = self.orders.try_send(Order::StandAside);
    }

    /// Answered as soon as the worker gets to it; `None` when it is gone or its queue is full.
    pub(super) fn pulse(&self) -> Option<oneshot::Receiver<()>> {
        let (beat, receiver) = oneshot::channel();
        self.orders.try_send(Order::Pulse(beat)).ok().map(|()| receiver)
    }

    /// `None` when the worker is gone already.
    pub(super) fn drain(&self, deadline: Duration) -> Option<oneshot::Receiver<()>> {
        let (done, receiver) = oneshot::channel();
        self.orders.try_send(Order::Drain(deadline, done)).ok().map(|()| receiver)
    }
}

impl Worker {
    pub(super) fn set(&self) -> Guard<Arc<ServingSet>> {
        self.shared.set.load()
    }

    /// Waits until a further connection may be open. The limit is the worker's share of the
    /// configured one; several listeners of a worker may overshoot it by one each.
    pub(super) async fn room(&self) {
        while self.is_full() {
            self.closed.notified().await;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.crowd.borrow().is_full()
    }

    /// Counts a new connection, if its network may have one more.
    pub(super) fn enter(self: &Rc<Self>, client: IpAddr) -> Option<Place> {
        self.counters.accepted.up();
        self.place(client)
    }

    /// The place of a client that a balancer speaks for, who had one so far. `None` when the client
    /// is turned away.
    pub(super) fn change(self: &Rc<Self>, balancers: Place, client: IpAddr) -> Option<Place> {
        drop(balancers);
        self.place(client)
    }

    fn place(self: &Rc<Self>, client: IpAddr) -> Option<Place> {
        let network = Network::of(client);
        if self.crowd.borrow().has_place(network, &self.set().limits) {
            return Some(self.stay(client));
        }
        self.turn_away(Away::Connections, network);
        None
    }

    /// Counts a connection that goes on elsewhere, as upgraded ones do.
    pub(super) fn stay(self: &Rc<Self>, client: IpAddr) -> Place {
        let network = Network::of(client);
        self.crowd.borrow_mut().enter(network);
        self.counters.open.up();
        Place { worker: Rc::clone(self), network }
    }

    /// Counts a client that is turned away.
    pub(super) fn turn_away(&self, why: Away, network: Network) {
        self.crowd.borrow_mut().turned_away(network, Instant::now());
        self.counters.crowding.set(network.as_number());
        match why {
            Away::Connections => self.counters.away_connections.up(),
            Away::Handshakes => self.counters.away_handshakes.up(),
            Away::Busy => self.counters.away_busy.up(),
            Away::Unfinished => self.counters.away_unfinished.up(),
        }
    }

    fn open(&self) -> usize {
        self.crowd.borrow().open()
    }

    async fn deserted(&self) {
        while self.open() > 0 {
            self.closed.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.crowd.borrow_mut().leave(self.network);
        worker.counters.open.down();
        if std::thread::panicking() {
            worker.counters.panics.up();
            tracing::error!("a connection panicked and is closed");
        }
        worker.closed.notify_waiters();
    }
}

/// Starts worker `index`.
pub(super) fn start(
    index: usize,
    shared: Arc<Shared>,
    signers: Arc<dyn Signers>,
) -> Result<WorkerHandle, EdgeError> {
    let (orders, receiver) = mpsc::channel(WORKER_ORDERS);
    let refused = |source| EdgeError::Worker { index, source };
    let (started, ready) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name(format!("edge-{index}"))
        .spawn(move || {
            signers.bind_worker(index, pin(index, shared.counters.len()));
            heap::open_ahead(WORKER_HEAP_AHEAD);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(WORKER_HELPERS)
                .build_local(LocalOptions::default());
            // The starter waits for this; if it is gone, so is the edge.
            match runtime {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(serve(index, shared, receiver));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })
        .map_err(refused)?;
    ready.recv().map_err(|_| EdgeError::WorkerGone(index))?.map_err(refused)?;
    Ok(WorkerHandle { index, orders })
}

/// Binds the calling thread to a core of its own, if there is exactly one for each worker.
fn pin(index: usize, workers: usize) -> Option<usize> {
    affinity::core_of_worker(index, workers).filter(|core| affinity::bind_thread(*core).is_ok())
}

struct Listening {
    kind: Kind,
    address: SocketAddr,
    stop: Rc<Notify>,
    task: JoinHandle<()>,
}

async fn serve(index: usize, shared: Arc<Shared>, mut orders: mpsc::Receiver<Order>) {
    let Some(counters) = shared.counters.get(index).map(Arc::clone) else { return };
    let (drain, draining) = watch::channel(false);
    let workers = shared.counters.len().max(1);
    let limit = shared.set.load().limits.max_connections;
    let most = (limit / workers + usize::from(index < limit % workers)).max(1);
    let pen = access::Pen::new(Arc::clone(&shared.access), Arc::clone(&shared.clock));
    let worker = Rc::new(Worker {
        shared,
        counters,
        pools: Pools::default(),
        draining,
        crowd: RefCell::new(Crowd::new(most, Instant::now())),
        pen,
        closed: Notify::new(),
    });
    let writing = Rc::clone(&worker);
    drop(tokio::task::spawn_local(async move { writing.pen.turn_pages().await }));
    let mut doors = quic::Doors::new(&worker);
    let mut listening: Vec<Listening> = Vec::new();
    // Accept loops that empty their queues.
    let mut leaving: Vec<Listening> = Vec::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Listen(kind, address, listener) => {
                let stop = Rc::new(Notify::new());
                let accepting = accept::run(Rc::clone(&worker), kind, listener, Rc::clone(&stop));
                let task = tokio::task::spawn_local(accepting);
                listening.push(Listening { kind, address, stop, task });
            }
            Order::Unlisten(kind, address) => {
                let ending = listening.extract_if(.., |l| l.kind == kind && l.address == address);
                leaving.extend(ending.inspect(|l| l.stop.notify_one()));
                leaving.retain(|l| !l.task.is_finished());
            }
            Order::Quic(order) => doors.obey(order),
            Order::StandAside => listening.drain(..).for_each(|l| l.task.abort()),
            Order::Pulse(beat) => {
                // Whoever asked may have given up.
                let _ = beat.send(());
            }
            Order::Drain(deadline, done) => {
                listening.iter().for_each(|l| l.stop.notify_one());
                doors.close();
                // Receivers live as long as the worker.
                let _ = drain.send(true);
                let leave = async {
                    for listener in listening.drain(..).chain(leaving.drain(..)) {
                        listener.left().await;
                    }
                    worker.deserted().await;
                    doors.left().await;
                };
                let ended = tokio::time::timeout(deadline, leave).await;
                if ended.is_err() {
                    tracing::warn!(
                        open = worker.open(),
                        "drain deadline passed, closing connections"
                    );
                }
                worker.pen.flush();
                let _ = done.send(());
                return;
            }
        }
    }
}

impl Listening {
    /// Waits until its queue is empty and it is closed.
    async fn left(self) {
        if self.task.await.is_err() {
            tracing::error!(address = %self.address, "an accept loop panicked");
        }
    }
}
