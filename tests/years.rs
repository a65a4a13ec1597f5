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
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::Timestamp;
use keyward::base::bounds;
use keyward::cert::chain::Chain;
use keyward::cert::challenge::ChallengeType;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::failure::Remedy;
use keyward::cert::identifier::Identifier;
use keyward::cert::journal::Entry;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyId;
use keyward::cert::lifecycle::Phase;
use keyward::cert::ports::RenewalAdvice;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::spec::CertificateId;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::cert::validity::RenewalWindow;
use keyward::cert::validity::Validity;
use keyward::config;
use keyward::config::Config;
use keyward::config::Site;
use keyward::scheduler::budget::Budget;
use keyward::scheduler::budget::Permit;
use keyward::scheduler::plan;
use keyward::scheduler::plan::Busy;
use keyward::scheduler::plan::Step;
use keyward::scheduler::plan::Work;
use keyward::scheduler::transition;
use keyward::scheduler::transition::Change;

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

fn acme() -> IssuerName {
    IssuerName::Acme(DIRECTORY.to_owned())
}

fn site(name: &str, issuer: IssuerName, profile: Option<&str>) -> Site {
    Site {
        names: vec![Identifier::parse(name).unwrap()],
        origin: config::Origin::Welcome,
        issuer,
        key: KeyAlgorithm::P256,
        profile: profile.map(str::to_owned),
        hsts: None,
        redirect: true,
        default: false,
        preserve_host: true,
        line: 0,
    }
}

fn configuration() -> Config {
    let second = Duration::from_secs(1);
    Config {
        acme: config::Acme {
            directory: DIRECTORY.to_owned(),
            contact: Vec::new(),
            accept_terms: true,
            challenges: vec![ChallengeType::Http01],
            ca_root: None,
            profile: None,
            eab: None,
            renewal_info: true,
        },
        listen: config::Listen { https: Vec::new(), http: Vec::new() },
        state: config::State { dir: PathBuf::new() },
        admin: config::Admin { socket: PathBuf::new(), group: None },
        vault: config::Vault { master_key: config::MasterKey::Auto, cache: 0 },
        edge: config::Edge {
            workers: 1,
            handshake_timeout: second,
            header_timeout: second,
            idle_timeout: second,
            connect_timeout: second,
            response_timeout: second,
            body_timeout: second,
            origin_idle: 0,
            max_connections: 1,
            drain_timeout: second,
        },
        log: config::Log { level: String::new(), format: config::LogFormat::Text },
        sites: vec![
            site("classic.example", acme(), None),
            site("short.example", acme(), Some("shortlived")),
            site("comes-and-goes.example", acme(), None),
            site("nas.internal", IssuerName::Internal, None),
        ],
        source: None,
    }
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
            let desired = plan::desired(&self.config, &records, now);
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
                self.store(transition::fail(&record, &failure, draw, now));
            }
        }
    }

    fn key(&mut self, record: &Certificate, attempt: &mut Attempt) -> Stepped {
        if record.phase.in_flight().is_none() {
            let mut key = [0; 32];
            self.rng.fill(&mut key);
            self.keys.insert(KeyId(key));
            self.store(transition::key_stored(record, KeyId(key), self.now()));
        }
        if record.spec.issuer != IssuerName::Internal {
            attempt.replaces = record.installed.as_ref().and_then(|i| i.ari_id.clone());
        }
        Ok(Some(Stage::Order))
    }

    fn order(&mut self, record: &Certificate, attempt: &mut Attempt) -> Stepped {
        let in_flight = record.phase.in_flight().unwrap();
        if record.spec.issuer == IssuerName::Internal {
            return Ok(Some(Stage::Answer));
        }
        self.reachable()?;
        if let Some(url) = &in_flight.order {
            match self.ca.orders.get(url) {
                Some(key) if self.rng.u8(..10) > 0 => {
                    assert_eq!(*key, in_flight.key, "an order is resumed with another key");
                    return Ok(Some(Stage::Answer));
                }
                _ => self.store(transition::order_lost(record, self.now())),
            }
        }
        let exempt = attempt.replaces.is_some();
        attempt.permit = Some(self.budget.permit(&record.spec, exempt, self.now())?);
        if attempt.replaces.as_ref().is_some_and(|old| self.ca.replaced.contains(old)) {
            return Err(Failure::new(FailureKind::AlreadyReplaced, "replaced already"));
        }
        drop(attempt.permit.take());
        self.open_order(record, exempt);
        if let Some(old) = &attempt.replaces {
            self.ca.replaced.insert(old.clone());
        }
        Ok(Some(Stage::Answer))
    }

    fn open_order(&mut self, record: &Certificate, exempt: bool) {
        self.orders += 1;
        let url = format!("https://ca/order/{}", self.orders);
        if !exempt && !self.weather.clock_steps {
            // The limits once more, counted by the CA in its own way.
            let now = self.true_time;
            let account = self.ca.account.get_or_insert((300.0, now));
            assert!(take(account, 300.0, 3 * 3600, now), "invariant 9: orders of the account");
            let set = self.ca.sets.entry(record.spec.names().to_vec()).or_insert((5.0, now));
            assert!(take(set, 5.0, 7 * DAY, now), "invariant 9: orders for the same names");
        }
        let record = Arc::clone(self.records.get(&record.id()).unwrap());
        self.ca.orders.insert(url.clone(), record.phase.in_flight().unwrap().key);
        self.store(transition::order_opened(&record, &url, self.now()));
    }

    fn answer(&mut self, record: &Certificate) -> Stepped {
        let in_flight = record.phase.in_flight().unwrap().clone();
        if record.spec.issuer != IssuerName::Internal {
            self.reachable()?;
            self.fault()?;
        }
        self.ca.serial += 1;
        let days = match (&record.spec.issuer, record.spec.profile.as_deref()) {
            (IssuerName::Internal, _) => 7,
            (_, Some("shortlived")) => 6,
            _ => 90,
        };
        let (now, truly) = (self.now(), Timestamp::from_unix(self.true_time));
        // The CA of this machine believes its clock; a public one has its own.
        let from = if record.spec.issuer == IssuerName::Internal { now } else { truly };
        let not_before = from.minus(Duration::from_secs(3600));
        let not_after = from.plus(Duration::from_secs(days * DAY));
        let chain: Chain = serde_json::from_str("[[48]]").unwrap();
        let installed = Installed {
            chain,
            key: in_flight.key,
            validity: Validity { not_before, not_after },
            serial: format!("{:x}", self.ca.serial),
            ari_id: Some(format!("ari-{}", self.ca.serial)),
            at: now,
        };
        let advice = match record.spec.issuer {
            IssuerName::Internal => None,
            IssuerName::Acme(_) => Some(self.advice(&installed.validity)),
        };
        let draw = self.rng.u32(..);
        let change = transition::install(record, installed, advice, draw, now).unwrap();
        self.store(change);
        self.installs += 1;
        if record.spec.role == Role::Primary && !is_transient(&record.spec) {
            self.covered.insert(record.id());
        }
        Ok(None)
    }

    /// Mostly the window everybody gives; sometimes an early one; sometimes one that is past.
    fn advice(&mut self, validity: &Validity) -> RenewalAdvice {
        let life = validity.life();
        let share = match self.rng.u8(..100) {
            0 => 0,
            1..=5 => 30,
            // As Let's Encrypt does: half of a life of six days, two thirds of a longer one.
            _ if life < Duration::from_secs(10 * DAY) => 50,
            _ => 66,
        };
        let start = validity.not_before.plus(life * share / 100);
        let window = RenewalWindow::new(start, start.plus(life / 50));
        let hours = self.rng.u64(24..96);
        RenewalAdvice { window, recheck_at: self.now().plus(Duration::from_secs(hours * 3600)) }
    }

    fn check(&mut self, record: &Certificate) {
        let Some(installed) = record.installed.clone() else { return };
        let now = self.now();
        let (advice, recheck_at) = match (&record.spec.issuer, self.reachable()) {
            (IssuerName::Internal, _) => (None, None),
            (_, Err(_)) => (None, Some(now.plus(bounds::CHECK_RETRY))),
            (_, Ok(())) => {
                let advice = self.advice(&installed.validity);
                let quiet = RenewalAdvice { window: None, ..advice };
                let advice = if self.rng.u8(..20) == 0 { advice } else { quiet };
                (Some(advice), Some(advice.recheck_at))
            }
        };
        let draw = self.rng.u32(..);
        if let Some(change) = transition::window_checked(record, advice, recheck_at, draw, now) {
            self.store(change);
        }
    }

    fn reachable(&self) -> Result<(), Failure> {
        if self.ca.down.contains(&(self.true_time / DAY)) {
            return Err(Failure::new(FailureKind::Unreachable, "no route to the CA"));
        }
        Ok(())
    }

    fn fault(&mut self) -> Result<(), Failure> {
        use FailureKind as Kind;
        let kind = match self.rng.u8(..100) {
            0..=2 => Kind::CaFault,
            3..=4 => Kind::ChallengeFailed,
            5..=6 => Kind::Dns,
            7..=8 => Kind::Connection,
            9..=10 => Kind::BadCertificate,
            11..=12 => Kind::OrderLost,
            13..=14 => Kind::Vault,
            15 => Kind::Rejected,
            16..=17 => {
                let after = self.now().plus(Duration::from_secs(3600));
                let failure = Failure::new(Kind::RateLimited, "slow down");
                return Err(failure.with_remedy(Remedy::RetryAfter(after)));
            }
            _ => return Ok(()),
        };
        Err(Failure::new(kind, "as the seed will have it"))
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

    fn run(&mut self) {
        let end = START + YEARS * 365 * DAY;
        let mut next_crash = START + self.rng.u64(0..10 * DAY);
        let mut next_toggle = START + 40 * DAY;
        let mut next_step = START + 20 * DAY;
        while self.true_time < end {
            self.turn();
            self.look();
            let wake = plan::next_wake(&self.all(), self.now());
            let wake = wake.map_or(DAY, |at| at.since(self.now()).as_secs().max(1));
            let job = self.attempts.values().map(|attempt| attempt.at).min();
            let next = (self.true_time + wake.min(DAY))
                .min(job.unwrap_or(u64::MAX))
                .min(next_crash)
                .min(next_toggle);
            self.true_time = next.max(self.true_time);
            let due = self.attempts.iter().find(|(_, attempt)| attempt.at <= self.true_time);
            if let Some(id) = due.map(|(id, _)| *id) {
                self.advance(id);
            }
            if self.true_time >= next_crash {
                self.crash();
                // Crashes come in the middle of attempts more often than elsewhere.
                next_crash = self.true_time + self.rng.u64(1..20 * DAY);
            } else if !self.attempts.is_empty() && self.rng.u8(..60) == 0 {
                self.crash();
            }
            if self.true_time >= next_toggle {
                self.toggle();
                next_toggle = self.true_time + self.rng.u64(DAY..60 * DAY);
            }
            if self.weather.clock_steps && self.true_time >= next_step {
                self.skew = match self.rng.u8(..4) {
                    0 => -i64::try_from(self.rng.u64(0..400 * DAY)).unwrap(),
                    1 => i64::try_from(self.rng.u64(0..30 * DAY)).unwrap(),
                    _ => 0,
                };
                next_step = self.true_time + self.rng.u64(DAY..40 * DAY);
            }
            self.operator();
        }
    }

    /// The third site leaves the configuration, or comes back.
    fn toggle(&mut self) {
        let there = self.config.sites.len() == 4;
        if there {
            self.config.sites.remove(2);
        } else {
            self.config.sites.insert(2, site("comes-and-goes.example", acme(), None));
        }
    }

    /// Somebody looks after what is halted, six hours later.
    fn operator(&mut self) {
        let now = self.now();
        for record in self.all() {
            if let Phase::Halted { since, .. } = record.phase
                && now.since(since) >= Duration::from_secs(6 * 3600)
            {
                self.store(transition::request(&record, now));
            }
        }
    }

    /// What must hold at every moment.
    fn look(&self) {
        let truly = Timestamp::from_unix(self.true_time);
        for record in self.records.values() {
            let busy = self.attempts.get(&record.id());
            let leased = matches!(record.phase, Phase::Ordering { .. });
            let working = busy.is_some_and(|attempt| attempt.stage != Stage::Check);
            assert!(!working || leased, "invariant 2: work without a lease");
            assert!(
                record.phase.wake_at(self.now()).is_some() || record.phase.word() == "halted",
                "invariant 5"
            );
        }
        if self.weather.clock_steps {
            return;
        }
        for id in &self.covered {
            let record = self.records.get(id).unwrap();
            let installed = record.installed.as_ref().unwrap();
            assert!(
                installed.validity.contains(truly),
                "{} ran out at {} and it is {truly}; it is {:?}\n{}",
                record.spec.names().first().unwrap(),
                installed.validity.not_after,
                record.phase,
                self.last_words(*id),
            );
        }
    }

    /// The last entries about one certificate, for the message of a failed assertion.
    fn last_words(&self, id: CertificateId) -> String {
        let about = self.journal.iter().rev().filter(|entry| entry.certificate == Some(id));
        let lines: Vec<_> = about.take(40).map(|e| format!("{} {}\n", e.at, e.message)).collect();
        lines.into_iter().rev().collect()
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
            let id = plan::primary(&world.config, site).id();
            let record = world.records.get(&id).unwrap();
            let good = record.installed.as_ref().is_some_and(|i| i.validity.contains(truly));
            assert!(good, "{}: {:?}", site.name(), record.phase);
        }
    });
}
