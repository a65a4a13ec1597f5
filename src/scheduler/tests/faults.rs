//! Invariants 1, 3, 4 and 11 as a property: whatever a CA does, in whatever order time, restarts
//! and the configuration come in between.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::Act;
use super::House;
use super::one_site;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::lifecycle::Phase;
use crate::cert::spec::Role;
use crate::scheduler::testing::config;

/// What happens to the house.
#[derive(Clone, Debug)]
enum Move {
    /// From now on the CA acts like this, and somebody asks for a renewal.
    Behave(Whim),
    /// So many hours pass.
    Hours(u16),
    /// Somebody asks for a renewal.
    Renew,
    /// The daemon ends and starts again.
    Restart,
    /// The site leaves the configuration.
    Leave,
    /// It comes back.
    Come,
}

/// The moods of a CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whim {
    Issue,
    FailForNow,
    FailForGood,
    WrongKey,
    WrongName,
    Panic,
    Hang,
    Refute,
}

impl Whim {
    fn act(self) -> Act {
        match self {
            Self::Issue => Act::Issue,
            Self::FailForNow => Act::Fail(Failure::new(FailureKind::Unreachable, "no route")),
            Self::FailForGood => Act::Fail(Failure::new(FailureKind::Rejected, "policy")),
            Self::WrongKey => Act::WrongKey,
            Self::WrongName => Act::WrongName,
            Self::Panic => Act::Panic,
            Self::Hang => Act::Hang,
            Self::Refute => Act::Refute(Failure::new(FailureKind::ChallengeFailed, "not found")),
        }
    }
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let whim = prop_oneof![
        3 => Just(Whim::Issue),
        1 => Just(Whim::FailForNow),
        1 => Just(Whim::FailForGood),
        1 => Just(Whim::WrongKey),
        1 => Just(Whim::WrongName),
        1 => Just(Whim::Panic),
        2 => Just(Whim::Hang),
        1 => Just(Whim::Refute),
    ];
    let one = prop_oneof![
        6 => whim.prop_map(Move::Behave),
        3 => (1u16..1_800).prop_map(Move::Hours),
        2 => Just(Move::Renew),
        2 => Just(Move::Restart),
        2 => Just(Move::Leave),
        2 => Just(Move::Come),
    ];
    prop::collection::vec(one, 4..10)
}

/// Waits until nothing has changed for a while.
async fn settle(house: &House) {
    house.handle.wake();
    let (mut before, mut still) = (Vec::new(), 0);
    for _ in 0..2_000 {
        tokio::time::sleep(Duration::from_millis(8)).await;
        let now: Vec<_> = house.handle.driven().iter().map(|r| (r.id(), r.revision)).collect();
        still = if now == before { still + 1 } else { 0 };
        before = now;
        if still == 5 {
            return;
        }
    }
    panic!("the house never comes to rest: {:?}", house.handle.driven());
}

/// Asks for a renewal.
async fn ask(house: &House) {
    if let Some(record) = house.primary() {
        // Refused while the record is retiring.
        let _refused = house.handle.renew(record.id()).await;
    }
}

/// Panics when an invariant is broken and stays so. A transaction and what is published after it
/// are not one moment, so what is seen in between is looked at again.
async fn check(house: &House) {
    let mut found = None;
    for _ in 0..100 {
        found = violation(house).await;
        if found.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{found:?}");
}

/// The first invariant that does not hold at this moment.
async fn violation(house: &House) -> Option<String> {
    let now = house.now();
    if let Some(asked) = house.ca.asked.lock().unwrap().iter().find(|asked| !asked.key_was_stored) {
        return Some(format!("invariant 3: asked with a key that is not stored: {:?}", asked.job));
    }
    for record in house.store.certificates().await.unwrap() {
        let retiring = matches!(record.phase, Phase::Retiring { .. });
        if let Some(in_flight) = record.phase.in_flight()
            && house.store.key(in_flight.key).await.unwrap().is_none()
        {
            return Some("invariant 3: a key in flight that is not stored".to_owned());
        }
        let Some(installed) = &record.installed else {
            if matches!(record.phase, Phase::Holding { .. }) {
                return Some("invariant 4: holding nothing".to_owned());
            }
            continue;
        };
        let leaf = installed.chain.leaf().unwrap();
        if leaf.key != installed.key || leaf.names != record.spec.names() {
            return Some("invariant 4: a chain for another key or other names".to_owned());
        }
        if house.store.key(installed.key).await.unwrap().is_none() {
            return Some("invariant 4: a chain without its key".to_owned());
        }
        if installed.validity.contains(now) && !retiring && record.spec.role == Role::Primary {
            for host in record.spec.names() {
                let best = house.best(host);
                if best.as_ref() != Some(&installed.serial) {
                    return Some(format!("invariant 1: {host} is served with {best:?}"));
                }
            }
        }
    }
    let presented = house.ca.presented.lock().unwrap().0;
    let at_work = house.primary().is_some_and(|r| matches!(r.phase, Phase::Ordering { .. }));
    (presented > usize::from(at_work))
        .then(|| format!("invariant 11: {presented} challenges are still presented"))
}

async fn live(moves: Vec<Move>) {
    let mut whim = Whim::Issue;
    let mut house = House::new(one_site(), whim.act()).await;
    settle(&house).await;
    for step in moves {
        match step {
            Move::Behave(other) => {
                whim = other;
                house.behave_primary(whim.act());
                ask(&house).await;
            }
            Move::Hours(hours) => house.clock.advance(Duration::from_secs(u64::from(hours) * 3600)),
            Move::Renew => ask(&house).await,
            Move::Restart => {
                // A stop would wait its grace for a CA that hangs.
                if house.ca.presented.lock().unwrap().0 > 0 {
                    house.config.send_replace(Arc::new(config(vec![])));
                    settle(&house).await;
                }
                let presented = Arc::clone(&house.ca.presented);
                house = house.restart(whim.act()).await;
                assert_eq!(presented.lock().unwrap().0, 0, "invariant 11: outlived the run");
            }
            Move::Leave => drop(house.config.send_replace(Arc::new(config(vec![])))),
            Move::Come => drop(house.config.send_replace(Arc::new(one_site()))),
        }
        settle(&house).await;
        check(&house).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 40, ..ProptestConfig::default() })]
    #[test]
    fn invariants_1_3_4_and_11_hold_whatever_a_ca_does(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(moves));
    }
}
