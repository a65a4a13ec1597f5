//! How many requests a client network has, by rule, in a table that does not grow.
//!
//! Each place knows until when what was taken is used up (the generic cell rate algorithm, ITU-T
//! I.371): one number, whatever the rate. A place whose time has passed is as good as empty. In a
//! set without an empty place the one whose time passes first is given to the newcomer: whoever
//! asks most is forgotten last. Where places lie is keyed with random numbers of the process, so
//! nobody can aim at the places of somebody else.

use std::array;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::super::network::Network;
use crate::base::bounds::policy::RATE_SETS;
use crate::base::bounds::policy::RATE_WAYS;

/// The table. It takes its memory when it is first asked.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    keys: RandomState,
    table: OnceLock<Table>,
}

#[derive(Debug)]
struct Table {
    began: Instant,
    sets: Box<[Mutex<[Place; RATE_WAYS]>]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Of a rule and a network; 0 is nobody's.
    mark: u64,
    /// Nanoseconds since the table began.
    until: u64,
}

/// How fast something may be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pace {
    /// Nanoseconds.
    interval: u64,
    /// The same, of a whole burst.
    burst: u64,
}

impl Pace {
    /// One in each `interval`, and up to `burst` at once.
    pub(super) const fn new(interval: Duration, burst: u32) -> Self {
        let seconds = interval.as_secs().saturating_mul(1_000_000_000);
        let interval = seconds.saturating_add(interval.subsec_nanos() as u64);
        let interval = if interval == 0 { 1 } else { interval };
        let burst = if burst == 0 { 1 } else { burst };
        Self { interval, burst: interval.saturating_mul(burst as u64) }
    }

    /// Until when it is used up, if another one is taken now; or how long until it may be.
    fn after(self, until: u64, now: u64) -> Result<u64, Duration> {
        let next = until.max(now).saturating_add(self.interval);
        match next.saturating_sub(now).saturating_sub(self.burst) {
            0 => Ok(next),
            over => Err(Duration::from_nanos(over)),
        }
    }
}

impl Throttle {
    /// Takes one for `network` under `rule`.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(
        &self,
        rule: u64,
        network: Network,
        pace: Pace,
        now: Instant,
    ) -> Result<(), Duration> {
        self.with(rule, network, now, |until, now| {
            *until = pace.after(*until, now)?;
            Ok(())
        })
    }

    /// Whether there is one to be taken.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn left(
        &self,
        rule: u64,
        network: Network,
        pace: Pace,
        now: Instant,
    ) -> Result<(), Duration> {
        self.with(rule, network, now, |until, now| pace.after(*until, now).map(|_| ()))
    }

    /// Gives one back that was taken and not used.
    pub(super) fn give_back(&self, rule: u64, network: Network, pace: Pace, now: Instant) {
        self.with(rule, network, now, |until, _| *until = until.saturating_sub(pace.interval));
    }

    fn with<T>(
        &self,
        rule: u64,
        network: Network,
        now: Instant,
        change: impl FnOnce(&mut u64, u64) -> T,
    ) -> T {
        let table = self.table.get_or_init(|| Table {
            began: now,
            sets: (0..RATE_SETS)
                .map(|_| Mutex::new(array::from_fn(|_| Place::default())))
                .collect(),
        });
        let now = nanoseconds(now.saturating_duration_since(table.began));
        let mark = self.keys.hash_one((rule, network)).max(1);
        let set = usize::try_from(mark).unwrap_or(usize::MAX) % RATE_SETS;
        let Some(set) = table.sets.get(set) else { return change(&mut 0, now) };
        // Whoever panicked with it left numbers behind, which are as good as any.
        let mut places = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.iter().position(|place| place.mark == mark);
        let first = || places.iter().enumerate().min_by_key(|(_, p)| p.until).map(|(n, _)| n);
        let number = known.or_else(first).unwrap_or(0);
        let Some(place) = places.get_mut(number) else { return change(&mut 0, now) };
        if place.mark != mark {
            *place = Place { mark, until: 0 };
        }
        change(&mut place.until, now)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from(number << 8).into())
    }

    #[test]
    fn a_burst_is_had_at_once_and_the_rest_at_the_rate() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let pace = Pace::new(Duration::from_millis(100), 3);
        let take = |after: u64, who| {
            throttle.take(1, network(who), pace, start + Duration::from_millis(after))
        };
        for _ in 0..3 {
            assert_eq!(take(0, 1), Ok(()));
        }
        assert_eq!(take(0, 1), Err(Duration::from_millis(100)));
        assert_eq!(take(60, 1), Err(Duration::from_millis(40)));
        assert_eq!(take(0, 2), Ok(()), "another network");
        assert_eq!(throttle.take(2, network(1), pace, start), Ok(()), "another rule");
        assert_eq!(take(100, 1), Ok(()));
        assert!(take(150, 1).is_err());
        assert_eq!(take(1000, 1), Ok(()));
        throttle.give_back(1, network(1), pace, start + Duration::from_millis(1000));
        for _ in 0..3 {
            assert_eq!(take(1000, 1), Ok(()));
        }
        assert!(take(1000, 1).is_err());
    }

    #[test]
    fn who_asks_most_is_forgotten_last() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let pace = Pace::new(Duration::from_secs(1), 50);
        for _ in 0..50 {
            throttle.take(1, network(0), pace, start).unwrap();
        }
        // Far more than there are places.
        for other in 1..200_000 {
            throttle.take(1, network(other), pace, start).unwrap();
        }
        assert!(throttle.take(1, network(0), pace, start).is_err());
    }
}
