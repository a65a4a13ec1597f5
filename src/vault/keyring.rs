//! The opened keys: bounded by bytes, and a scan of cold names does not flush the hot ones.
//!
//! A key that is not open is opened by one thread, for which others that want it wait. The busiest
//! keys are pinned, in a bounded share of the cache: whatever else is asked for, those are open.
//!
//! The policy is `quick_cache`'s kin of S3-FIFO. With a million names and room for one key in a
//! hundred (`cargo bench --bench cache`) it hits 50 % at Zipf 0.9, 67 % at 1.0 and 81 % at 1.1, with a
//! scanning client and without: 5 to 12 points more than LRU, and up to 1.7 more than SIEVE and
//! W-TinyLFU. It takes neither a thread of its own nor a lock of all.
//!
//! Not here: sealing, and what a key may sign.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use quick_cache::DefaultHashBuilder;
use quick_cache::Lifecycle;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use quick_cache::sync::GuardResult;
use quick_cache::sync::PlaceholderGuard;

use super::keys;
use super::keys::OpenKey;
use super::ranking::Ranked;
use crate::base::bounds;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<KeyId, Arc<OpenKey>> for Bytes {
    fn weight(&self, _id: &KeyId, key: &Arc<OpenKey>) -> u64 {
        key.weight()
    }
}

/// Keeps pinned keys in, and counts those that are pushed out.
#[derive(Clone, Debug, Default)]
struct Life {
    evictions: Arc<AtomicU64>,
}

impl Lifecycle<KeyId, Arc<OpenKey>> for Life {
    /// What was pushed out: wiped when this is dropped, which is after the cache's lock.
    type RequestState = Vec<Arc<OpenKey>>;

    fn is_pinned(&self, _id: &KeyId, key: &Arc<OpenKey>) -> bool {
        key.rank.is_pinned()
    }

    fn on_evict(&self, pushed_out: &mut Self::RequestState, _id: KeyId, key: Arc<OpenKey>) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        pushed_out.push(key);
    }
}

/// The right to open a key; others who want it wait for its end.
pub(super) struct Guard<'k>(
    PlaceholderGuard<'k, KeyId, Arc<OpenKey>, Bytes, DefaultHashBuilder, Life>,
);

/// What became of the question for a closed key.
pub(super) enum Asked<'k> {
    /// It is open now.
    Open,
    /// The asker is the one to open it.
    Closed(Guard<'k>),
    /// The asker opens it for himself: another takes too long, or holds it for another calling.
    Alone,
}

/// The cache of opened keys, shared by all threads of the vault. A key is wiped when the cache
/// has dropped it and the last signature with it is done.
#[derive(Debug)]
pub struct Keyring {
    cache: Cache<KeyId, Arc<OpenKey>, Bytes, DefaultHashBuilder, Life>,
    life: Life,
    /// The last ranking, the busiest first.
    ranking: Mutex<Vec<(KeyId, u64)>>,
    forgotten: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    signatures: AtomicU64,
    opened: AtomicU64,
    pinned: AtomicU64,
    warmed: AtomicU64,
    negative: AtomicU64,
}

/// What the keyring has done and holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Keys that were open when they were asked for.
    pub hits: u64,
    /// Keys that had to be sent along.
    pub misses: u64,
    /// Keys open now.
    pub open: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Signatures made.
    pub signatures: u64,
    /// Sealed keys that were opened.
    pub opened: u64,
    /// Keys that were pushed out for others.
    pub evictions: u64,
    /// Keys that cannot be pushed out, as of the last ranking.
    pub pinned: u64,
    /// Keys that were opened because they were busy in an earlier run.
    pub warmed: u64,
    /// Sealed keys that were not tried, because they had just been refused.
    pub negative: u64,
}

/// The key a thread used last: what was just loaded can be used, however full the cache is.
#[derive(Debug, Default)]
pub struct Last {
    key: Option<Arc<OpenKey>>,
    forgotten: u64,
}

impl Keyring {
    /// An empty keyring for `cache_bytes` bytes of keys.
    pub fn new(cache_bytes: u64) -> Self {
        let expected = most_keys(cache_bytes);
        let cache_bytes = cache_bytes.max(bounds::VAULT_CACHE_LEAST);
        let life = Life::default();
        Self {
            cache: Cache::with(
                expected,
                cache_bytes,
                Bytes,
                DefaultHashBuilder::default(),
                life.clone(),
            ),
            life,
            ranking: Mutex::default(),
            forgotten: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            warmed: AtomicU64::new(0),
            negative: AtomicU64::new(0),
        }
    }

    /// Places in secret memory for a keyring of `cache_bytes`: for as many keys as it can hold,
    /// for those that are just coming and going, and for what the master key became.
    pub fn places(cache_bytes: u64) -> usize {
        most_keys(cache_bytes).saturating_add(bounds::VAULT_SPARE_PLACES)
    }

    /// The key called `id`, if it is open.
    pub fn find(&self, id: &KeyId, last: &mut Last) -> Option<Arc<OpenKey>> {
        let forgotten = self.forgotten.load(Ordering::Acquire);
        let held = last.key.as_ref().filter(|key| key.id == *id && last.forgotten == forgotten);
        let found = held.cloned().or_else(|| self.cache.get(id));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        *last = Last { key: found.clone(), forgotten };
        found
    }

    /// Asks for a key that was not open. Waits while another thread opens it, up to
    /// [`bounds::VAULT_OPENING`].
    pub(super) fn ask(&self, id: &KeyId, usage: KeyUsage, last: &mut Last) -> Asked<'_> {
        // Before the key is there: one that is forgotten meanwhile is not used.
        let forgotten = self.forgotten.load(Ordering::Acquire);
        *last = Last { key: None, forgotten };
        match self.cache.get_value_or_guard(id, Some(bounds::VAULT_OPENING)) {
            GuardResult::Value(key) if key.usage == usage => {
                last.key = Some(key);
                Asked::Open
            }
            GuardResult::Guard(guard) => Asked::Closed(Guard(guard)),
            GuardResult::Value(_) | GuardResult::Timeout => Asked::Alone,
        }
    }

    /// Keeps a key that was opened after [`Self::ask`].
    pub(super) fn put(&self, key: OpenKey, guard: Option<Guard<'_>>, last: &mut Last) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let key = Arc::new(key);
        last.key = Some(Arc::clone(&key));
        match guard {
            // One that was forgotten while it was opened is not kept.
            Some(Guard(guard)) => drop(guard.insert(key)),
            None => self.cache.insert(key.id, key),
        }
    }

    /// Keeps a key that was never sealed before.
    pub fn insert(&self, key: Arc<OpenKey>, last: &mut Last) {
        let forgotten = self.forgotten.load(Ordering::Acquire);
        *last = Last { key: Some(Arc::clone(&key)), forgotten };
        self.cache.insert(key.id, key);
    }

    /// Drops a key.
    pub fn forget(&self, id: &KeyId) {
        self.cache.remove(id);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts one signature with `key`; returns how many it has made since it was opened.
    pub fn count(&self, key: &OpenKey) -> u64 {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        key.signatures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Counts a sealed key that was not tried.
    pub(super) fn count_negative(&self) {
        self.negative.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another key can be opened ahead of time without pushing one out: to three quarters,
    /// because the parts of the cache fill unevenly, and whoever comes needs room as well.
    pub fn has_room(&self) -> bool {
        self.cache.weight() < self.cache.capacity() / 4 * 3
    }

    /// Tells how hot the key that `last` holds was in an earlier run, and whether it was opened
    /// for that reason.
    pub fn warm(&self, heat: u64, opened: bool, last: &Last) {
        if let Some(key) = &last.key {
            key.rank.warm(heat);
        }
        if opened {
            self.warmed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ranks the keys of sites anew: the busiest are pinned, and named by [`Self::busiest`].
    pub fn rank(&self) {
        let mut best: BinaryHeap<Reverse<Ranked>> = BinaryHeap::new();
        for (_, key) in self.cache.iter() {
            let heat = key.rank.settle(key.signatures.load(Ordering::Relaxed));
            if heat == 0 || !key.usage.is_tls() {
                key.rank.pin(false);
                continue;
            }
            best.push(Reverse(Ranked { heat, key }));
            if best.len() > bounds::VAULT_BUSIEST
                && let Some(Reverse(coldest)) = best.pop()
            {
                coldest.key.rank.pin(false);
            }
        }
        // Reversed, so that the busiest are first.
        let best = best.into_sorted_vec();
        self.pin(best.iter().map(|Reverse(ranked)| ranked));
        let named = best.iter().map(|Reverse(Ranked { heat, key })| (key.id, *heat)).collect();
        *self.ranking.lock().unwrap_or_else(PoisonError::into_inner) = named;
    }

    /// Pins the first of `ranked` that are hot enough, within [`bounds::VAULT_PINNED_SHARE`] of
    /// each part of the cache.
    fn pin<'r>(&self, ranked: impl Iterator<Item = &'r Ranked>) {
        let share = self.cache.shard_capacity() / bounds::VAULT_PINNED_SHARE;
        let mut left = vec![share; self.cache.num_shards()];
        let mut pinned = 0_u64;
        for Ranked { heat, key } in ranked {
            let left = left.get_mut(self.cache.shard_index(&key.id));
            let pin = match left {
                Some(left) if *heat >= bounds::VAULT_PIN_HEAT && key.weight() <= *left => {
                    *left -= key.weight();
                    true
                }
                _ => false,
            };
            key.rank.pin(pin);
            pinned = pinned.saturating_add(u64::from(pin));
        }
        self.pinned.store(pinned, Ordering::Relaxed);
    }

    /// At most `most` of the keys that were busiest at the last ranking, after the first `skip`.
    pub fn busiest(&self, skip: usize, most: usize) -> Vec<(KeyId, u64)> {
        let ranking = self.ranking.lock().unwrap_or_else(PoisonError::into_inner);
        ranking.iter().skip(skip).take(most).copied().collect()
    }

    /// What it has done and holds.
    pub fn figures(&self) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            hits: of(&self.hits),
            misses: of(&self.misses),
            open: u64::try_from(self.cache.len()).unwrap_or(u64::MAX),
            bytes: self.cache.weight(),
            signatures: of(&self.signatures),
            opened: of(&self.opened),
            evictions: of(&self.life.evictions),
            pinned: of(&self.pinned),
            warmed: of(&self.warmed),
            negative: of(&self.negative),
        }
    }
}

/// The smallest keys are those of P-256.
fn most_keys(cache_bytes: u64) -> usize {
    let cache_bytes = cache_bytes.max(bounds::VAULT_CACHE_LEAST);
    usize::try_from(cache_bytes / keys::P256_WEIGHT).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyUsage;

    fn key() -> Arc<OpenKey> {
        let pkcs8 = keys::generate(KeyAlgorithm::P256).unwrap();
        let (key, _) = OpenKey::from_pkcs8(KeyAlgorithm::P256, KeyUsage::Tls, &pkcs8).unwrap();
        Arc::new(key)
    }

    #[test]
    fn the_keyring_stays_within_its_bytes_and_a_scan_does_not_flush_hot_keys() {
        let keyring = Keyring::new(0);
        let hot: Vec<_> = (0..20).map(|_| key()).collect();
        for key in &hot {
            keyring.insert(Arc::clone(key), &mut Last::default());
        }
        for _ in 0..1500 {
            for key in &hot {
                keyring.find(&key.id, &mut Last::default());
            }
            keyring.insert(key(), &mut Last::default());
            assert!(keyring.cache.weight() <= bounds::VAULT_CACHE_LEAST);
        }
        let kept = hot.iter().filter(|key| keyring.cache.get(&key.id).is_some()).count();
        assert_eq!(kept, hot.len());
        // Fewer than were inserted: the scan did not fit.
        assert!(keyring.cache.len() < 1000);
    }

    #[test]
    fn a_forgotten_key_is_not_found_even_by_the_thread_that_used_it_last() {
        let keyring = Keyring::new(0);
        let (key, mut last) = (key(), Last::default());
        keyring.insert(Arc::clone(&key), &mut last);
        assert!(keyring.find(&key.id, &mut last).is_some());
        keyring.forget(&key.id);
        assert!(keyring.find(&key.id, &mut last).is_none());
        let Figures { hits, misses, open, bytes, .. } = keyring.figures();
        assert_eq!((hits, misses, open, bytes), (1, 1, 0, 0));
    }

    /// What becomes of the question of each of some threads that ask while `guard` is held, after
    /// it was `ended`: how many are to open the key themselves.
    fn waiting(keyring: &Keyring, id: KeyId, ended: impl FnOnce()) -> usize {
        const THREADS: usize = 4;
        let asking = std::sync::Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        asking.wait();
                        let mut last = Last::default();
                        let asked = keyring.ask(&id, KeyUsage::Tls, &mut last);
                        assert_eq!(matches!(asked, Asked::Open), last.key.is_some());
                        usize::from(!matches!(asked, Asked::Open))
                    })
                })
                .collect();
            asking.wait();
            ended();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    }

    #[test]
    fn while_one_opens_a_key_the_others_wait_for_it() {
        let keyring = Keyring::new(0);
        let mut last = Last::default();
        let key = Arc::into_inner(key()).unwrap();
        let id = key.id;
        let Asked::Closed(guard) = keyring.ask(&id, KeyUsage::Tls, &mut last) else {
            panic!("nobody opens it")
        };
        // None of them has a reason to open it, at whatever moment it comes.
        assert_eq!(waiting(&keyring, id, || keyring.put(key, Some(guard), &mut last)), 0);
        assert_eq!(keyring.figures().opened, 1);
    }

    #[test]
    fn one_that_fails_to_open_a_key_leaves_it_to_the_next_one_by_one() {
        let keyring = Keyring::new(0);
        let mut last = Last::default();
        let id = key().id;
        let Asked::Closed(guard) = keyring.ask(&id, KeyUsage::Tls, &mut last) else {
            panic!("nobody opens it")
        };
        assert_eq!(waiting(&keyring, id, || drop(guard)), 4);
        assert_eq!(keyring.figures().open, 0);
    }

    #[test]
    fn a_key_that_is_forgotten_while_it_is_opened_is_not_kept() {
        let keyring = Keyring::new(0);
        let mut last = Last::default();
        let key = Arc::into_inner(key()).unwrap();
        let id = key.id;
        let Asked::Closed(guard) = keyring.ask(&id, KeyUsage::Tls, &mut last) else {
            panic!("nobody opens it")
        };
        keyring.forget(&id);
        keyring.put(key, Some(guard), &mut last);
        assert!(keyring.find(&id, &mut last).is_none());
        assert_eq!(keyring.figures().open, 0);
    }

    #[test]
    fn a_key_that_is_open_for_another_calling_is_opened_for_this_one() {
        let keyring = Keyring::new(0);
        let (key, mut last) = (key(), Last::default());
        keyring.insert(Arc::clone(&key), &mut last);
        let asked = keyring.ask(&key.id, KeyUsage::ExportableTls, &mut last);
        assert!(matches!(asked, Asked::Alone));
        assert!(matches!(keyring.ask(&key.id, KeyUsage::Tls, &mut last), Asked::Open));
    }

    #[test]
    fn a_key_counts_its_signatures() {
        let keyring = Keyring::new(0);
        let (one, other) = (key(), key());
        assert_eq!([keyring.count(&one), keyring.count(&one), keyring.count(&other)], [1, 2, 1]);
        assert_eq!(keyring.figures().signatures, 3);
    }
}
