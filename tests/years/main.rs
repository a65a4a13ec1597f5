//! Ten years of a house in a second: the real plan, transitions, phase machine and budget against
//! a CA with faults, with crashes at any step and a clock that may be stepped.
//!
//! Every run is determined by its seed, which is named when an assertion fails:
//! `KEYWARD_YEARS_SEED=7 cargo test --test years` runs that one alone.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![expect(clippy::print_stderr, reason = "the seed of a failed run must be seen")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use keyward::base::Timestamp;
use keyward::base::bounds;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::identifier::Identifier;
use keyward::cert::journal::Entry;
use keyward::cert::key::KeyId;
use keyward::cert::lifecycle::Phase;
use keyward::cert::record::Certificate;
use keyward::cert::spec::CertificateId;
use keyward::cert::spec::Specification;
use keyward::config::Config;
use keyward::scheduler::budget::Budget;
use keyward::scheduler::budget::Permit;
use keyward::scheduler::plan;
use keyward::scheduler::plan::Busy;
use keyward::scheduler::plan::Step;
use keyward::scheduler::plan::Work;
use keyward::scheduler::transition;
use keyward::scheduler::transition::Change;

mod authority;
mod days;
mod house;

use house::configuration;

const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;
const YEARS: u64 = 10;
/// Entries the simulated store keeps; two weeks and more.
const JOURNAL: usize = 1_000;
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What may go wrong in a run.
#[derive(Clone, Copy)]
struct Weather {
    /// Whether the machine's clock is stepped now and then.
    clock_steps: bool,
}

/// An attempt under way.
struct Attempt {
    stage: Stage,
    /// When the next stage is reached, in true time.
    at: u64,
    /// When the lease ends it, in true time.
    ends: u64,
    replaces: Option<String>,
    permit: Option<Permit>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Key,
    Order,
    Answer,
    Check,
}

/// The CA's own view, which knows nothing of ours.
#[derive(Default)]
struct Ca {
    orders: BTreeMap<String, KeyId>,
    replaced: BTreeSet<String>,
    /// Tokens and the moment they were counted, for each set of names.
    sets: HashMap<Vec<Identifier>, (f64, u64)>,
    account: Option<(f64, u64)>,
    /// Days on which it does not answer.
    down: BTreeSet<u64>,
    serial: u64,
}

struct World {
    rng: fastrand::Rng,
    weather: Weather,
    true_time: u64,
    skew: i64,
    config: Config,
    records: BTreeMap<CertificateId, Arc<Certificate>>,
    keys: BTreeSet<KeyId>,
    journal: Vec<Entry>,
    /// The newest moment in the journal at the last start.
    newest: Option<Timestamp>,
    budget: Budget,
    attempts: BTreeMap<CertificateId, Attempt>,
    ca: Ca,
    /// Sites that had a certificate and must have a valid one from then on.
    covered: BTreeSet<CertificateId>,
    orders: u64,
    installs: u64,
    crashes: u64,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ca = Ca::default();
        // Down on one day in ten, and never three days running.
        let first = START / DAY;
        for day in first..first + YEARS * 366 {
            let running = ca.down.contains(&(day.saturating_sub(1)))
                && ca.down.contains(&(day.saturating_sub(2)));
            if !running && rng.u8(..100) < 10 {
                ca.down.insert(day);
            }
        }
        Self {
            rng,
            weather,
            true_time: START,
            skew: 0,
            config: configuration(),
            records: BTreeMap::new(),
            keys: BTreeSet::new(),
            journal: Vec::new(),
            newest: None,
            budget: Budget::default(),
            attempts: BTreeMap::new(),
            ca,
            covered: BTreeSet::new(),
            orders: 0,
            installs: 0,
            crashes: 0,
        }
    }

    /// What the machine's clock shows.
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.true_time.saturating_add_signed(self.skew))
    }

    fn all(&self) -> Vec<Arc<Certificate>> {
        self.records.values().map(Arc::clone).collect()
    }

    /// Stores a change as the store would: revision checked, keys that nothing refers to gone.
    fn store(&mut self, change: Change) {
        let Change { mut record, entries } = change;
        if let Some(old) = self.records.get(&record.id()) {
            assert_eq!(old.revision, record.revision, "a lost update");
            assert!(old.installed.is_none() || record.installed.is_some(), "invariant 1");
        }
        record.revision += 1;
        for key in keys_of(&record) {
            assert!(self.keys.contains(&key), "invariant 4: a key that is not stored");
        }
        self.records.insert(record.id(), Arc::new(record));
        let used: BTreeSet<_> = self.records.values().flat_map(|r| keys_of(r)).collect();
        self.keys.retain(|key| used.contains(key));
        self.journal.extend(entries);
    }

    /// Everything the scheduler would do at this moment.
    fn turn(&mut self) {
        for round in 0.. {
            assert!(round < 50, "invariant 5: the plan goes in a circle at {}", self.now());
            let (now, records) = (self.now(), self.all());
            let desired = plan::desired(&self.config, &records, |_| Vec::new(), now);
            let holding = self.newest.is_some_and(|n| n.since(now) > bounds::CLOCK_BEHIND);
            let steps = plan::plan(&desired, &records, &self.busy(), holding, now);
            if steps.is_empty() {
                return;
            }
            for step in steps {
                self.carry_out(step, now, holding);
            }
        }
    }

    fn busy(&self) -> Busy {
        let work = |attempt: &Attempt| match attempt.stage {
            Stage::Check => Work::Check,
            _ => Work::Order,
        };
        self.attempts.iter().map(|(id, attempt)| (*id, work(attempt))).collect()
    }

    fn carry_out(&mut self, step: Step, now: Timestamp, holding: bool) {
        let draw = self.rng.u32(..);
        let get = |world: &Self, id: CertificateId| Arc::clone(world.records.get(&id).unwrap());
        match step {
            Step::Add(spec) => self.store(transition::added(spec, now)),
            Step::Return(id) => self.store(transition::returned(&get(self, id), draw, now)),
            Step::Remove(id, until) => {
                self.attempts.remove(&id);
                self.covered.remove(&id);
                self.store(transition::removed(&get(self, id), until, now));
            }
            Step::Delete(id) => {
                let record = self.records.remove(&id).unwrap();
                assert!(matches!(record.phase, Phase::Retiring { .. }));
            }
            Step::Lapse(id) => self.store(transition::tick(&get(self, id), now)),
            Step::Remind(_) => panic!("nothing is imported in this world"),
            Step::Revoke(_) => panic!("nothing is revoked in this world"),
            Step::Order(id) => {
                assert!(!holding, "invariant 8: an order while the clock is not believed");
                let record = get(self, id);
                let word = record.phase.word();
                assert!(word != "halted" && word != "retiring", "invariant 10");
                let (change, _failures) = transition::lease(&record, now).unwrap();
                self.store(change);
                self.begin(id, Stage::Key);
            }
            Step::Check(id) => self.begin(id, Stage::Check),
        }
    }

    fn begin(&mut self, id: CertificateId, stage: Stage) {
        let at = self.true_time + self.rng.u64(0..20);
        let ends = self.true_time + bounds::ORDER_LEASE.as_secs();
        let attempt = Attempt { stage, at, ends, replaces: None, permit: None };
        assert!(self.attempts.insert(id, attempt).is_none(), "invariant 2: two at work on {id}");
    }

    /// Takes one attempt to its next stage.
    fn advance(&mut self, id: CertificateId) {
        let mut attempt = self.attempts.remove(&id).unwrap();
        let record = Arc::clone(self.records.get(&id).unwrap());
        if attempt.stage == Stage::Check {
            return self.check(&record);
        }
        let stepped = if self.true_time >= attempt.ends {
            Err(Failure::new(FailureKind::Lapsed, "the work did not end in time"))
        } else {
            match attempt.stage {
                Stage::Key => self.key(&record, &mut attempt),
                Stage::Order => self.order(&record, &mut attempt),
                Stage::Answer | Stage::Check => self.answer(&record),
            }
        };
        match stepped {
            Ok(Some(stage)) => {
                attempt.stage = stage;
                // Now and then the CA is slower than the lease.
                let most = if self.rng.u8(..50) == 0 { 900 } else { 30 };
                attempt.at = (self.true_time + self.rng.u64(0..most)).min(attempt.ends);
                self.attempts.insert(id, attempt);
            }
            Ok(None) => {}
            Err(failure) => {
                if let Some(permit) = attempt.permit.take() {
                    self.budget.give_back(permit);
                }
                let (now, draw) = (self.now(), self.rng.u32(..));
                self.budget.failed(&record.spec, &failure, now);
                let record = Arc::clone(self.records.get(&id).unwrap());
                let list = [record.spec.issuer.clone()];
                self.store(transition::fail(&record, &failure, &list, draw, now));
            }
        }
    }

    /// kill -9 and a new start.
    fn crash(&mut self) {
        self.crashes += 1;
        self.attempts.clear();
        let now = self.now();
        for record in self.all() {
            let change = transition::restarted(&record, now);
            if let Phase::Holding { .. } = record.phase {
                assert_eq!(change.record.phase, record.phase, "invariant 6");
            }
            if change.record != *record {
                self.store(change);
            }
        }
        let old = self.journal.len().saturating_sub(JOURNAL);
        self.journal.drain(..old);
        self.newest = self.journal.iter().map(|entry| entry.at).max();
        let records: Vec<_> = self.records.values().map(|r| Certificate::clone(r)).collect();
        self.budget = Budget::rebuild(&records, &self.journal);
    }
}

type Stepped = Result<Option<Stage>, Failure>;

fn is_transient(spec: &Specification) -> bool {
    spec.names().iter().any(|name| name.to_string().starts_with("comes-and-goes"))
}

fn keys_of(record: &Certificate) -> Vec<KeyId> {
    let installed = record.installed.as_ref().map(|installed| installed.key);
    installed.into_iter().chain(record.phase.in_flight().map(|f| f.key)).collect()
}

/// Takes a token from a bucket of `most` that fills within `span` seconds.
fn take(bucket: &mut (f64, u64), most: f64, span: u64, now: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "seconds of ten years fit a double")]
    let refill = (now - bucket.1) as f64 * most / span as f64;
    *bucket = ((bucket.0 + refill).min(most) - 1.0, now);
    bucket.0 > -0.001
}

/// Runs `count` seeds, or the one in the environment.
fn seeds(count: u64, run: impl Fn(u64)) {
    let only = std::env::var("KEYWARD_YEARS_SEED").ok().map(|seed| seed.parse().unwrap());
    for seed in only.map_or(0..count, |seed: u64| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = outcome {
            eprintln!("KEYWARD_YEARS_SEED={seed} repeats this");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn ten_years_with_a_ca_that_is_down_every_tenth_day_and_nothing_ever_runs_out() {
    seeds(12, |seed| {
        let mut world = World::new(seed, Weather { clock_steps: false });
        world.run();
        // It did happen: renewals of three sites, one of which lasts six days.
        assert!(world.installs > 1_000, "{} installations", world.installs);
        assert!(world.crashes > 100, "{} crashes", world.crashes);
        // And not in a circle: a few orders for each certificate at most.
        assert!(world.orders < world.installs * 2, "{} orders", world.orders);
        assert_eq!(world.covered.len(), 3);
    });
}

#[test]
fn ten_years_with_a_clock_that_is_stepped_and_all_is_well_when_it_is_right_again() {
    seeds(12, |seed| {
        let mut world = World::new(seed, Weather { clock_steps: true });
        world.run();
        assert!(world.orders < world.installs * 3, "{} orders", world.orders);
        // The clock is right from now on, and the operator has seen to what it wrote meanwhile.
        world.skew = 0;
        world.newest = None;
        world.journal.clear();
        for record in world.all() {
            let now = world.now();
            world.store(transition::request(&record, now));
        }
        world.weather.clock_steps = false;
        world.covered.clear();
        world.ca.down.clear();
        world.ca.account = None;
        world.ca.sets.clear();
        let until = world.true_time + 4 * DAY;
        while world.true_time < until {
            world.turn();
            let job = world.attempts.values().map(|attempt| attempt.at).min();
            let next = job.unwrap_or(u64::MAX).min(world.true_time + 600);
            world.true_time = next.max(world.true_time);
            let due = world.attempts.iter().find(|(_, attempt)| attempt.at <= world.true_time);
            if let Some(id) = due.map(|(id, _)| *id) {
                world.advance(id);
            }
            world.operator();
        }
        let truly = Timestamp::from_unix(world.true_time);
        for site in &world.config.sites {
            let id = plan::primaries(&world.config, site).next().unwrap().id();
            let record = world.records.get(&id).unwrap();
            let good = record.installed.as_ref().is_some_and(|i| i.validity.contains(truly));
            assert!(good, "{}: {:?}", site.name(), record.phase);
        }
    });
}
