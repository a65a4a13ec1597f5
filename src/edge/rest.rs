//! A client that says nothing for a while, without the buffers that only a request needs.
//!
//! hyper keeps eight kilobytes for what a client may say next, and there are many more clients that may
//! than clients that do. So its connection is made when the client is heard for the first time, taken
//! apart between two requests, and made anew when the client is heard again. Deliberately absent:
//! HTTP/2, whose connection is never between requests by itself.

use std::future::poll_fn;
use std::pin::pin;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;

use super::connection::Client;
use super::guard::Farewell;
use super::guard::Guard;
use super::stats::Counters;
use crate::base::bounds::DRAIN_IDLE;
use crate::base::bounds::client::HELD_FOR;

/// Waits until the client is heard, or is to be told that the worker drains. `false` when it was idle
/// for too long and has been told goodbye. What is `held` back is sent when it is due.
pub(super) async fn rest<S: Farewell>(
    guard: &mut Guard<S>,
    client: &Client,
    held: &mut bool,
) -> bool {
    let _counted = Counted::new(&client.worker.counters);
    let mut draining = client.worker.draining.clone();
    let mut drained = pin!(draining.wait_for(|draining| *draining));
    let until = Instant::now() + HELD_FOR;
    loop {
        let due = client.idle_until();
        tokio::select! {
            biased;
            () = poll_fn(|cx| guard.poll_heard(cx)) => return true,
            _ = drained.as_mut() => return true,
            () = sleep_until(until), if *held => {
                *held = false;
                // What is wrong with the connection, whoever reads next shall hear.
                let _told = timeout(DRAIN_IDLE, guard.flush()).await;
            }
            // The limit may be another one by then.
            () = sleep_until(due) => if client.idle_until() <= due { break },
        }
    }
    // A client that is gone does not even take the farewell.
    let _told = timeout(DRAIN_IDLE, guard.shutdown()).await;
    false
}

/// One that rests, as long as it does.
struct Counted<'a>(&'a Counters);

impl<'a> Counted<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.resting.up();
        Self(counters)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.resting.down();
    }
}
