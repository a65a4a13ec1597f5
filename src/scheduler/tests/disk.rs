//! Invariant 12: a store that refuses writes, in a process of its own.

use super::Act;
use super::DAY;
use super::House;
use super::one_site;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;

const CHILD: &str = "KEYWARD_TEST_SCHEDULER_CHILD";

/// Runs in a process of its own, because a limit on the size of files holds for all of it.
#[tokio::test]
async fn child_whose_store_refuses_writes() {
    use nix::sys::resource::Resource;
    use nix::sys::resource::getrlimit;
    use nix::sys::resource::setrlimit;
    use nix::sys::signal::SigSet;
    use nix::sys::signal::Signal;
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // Blocked, so that a write fails instead of ending the process; threads inherit it.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().unwrap();
    let failure = Failure::new(FailureKind::Unreachable, "no route");
    let house = House::new(one_site(), Act::Fail(failure)).await;
    let record = house.settled("waiting").await;
    house.behave(Act::Issue);
    let before = house.ca.asked.lock().unwrap().len();
    let hard = getrlimit(Resource::RLIMIT_FSIZE).unwrap().1;
    let space = |limit| setrlimit(Resource::RLIMIT_FSIZE, limit, hard).unwrap();
    space(0);
    house.pass(DAY).await;
    for _ in 0..20 {
        house.look().await;
    }
    assert_eq!(house.ca.asked.lock().unwrap().len(), before, "the CA was asked in vain");
    assert!(house.handle.renew(record.id()).await.is_err());
    space(hard);
    // Space again: the house goes on by itself.
    house.settled("holding").await;

    // The same at moments nobody chose: renewals, retries and requests meet a full disk.
    let mut rng = fastrand::Rng::with_seed(seed());
    for _ in 0..8 {
        let failure = Failure::new(FailureKind::Unreachable, "no route");
        house.behave(if rng.bool() { Act::Issue } else { Act::Fail(failure) });
        house.pass(DAY * rng.u32(0..80)).await;
        house.until(|r| matches!(r.phase.word(), "holding" | "waiting")).await;
        space(0);
        let before = house.ca.asked.lock().unwrap().len();
        house.pass(DAY * rng.u32(0..80)).await;
        if rng.bool() {
            assert!(house.handle.renew(record.id()).await.is_err());
        }
        house.look().await;
        assert_eq!(house.ca.asked.lock().unwrap().len(), before, "the CA was asked in vain");
        space(hard);
    }
    house.behave(Act::Issue);
    house.pass(DAY).await;
    house.settled("holding").await;
    println!("child: done");
}

/// The seed of the second half, from whoever started this process.
fn seed() -> u64 {
    std::env::var(CHILD).unwrap().parse().unwrap()
}

#[test]
fn invariant_12_no_ca_is_asked_while_the_store_refuses_writes() {
    for seed in 1..=4 {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "scheduler::tests::disk::child_whose_store_refuses_writes",
                "--nocapture",
            ])
            .env(CHILD, seed.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        let why = String::from_utf8_lossy(&child.stderr);
        let done = child.status.success() && said.contains("child: done");
        assert!(done, "seed {seed}: {said}{why}");
    }
}
