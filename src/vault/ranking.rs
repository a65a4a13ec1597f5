//! How busy an opened key is: a heat that its signatures add to and that fades.
//!
//! Counted from ranking to ranking, because a key that was busy last month is no reason to keep
//! anything today. Whether a key may be pushed out of the cache is decided by the ranking too; the
//! ranking itself is [`super::keyring`]'s affair.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::keys::OpenKey;

/// At every ranking, heat loses this part of itself. With one ranking a minute, half is gone after
/// three quarters of an hour.
const FADES_BY: u64 = 64;

/// What is known of a key's use. Written by the ranking alone, except for the first heat.
#[derive(Debug, Default)]
pub struct Rank {
    heat: AtomicU64,
    /// Signatures that are in the heat already.
    counted: AtomicU64,
    pinned: AtomicBool,
}

impl Rank {
    /// A key that was this hot in an earlier run is at least as hot now.
    pub fn warm(&self, heat: u64) {
        self.heat.fetch_max(heat, Ordering::Relaxed);
    }

    /// Lets the heat fade, adds the signatures since the last time, and returns it.
    pub fn settle(&self, signatures: u64) -> u64 {
        let since = signatures.saturating_sub(self.counted.swap(signatures, Ordering::Relaxed));
        let heat = self.heat.load(Ordering::Relaxed);
        let heat = (heat - heat / FADES_BY).saturating_add(since);
        self.heat.store(heat, Ordering::Relaxed);
        heat
    }

    /// Whether the cache must keep it.
    pub fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    /// Decides that.
    pub fn pin(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::Relaxed);
    }
}

/// A key with its heat, the hottest greatest.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) heat: u64,
    pub(super) key: Arc<OpenKey>,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Order {
        (self.heat, self.key.id).cmp(&(other.heat, other.key.id))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_grows_by_signatures_once_and_fades_without_them() {
        let rank = Rank::default();
        assert_eq!(rank.settle(1000), 1000);
        assert_eq!(rank.settle(1000), 985);
        assert_eq!(rank.settle(1100), 1070);
        for _ in 0..60 {
            rank.settle(1100);
        }
        let faded = rank.settle(1100);
        assert!((300..500).contains(&faded), "{faded}");
    }

    #[test]
    fn a_heat_from_an_earlier_run_is_kept_and_does_not_cool_a_hotter_key() {
        let rank = Rank::default();
        rank.warm(500);
        assert_eq!(rank.settle(7), 500);
        rank.warm(3);
        assert_eq!(rank.settle(7), 493);
    }
}
