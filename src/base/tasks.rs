//! Tasks that have names, and whose end is noticed.
//!
//! A panic in a connection costs that connection; a service task that ends on its own is a fault
//! of the house, and whoever waits on the set hears of it.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;
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
        (Self { tracker: TaskTracker::new(), ended }, Watch(receiver))
    }

    /// Runs `future` as the service task `name` on the current runtime; its end is reported.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn service<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ended = self.ended.clone();
        let inner = tokio::spawn(future);
        drop(self.tracker.spawn(async move {
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
        let inner = tokio::spawn(future);
        drop(self.tracker.spawn(async move {
            if matches!(inner.await, Err(error) if error.is_panic()) {
                tracing::error!(task = name, "a task panicked");
            }
        }));
    }

    /// Waits until every task of the set has ended.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A shared clock, as tasks hold it.
pub type SharedClock = Arc<dyn super::Clock>;
