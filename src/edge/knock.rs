//! Clients that ask for a name which nobody has: told to whoever may take it in, and kept waiting for
//! a while where that is allowed.
//!
//! Telling never blocks, and what nobody has time for is lost. Those who wait are few, over all workers
//! and of each network, and all others get what clients get that ask for an unknown name.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::lock;
use super::network::Network;
use super::route::Identity;
use super::serving::ServedSite;
use super::serving::ServingSet;
use super::worker::Worker;
use crate::base::bounds::onboarding::GUESTS_COME;
use crate::base::bounds::onboarding::HELD;
use crate::base::bounds::onboarding::HELD_PER_NETWORK;
use crate::base::bounds::onboarding::KNOCKS;

/// A client that asks for a name which nobody has.
#[derive(Debug)]
pub struct Knock {
    /// The name, lower case.
    pub name: Box<str>,
    /// Where the client comes from.
    pub network: Network,
    /// Where it is told whether there is a certificate for it now, if it waits for that.
    pub told: Option<oneshot::Sender<bool>>,
}

/// Where clients are told of.
pub(super) struct Knocker {
    door: mpsc::Sender<Knock>,
    waiting: Arc<Mutex<HashMap<Network, usize>>>,
}

impl Knocker {
    /// It, and where it is heard.
    pub(super) fn new() -> (Self, mpsc::Receiver<Knock>) {
        let (door, heard) = mpsc::channel(KNOCKS);
        (Self { door, waiting: Arc::default() }, heard)
    }

    /// Tells of a client that does not wait.
    pub(super) fn tell(&self, name: &str, network: Network) {
        // One more that nobody has time for; it will come again.
        let _ = self.door.try_send(Knock { name: name.into(), network, told: None });
    }

    /// Tells of a client and waits, at most `limit`, until there is a certificate; whether there is.
    async fn wait(&self, name: &str, network: Network, limit: Duration) -> bool {
        let place = if limit.is_zero() { None } else { Place::take(&self.waiting, network) };
        let Some(_place) = place else {
            self.tell(name, network);
            return false;
        };
        let (told, heard) = oneshot::channel();
        let knock = Knock { name: name.into(), network, told: Some(told) };
        if self.door.try_send(knock).is_err() {
            return false;
        }
        matches!(timeout(limit, heard).await, Ok(Ok(true)))
    }
}

impl fmt::Debug for Knocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knocker").finish_non_exhaustive()
    }
}

/// The place of one who waits.
struct Place {
    waiting: Arc<Mutex<HashMap<Network, usize>>>,
    network: Network,
}

impl Place {
    fn take(all: &Arc<Mutex<HashMap<Network, usize>>>, network: Network) -> Option<Self> {
        let mut waiting = lock(all);
        // No more entries than there are who wait.
        let total: usize = waiting.values().sum();
        let own = waiting.get(&network).copied().unwrap_or(0);
        if total >= HELD || own >= HELD_PER_NETWORK {
            return None;
        }
        waiting.insert(network, own + 1);
        drop(waiting);
        Some(Self { waiting: Arc::clone(all), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        if let Some(own) = waiting.get_mut(&self.network) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                waiting.remove(&self.network);
            }
        }
    }
}

/// The name for which somebody may be let in: where names are onboarded, one that nobody has, or one
/// whose certificate is not there yet.
pub(super) fn wanting<'a>(
    worker: &Worker,
    set: &ServingSet,
    known: Option<&Arc<ServedSite>>,
    identity: &'a Identity,
) -> Option<&'a str> {
    let Identity::Name(name) = identity else { return None };
    set.guests.as_ref()?;
    match known {
        None => Some(name),
        Some(site) if site.guest => {
            let there = worker.shared.certificates.has(name, &worker.counters);
            (!there).then_some(name)
        }
        Some(_) => None,
    }
}

/// Has a client wait for a certificate, which counts as `more` time for its handshake; whether there is
/// one now.
pub(super) async fn hold(
    worker: &Worker,
    name: &str,
    network: Network,
    more: &Cell<Duration>,
) -> bool {
    let set = worker.set().clone();
    let Some(sites) = &set.guests else { return false };
    if sites.guests().are_coming() {
        more.set(more.get() + GUESTS_COME);
        // Late or not, it is looked at again.
        drop(timeout(GUESTS_COME, sites.guests().arrived()).await);
        if set.lead(name).is_some() && worker.shared.certificates.has(name, &worker.counters) {
            return true;
        }
    }
    let limit = sites.plan.hold;
    more.set(more.get() + limit);
    let begun = Instant::now();
    let there = worker.shared.knocker.wait(name, network, limit).await;
    let left = limit.saturating_sub(begun.elapsed());
    more.set(more.get().saturating_sub(left));
    there
}

/// What `work` comes to within `limit`, and within what it has said it needs besides.
pub(super) async fn patiently<F: Future>(
    limit: Duration,
    more: &Cell<Duration>,
    work: F,
) -> Option<F::Output> {
    let (mut work, mut timer) = (pin!(work), pin!(sleep(limit)));
    loop {
        tokio::select! {
            biased;
            done = work.as_mut() => return Some(done),
            () = timer.as_mut() => {
                let more = more.take();
                if more.is_zero() {
                    return None;
                }
                timer.as_mut().reset(Instant::now() + more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u8) -> Network {
        Network::of([192, 0, number, 1].into())
    }

    #[test]
    fn few_wait_and_fewer_of_one_network() {
        let waiting = Arc::default();
        let mut places: Vec<_> =
            (0..HELD_PER_NETWORK).map(|_| Place::take(&waiting, network(0)).unwrap()).collect();
        assert!(Place::take(&waiting, network(0)).is_none());
        let others = (1..=255).flat_map(|n| (0..HELD_PER_NETWORK).map(move |_| n));
        places.extend(others.map_while(|n| Place::take(&waiting, network(n))));
        assert_eq!(places.len(), HELD);
        places.remove(0);
        assert!(Place::take(&waiting, network(0)).is_some());
        drop(places);
        assert!(lock(&waiting).is_empty(), "nothing is kept of them");
    }

    #[tokio::test]
    async fn what_is_said_to_take_longer_may() {
        let (limit, more) = (Duration::from_millis(500), Cell::new(Duration::ZERO));
        assert_eq!(patiently(limit, &more, sleep(limit * 40)).await, None);
        let work = async {
            more.set(limit * 40);
            sleep(limit * 3).await;
        };
        assert_eq!(patiently(limit, &more, work).await, Some(()));
        let work = async {
            more.set(limit);
            sleep(limit * 40).await;
        };
        assert_eq!(patiently(limit, &more, work).await, None, "no longer than it said");
    }

    #[tokio::test]
    async fn whoever_is_not_heard_waits_for_nothing() {
        let (knocker, mut heard) = Knocker::new();
        for _ in 0..KNOCKS {
            knocker.tell("a.example", network(0));
        }
        assert!(!knocker.wait("b.example", network(0), Duration::from_secs(60)).await, "full");
        while heard.try_recv().is_ok() {}
        let (there, ()) =
            tokio::join!(knocker.wait("b.example", network(0), Duration::from_secs(60)), async {
                let knock = heard.recv().await.unwrap();
                knock.told.unwrap().send(true).unwrap();
            });
        assert!(there);
        assert!(lock(&knocker.waiting).is_empty());
    }
}
