//! The running scheduler against a fake CA: invariants that need more than a pure function.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use super::Parts;
use super::Scheduler;
use super::SchedulerHandle;
use super::testing::Act;
use super::testing::FakeCa;
use super::testing::Keys;
use super::testing::START;
use super::testing::config;
use super::testing::site;
use crate::base::Clock as _;
use crate::base::Jitter;
use crate::base::ManualClock;
use crate::base::Timestamp;
use crate::base::tasks::TaskSet;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::cert::journal::EntryKind;
use crate::cert::lifecycle::Phase;
use crate::cert::ports::Catalog as _;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::RenewalAdvice;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::validity::RenewalWindow;
use crate::config::Config;
use crate::store::Catalog;
use crate::store::OpenError;
use crate::store::Store;

mod bring;
mod clock;
mod disk;
mod failover;
mod faults;
mod herd;
mod issue;
mod revoke;
mod rotate;
mod standby;

const CA: &str = "https://ca.example/dir";
const DAY: Duration = Duration::from_secs(86_400);

struct House {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    keys: Arc<Keys>,
    config: watch::Sender<Arc<Config>>,
    ca: Arc<FakeCa>,
    store: Store,
    catalog: Arc<Catalog>,
    heard: Arc<Mutex<Vec<Identifier>>>,
    handle: SchedulerHandle,
}

fn acme() -> IssuerName {
    IssuerName::Acme(CA.to_owned())
}

fn one_site() -> Config {
    config(vec![site(&["a.example"], acme())])
}

/// Opens the store in `dir` once nobody holds it: the last task of a former run may do so for
/// another moment, and so may a child that another test of this process has just forked.
async fn free_store(dir: &Path) -> Store {
    for _ in 0..3000 {
        match Store::open(&dir.join("store")) {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the store stays in use");
}

impl House {
    /// A running scheduler over a store in `dir`, with a CA for both issuers.
    async fn open(
        dir: tempfile::TempDir,
        clock: Arc<ManualClock>,
        keys: Arc<Keys>,
        first: Config,
        act: Act,
    ) -> Self {
        let store = free_store(dir.path()).await;
        let catalog = store.catalog(&dir.path().join("served")).await.unwrap();
        let ca = Arc::new(FakeCa {
            keys: Arc::clone(&keys),
            store: store.clone(),
            clock: Arc::clone(&clock) as _,
            behaviour: Mutex::new(Arc::new(move |job| match job.spec.role {
                Role::Primary | Role::Onboarded => act.clone(),
                Role::Bridge | Role::Imported | Role::Issued(_) => Act::Issue,
            })),
            asked: Mutex::default(),
            presented: Arc::default(),
            advice: Mutex::default(),
            revoked: Mutex::default(),
            days: 90,
        });
        let authority: Arc<dyn CertificateAuthority> = Arc::clone(&ca) as _;
        let (tasks, _watch) = TaskSet::new();
        let heard: Arc<Mutex<Vec<Identifier>>> = Arc::default();
        let ear = Arc::clone(&heard);
        let parts = Parts {
            store: store.clone(),
            catalog: Arc::clone(&catalog),
            audience: Arc::new(move |names| ear.lock().unwrap().extend_from_slice(names)),
            clock: Arc::clone(&clock) as _,
            jitter: Arc::new(Jitter::seeded(7)),
            authorities: Arc::new(move |_| Some(Arc::clone(&authority))),
            keys: Arc::clone(&keys) as _,
            tasks,
        };
        let (config, watched) = watch::channel(Arc::new(first));
        let handle = Scheduler::start(parts, watched).await.unwrap();
        Self { dir, clock, keys, config, ca, store, catalog, heard, handle }
    }

    async fn new(first: Config, act: Act) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        Self::open(dir, clock, Arc::default(), first, act).await
    }

    /// Stops everything and starts it anew on the same state.
    async fn restart(self, act: Act) -> Self {
        let Self { dir, clock, keys, config, ca, store, catalog, handle, .. } = self;
        handle.stop().await;
        let first = Config::clone(&config.borrow());
        let copy = Arc::downgrade(&catalog);
        drop((handle, ca, store, catalog));
        for left in (0..3000).rev() {
            if copy.strong_count() == 0 {
                break;
            }
            assert!(left > 0, "the former run does not let go of the copy");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self::open(dir, clock, keys, first, act).await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The CA acts like this on the site's own certificate; the bridge is always made.
    fn behave_primary(&self, act: Act) {
        *self.ca.behaviour.lock().unwrap() = Arc::new(move |job| match job.spec.role {
            Role::Primary | Role::Onboarded => act.clone(),
            Role::Bridge | Role::Imported | Role::Issued(_) => Act::Issue,
        });
    }

    fn behave(&self, act: Act) {
        *self.ca.behaviour.lock().unwrap() = Arc::new(move |_| act.clone());
    }

    fn primary(&self) -> Option<Arc<Certificate>> {
        let all = self.handle.driven();
        all.into_iter().find(|record| record.spec.role == Role::Primary)
    }

    /// Waits until the primary record is as wanted.
    async fn until(&self, wanted: impl Fn(&Certificate) -> bool) -> Arc<Certificate> {
        for _ in 0..2_000 {
            if let Some(record) = self.primary().filter(|record| wanted(record)) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to that: {:?}", self.primary());
    }

    async fn settled(&self, word: &str) -> Arc<Certificate> {
        self.until(|record| record.phase.word() == word).await
    }

    /// Moves the clock and has the scheduler look at it, and gives it time to act.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.look().await;
    }

    async fn look(&self) {
        self.handle.wake();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// The serial number of what a client that asks for `host` is shown.
    fn best(&self, host: &Identifier) -> Option<String> {
        let (now, candidates) = (self.now(), self.catalog.candidates(host).unwrap());
        let best = candidates.into_iter().max_by_key(|served| served.rank(host, now));
        best.map(|best| best.installed.serial.clone())
    }

    fn asked_for_primary(&self) -> usize {
        let asked = self.ca.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.job.spec.role == Role::Primary).count()
    }

    async fn told(&self, kind: EntryKind) -> usize {
        let journal = self.store.journal(0, 10_000).await.unwrap();
        journal.iter().filter(|entry| entry.kind == kind).count()
    }
}

#[tokio::test]
async fn invariant_3_and_4_a_key_is_stored_before_the_ca_is_asked_and_all_changes_together() {
    let house = House::new(one_site(), Act::Issue).await;
    let record = house.settled("holding").await;
    let asked = house.ca.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|asked| asked.key_was_stored));
    let stored = house.store.certificate(record.id()).await.unwrap().unwrap();
    assert_eq!(stored, *record);
    let installed = stored.installed.unwrap();
    assert!(house.store.key(installed.key).await.unwrap().is_some());
    assert!(house.told(EntryKind::Installed).await >= 1);
    let host = record.spec.names()[0].clone();
    let mut published = house.handle.published();
    while house.best(&host).as_ref() != Some(&installed.serial) {
        published.changed().await.unwrap();
    }
    assert!(house.heard.lock().unwrap().contains(&host), "whoever looked before is told");
    // The file follows.
    for _ in 0..500 {
        if house.catalog.is_flushed() {
            let copied = house.catalog.get(record.id()).unwrap().unwrap();
            assert_eq!(copied.installed, installed);
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the second copy never became what is published");
}

#[tokio::test]
async fn invariant_1_what_is_installed_is_served_while_renewals_fail_and_after_a_restart() {
    let house = House::new(one_site(), Act::Issue).await;
    let first = house.settled("holding").await;
    let serial = first.installed.as_ref().unwrap().serial.clone();
    let failure = Failure::new(FailureKind::Unreachable, "no route");
    house.behave(Act::Fail(failure.clone()));
    house.pass(DAY * 70).await;
    house.settled("waiting").await;
    let served = |house: &House| house.best(&first.spec.names()[0]).unwrap();
    assert_eq!(served(&house), serial);
    house.behave(Act::Fail(Failure::new(FailureKind::Rejected, "policy")));
    house.pass(DAY).await;
    house.settled("halted").await;
    assert_eq!(served(&house), serial);
    let house = house.restart(Act::Fail(failure)).await;
    assert_eq!(served(&house), serial, "published before anything else");
    house.config.send_replace(Arc::new(config(vec![])));
    house.settled("retiring").await;
    assert_eq!(served(&house), serial);
}

#[tokio::test]
async fn invariant_10_a_halted_certificate_moves_only_when_somebody_acts() {
    let halting = Failure::new(FailureKind::Rejected, "policy forbids the name");
    let house = House::new(one_site(), Act::Fail(halting.clone())).await;
    let record = house.settled("halted").await;
    house.pass(DAY * 400).await;
    assert_eq!(house.asked_for_primary(), 1);
    assert_eq!(house.told(EntryKind::Halted).await, 1);
    house.handle.renew(record.id()).await.unwrap();
    house.until(|r| r.revision > record.revision + 2 && r.phase.word() == "halted").await;
    assert_eq!(house.asked_for_primary(), 2);
    // A reload that changes nothing it depends on changes nothing.
    let mut same = one_site();
    same.sites[0].line = 99;
    house.config.send_replace(Arc::new(same));
    house.look().await;
    assert_eq!(house.asked_for_primary(), 2);
    house.behave(Act::Issue);
    let mut other = one_site();
    other.acme.contact = vec!["mailto:ops@example.org".to_owned()];
    house.config.send_replace(Arc::new(other));
    house.settled("holding").await;
}

#[tokio::test]
async fn invariant_11_a_presented_challenge_is_withdrawn_when_the_house_stops_or_the_site_goes() {
    let house = presenting().await;
    let presented = Arc::clone(&house.ca.presented);
    house.config.send_replace(Arc::new(config(vec![])));
    house.settled("retiring").await;
    for _ in 0..200 {
        if presented.lock().unwrap().0 == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (now, ever) = *presented.lock().unwrap();
    assert!(now == 0 && ever > 0, "{now} of {ever} still presented");

    // A stop waits for the attempt, drops it after its grace, and returns when it is gone.
    let house = presenting().await;
    let asked = house.ca.asked.lock().unwrap().len();
    let limit = crate::base::bounds::JOB_GRACE + Duration::from_secs(5);
    tokio::time::timeout(limit, house.handle.stop()).await.unwrap();
    assert_eq!(house.ca.presented.lock().unwrap().0, 0, "withdrawn before the stop returns");
    // What was dropped is still in flight, and nothing begins any more.
    assert!(house.primary().unwrap().phase.in_flight().is_some_and(|f| f.order.is_some()));
    house.pass(DAY).await;
    assert_eq!(house.ca.asked.lock().unwrap().len(), asked);
}

/// A house whose CA waits for ever for a challenge that is presented.
async fn presenting() -> House {
    let house = House::new(one_site(), Act::Hang).await;
    house.until(|r| r.phase.in_flight().is_some_and(|f| f.order.is_some())).await;
    for _ in 0..1_000 {
        if house.ca.presented.lock().unwrap().0 == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.ca.presented.lock().unwrap().0, 1);
    house
}

#[tokio::test]
async fn a_stopped_house_resumes_the_same_order_with_the_same_key() {
    let house = House::new(one_site(), Act::Hang).await;
    let ordering = house.until(|r| r.phase.in_flight().is_some_and(|f| f.order.is_some())).await;
    let in_flight = ordering.phase.in_flight().unwrap().clone();
    let house = house.restart(Act::Issue).await;
    let record = house.settled("holding").await;
    let asked = house.ca.asked.lock().unwrap().clone();
    let asked: Vec<_> = asked.iter().filter(|a| a.job.spec == record.spec).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].job.order, in_flight.order);
    assert_eq!(asked[0].job.key.id(), in_flight.key);
    assert_eq!(record.installed.as_ref().unwrap().key, in_flight.key);
    assert_eq!(house.told(EntryKind::OrderResumed).await, 1);
}

#[tokio::test]
async fn a_key_without_an_order_goes_to_the_ca_with_the_orders_of_others() {
    let house = House::new(config(vec![]), Act::Issue).await;
    *house.ca.behaviour.lock().unwrap() = Arc::new(|job| match job.spec.names()[0].to_string() {
        _ if job.spec.role == Role::Bridge => Act::Issue,
        name if name == "a.example" => Act::Hang,
        _ => Act::WrongKey,
    });
    house.config.send_replace(Arc::new(one_site()));
    let other = house.until(|r| r.phase.in_flight().is_some_and(|f| f.order.is_some())).await;
    let both = config(vec![site(&["a.example"], acme()), site(&["b.example"], acme())]);
    house.config.send_replace(Arc::new(both));
    house.look().await;
    let of_b = || {
        let asked = house.ca.asked.lock().unwrap();
        let mut jobs: Vec<_> = asked.iter().map(|a| a.job.clone()).collect();
        jobs.retain(|job| {
            job.spec.role == Role::Primary && !job.spec.covers(&other.spec.names()[0])
        });
        jobs
    };
    // However long a busy disk takes for the failure, and then for the next attempt.
    for _ in 0..2_000 {
        let all = house.handle.driven();
        if all.iter().any(|record| record.phase.word() == "waiting") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.clock.advance(Duration::from_secs(250));
    house.handle.wake();
    for _ in 0..2_000 {
        if of_b().len() > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let jobs = of_b();
    let [first, second] = <[_; 2]>::try_from(jobs).unwrap();
    assert_eq!((first.resumed, first.taken), (false, vec![]));
    assert_eq!((second.resumed, second.order, second.key.id()), (true, None, first.key.id()));
    assert_eq!(second.taken, [other.phase.in_flight().unwrap().order.clone().unwrap()]);
}

#[tokio::test]
async fn a_proof_refused_within_an_attempt_is_told_and_a_new_order_follows() {
    let refuted = Act::Refute(Failure::new(FailureKind::Connection, "refused"));
    let house = House::new(one_site(), refuted).await;
    house.settled("holding").await;
    assert_eq!(house.told(EntryKind::Failed).await, 1);
    assert_eq!(house.told(EntryKind::OrderOpened).await, 3, "one is the bridge's");
}

#[tokio::test]
async fn a_certificate_that_is_not_what_was_asked_for_is_not_installed() {
    for act in [Act::WrongKey, Act::WrongName] {
        let house = House::new(one_site(), act).await;
        let record = house.settled("waiting").await;
        assert_eq!(record.phase.failure().unwrap().kind, FailureKind::BadCertificate);
        assert!(record.installed.is_none());
        // The order would bring the same again: it is given up, the key is not.
        assert!(record.phase.in_flight().is_some_and(|in_flight| in_flight.order.is_none()));
    }
}

#[tokio::test]
async fn a_renewal_names_what_it_replaces_once_and_takes_a_fresh_key() {
    let house = House::new(one_site(), Act::Issue).await;
    let first = house.settled("holding").await;
    let before = first.installed.clone().unwrap();
    assert!(before.ari_id.is_some());
    *house.ca.behaviour.lock().unwrap() = Arc::new(|job| match job.replaces {
        Some(_) => Act::Fail(Failure::new(FailureKind::AlreadyReplaced, "replaced already")),
        None => Act::Issue,
    });
    house.handle.renew(first.id()).await.unwrap();
    house.settled("waiting").await;
    house.pass(Duration::from_secs(120)).await;
    let after = house.settled("holding").await.installed.clone().unwrap();
    assert_ne!(before.key, after.key);
    assert!(house.store.key(before.key).await.unwrap().is_none(), "the former key is deleted");
    let replaces: Vec<_> = house.askings().into_iter().map(|job| job.replaces).collect();
    assert_eq!(replaces, [None, before.ari_id, None]);
}

#[tokio::test]
async fn a_moved_window_moves_the_renewal_and_the_same_one_does_not() {
    let house = House::new(one_site(), Act::Issue).await;
    let window =
        |from: u32, to: u32| RenewalWindow::new(START.plus(DAY * from), START.plus(DAY * to));
    let recheck_at = START.plus(DAY);
    *house.ca.advice.lock().unwrap() = Some(RenewalAdvice { window: window(50, 55), recheck_at });
    let record = house.settled("holding").await;
    house.handle.renew(record.id()).await.unwrap();
    let installed = house.until(
        |r| matches!(r.phase, Phase::Holding { recheck_at: Some(at), .. } if at == recheck_at),
    );
    let Phase::Holding { renew_at: drawn, .. } = installed.await.phase else { unreachable!() };
    assert!(START.plus(DAY * 50) <= drawn && drawn <= START.plus(DAY * 55));
    *house.ca.advice.lock().unwrap() =
        Some(RenewalAdvice { window: window(50, 55), recheck_at: START.plus(DAY * 3) });
    house.pass(DAY * 2).await;
    let again = house.until(
        |r| matches!(r.phase, Phase::Holding { recheck_at: Some(at), .. } if at > recheck_at),
    );
    assert!(matches!(again.await.phase, Phase::Holding { renew_at, .. } if renew_at == drawn));
    *house.ca.advice.lock().unwrap() =
        Some(RenewalAdvice { window: window(20, 21), recheck_at: START.plus(DAY * 10) });
    house.pass(DAY * 2).await;
    let moved = house.until(
        |r| matches!(r.phase, Phase::Holding { renew_at, .. } if renew_at < START.plus(DAY * 22)),
    );
    moved.await;
    assert_eq!(house.told(EntryKind::WindowMoved).await, 1);
}

#[tokio::test]
async fn a_panic_of_an_issuer_costs_one_attempt() {
    let house = House::new(one_site(), Act::Panic).await;
    let ordering = house.until(|r| r.phase.in_flight().is_some_and(|f| f.order.is_some())).await;
    house.behave(Act::Issue);
    house.pass(Duration::from_secs(400)).await;
    house.settled("waiting").await;
    house.pass(Duration::from_secs(120)).await;
    let record = house.settled("holding").await;
    assert_eq!(record.installed.as_ref().unwrap().key, ordering.phase.in_flight().unwrap().key);
}

#[tokio::test]
async fn what_is_unknown_or_retiring_cannot_be_renewed() {
    use super::RenewError;
    let house = House::new(one_site(), Act::Issue).await;
    let record = house.settled("holding").await;
    let nobody = crate::cert::spec::CertificateId([0; 8]);
    assert!(matches!(house.handle.renew(nobody).await, Err(RenewError::NotFound(_))));
    house.config.send_replace(Arc::new(config(vec![])));
    house.settled("retiring").await;
    assert!(matches!(house.handle.renew(record.id()).await, Err(RenewError::Retiring(_))));
    // A week later the material is gone.
    house.pass(DAY * 8).await;
    for _ in 0..500 {
        if house.handle.driven().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(house.store.certificates().await.unwrap().is_empty());
    assert!(house.catalog.page(None, 10).unwrap().is_empty());
    assert!(house.store.key(record.installed.as_ref().unwrap().key).await.unwrap().is_none());
}
