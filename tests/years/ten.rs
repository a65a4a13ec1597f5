//! Ten years of a house in a second: the real plan, transitions, phase machine and budget against
//! a CA with faults, with crashes at any step and a clock that may be stepped.
//!
//! Every run is determined by its seed, which is named when an assertion fails:
//! `KEYWARD_YEARS_SEED=7 cargo test -p keyward-years` runs that one alone, and
//! `KEYWARD_YEARS_SEEDS=1000` runs so many of each kind.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![expect(clippy::print_stderr, reason = "the seed of a failed run must be seen")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use keyward_years::base::Timestamp;
use keyward_years::base::bounds;
use keyward_years::cert::failure::Failure;
use keyward_years::cert::failure::FailureKind;
use keyward_years::cert::identifier::Identifier;
use keyward_years::cert::journal::Entry;
use keyward_years::cert::journal::EntryKind;
use keyward_years::cert::key::KeyId;
use keyward_years::cert::lifecycle::Phase;
use keyward_years::cert::record::Certificate;
use keyward_years::cert::spec::CertificateId;
use keyward_years::cert::spec::IssuerName;
use keyward_years::cert::spec::Role;
use keyward_years::cert::spec::Specification;
use keyward_years::config::Config;
use keyward_years::scheduler::budget::Budget;
use keyward_years::scheduler::budget::Permit;
use keyward_years::scheduler::plan;
use keyward_years::scheduler::plan::Busy;
use keyward_years::scheduler::plan::Step;
use keyward_years::scheduler::plan::Work;
use keyward_years::scheduler::transition;
use keyward_years::scheduler::transition::Change;

mod authority;
mod care;
mod days;
mod house;
mod standby;

use care::Cared;
use house::configuration;
use house::with_standbys;
use house::with_two_cas;

const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;
const YEARS: u64 = 10;
/// Runs of each kind, of which there are four.
const SEEDS: u64 = 50;
/// Entries the simulated store keeps; two weeks and more.
const JOURNAL: usize = 1_000;
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
const SECOND: &str = "https://second.example/directory";

/// What may go wrong in a run.
#[derive(Clone, Copy)]
struct Weather {
    /// Whether the machine's clock is stepped now and then.
    clock_steps: bool,
    /// Whether the CA of every site is gone for months now and then, and each has another.
    outages: bool,
    /// Whether that other one is not asked in its place, and stands by.
    standbys: bool,
}

const FAIR: Weather = Weather { clock_steps: false, outages: false, standbys: false };
const CLOCKS: Weather = Weather { clock_steps: true, ..FAIR };
const OUTAGES: Weather = Weather { outages: true, ..FAIR };
const STANDBYS: Weather = Weather { outages: true, standbys: true, ..FAIR };

/// An attempt under way.
struct Attempt {
    stage: Stage,
    /// When the next stage is reached, in true time.
    at: u64,
    /// When the lease ends it, in true time.
    ends: u64,
    replaces: Option<String>,
    permit: Option<Permit>,
    /// The serial number that is being revoked.
    telling: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Key,
    Order,
    Answer,
    Check,
    /// The CA is told of a revocation.
    Tell,
    /// Its answer is stored.
    Told,
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
}

impl Ca {
    /// Down on one day in ten, and never three days running.
    fn new(rng: &mut fastrand::Rng) -> Self {
        let mut ca = Self::default();
        let first = START / DAY;
        for day in first..first + YEARS * 366 {
            let running = ca.down.contains(&(day.saturating_sub(1)))
                && ca.down.contains(&(day.saturating_sub(2)));
            if !running && rng.u8(..100) < 10 {
                ca.down.insert(day);
            }
        }
        ca
    }

    /// Gone for one to four months, once in a year or two.
    fn with_outages(mut self, rng: &mut fastrand::Rng) -> Self {
        let mut day = START / DAY + rng.u64(100..400);
        while day < START / DAY + YEARS * 366 {
            let until = day + rng.u64(30..120);
            self.down.extend(day..until);
            day = until + rng.u64(300..700);
        }
        self
    }
}

struct World {
    rng: fastrand::Rng,
    weather: Weather,
    true_time: u64,
    skew: i64,
    config: Config,
    records: BTreeMap<CertificateId, Arc<Certificate>>,
    /// Those that their owner brought; the plan does not know them.
    brought: BTreeMap<CertificateId, Arc<Certificate>>,
    keys: BTreeSet<KeyId>,
    /// Keys that must not be used again.
    worn: BTreeSet<KeyId>,
    journal: Vec<Entry>,
    /// The newest moment in the journal at the last start.
    newest: Option<Timestamp>,
    budget: Budget,
    attempts: BTreeMap<CertificateId, Attempt>,
    ca: Ca,
    /// The one that sites may turn to.
    second: Ca,
    /// Certificates that either issued.
    serial: u64,
    /// Serial numbers that a CA was told are revoked, and those that it revoked by itself, with when.
    revoked: BTreeMap<String, u64>,
    /// Sites that had a certificate and must have a valid one from then on.
    covered: BTreeSet<CertificateId>,
    orders: u64,
    installs: u64,
    crashes: u64,
    care: Cared,
    /// Sites that had two certificates, of which one must be valid and shown from then on.
    ready: BTreeSet<Identifier>,
    /// How often another one of two was shown.
    switched: u64,
    /// Whether something happened that the plan has not looked at.
    stirred: bool,
    /// When time alone brings something next, as the plan said last.
    wake: Option<Timestamp>,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut ca, second) = (Ca::new(&mut rng), Ca::new(&mut rng));
        let mut config = configuration();
        if weather.outages {
            ca = ca.with_outages(&mut rng);
            config = if weather.standbys { with_standbys() } else { with_two_cas() };
            // What was brought has one that takes it over.
            config.sites.retain(|site| site.issuer != IssuerName::Imported);
        }
        Self {
            rng,
            weather,
            true_time: START,
            skew: 0,
            config,
            records: BTreeMap::new(),
            brought: BTreeMap::new(),
            keys: BTreeSet::new(),
            worn: BTreeSet::new(),
            journal: Vec::new(),
            newest: None,
            budget: Budget::default(),
            attempts: BTreeMap::new(),
            ca,
            second,
            serial: 0,
            revoked: BTreeMap::new(),
            covered: BTreeSet::new(),
            orders: 0,
            installs: 0,
            crashes: 0,
            care: Cared::default(),
            ready: BTreeSet::new(),
            switched: 0,
            stirred: true,
            wake: None,
        }
    }

    /// What the machine's clock shows.
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.true_time.saturating_add_signed(self.skew))
    }

    fn all(&self) -> Vec<Arc<Certificate>> {
        self.records.values().map(Arc::clone).collect()
    }

    /// Those of sites, and those that were brought.
    fn every(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.records.values().chain(self.brought.values())
    }

    fn get(&self, id: CertificateId) -> Arc<Certificate> {
        Arc::clone(self.records.get(&id).or_else(|| self.brought.get(&id)).unwrap())
    }

    /// Stores a change as the store would: revision checked, keys that nothing refers to gone.
    fn store(&mut self, change: Change) {
        let Change { mut record, entries } = change;
        let held = match record.spec.role {
            Role::Imported | Role::Onboarded | Role::Issued(_) => &mut self.brought,
            Role::Primary | Role::Bridge => &mut self.records,
        };
        if let Some(old) = held.get(&record.id()) {
            assert_eq!(old.revision, record.revision, "a lost update");
            assert!(old.installed.is_none() || record.installed.is_some(), "invariant 1");
        }
        record.revision += 1;
        for key in keys_of(&record) {
            assert!(self.keys.contains(&key), "invariant 4: a key that is not stored");
        }
        held.insert(record.id(), Arc::new(record));
        let used: BTreeSet<_> = self.every().flat_map(|r| keys_of(r)).collect();
        self.keys.retain(|key| used.contains(key));
        self.worn.retain(|key| used.contains(key));
        self.journal.extend(entries);
    }

    /// Everything the scheduler would do at this moment.
    fn turn(&mut self) {
        for round in 0.. {
            assert!(round < 50, "invariant 5: the plan goes in a circle at {}", self.now());
            let (now, records) = (self.now(), self.all());
            let desired = plan::desired(&self.config, &records, |name| self.shown(name), now);
            let holding = self.newest.is_some_and(|n| n.since(now) > bounds::CLOCK_BEHIND);
            let settled = self.settle(&desired, now);
            let steps = plan::plan(&desired, &self.all(), &self.busy(), holding, now);
            let woken = self.ring(holding, now);
            if steps.is_empty() && !woken && !settled {
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
            Stage::Tell | Stage::Told => Work::Revoke,
            _ => Work::Order,
        };
        self.attempts.iter().map(|(id, attempt)| (*id, work(attempt))).collect()
    }

    fn carry_out(&mut self, step: Step, now: Timestamp, holding: bool) {
        let draw = self.rng.u32(..);
        match step {
            Step::Add(spec) => self.store(transition::added(spec, now)),
            Step::Return(id) => self.store(transition::returned(&self.get(id), draw, now)),
            Step::Remove(id, until) => {
                self.attempts.remove(&id);
                self.covered.remove(&id);
                self.store(transition::removed(&self.get(id), until, now));
            }
            Step::Delete(id) => {
                let record = self.records.remove(&id).unwrap();
                assert!(matches!(record.phase, Phase::Retiring { .. }));
            }
            Step::Lapse(id) => self.store(transition::tick(&self.get(id), now)),
            Step::Remind(_) => panic!("the plan knows nothing that was brought"),
            Step::Revoke(id) => self.begin(id, Stage::Tell),
            Step::Order(id) => {
                assert!(!holding, "invariant 8: an order while the clock is not believed");
                let record = self.own(id);
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
        let attempt = Attempt { stage, at, ends, replaces: None, permit: None, telling: None };
        assert!(self.attempts.insert(id, attempt).is_none(), "invariant 2: two at work on {id}");
    }

    /// Takes one attempt to its next stage.
    fn advance(&mut self, id: CertificateId) {
        // The beginning of a stage stirs nothing; every end does.
        let stirred = std::mem::replace(&mut self.stirred, true);
        let mut attempt = self.attempts.remove(&id).unwrap();
        let record = self.get(id);
        match attempt.stage {
            Stage::Check => return self.check(&record),
            Stage::Tell => return self.tell(&record, attempt),
            Stage::Told => return self.told(&record, &attempt),
            Stage::Key | Stage::Order | Stage::Answer => {}
        }
        let stepped = if self.true_time >= attempt.ends {
            Err(Failure::new(FailureKind::Lapsed, "the work did not end in time"))
        } else {
            match attempt.stage {
                Stage::Key => self.key(&record, &mut attempt),
                Stage::Order => self.order(&record, &mut attempt),
                _ => self.answer(&record),
            }
        };
        match stepped {
            Ok(Some(stage)) => {
                attempt.stage = stage;
                // Now and then the CA is slower than the lease.
                let most = if self.rng.u8(..50) == 0 { 900 } else { 30 };
                attempt.at = (self.true_time + self.rng.u64(0..most)).min(attempt.ends);
                self.attempts.insert(id, attempt);
                self.stirred = stirred;
            }
            Ok(None) => {}
            Err(failure) => {
                if let Some(permit) = attempt.permit.take() {
                    self.budget.give_back(permit);
                }
                let (now, draw) = (self.now(), self.rng.u32(..));
                self.budget.failed(&record.order(None), &failure, now);
                let record = self.get(id);
                if *record.issuer() == house::acme() {
                    self.care.refused.insert(id);
                }
                let list = self.issuers(&record);
                let change = transition::fail(&record, &failure, &list, draw, now);
                if let Some(told) = change.entries.iter().find(|e| e.kind == EntryKind::IssuerLeft)
                {
                    let at = change.record.phase.wake_at(now).unwrap().to_string();
                    assert!(told.message.contains(&at), "{at}: {}", told.message);
                }
                self.store(change);
            }
        }
    }

    /// kill -9 and a new start.
    fn crash(&mut self) {
        self.crashes += 1;
        self.stirred = true;
        self.attempts.clear();
        let now = self.now();
        for record in self.every().map(Arc::clone).collect::<Vec<_>>() {
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
        let records: Vec<_> = self.every().map(|r| Certificate::clone(r)).collect();
        self.budget = Budget::rebuild(&records, &self.journal, HashMap::new());
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

impl World {
    /// The CA of this name.
    fn ca(&mut self, issuer: &IssuerName) -> &mut Ca {
        if *issuer == house::second() { &mut self.second } else { &mut self.ca }
    }

    /// Those that may be asked for a certificate, in order of preference.
    fn issuers(&self, record: &Certificate) -> Vec<IssuerName> {
        match plan::site_of(&self.config, &record.spec) {
            Some(site) if site.standby.as_ref() == Some(&record.spec.issuer) => {
                vec![record.spec.issuer.clone()]
            }
            Some(site) => site.issuers().cloned().collect(),
            None => vec![record.issuer().clone()],
        }
    }
}

/// Takes a token from a bucket of `most` that fills within `span` seconds.
fn take(bucket: &mut (f64, u64), most: f64, span: u64, now: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "seconds of ten years fit a double")]
    let refill = (now - bucket.1) as f64 * most / span as f64;
    *bucket = ((bucket.0 + refill).min(most) - 1.0, now);
    bucket.0 > -0.001
}

/// Runs `count` seeds, or as many as the environment says, or the one that it names.
fn seeds(run: impl Fn(u64) + Sync) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let only = number("KEYWARD_YEARS_SEED");
    let count = number("KEYWARD_YEARS_SEEDS").unwrap_or(SEEDS);
    let all = only.map_or(0..count, |one| one..one + 1);
    let next = AtomicU64::new(all.start);
    let one_after_the_other = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !all.contains(&seed) {
                return;
            }
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
            if let Err(panic) = outcome {
                eprintln!("KEYWARD_YEARS_SEED={seed} repeats this");
                next.store(u64::MAX / 2, Ordering::Relaxed);
                std::panic::resume_unwind(panic);
            }
        }
    };
    let workers = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(one_after_the_other);
        }
    });
}

#[test]
fn ten_years_with_a_ca_that_is_down_every_tenth_day_and_nothing_ever_runs_out() {
    seeds(|seed| {
        let mut world = World::new(seed, FAIR);
        world.run();
        // It did happen: renewals of three sites, one of which lasts six days.
        assert!(world.installs > 1_000, "{} installations", world.installs);
        assert!(world.crashes > 100, "{} crashes", world.crashes);
        // And not in a circle: a few orders for each certificate at most.
        assert!(world.orders < world.installs * 2, "{} orders", world.orders);
        assert_eq!(world.covered.len(), 5);
        world.care.assert_lively();
    });
}

#[test]
fn ten_years_with_a_ca_that_is_gone_for_months_and_another_steps_in_and_back_again() {
    seeds(|seed| {
        let mut world = World::new(seed, OUTAGES);
        world.run();
        assert!(world.installs > 1_000, "{} installations", world.installs);
        assert!(world.orders < world.installs * 2, "{} orders", world.orders);
        assert_eq!(world.covered.len(), 4);
        let [by_first, by_second] = world.care.installs;
        assert!(by_second > 40 && by_first > by_second, "{by_first}, {by_second} installations");
    });
}

#[test]
fn ten_years_with_a_ca_that_is_gone_for_months_and_another_stands_by() {
    seeds(|seed| {
        let mut world = World::new(seed, STANDBYS);
        world.run();
        assert!(world.installs > 1_000, "{} installations", world.installs);
        assert!(world.orders < world.installs * 2, "{} orders", world.orders);
        // Those of the file that stay; the invariant is looked at throughout.
        assert!(world.ready.len() >= 3, "{:?}", world.ready);
        assert!(world.switched > 10, "{} times another one was shown", world.switched);
    });
}

#[test]
fn ten_years_with_a_clock_that_is_stepped_and_all_is_well_when_it_is_right_again() {
    seeds(|seed| {
        let mut world = World::new(seed, CLOCKS);
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
            // What is brought runs out where the clock says that it has time.
            let Some(spec) = plan::primaries(&world.config, site).next() else { continue };
            let id = spec.id();
            let record = world.records.get(&id).unwrap();
            let good = record.installed.as_ref().is_some_and(|i| i.validity.contains(truly));
            assert!(good, "{}: {:?}", site.name(), record.phase);
        }
    });
}
