//! Which policy keeps the right keys open, and what a key costs that is not.
//!
//! First part: hit ratios of four policies on Zipf traces over a million names, alone and with a
//! client in between that scans all names one after the other. The scanner's own requests are not
//! counted: it hits nothing anywhere. The policy in use is taken as it is (`quick_cache`), the
//! others are models. Traces are drawn from a fixed seed, so that each run prints the same.
//!
//! Second part: CPU of main's thread and of the whole vault for a signature with a key that is
//! open, and with one that has to be sent along, opened and read first; rounds of both in turn,
//! medians. Fetching the sealed key from the store is not in it.
//!
//! `cargo bench --bench cache`; `-- --quick` with short traces and few rounds, to see that it runs.

#![allow(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(
    clippy::indexing_slicing,
    reason = "the lists of the models are linked by places they have"
)]

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::os::affinity;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;

const NAMES: u32 = 1_000_000;

/// Keys that fit: a hundredth of the names, and what the default of 64 MiB holds.
const CAPACITIES: [usize; 2] = [10_000, 139_810];

/// One request in so many is the scanner's.
const SCANS: usize = 10;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (requests, rounds) = if quick { (60_000, 3) } else { (4_000_000, 31) };
    ratios(requests);
    costs(rounds);
}

fn ratios(requests: usize) {
    println!(
        "{NAMES} names, {requests} requests, the first half to fill the cache; hit ratio in %"
    );
    println!("| Zipf | keys that fit | scanner | S3-FIFO (in use) | SIEVE | LRU | W-TinyLFU |");
    println!("|---|---|---|---|---|---|---|");
    for exponent in [0.9, 1.0, 1.1] {
        let zipf = Zipf::new(exponent);
        for capacity in CAPACITIES {
            for scanner in [false, true] {
                let mut policies: [Box<dyn Policy>; 4] = [
                    Box::new(InUse(quick_cache::unsync::Cache::new(capacity))),
                    Box::new(Sieve::new(capacity)),
                    Box::new(Lru { capacity, ..Lru::default() }),
                    Box::new(TinyLfu::new(capacity)),
                ];
                let ratio = |policy: &mut dyn Policy| replay(policy, &zipf, requests, scanner);
                let [s3fifo, sieve, lru, tiny] = policies.each_mut().map(|p| ratio(&mut **p));
                let scanner = if scanner { "one in ten" } else { "no" };
                println!(
                    "| {exponent:.1} | {capacity} | {scanner} | {s3fifo:.1} | {sieve:.1} | {lru:.1} | {tiny:.1} |"
                );
            }
        }
    }
}

/// The share of ordinary requests in the second half of the trace that hit, in percent.
fn replay(policy: &mut dyn Policy, zipf: &Zipf, requests: usize, scanner: bool) -> f64 {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut hits, mut asked, mut next) = (0_u32, 0_u32, 0_u32);
    for number in 0..requests {
        if scanner && number % SCANS == 0 {
            policy.ask(next);
            next = (next + 1) % NAMES;
            continue;
        }
        let hit = policy.ask(zipf.draw(&mut random));
        if number >= requests / 2 {
            asked += 1;
            hits += u32::from(hit);
        }
    }
    f64::from(hits) / f64::from(asked) * 100.0
}

/// Names by their rank, the first the most wanted.
struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulate = |rank: u32| {
            sum += f64::from(rank).powf(-exponent);
            sum
        };
        Self { cumulated: (1..=NAMES).map(cumulate).collect() }
    }

    /// Ranks are spread over the names, so that the scanner does not begin with the busiest.
    fn draw(&self, random: &mut fastrand::Rng) -> u32 {
        let point = random.f64() * self.cumulated.last().unwrap();
        let rank = self.cumulated.partition_point(|sum| *sum < point);
        let rank = u64::try_from(rank).unwrap().min(u64::from(NAMES) - 1);
        // A prime that does not divide the number of names: each rank gets a name of its own.
        u32::try_from(rank * 7_368_787 % u64::from(NAMES)).unwrap()
    }
}

trait Policy {
    /// Whether the name is there; it is from now on, if the policy says so.
    fn ask(&mut self, name: u32) -> bool;
}

struct InUse(quick_cache::unsync::Cache<u32, ()>);

impl Policy for InUse {
    fn ask(&mut self, name: u32) -> bool {
        let hit = self.0.get(&name).is_some();
        if !hit {
            self.0.insert(name, ());
        }
        hit
    }
}

/// Least recently used goes first.
#[derive(Default)]
struct Lru {
    capacity: usize,
    moments: HashMap<u32, u64>,
    order: BTreeMap<u64, u32>,
    now: u64,
}

impl Lru {
    fn remove(&mut self, name: u32) -> bool {
        self.moments.remove(&name).is_some_and(|moment| self.order.remove(&moment).is_some())
    }

    fn push(&mut self, name: u32) {
        self.now += 1;
        self.moments.insert(name, self.now);
        self.order.insert(self.now, name);
    }

    /// The oldest, if there are too many.
    fn surplus(&mut self) -> Option<u32> {
        let over = self.order.len() > self.capacity;
        let oldest = if over { self.order.pop_first() } else { None };
        oldest.map(|(_, name)| {
            self.moments.remove(&name);
            name
        })
    }

    fn oldest(&self) -> Option<u32> {
        self.order.first_key_value().map(|(_, name)| *name)
    }
}

impl Policy for Lru {
    fn ask(&mut self, name: u32) -> bool {
        let hit = self.remove(name);
        self.push(name);
        self.surplus();
        hit
    }
}

/// SIEVE (Zhang and others, NSDI 2024): a queue in which nothing moves, and a hand that takes what
/// was not visited since it came by.
struct Sieve {
    places: HashMap<u32, usize>,
    /// Name, visited, the place of the next newer one.
    queue: Vec<(u32, bool, usize)>,
    newest: usize,
    /// The place before the one that the hand is at.
    hand: usize,
    capacity: usize,
}

impl Sieve {
    fn new(capacity: usize) -> Self {
        Self { places: HashMap::new(), queue: Vec::new(), newest: 0, hand: 0, capacity }
    }
}

impl Policy for Sieve {
    /// The queue is a ring of places in which the newest is followed by the oldest.
    fn ask(&mut self, name: u32) -> bool {
        if let Some(place) = self.places.get(&name) {
            self.queue[*place].1 = true;
            return true;
        }
        if self.queue.len() < self.capacity {
            let place = self.queue.len();
            let oldest = self.queue.get(self.newest).map_or(place, |newest| newest.2);
            self.queue.push((name, false, oldest));
            self.queue[self.newest].2 = if place == 0 { 0 } else { place };
            // The hand begins at the oldest, whose predecessor in the ring is the newest.
            if self.hand == self.newest {
                self.hand = place;
            }
            self.newest = place;
            self.places.insert(name, place);
            return false;
        }
        let mut at = self.queue[self.hand].2;
        while self.queue[at].1 {
            self.queue[at].1 = false;
            self.hand = at;
            at = self.queue[at].2;
        }
        // Out of the ring where it was, and in again as the newest.
        self.places.remove(&self.queue[at].0);
        let after = self.queue[at].2;
        self.queue[self.hand].2 = after;
        if at == self.newest {
            self.newest = self.hand;
        }
        let oldest = self.queue[self.newest].2;
        self.queue[self.newest].2 = at;
        if self.hand == self.newest {
            self.hand = at;
        }
        self.queue[at] = (name, false, oldest);
        self.newest = at;
        self.places.insert(name, at);
        false
    }
}

/// W-TinyLFU (Einziger and others, 2017): a window of a hundredth, a main part in two segments, and
/// a sketch of four-bit counts that says who of two candidates stays.
struct TinyLfu {
    window: Lru,
    probation: Lru,
    protected: Lru,
    counts: Vec<u8>,
    seen: usize,
    capacity: usize,
}

impl TinyLfu {
    fn new(capacity: usize) -> Self {
        let part = |capacity| Lru { capacity, ..Lru::default() };
        let (window, main) = (capacity.div_ceil(100), capacity - capacity.div_ceil(100));
        Self {
            window: part(window),
            probation: part(main),
            protected: part(main * 4 / 5),
            counts: vec![0; (capacity * 8).next_power_of_two()],
            seen: 0,
            capacity,
        }
    }

    fn places(&self, name: u32) -> [usize; 4] {
        let mask = self.counts.len() - 1;
        [
            0x9e37_79b9_7f4a_7c15_u64,
            0xc2b2_ae3d_27d4_eb4f,
            0x1656_67b1_9e37_79f9,
            0xff51_afd7_ed55_8ccd,
        ]
        .map(|seed| usize::try_from(u64::from(name + 1).wrapping_mul(seed) >> 33).unwrap() & mask)
    }

    fn estimate(&self, name: u32) -> u8 {
        self.places(name).map(|place| self.counts[place]).into_iter().min().unwrap_or(0)
    }

    fn count(&mut self, name: u32) {
        for place in self.places(name) {
            self.counts[place] = (self.counts[place] + 1).min(15);
        }
        self.seen += 1;
        if self.seen >= self.capacity * 10 {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.seen = 0;
        }
    }
}

impl Policy for TinyLfu {
    fn ask(&mut self, name: u32) -> bool {
        self.count(name);
        if self.window.remove(name) {
            self.window.push(name);
            return true;
        }
        if self.protected.remove(name) || self.probation.remove(name) {
            self.protected.push(name);
            if let Some(demoted) = self.protected.surplus() {
                self.probation.push(demoted);
            }
            return true;
        }
        self.window.push(name);
        if let Some(candidate) = self.window.surplus() {
            let main = self.probation.order.len() + self.protected.order.len();
            let victim = self.probation.oldest().filter(|_| main >= self.probation.capacity);
            match victim {
                Some(victim) if self.estimate(candidate) <= self.estimate(victim) => {}
                victim => {
                    victim.map(|victim| self.probation.remove(victim));
                    self.probation.push(candidate);
                }
            }
        }
        false
    }
}

/// Keys that sign in a row, a tenth of that of RSA. Fewer than the cache holds.
const KEYS: usize = 200;

fn costs(rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let core = affinity::allowed_cores().unwrap().first().copied();
    let vault = Vault::start(VaultOptions {
        exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
        master: MasterKeySource::CreateIfMissing(dir.path().join("master.key")),
        cache_bytes: 4 << 20,
        workers: 1,
        cores: vec![core],
        gates: true,
        strict: false,
    })
    .unwrap();
    let pid = vault.status().pid;
    vault.bind_worker(0, core);
    println!(
        "\n{rounds} rounds of {KEYS} signatures, {} with RSA; CPU of main's thread and the vault, medians",
        KEYS / 10
    );
    println!("| key | open | sent along, opened, read | difference |");
    println!("|---|---|---|---|");
    for (algorithm, scheme) in [
        (KeyAlgorithm::P256, Scheme::EcdsaP256Sha256),
        (KeyAlgorithm::Rsa2048, Scheme::RsaPssSha256),
    ] {
        let count = if algorithm == KeyAlgorithm::Rsa2048 { KEYS / 10 } else { KEYS };
        let made = (0..count).map(|_| vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap());
        let keys: Vec<KeyHandle> = made.collect();
        let each = |wanted: fn(&Vault, &KeyHandle)| {
            keys.iter().for_each(|key| wanted(&vault, key));
            let misses = vault.ping().unwrap().misses;
            let before = cpu(pid);
            keys.iter().for_each(|key| sign(&vault, key, scheme));
            let spent = cpu(pid).saturating_sub(before).as_secs_f64() * 1e6;
            let missed = vault.ping().unwrap().misses - misses;
            (spent / f64::from(u32::try_from(count).unwrap()), missed)
        };
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (spent, missed) = each(|vault, key| vault.forget(key.id).unwrap());
            assert_eq!(missed, u64::try_from(count).unwrap());
            closed.push(spent);
            let (spent, missed) = each(|_, _| {});
            assert_eq!(missed, 0);
            open.push(spent);
        }
        let (open, closed) = (median(open), median(closed));
        println!("| {algorithm} | {open:.1} us | {closed:.1} us | {:+.1} us |", closed - open);
    }
}

fn sign(vault: &Vault, key: &KeyHandle, scheme: Scheme) {
    let mut message = vec![b' '; 64];
    message.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
    message.extend([0x5a; 32]);
    assert!(!vault.sign(key, Purpose::Tls13, scheme, &message).unwrap().is_empty());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

/// CPU time of this thread and of all threads of the vault.
fn cpu(pid: u32) -> Duration {
    // The kernel brings its count up to date at a yield.
    std::thread::yield_now();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let vault = tasks.map(|thread| run_time(&thread.unwrap().path().join("schedstat")));
    vault.sum::<Duration>() + run_time(Path::new("/proc/thread-self/schedstat"))
}

fn run_time(schedstat: &Path) -> Duration {
    let text = std::fs::read_to_string(schedstat).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
