//! Handshakes that are ready at the same time ask the vault together, and none of them is the worse
//! for it: with keys that are not open, with a vault that dies or hangs, and with one that is dropped
//! while it waits.

#![allow(clippy::indexing_slicing, reason = "so does the kit")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at its first surprise")]

#[path = "kit/shaking.rs"]
mod shaking;
mod vault_common;

use std::time::Duration;

use keyward::base::bounds;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::ports::Signers;
use keyward::vault::Vault;
use keyward::vault::together;
use keyward::vault::together::Asked;
use shaking::Handshake;
use shaking::Site;
use vault_common::House;

fn begin(site: &Site) -> Handshake {
    Handshake::begin(site, true)
}

/// One poll after the other, as the runtime does, until all are done.
fn finish(handshakes: &mut [Handshake]) {
    for _ in 0..20 {
        handshakes.iter_mut().for_each(Handshake::poll);
        handshakes.iter_mut().for_each(Handshake::talk);
    }
    for handshake in handshakes {
        handshake.done.take().expect("it comes to an end").unwrap();
        assert!(!handshake.client.is_handshaking());
    }
}

fn since(before: Asked) -> (u64, u64) {
    let now = together::asked();
    (now.times - before.times, now.signatures - before.signatures)
}

/// What the kernel says in `file` of the vault's thread of the first worker, in the line that begins
/// with `name`.
fn told(vault: &Vault, file: &str, name: &str) -> u64 {
    let mut tasks = std::fs::read_dir(format!("/proc/{}/task", vault.status().pid)).unwrap();
    let is_first = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).unwrap() == "vault-0\n"
    };
    let task = tasks.find_map(|task| Some(task.unwrap().path()).filter(is_first)).unwrap();
    let text = std::fs::read_to_string(task.join(file)).unwrap();
    number(&text, name)
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches([' ', ':', '\t']).parse().unwrap()
}

/// How often the vault's thread of the first worker has gone to sleep.
fn slept(vault: &Vault) -> u64 {
    told(vault, "status", "voluntary_ctxt_switches:")
}

#[test]
fn the_thread_of_a_worker_takes_short_turns() {
    let house = House::new();
    let vault = house.vault(1);
    let short = bounds::gate::VAULT_TURN;
    // A kernel before 6.12 takes the wish and does nothing of the kind.
    let own = std::thread::spawn(move || {
        keyward::os::slice::shorten(short).unwrap();
        number(&std::fs::read_to_string("/proc/thread-self/sched").unwrap(), "se.slice")
    });
    let expected = own.join().unwrap();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(u128::from(expected) == short.as_nanos(), version >= (6, 12), "{release}");
    assert_eq!(told(&vault, "sched", "se.slice"), expected);
}

#[test]
fn the_time_of_asking_together_is_charged_to_all_alike() {
    const ALL: usize = bounds::gate::VAULT_TOGETHER - 1;
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    let site = Site::new(&vault, KeyAlgorithm::P256);
    let mut handshakes: Vec<_> = (0..ALL).map(|_| begin(&site)).collect();
    let poll = |handshake: &mut Handshake| {
        let begun = vault_common::now();
        handshake.poll();
        let took = begun.elapsed();
        (took, together::settled(took))
    };
    for handshake in &mut handshakes {
        let (took, charged) = poll(handshake);
        assert_eq!(took, charged);
    }
    let long = Duration::from_millis(350);
    let stopped = vault_common::Stopped::new(vault.status().pid);
    let (took, charged): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        scope.spawn(|| {
            vault_common::pause(long);
            drop(stopped);
        });
        handshakes.iter_mut().map(poll).unzip()
    });
    // The first has waited for all.
    let (least, most) = (long / 2, long / 3);
    assert!(took[0] > least && took[1..].iter().all(|took| *took < most), "{took:?}");
    let share = least / u32::try_from(ALL).unwrap();
    assert!(charged.iter().all(|charged| (share..most).contains(charged)), "{charged:?}");
    // Nothing is lost, but what does not divide.
    let sum = |times: &[Duration]| times.iter().sum::<Duration>();
    assert!(sum(&took).abs_diff(sum(&charged)) < Duration::from_micros(1), "{took:?} {charged:?}");
    finish(&mut handshakes);
    assert_eq!(together::settled(long), long);
}

#[test]
fn handshakes_that_are_ready_at_the_same_time_ask_once_for_all() {
    const AT_ONCE: usize = bounds::gate::VAULT_TOGETHER;
    const ROUNDS: u64 = 10;
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    // Two keys, so that the answers are seen to come to their questions.
    let sites = [0, 1].map(|_| Site::new(&vault, KeyAlgorithm::P256));
    let (before, asleep) = (together::asked(), slept(&vault));
    for _ in 0..ROUNDS {
        let mut handshakes: Vec<_> = (0..AT_ONCE).map(|turn| begin(&sites[turn % 2])).collect();
        finish(&mut handshakes);
    }
    let signatures = ROUNDS * u64::try_from(AT_ONCE).unwrap();
    assert_eq!(since(before), (ROUNDS, signatures));
    // Waked once for each round.
    let slept = slept(&vault) - asleep;
    assert!(slept <= 2 * ROUNDS, "{slept} times for {signatures} signatures");
    let look = vault.look().unwrap().unwrap();
    let counted: u64 = look.counts.iter().map(|(signed, _)| signed.most).sum();
    assert_eq!(counted, signatures);
}

#[test]
fn one_alone_asks_alone_and_more_than_fit_ask_in_turns() {
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    let site = Site::new(&vault, KeyAlgorithm::P256);
    let before = together::asked();
    finish(&mut [begin(&site)]);
    assert_eq!(since(before), (0, 0));
    let fit = u64::try_from(bounds::gate::VAULT_TOGETHER).unwrap();
    let mut many: Vec<_> = (0..3 * fit - 2).map(|_| begin(&site)).collect();
    finish(&mut many);
    assert_eq!(since(before), (3, 3 * fit - 2));
    // What takes the vault long is not waited for together.
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::P384] {
        let site = Site::new(&vault, algorithm);
        let mut several: Vec<_> = (0..3).map(|_| begin(&site)).collect();
        finish(&mut several);
    }
    assert_eq!(since(before), (3, 3 * fit - 2));
}

#[test]
fn a_vault_that_dies_while_they_wait_costs_no_handshake() {
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    let sites = [0, 1].map(|_| Site::new(&vault, KeyAlgorithm::P256));
    let mut handshakes: Vec<_> = (0..6).map(|turn| begin(&sites[turn % 2])).collect();
    handshakes.iter_mut().for_each(Handshake::poll);
    assert!(handshakes.iter().all(|handshake| handshake.done.is_none()));
    vault_common::kill(vault.status().pid);
    // The next vault has no key open: each is sent along.
    finish(&mut handshakes);
    assert_eq!(vault.status().restarts, 1);
}

#[test]
fn a_vault_that_hangs_costs_all_that_wait_one_deadline() {
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    let site = Site::new(&vault, KeyAlgorithm::P256);
    let mut handshakes: Vec<_> = (0..6).map(|_| begin(&site)).collect();
    handshakes.iter_mut().for_each(Handshake::poll);
    let stopped = vault_common::Stopped::new(vault.status().pid);
    let begun = vault_common::now();
    handshakes.iter_mut().for_each(Handshake::poll);
    let waited = begun.elapsed();
    drop(stopped);
    assert!(handshakes.iter().all(|handshake| matches!(handshake.done, Some(Err(_)))));
    assert!(waited < bounds::VAULT_SIGN_DEADLINE + Duration::from_secs(2), "{waited:?}");
    // The late answer is nobody's.
    let mut again: Vec<_> = (0..6).map(|_| begin(&site)).collect();
    finish(&mut again);
}

#[test]
fn a_handshake_that_is_dropped_while_it_waits_leaves_its_place() {
    let house = House::new();
    let vault = house.vault(1);
    vault.bind_worker(0, None);
    let site = Site::new(&vault, KeyAlgorithm::P256);
    let before = together::asked();
    for _ in 0..3 * bounds::gate::VAULT_PLACES / bounds::gate::VAULT_TOGETHER {
        let mut gone: Vec<_> = (1..bounds::gate::VAULT_TOGETHER).map(|_| begin(&site)).collect();
        gone.iter_mut().for_each(Handshake::poll);
        drop(gone);
    }
    // Nobody asked for them.
    assert_eq!(since(before), (0, 0));
    let fit = u64::try_from(bounds::gate::VAULT_TOGETHER).unwrap();
    let mut handshakes: Vec<_> = (0..fit).map(|_| begin(&site)).collect();
    finish(&mut handshakes);
    assert_eq!(since(before), (1, fit));
}
