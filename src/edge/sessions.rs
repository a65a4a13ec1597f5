//! Sessions that are remembered for clients who may speak early: each is given out once.
//!
//! rustls accepts early data only for a session that was kept here and is gone with its first
//! use, so that a repeated ClientHello finds nothing (RFC 8446, section 8.1). Two generations
//! live, as long as the ticket keys of their time are accepted; what is forgotten costs a full
//! handshake. One process serves, so there is no second store that would give a session out again.

use std::sync::Arc;

use rustls::server::ServerSessionMemoryCache;
use rustls::server::StoresServerSessions;

use crate::base::bounds::EARLY_SESSIONS;
use crate::base::bounds::EARLY_SHARDS;

/// The sessions of one ticket key's time.
#[derive(Debug)]
pub(super) struct Generation(Vec<Arc<ServerSessionMemoryCache>>);

impl Default for Generation {
    fn default() -> Self {
        let shard = |_| ServerSessionMemoryCache::new(EARLY_SESSIONS / EARLY_SHARDS);
        Self((0..EARLY_SHARDS).map(shard).collect())
    }
}

impl Generation {
    /// Keeps a session under a name that rustls drew; whether it does.
    pub(super) fn put(&self, name: Vec<u8>, session: Vec<u8>) -> bool {
        let Some(shard) = self.shard(&name) else { return false };
        shard.put(name, session)
    }

    /// The session, which is gone by that.
    pub(super) fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.shard(name)?.take(name)
    }

    fn shard(&self, name: &[u8]) -> Option<&Arc<ServerSessionMemoryCache>> {
        self.0.get(usize::from(*name.first()?) % self.0.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_given_out_once_whoever_asks_at_the_same_time() {
        let kept = Arc::new(Generation::default());
        for round in 0..200_u8 {
            assert!(kept.put(vec![round, 1], vec![7]));
            let ask = |_| {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || kept.take(&[round, 1]))
            };
            let asking: Vec<_> = (0..4).map(ask).collect();
            let got = asking.into_iter().filter_map(|one| one.join().unwrap()).count();
            assert_eq!(got, 1);
        }
        assert_eq!(kept.take(&[9, 9]), None);
        assert_eq!(kept.take(&[]), None);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let kept = Generation::default();
        let name = |i: u32| i.to_le_bytes().to_vec();
        let many = u32::try_from(EARLY_SESSIONS).unwrap() * 4;
        (0..many).for_each(|i| assert!(kept.put(name(i), vec![0])));
        let left = (0..many).filter(|i| kept.take(&name(*i)).is_some()).count();
        assert!(left > 0 && left <= EARLY_SESSIONS, "{left}");
    }
}
