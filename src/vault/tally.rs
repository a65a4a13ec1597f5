//! How often which key: a count of bounded size, by one thread, to be read by any.
//!
//! A table of sets of a few places each; a key may stand in one set only. A key that finds its set
//! full takes the place with the smallest count and goes on from there, and what it took over is
//! noted beside it. So the true count lies between what a key surely has and what it may have, and
//! keys that count much stay (Metwally and others, "Efficient computation of frequent and top-k
//! elements in data streams", 2005; here within each set). Up to some thousands of keys, all counts
//! are exact.
//!
//! Counting takes neither lock nor memory. Deliberately absent: whole names of keys, which are
//! digests; the first eight octets tell them apart.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;

use crate::base::bounds;
use crate::cert::key::KeyId;

/// Places of a table.
const PLACES: usize = bounds::TALLY_SETS * bounds::TALLY_WAYS;

/// What is known of the count of a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    /// The first octets of its name; see [`short`].
    pub key: u64,
    /// It has no more than this.
    pub most: u64,
    /// Of these, what others may have in its stead.
    pub inherited: u64,
}

impl Counted {
    /// It has no less than this.
    pub const fn least(&self) -> u64 {
        self.most.saturating_sub(self.inherited)
    }

    /// Both counts of one key together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            key: self.key,
            most: self.most.saturating_add(other.most),
            inherited: self.inherited.saturating_add(other.inherited),
        }
    }
}

/// The name under which a key is counted; never 0.
pub fn short(key: &KeyId) -> u64 {
    key.0.first_chunk::<8>().map_or(1, |first| u64::from_le_bytes(*first).max(1))
}

/// The counts of one thread.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally {
    /// Of what the counts are; with another they begin again.
    era: AtomicU64,
    places: Box<[Place]>,
}

#[derive(Debug, Default)]
struct Place {
    /// 0 where nobody is, and while one takes the place of another.
    key: AtomicU64,
    most: AtomicU64,
    inherited: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let places = std::iter::repeat_with(Place::default).take(PLACES).collect();
        Self { era: AtomicU64::new(0), places }
    }
}

impl Tally {
    /// Counts once for `key`. To be called by one thread at a time; two at once lose counts.
    pub fn count(&self, key: &KeyId, era: u64) {
        if self.era.load(Ordering::Relaxed) != era {
            self.begin(era);
        }
        let key = short(key);
        let mut least: Option<(&Place, u64)> = None;
        for place in self.set(key) {
            let most = place.most.load(Ordering::Relaxed);
            match place.key.load(Ordering::Relaxed) {
                held if held == key => {
                    place.most.store(most.saturating_add(1), Ordering::Relaxed);
                    return;
                }
                // Sets fill from the front, so the key is not behind this place either.
                0 => return place.take(key, 0),
                _ if least.is_none_or(|(_, than)| most < than) => least = Some((place, most)),
                _ => {}
            }
        }
        if let Some((place, most)) = least {
            place.take(key, most);
        }
    }

    /// What `key` has, for any thread. One that has no place may have as much as the smallest
    /// count of its set.
    pub fn of(&self, key: u64, era: u64) -> Counted {
        let nothing = Counted { key, most: 0, inherited: 0 };
        if self.era.load(Ordering::Acquire) != era {
            return nothing;
        }
        let mut least = u64::MAX;
        for place in self.set(key) {
            match place.read() {
                Some(counted) if counted.key == key => return counted,
                Some(counted) => least = least.min(counted.most),
                None => return nothing,
            }
        }
        Counted { key, most: least, inherited: least }
    }

    /// Up to `limit` counts from place `from` on, and the place to go on from.
    pub fn page(&self, from: usize, limit: usize) -> (Vec<Counted>, Option<usize>) {
        let mut found = Vec::new();
        for (at, place) in self.places.iter().enumerate().skip(from) {
            if found.len() == limit {
                return (found, Some(at));
            }
            found.extend(place.read());
        }
        (found, None)
    }

    fn begin(&self, era: u64) {
        for place in &self.places {
            place.key.store(0, Ordering::Relaxed);
        }
        self.era.store(era, Ordering::Release);
    }

    fn set(&self, key: u64) -> &[Place] {
        let sets = u64::try_from(bounds::TALLY_SETS).unwrap_or(1);
        let start = usize::try_from(key % sets).unwrap_or(0).saturating_mul(bounds::TALLY_WAYS);
        self.places.get(start..start.saturating_add(bounds::TALLY_WAYS)).unwrap_or_default()
    }
}

impl Place {
    /// Begins to count for `key`, after others that had `inherited`.
    fn take(&self, key: u64, inherited: u64) {
        self.key.store(0, Ordering::Relaxed);
        // Who reads one of the next two sees the place empty, before or after.
        fence(Ordering::Release);
        self.inherited.store(inherited, Ordering::Relaxed);
        self.most.store(inherited.saturating_add(1), Ordering::Relaxed);
        self.key.store(key, Ordering::Release);
    }

    fn read(&self) -> Option<Counted> {
        let key = self.key.load(Ordering::Acquire);
        let most = self.most.load(Ordering::Relaxed);
        let inherited = self.inherited.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let same = key != 0 && self.key.load(Ordering::Relaxed) == key;
        same.then_some(Counted { key, most, inherited })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A key of the set `set`.
    fn key(set: u64, number: u64) -> KeyId {
        let mut id = [0; 32];
        let name = (number + 1) * u64::try_from(bounds::TALLY_SETS).unwrap() + set;
        id[..8].copy_from_slice(&name.to_le_bytes());
        KeyId(id)
    }

    fn all(tally: &Tally, limit: usize) -> Vec<Counted> {
        let (mut found, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let (more, next) = tally.page(at, limit);
            assert!(more.len() <= limit && next.is_none_or(|next| next > at));
            found.extend(more);
            from = next;
        }
        found
    }

    #[test]
    fn some_thousands_of_keys_are_counted_exactly() {
        let tally = Tally::default();
        for set in 0..u64::try_from(bounds::TALLY_SETS).unwrap() {
            for number in 0..u64::try_from(bounds::TALLY_WAYS).unwrap() {
                (0..=number).for_each(|_| tally.count(&key(set, number), 0));
            }
        }
        let found = all(&tally, 100);
        assert_eq!(found.len(), PLACES);
        assert!(found.iter().all(|counted| counted.inherited == 0));
        assert_eq!(tally.of(short(&key(3, 2)), 0).least(), 3);
        assert_eq!(tally.of(short(&key(3, 2)), 0).most, 3);
    }

    #[test]
    fn with_another_era_all_counts_begin_again() {
        let tally = Tally::default();
        (0..5).for_each(|_| tally.count(&key(1, 0), 7));
        let of = |number, era| tally.of(short(&key(1, number)), era).most;
        assert_eq!((of(0, 7), of(0, 8)), (5, 0));
        tally.count(&key(1, 1), 8);
        assert_eq!((of(0, 7), of(0, 8), of(1, 8)), (0, 0, 1));
    }

    proptest! {
        #[test]
        fn the_true_count_lies_within_what_is_said_and_busy_keys_stay(
            steps in proptest::collection::vec((0..3_u64, 0..40_u64), 0..2000),
            busy in 0..40_u64,
        ) {
            let tally = Tally::default();
            let mut truth: HashMap<u64, u64> = HashMap::new();
            let mut count = |id: KeyId| {
                tally.count(&id, 0);
                *truth.entry(short(&id)).or_default() += 1;
            };
            for (set, number) in &steps {
                count(key(*set, *number));
                // Half of all there is.
                count(key(*set, busy));
            }
            for (set, number) in (0..3).flat_map(|set| (0..41).map(move |number| (set, number))) {
                let name = short(&key(set, number));
                let (said, true_count) = (tally.of(name, 0), truth.get(&name).copied().unwrap_or(0));
                prop_assert!(said.least() <= true_count && true_count <= said.most, "{said:?} {true_count}");
            }
            let found = all(&tally, 5);
            prop_assert!(found.len() <= 3 * bounds::TALLY_WAYS);
            for set in 0..3 {
                let name = short(&key(set, busy));
                let there = found.iter().any(|counted| counted.key == name && counted.least() > 0);
                prop_assert_eq!(there, truth.contains_key(&name));
            }
        }
    }

    #[test]
    fn a_reader_never_sees_the_count_of_one_key_under_the_name_of_another() {
        // Keys of one set chase each other out; each key that is read alone surely has one or more,
        // and no reader sees more than was counted in all.
        const ROUNDS: u64 = 200_000;
        let tally = Tally::default();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..ROUNDS).for_each(|n| tally.count(&key(0, n % 20), 0)));
            while !writer.is_finished() {
                for counted in tally.page(0, PLACES).0 {
                    assert!(counted.least() >= 1 && counted.most <= ROUNDS, "{counted:?}");
                }
            }
        });
        let sum: u64 = tally.page(0, PLACES).0.iter().map(|counted| counted.most).sum();
        assert_eq!(sum, ROUNDS, "each count stands in one place");
    }
}
