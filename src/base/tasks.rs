//! Tasks that have names, and whose end is noticed.
//!
//! A panic in a connection costs that connection; a service task that ends on its own is a fault
//! of the house, and whoever waits on the set hears of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a service task ended.
#[derive(Debug)]
pub struct Ended {
    /// The task's name.
    pub name: &'static str,
    /// Whether it panicked.
    pub panicked: bool,
}

/// The tasks of one runtime. Clones share the set.
#[derive(Clone, Debug)]
pub struct TaskSet {
    tracker: TaskTracker,
    ended: mpsc::Sender<Ended>,
    /// Told when nobody needs what the tasks do any more.
    closing: CancellationToken,
    running: Arc<Mutex<Vec<&'static str>>>,
}

/// Keeps the name of a task among those that run.
struct Running {
    name: &'static str,
    all: Arc<Mutex<Vec<&'static str>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.iter().position(|name| *name == self.name) {
            all.swap_remove(place);
        }
    }
}

/// The receiving end: reports service tasks that ended.
#[derive(Debug)]
pub struct Watch(mpsc::Receiver<Ended>);

impl Watch {
    /// The next service task that ended, whether or not it should have.
    pub async fn next(&mut self) -> Option<Ended> {
        self.0.recv().await
    }
}

impl TaskSet {
    /// An empty set, and the place where ends are reported.
    pub fn new() -> (Self, Watch) {
        let (ended, receiver) = mpsc::channel(64);
        let (closing, running) = (CancellationToken::new(), Arc::default());
        (Self { tracker: TaskTracker::new(), ended, closing, running }, Watch(receiver))
    }

    fn running(&self, name: &'static str) -> Running {
        let all = Arc::clone(&self.running);
        all.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Running { name, all }
    }

    /// Runs `future` as the service task `name` on the current runtime; its end is reported.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn service<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ended = self.ended.clone();
        let (inner, running) = (tokio::spawn(future), self.running(name));
        drop(self.tracker.spawn(async move {
            let _running = running;
            let panicked = matches!(inner.await, Err(error) if error.is_panic());
            // A full channel means nobody watches any more: the house is already ending.
            let _ignored = ended.try_send(Ended { name, panicked });
        }));
    }

    /// Runs `future` as a short job; a panic in it is logged with its name and otherwise harmless.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn job<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (inner, running) = (tokio::spawn(future), self.running(name));
        drop(self.tracker.spawn(async move {
            let _running = running;
            if matches!(inner.await, Err(error) if error.is_panic()) {
                tracing::error!(task = name, "a task panicked");
            }
        }));
    }

    /// Told when [`TaskSet::finished`] waits: for services that others need until then.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// The names of the tasks that run.
    pub fn names(&self) -> Vec<&'static str> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every task of the set has ended.
    pub async fn finished(&self) {
        self.closing.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A shared clock, as tasks hold it.
pub type SharedClock = Arc<dyn super::Clock>;
