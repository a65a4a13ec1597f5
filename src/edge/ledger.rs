//! Who has used how much lately, in a table that does not grow.
//!
//! A count-min sketch whose counts fade: what a network used is known as never less than it was,
//! and as more only if it shares both of its places with others. Where places lie is keyed with
//! random numbers of the process, so nobody can aim at the places of somebody else.
//!
//! Deliberately absent: what follows from a figure.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::time::Duration;

use tokio::time::Instant;

use super::network::Network;
use crate::base::bounds::LEDGER_PLACES;

/// What was used, in seconds or pieces, by network and in total; a use fades to 37 % within the
/// time that the ledger was made for, so a steady use of `r` per second stands as `r` times that.
#[derive(Debug)]
pub(super) struct Ledger {
    keys: RandomState,
    began: Instant,
    /// In seconds.
    fade: f32,
    total: Faded,
    rows: [Box<[Faded]>; 2],
}

/// A sum as it was at some moment.
#[derive(Clone, Copy, Debug, Default)]
struct Faded {
    sum: f32,
    /// Milliseconds since the ledger began, modulo 2^32: what nobody touched for 49 days may count
    /// once more.
    at: u32,
}

impl Faded {
    fn now(self, now: u32, fade: f32) -> f32 {
        if self.sum == 0.0 {
            return 0.0;
        }
        let elapsed = Duration::from_millis(now.wrapping_sub(self.at).into());
        self.sum * (-elapsed.as_secs_f32() / fade).exp()
    }
}

impl Ledger {
    pub(super) fn new(fade: Duration, began: Instant) -> Self {
        let row = || vec![Faded::default(); LEDGER_PLACES].into_boxed_slice();
        Self {
            keys: RandomState::new(),
            began,
            fade: fade.as_secs_f32(),
            total: Faded::default(),
            rows: [row(), row()],
        }
    }

    /// By all.
    pub(super) fn total(&self, now: Instant) -> f32 {
        self.total.now(self.clock(now), self.fade)
    }

    /// By `network`.
    pub(super) fn of(&self, network: Network, now: Instant) -> f32 {
        let clock = self.clock(now);
        let places = self.places(network);
        let sums = self.rows.iter().zip(places).filter_map(|(row, place)| row.get(place));
        sums.map(|faded| faded.now(clock, self.fade)).fold(f32::INFINITY, f32::min)
    }

    /// Notes that `network` used `amount`.
    pub(super) fn add(&mut self, network: Network, amount: f32, now: Instant) {
        let clock = self.clock(now);
        let sum = self.of(network, now) + amount;
        let places = self.places(network);
        for (row, place) in self.rows.iter_mut().zip(places) {
            // Others in that place keep what they have.
            if let Some(faded) = row.get_mut(place)
                && faded.now(clock, self.fade) < sum
            {
                *faded = Faded { sum, at: clock };
            }
        }
        self.total = Faded { sum: self.total.now(clock, self.fade) + amount, at: clock };
    }

    fn clock(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.began).as_millis();
        u32::try_from(elapsed & u128::from(u32::MAX)).unwrap_or_default()
    }

    /// One place in each row.
    fn places(&self, network: Network) -> [usize; 2] {
        let [a, b, c, d, e, f, g, h] = self.keys.hash_one(network).to_le_bytes();
        let place = |octets| usize::try_from(u32::from_le_bytes(octets)).unwrap_or_default();
        [place([a, b, c, d]), place([e, f, g, h])].map(|place| place % LEDGER_PLACES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(number << 8).into())
    }

    #[test]
    fn what_was_used_stands_at_once_and_fades() {
        let began = Instant::now();
        let mut ledger = Ledger::new(Duration::from_secs(1), began);
        ledger.add(network(1), 0.5, began);
        ledger.add(network(2), 0.25, began);
        assert_eq!((ledger.of(network(1), began), ledger.total(began)), (0.5, 0.75));
        let later = began + Duration::from_secs(1);
        assert!((ledger.of(network(1), later) - 0.5 * 0.3679).abs() < 0.001);
        assert!((ledger.total(later) - 0.75 * 0.3679).abs() < 0.001);
        let much_later = began + Duration::from_secs(60);
        assert!(ledger.total(much_later) < 1e-9);
    }

    #[test]
    fn a_steady_use_stands_as_its_rate() {
        let began = Instant::now();
        let mut ledger = Ledger::new(Duration::from_secs(1), began);
        let mut now = began;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            ledger.add(network(7), 0.0004, now);
        }
        assert!((ledger.of(network(7), now) - 0.4).abs() < 0.004, "{}", ledger.of(network(7), now));
        assert!((ledger.total(now) - 0.4).abs() < 0.004);
    }

    /// A hundred that use much stand in the way of almost nobody, and nobody's use is forgotten.
    #[test]
    fn others_are_hardly_ever_taken_for_those_who_use_much() {
        let began = Instant::now();
        let mut ledger = Ledger::new(Duration::from_secs(1), began);
        for number in 0..100 {
            ledger.add(network(number), 1.0, began);
        }
        assert!((0..100).all(|number| ledger.of(network(number), began) >= 1.0));
        let taken = (100..10_100).filter(|number| ledger.of(network(*number), began) > 0.0).count();
        // Expected are (100 / 2048)^2 of them, 24.
        assert!(taken < 120, "{taken} of 10000");
    }

    /// Two processes, or two workers, have their places elsewhere.
    #[test]
    fn places_are_not_to_be_foreseen() {
        let now = Instant::now();
        let one = Ledger::new(Duration::from_secs(1), now);
        let other = Ledger::new(Duration::from_secs(1), now);
        let same = (0..1000).filter(|n| one.places(network(*n)) == other.places(network(*n)));
        assert!(same.count() < 10);
    }
}
