//! A body that waits until its origin wants it (`Expect: 100-continue`, RFC 9110, section 10.1.1).
//!
//! What the client is told meanwhile is hyper's business: it says 100 when the body is asked for.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

/// Between an origin that says whether it wants a body, and the body.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    said: Option<bool>,
    task: Option<Waker>,
}

impl Gate {
    /// The origin wants the body.
    pub(super) fn open(&self) {
        self.say(true);
    }

    /// The exchange is over, and nobody said so.
    pub(super) fn shut(&self) {
        self.say(false);
    }

    /// Whether the body is wanted, once that is known.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.lock();
        if let Some(said) = inner.said {
            return Poll::Ready(said);
        }
        inner.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What was said first holds.
    fn say(&self, wanted: bool) {
        let task = {
            let mut inner = self.lock();
            inner.said.get_or_insert(wanted);
            inner.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// What is behind the lock is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
