//! What the keyring keeps, whom it lets wait, and what lies at hand.

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
fn a_key_that_is_forgotten_while_one_thread_opens_it_alone_is_not_kept_either() {
    let keyring = Keyring::new(0);
    let (held, mut last) = (key(), Last::default());
    let id = held.id;
    keyring.insert(held, &mut last);
    // Open for another calling, so nobody else waits for whoever opens it for this one.
    let Asked::Alone = keyring.ask(&id, KeyUsage::ExportableTls, &mut last) else {
        panic!("somebody waits")
    };
    keyring.forget(&id);
    let mut again = Arc::into_inner(key()).unwrap();
    again.id = id;
    keyring.put(again, None, &mut last);
    assert!(keyring.find(&id, &mut last).is_none());
    assert!(keyring.find(&id, &mut Last::default()).is_none());
    assert_eq!(keyring.figures().open, 0);
}

#[test]
fn a_hit_does_not_wait_for_whoever_changes_the_cache() {
    let keyring = Keyring::new(0);
    let keys: Vec<_> = (0..50).map(|_| key()).collect();
    for key in &keys {
        keyring.insert(Arc::clone(key), &mut Last::default());
    }
    let locked = std::sync::Barrier::new(2);
    let (tell, told) = std::sync::mpsc::channel();
    let parts = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (tell, mut last) = (tell, Last::default());
            locked.wait();
            // All of them, those of the part that is locked among them, and every count that
            // the policy is told of.
            for _ in 0..2 * bounds::gate::VAULT_TELLS_EVERY {
                for key in &keys {
                    let found = keyring.find(&key.id, &mut last).unwrap();
                    assert!(matches!(found, Found::AtHand(_)));
                    keyring.count(found.key().unwrap(), &last);
                }
            }
            tell.send(()).unwrap();
        });
        // The first key that is looked at is looked at under its part's lock.
        keyring.cache.retain(|_, _| {
            if parts.fetch_add(1, Ordering::Relaxed) == 0 {
                locked.wait();
                let waited = told.recv_timeout(std::time::Duration::from_secs(20));
                waited.expect("whoever asks does not wait");
            }
            true
        });
    });
    assert_eq!(parts.into_inner(), 50);
}

#[test]
fn what_lies_at_hand_is_in_the_cache() {
    let keyring = Keyring::new(0);
    std::thread::scope(|scope| {
        for index in 0..3 {
            let keyring = &keyring;
            scope.spawn(move || {
                let mut last = Last::of_thread(index);
                let mut mine = Vec::new();
                for turn in 0..600 {
                    let key = key();
                    mine.push(key.id);
                    keyring.insert(key, &mut last);
                    // Hot ones are found again, cold ones are pushed out.
                    for id in mine.iter().take(40) {
                        keyring.find(id, &mut last);
                    }
                    if turn % 50 == 0 {
                        keyring.forget(&mine[turn / 50]);
                    }
                }
            });
        }
    });
    assert!(keyring.figures().evictions > 200, "{:?}", keyring.figures());
    let at_hand = keyring.life.shelf.keys();
    assert!(at_hand.len() > 100, "{}", at_hand.len());
    for id in at_hand {
        assert!(keyring.cache.peek(&id).is_some());
    }
}

#[test]
fn nobody_finds_a_key_once_it_was_forgotten() {
    const ROUNDS: u64 = 200;
    let keyring = Keyring::new(0);
    let keys: Vec<_> = (0..ROUNDS).map(|_| key()).collect();
    // So many were forgotten before the one who looks began.
    let gone = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for index in 0..2 {
            let (keyring, keys, gone) = (&keyring, &keys, &gone);
            scope.spawn(move || {
                let mut last = Last::of_thread(index);
                loop {
                    let before = gone.load(Ordering::SeqCst);
                    if before == ROUNDS {
                        return;
                    }
                    for (at, key) in (0..).zip(keys) {
                        let found = keyring.find(&key.id, &mut last);
                        assert!(at >= before || found.is_none(), "{at} of {before}");
                    }
                }
            });
        }
        for key in &keys {
            keyring.insert(Arc::clone(key), &mut Last::default());
        }
        for key in &keys {
            keyring.forget(&key.id);
            gone.fetch_add(1, Ordering::SeqCst);
        }
    });
}

#[test]
fn a_key_counts_its_signatures() {
    let keyring = Keyring::new(0);
    let (one, other) = (key(), key());
    assert_eq!([&one, &one, &other].map(|key| keyring.count(key, &Last::default())), [1, 2, 1]);
    assert_eq!(keyring.figures().signatures, 3);
}
