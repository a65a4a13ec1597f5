//! Sealed keys that did not open, remembered for some seconds so that nobody tries them at once
//! again.
//!
//! A record is known by the digest of all its octets, not by the name of its key: a good record
//! for the same key, as a restored backup or another epoch brings it, is tried at once.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::wire::Refusal;
use crate::base::bounds;
use crate::cert::key::KeyId;

/// What is known about one record.
#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    until: Instant,
    why: (Refusal, String),
}

/// The records that did not open, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Refused {
    entries: Mutex<VecDeque<Entry>>,
    /// How many, so that without any nothing is digested and nothing locked.
    count: AtomicUsize,
}

impl Refused {
    /// Why `record` was refused, if that was a moment ago.
    pub(super) fn recall(&self, record: &[u8], now: Instant) -> Option<(Refusal, String)> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let digest = digest(record);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        while entries.front().is_some_and(|oldest| oldest.until <= now) {
            entries.pop_front();
        }
        self.count.store(entries.len(), Ordering::Relaxed);
        entries.iter().find(|entry| entry.digest == digest).map(|entry| entry.why.clone())
    }

    /// Remembers that `record` was refused.
    pub(super) fn note(&self, record: &[u8], now: Instant, why: &(Refusal, String)) {
        let (digest, until) = (digest(record), now + bounds::VAULT_REFUSED_FOR);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= bounds::VAULT_REFUSED_ENTRIES {
            entries.pop_front();
        }
        entries.push_back(Entry { digest, until, why: why.clone() });
        self.count.store(entries.len(), Ordering::Relaxed);
    }
}

fn digest(record: &[u8]) -> [u8; 32] {
    // The same function that names keys: SHA-256.
    KeyId::of_spki(record).0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the moments of a test")]
    fn start() -> Instant {
        Instant::now()
    }

    fn why(text: &str) -> (Refusal, String) {
        (Refusal::Seal, text.to_owned())
    }

    #[test]
    fn a_record_is_refused_again_until_its_time_is_over_and_another_is_not() {
        let (refused, now) = (Refused::default(), start());
        assert_eq!(refused.recall(b"bad", now), None);
        refused.note(b"bad", now, &why("damaged"));
        assert_eq!(refused.recall(b"bad", now), Some(why("damaged")));
        assert_eq!(refused.recall(b"bae", now), None);
        let almost = now + bounds::VAULT_REFUSED_FOR - Duration::from_millis(1);
        assert_eq!(refused.recall(b"bad", almost), Some(why("damaged")));
        assert_eq!(refused.recall(b"bad", now + bounds::VAULT_REFUSED_FOR), None);
        assert_eq!(refused.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_so_many_are_remembered_the_newest_of_them() {
        let (refused, now) = (Refused::default(), start());
        for number in 0..=bounds::VAULT_REFUSED_ENTRIES {
            refused.note(&number.to_le_bytes(), now, &why("damaged"));
        }
        assert_eq!(refused.entries.lock().unwrap().len(), bounds::VAULT_REFUSED_ENTRIES);
        assert_eq!(refused.recall(&0_usize.to_le_bytes(), now), None);
        let newest = bounds::VAULT_REFUSED_ENTRIES.to_le_bytes();
        assert_eq!(refused.recall(&newest, now), Some(why("damaged")));
    }
}
