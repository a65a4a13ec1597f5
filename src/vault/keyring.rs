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
//! A key that was found once lies at hand (`shelf`), where a hit takes no lock. The policy hears of
//! every [`bounds::gate::VAULT_TELLS_EVERY`]th signature with it, and of none when that would have to wait.
//! To forget a key changes the number under which keys are looked for there, so what lay at hand
//! before is looked for in the cache again, by every thread.
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
use super::shelf::Held;
use super::shelf::Shelf;
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

/// Keeps pinned keys in, and takes those that are pushed out off the shelf.
#[derive(Clone, Debug)]
struct Life {
    evictions: Arc<AtomicU64>,
    shelf: Arc<Shelf>,
}

impl Lifecycle<KeyId, Arc<OpenKey>> for Life {
    /// What was pushed out: wiped when this is dropped, which is after the cache's lock.
    type RequestState = Vec<Arc<OpenKey>>;

    fn is_pinned(&self, _id: &KeyId, key: &Arc<OpenKey>) -> bool {
        key.rank.is_pinned()
    }

    fn on_evict(&self, pushed_out: &mut Self::RequestState, _id: KeyId, key: Arc<OpenKey>) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        self.shelf.clear(&key);
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
    /// Counts the keys that were forgotten: the number under which the shelf is read.
    forgotten: AtomicU64,
    stripes: [Stripe; bounds::gate::VAULT_STRIPES],
    opened: AtomicU64,
    pinned: AtomicU64,
    warmed: AtomicU64,
    negative: AtomicU64,
}

/// What every signature adds to, apart for threads that work at the same time: cores would pass
/// one line to and fro.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
    signatures: AtomicU64,
    together: AtomicU64,
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
    /// Signatures, of those that were made, that were asked for together with others.
    pub together: u64,
}

/// The key a thread fetched last: what was just loaded can be used, however full the cache is.
#[derive(Debug, Default)]
pub struct Last {
    key: Option<Arc<OpenKey>>,
    forgotten: u64,
    /// Which stripe the thread counts on.
    stripe: usize,
}

impl Last {
    /// For thread `index`.
    pub(super) fn of_thread(index: usize) -> Self {
        Self { stripe: index, ..Self::default() }
    }

    fn hold(&mut self, key: Option<Arc<OpenKey>>, forgotten: u64) {
        self.key = key;
        self.forgotten = forgotten;
    }
}

/// A key that was found.
#[derive(Debug)]
pub enum Found {
    /// It lay at hand.
    AtHand(Held),
    /// It was fetched.
    Fetched(Arc<OpenKey>),
}

impl Found {
    /// The key; `None` never, since only keys are found.
    pub fn key(&self) -> Option<&OpenKey> {
        match self {
            Self::AtHand(held) => held.as_deref(),
            Self::Fetched(key) => Some(key),
        }
    }
}

impl Keyring {
    /// An empty keyring for `cache_bytes` bytes of keys.
    pub fn new(cache_bytes: u64) -> Self {
        let expected = most_keys(cache_bytes);
        let cache_bytes = cache_bytes.max(bounds::VAULT_CACHE_LEAST);
        let shelf = Arc::new(Shelf::new(expected));
        let life = Life { evictions: Arc::default(), shelf };
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
            stripes: Default::default(),
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
    pub fn find(&self, id: &KeyId, last: &mut Last) -> Option<Found> {
        let found = self.find_open(id, last);
        if found.is_none() {
            self.stripe(last).misses.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// The same, and no miss is counted: for who will ask again.
    pub(super) fn find_open(&self, id: &KeyId, last: &mut Last) -> Option<Found> {
        // Before the key is looked for: one that is forgotten meanwhile is laid out in vain.
        let forgotten = self.forgotten.load(Ordering::Acquire);
        let stripe = self.stripe(last);
        if let Some(held) = self.life.shelf.find(id, forgotten) {
            stripe.hits.fetch_add(1, Ordering::Relaxed);
            let made = held.as_ref().map_or(0, |key| key.signatures.load(Ordering::Relaxed));
            if made.is_multiple_of(bounds::gate::VAULT_TELLS_EVERY) {
                // Tells the policy, unless that would have to wait.
                let _unheard = self.cache.try_get(id);
            }
            last.key = None;
            return Some(Found::AtHand(held));
        }
        let held = last.key.take().filter(|key| key.id == *id && last.forgotten == forgotten);
        let found = held.or_else(|| {
            let key = self.cache.get(id)?;
            self.lay_out(&key, forgotten);
            Some(key)
        });
        if found.is_some() {
            stripe.hits.fetch_add(1, Ordering::Relaxed);
        }
        last.hold(found.clone(), forgotten);
        found.map(Found::Fetched)
    }

    /// Lays out a key that the cache was seen to hold when so many were `forgotten`.
    fn lay_out(&self, key: &Arc<OpenKey>, forgotten: u64) {
        self.life.shelf.lay_out(key, forgotten);
        // Pushed out in between, it was cleared away before it lay there.
        if !self.cache.peek(&key.id).is_some_and(|kept| Arc::ptr_eq(&kept, key)) {
            self.life.shelf.clear(key);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder of the length is within it")]
    const fn stripe(&self, last: &Last) -> &Stripe {
        &self.stripes[last.stripe % bounds::gate::VAULT_STRIPES]
    }

    /// Asks for a key that was not open. Waits while another thread opens it, up to
    /// [`bounds::VAULT_OPENING`].
    pub(super) fn ask(&self, id: &KeyId, usage: KeyUsage, last: &mut Last) -> Asked<'_> {
        // Before the key is there: one that is forgotten meanwhile is not used.
        let forgotten = self.forgotten.load(Ordering::Acquire);
        last.hold(None, forgotten);
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
        let kept = match guard {
            // One that was forgotten while it was opened is not kept.
            Some(Guard(guard)) => guard.insert(Arc::clone(&key)).is_ok(),
            None => {
                self.cache.insert(key.id, Arc::clone(&key));
                // Nor is one that was: whoever forgets changes the number first.
                let stands = self.forgotten.load(Ordering::Acquire) == last.forgotten;
                if !stands {
                    self.cache.remove(&key.id);
                }
                stands
            }
        };
        if kept {
            self.lay_out(&key, last.forgotten);
        }
    }

    /// Keeps a key that was never sealed before.
    pub fn insert(&self, key: Arc<OpenKey>, last: &mut Last) {
        let forgotten = self.forgotten.load(Ordering::Acquire);
        last.hold(Some(Arc::clone(&key)), forgotten);
        self.cache.insert(key.id, Arc::clone(&key));
        self.lay_out(&key, forgotten);
    }

    /// Drops a key.
    pub fn forget(&self, id: &KeyId) {
        // Before, for whoever opens it just now; after, for whoever has found it just now.
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        let removed = self.cache.remove(id);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        if let Some((_, key)) = removed {
            self.life.shelf.clear(&key);
        }
    }

    /// Counts one signature with `key`; returns how many it has made since it was opened.
    pub fn count(&self, key: &OpenKey, last: &Last) -> u64 {
        self.stripe(last).signatures.fetch_add(1, Ordering::Relaxed);
        key.signatures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Counts signatures that were asked for together and made.
    pub(super) fn count_together(&self, signatures: u64, last: &Last) {
        self.stripe(last).together.fetch_add(signatures, Ordering::Relaxed);
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
        let all =
            |pick: fn(&Stripe) -> &AtomicU64| self.stripes.iter().map(|one| of(pick(one))).sum();
        Figures {
            hits: all(|one| &one.hits),
            misses: all(|one| &one.misses),
            open: u64::try_from(self.cache.len()).unwrap_or(u64::MAX),
            bytes: self.cache.weight(),
            signatures: all(|one| &one.signatures),
            opened: of(&self.opened),
            evictions: of(&self.life.evictions),
            pinned: of(&self.pinned),
            warmed: of(&self.warmed),
            negative: of(&self.negative),
            together: all(|one| &one.together),
        }
    }
}

/// The smallest keys are those of P-256.
fn most_keys(cache_bytes: u64) -> usize {
    let cache_bytes = cache_bytes.max(bounds::VAULT_CACHE_LEAST);
    usize::try_from(cache_bytes / keys::P256_WEIGHT).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
