//! The opened keys: bounded by bytes, and a scan of cold names does not flush the hot ones.
//!
//! Not here: sealing, and what a key may sign.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::keys;
use super::keys::OpenKey;
use crate::base::bounds;
use crate::cert::key::KeyId;

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<KeyId, Arc<OpenKey>> for Bytes {
    fn weight(&self, _id: &KeyId, key: &Arc<OpenKey>) -> u64 {
        key.weight()
    }
}

/// The cache of opened keys, shared by all threads of the vault. A key is wiped when the cache
/// has dropped it and the last signature with it is done.
#[derive(Debug)]
pub struct Keyring {
    cache: Cache<KeyId, Arc<OpenKey>, Bytes>,
    forgotten: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    signatures: AtomicU64,
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
        Self {
            cache: Cache::with_weighter(expected, cache_bytes, Bytes),
            forgotten: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
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

    /// Keeps an opened key.
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

    /// Hits, misses, keys open, bytes they take, signatures.
    pub fn figures(&self) -> [u64; 5] {
        [
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
            u64::try_from(self.cache.len()).unwrap_or(u64::MAX),
            self.cache.weight(),
            self.signatures.load(Ordering::Relaxed),
        ]
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
        let [hits, misses, open, bytes, _] = keyring.figures();
        assert_eq!((hits, misses, open, bytes), (1, 1, 0, 0));
    }

    #[test]
    fn a_key_counts_its_signatures() {
        let keyring = Keyring::new(0);
        let (one, other) = (key(), key());
        assert_eq!([keyring.count(&one), keyring.count(&one), keyring.count(&other)], [1, 2, 1]);
        assert_eq!(keyring.figures()[4], 3);
    }
}
