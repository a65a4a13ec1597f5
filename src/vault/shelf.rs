//! The opened keys at hand: a table that is read without a lock, beside the cache that decides which
//! keys stay.
//!
//! A key lies in one of the two places that its name points at; where both are taken by others, one
//! of them goes, and is fetched from the cache when it is asked for again. Reading waits for nobody
//! and writes nothing that another core reads.
//!
//! Whether a key may be used is not known here: each was laid out under a number, and is found by
//! those only who look under the same one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwapOption;
use arc_swap::Guard;

use super::keys::OpenKey;
use crate::cert::key::KeyId;

/// A key that cannot go while it is held.
pub(super) type Held = Guard<Option<Arc<OpenKey>>>;

/// Places that a name points at.
const WAYS: usize = 2;

/// The table. Two words for each key that the cache can hold.
#[derive(Debug)]
pub(super) struct Shelf {
    places: Box<[ArcSwapOption<OpenKey>]>,
}

impl Shelf {
    /// An empty one for so many keys.
    pub(super) fn new(keys: usize) -> Self {
        let places = keys.max(1).saturating_mul(WAYS).next_power_of_two();
        Self { places: std::iter::repeat_with(ArcSwapOption::empty).take(places).collect() }
    }

    /// The key called `id`, if it lies here under `number`.
    pub(super) fn find(&self, id: &KeyId, number: u64) -> Option<Held> {
        self.ways(id).iter().map(ArcSwapOption::load).find(|held| {
            held.as_ref()
                .is_some_and(|key| key.id == *id && key.laid_out.load(Ordering::Acquire) == number)
        })
    }

    /// Lays `key` out under `number`, which only grows.
    pub(super) fn lay_out(&self, key: &Arc<OpenKey>, number: u64) {
        key.laid_out.fetch_max(number, Ordering::AcqRel);
        let ways = self.ways(&key.id);
        let is = |place: &&ArcSwapOption<OpenKey>, wanted: &dyn Fn(&OpenKey) -> bool| {
            place.load().as_deref().is_none_or(wanted)
        };
        let place = ways
            .iter()
            .find(|place| is(place, &|held| held.id == key.id))
            .or_else(|| {
                ways.iter().find(|p| is(p, &|held| held.laid_out.load(Ordering::Relaxed) != number))
            })
            .or_else(|| ways.first());
        if let Some(place) = place {
            place.store(Some(Arc::clone(key)));
        }
    }

    /// Takes `key` away, this very one.
    pub(super) fn clear(&self, key: &Arc<OpenKey>) {
        for place in self.ways(&key.id) {
            let held = place.load();
            if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, key)) {
                place.compare_and_swap(&*held, None);
            }
        }
    }

    /// How many keys lie here.
    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<KeyId> {
        self.places.iter().filter_map(|place| place.load().as_ref().map(|key| key.id)).collect()
    }

    fn ways(&self, id: &KeyId) -> &[ArcSwapOption<OpenKey>] {
        let name = id.0.first_chunk::<8>().map_or(0, |octets| u64::from_le_bytes(*octets));
        let sets = self.places.len() / WAYS;
        // A power of two, so that no division is needed.
        let set = usize::try_from(name & u64::try_from(sets - 1).unwrap_or(0)).unwrap_or(0);
        self.places.get(set * WAYS..(set + 1) * WAYS).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyUsage;

    fn key() -> Arc<OpenKey> {
        let pkcs8 = keys::generate(KeyAlgorithm::P256).unwrap();
        Arc::new(OpenKey::from_pkcs8(KeyAlgorithm::P256, KeyUsage::Tls, &pkcs8).unwrap().0)
    }

    #[test]
    fn a_key_is_found_under_its_last_number_only() {
        let (shelf, key) = (Shelf::new(4), key());
        let found = |number| shelf.find(&key.id, number).is_some();
        shelf.lay_out(&key, 7);
        assert_eq!([6, 7, 8].map(found), [false, true, false]);
        shelf.lay_out(&key, 8);
        // Somebody was late; the number does not go back.
        shelf.lay_out(&key, 7);
        assert_eq!([6, 7, 8].map(found), [false, false, true]);
        assert_eq!(shelf.keys(), [key.id]);
    }

    #[test]
    fn a_key_that_is_cleared_away_is_let_go_and_another_of_its_name_stays() {
        let shelf = Shelf::new(1);
        let (one, others) = (key(), [key(), key()]);
        shelf.lay_out(&one, 0);
        assert_eq!(Arc::strong_count(&one), 2);
        shelf.clear(&one);
        assert_eq!(Arc::strong_count(&one), 1);
        // One set: the third takes the place of the first or the second.
        others.iter().chain([&one]).for_each(|key| shelf.lay_out(key, 0));
        assert_eq!(shelf.keys().len(), 2);
        assert!(shelf.find(&one.id, 0).is_some());
        shelf.clear(&others[0]);
        assert!(shelf.find(&one.id, 0).is_some());
    }
}
