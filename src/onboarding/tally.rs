//! How often something happened of late, apart for each of whoever did it.
//!
//! It has no more entries than it is told to. Deliberately absent: a clock.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::base::Timestamp;
use crate::base::bounds::onboarding::COUNTED_APART;

/// Counts within one stretch of time that begins with the first of them.
#[derive(Debug)]
pub(super) struct Tally<K> {
    window: Duration,
    counts: HashMap<K, (Timestamp, u32)>,
}

impl<K: Eq + Hash> Tally<K> {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, counts: HashMap::new() }
    }

    /// Whether `key` has done it less than `limit` times; 0 is no limit. Whoever is new may not while
    /// there are too many others.
    pub(super) fn has_room<Q>(&mut self, key: &Q, limit: u32, now: Timestamp) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if limit == 0 {
            return true;
        }
        match self.counts.get(key) {
            Some((begun, count)) if is_within(*begun, self.window, now) => *count < limit,
            Some(_) => true,
            None => {
                if self.counts.len() >= COUNTED_APART {
                    let window = self.window;
                    self.counts.retain(|_, (begun, _)| is_within(*begun, window, now));
                }
                self.counts.len() < COUNTED_APART
            }
        }
    }

    /// Counts one more of `key`.
    pub(super) fn note(&mut self, key: K, now: Timestamp) {
        let window = self.window;
        if self.counts.len() >= COUNTED_APART && !self.counts.contains_key(&key) {
            return;
        }
        let entry = self.counts.entry(key).or_insert((now, 0));
        if !is_within(entry.0, window, now) {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

/// A clock that was put back begins anew.
fn is_within(begun: Timestamp, window: Duration, now: Timestamp) -> bool {
    begun <= now && now < begun.plus(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn so_many_in_a_while_and_others_are_counted_apart() {
        let mut tally = Tally::new(MINUTE);
        for _ in 0..3 {
            assert!(tally.has_room("a", 3, at(100)));
            tally.note("a".to_owned(), at(100));
        }
        assert!(!tally.has_room("a", 3, at(159)));
        assert!(tally.has_room("b", 3, at(159)));
        assert!(tally.has_room("a", 0, at(159)), "no limit");
        assert!(tally.has_room("a", 3, at(160)), "the minute is over");
        tally.note("a".to_owned(), at(160));
        assert!(tally.has_room("a", 3, at(161)) && !tally.has_room("a", 1, at(161)));
        assert!(tally.has_room("a", 1, at(50)), "the clock was put back");
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut tally = Tally::new(MINUTE);
        for number in 0..COUNTED_APART + 1000 {
            tally.note(number, at(0));
        }
        assert_eq!(tally.counts.len(), COUNTED_APART);
        assert!(!tally.has_room(&usize::MAX, 3, at(59)), "nobody new is heard");
        assert!(tally.has_room(&usize::MAX, 3, at(60)), "until the minute is over");
        assert!(tally.counts.is_empty());
    }
}
