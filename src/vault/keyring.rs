//! The opened keys: bounded by bytes, and a scan of cold names does not flush the hot ones.
//!
//! Not here: sealing, and what a key may sign.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

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
        let cache_bytes = cache_bytes.max(bounds::VAULT_CACHE_LEAST);
        let expected = usize::try_from(cache_bytes / 448).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(expected, cache_bytes, Bytes),
            forgotten: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
        }
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
