//! One stream of HTTP/2 as its connection watches it: does the client take what lies ready?
//!
//! On HTTP/1 a client that takes nothing stops all writes of its connection. On HTTP/2 it can hold
//! single streams at a window of nothing and keep the rest lively, and each of them would hold an
//! origin's connection. Such a stream is reset; the others go on.

use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Client;

/// A stream while its request is being answered.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Since when the client could have taken the next part; `None` while it waits for us.
    ready: Cell<Option<Instant>>,
    given_up: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Flow {
    /// The client has something to take, from now on.
    pub(super) fn offer(&self) {
        self.ready.set(Some(Instant::now()));
    }

    /// The next part has to be made first.
    pub(super) fn wait(&self) {
        self.ready.set(None);
    }

    /// Whether there is something to take.
    pub(super) const fn offers(&self) -> bool {
        self.ready.get().is_some()
    }

    /// Resets the stream if the client has taken nothing for `limit`.
    pub(super) fn check(&self, now: Instant, limit: Duration) {
        if self.ready.get().is_some_and(|ready| ready + limit <= now) {
            self.given_up.set(true);
            if let Some(task) = self.task.borrow_mut().take() {
                task.wake();
            }
        }
    }

    fn poll_given_up(&self, cx: &Context<'_>) -> bool {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        self.given_up.get()
    }
}

/// Runs hyper's tasks, one for each stream, on the worker's own thread.
#[derive(Clone, Debug)]
pub(super) struct Streams(pub(super) Rc<Client>);

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let client = Rc::clone(&self.0);
        drop(tokio::task::spawn_local(async move {
            let flow = Rc::<Flow>::default();
            let mut stream = pin!(stream);
            // The request begins with the first poll, and finds its flow there.
            client.starting.replace(Some(Rc::clone(&flow)));
            poll_fn(|cx| {
                if flow.poll_given_up(cx) {
                    tracing::debug!("a client takes nothing of an answer, its stream is reset");
                    return Poll::Ready(());
                }
                stream.as_mut().poll(cx).map(drop)
            })
            .await;
        }));
    }
}
