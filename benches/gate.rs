//! What one signature costs through the gate, against the same one in the caller's process; what a
//! question costs that takes no time to answer (a session ticket opened in the vault); and what a
//! whole TLS 1.3 handshake costs when so many are ready at the same time, which then ask together.
//!
//! CPU of the calling threads and of the vault's, from the kernel's accounting, and how often their
//! threads were switched. With several workers each has a core of its own, and its gate there.
//! Rounds of all designs are interleaved; medians are printed.
//!
//! `cargo bench --bench gate [-- --quick] [--workers N] [--cores any]`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark ends at its first surprise"
)]
#![allow(clippy::indexing_slicing, reason = "so does the kit")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::cast_precision_loss, reason = "a figure of three digits")]

#[path = "../tests/kit/shaking.rs"]
mod shaking;

use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::cert::ports::TicketSeal;
use keyward::os::affinity;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::ticket::TicketKey;
use keyward::vault::wire_tickets::Step;
use ring::rand::SystemRandom;
use ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use ring::signature::EcdsaKeyPair;
use shaking::Handshake;
use shaking::Site;

/// As long as rustls's own for a name of twenty octets.
const SESSION: [u8; 110] = [0x5a; 110];

/// What one round showed, for each operation.
#[derive(Clone, Copy, Default)]
struct Sample {
    cpu_us: f64,
    wall_us: f64,
    per_second: f64,
    given_up: f64,
    taken: f64,
}

struct Options {
    rounds: usize,
    batch: u32,
    workers: usize,
    pinned: bool,
}

fn options() -> Options {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, batch) = if quick { (3, 200) } else { (31, 2000) };
    let workers = after("--workers").map_or(1, |text| text.parse().unwrap());
    Options { rounds, batch, workers, pinned: after("--cores").is_none() }
}

/// One way to do one thing, for the worker that calls.
type Work<'w> = &'w (dyn Fn() + Sync);

fn main() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let allowed = affinity::allowed_cores().unwrap();
    let cores: Vec<Option<usize>> = (0..options.workers)
        .map(|worker| allowed.get(worker % allowed.len()).copied().filter(|_| options.pinned))
        .collect();
    let vault = Vault::start(VaultOptions {
        exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
        master: MasterKeySource::CreateIfMissing(dir.path().join("master.key")),
        cache_bytes: 1 << 20,
        workers: options.workers,
        cores: cores.clone(),
        gates: true,
        strict: false,
    })
    .unwrap();
    let message = [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat();
    let pkcs8 = keyward::vault::keys::generate(KeyAlgorithm::P256).unwrap();
    let random = SystemRandom::new();
    let own = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random).unwrap();
    let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    let keys: Vec<KeyHandle> = (0..8)
        .map(|_| vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap())
        .collect();
    let state = vault.turn_tickets(true, Step::Look, 1, b"").unwrap().state;
    vault.adopt_tickets(&state).unwrap();
    let ticket = vault.seal(&[3; 32], &SESSION).unwrap();
    let ticket_key = TicketKey::new([1; 16], &[2; 32]);
    let own_ticket = ticket_key.seal(&[3; 32], &SESSION).unwrap();

    let sign = |key: &KeyHandle| {
        vault.sign(key, Purpose::Tls13, Scheme::EcdsaP256Sha256, &message).unwrap()
    };
    let designs: [(&str, Work<'_>); 5] = [
        ("signature, key in process", &|| _ = own.sign(&random, &message).unwrap()),
        ("signature, vault", &|| drop(sign(&key))),
        ("signature, vault, eight keys in turn", &|| {
            thread_local! { static TURN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) }; }
            let turn = TURN.replace(TURN.get() + 1);
            drop(sign(keys.get(turn % keys.len()).unwrap()));
        }),
        ("ticket opened, in process", &|| drop(ticket_key.open(&[3; 32], &own_ticket).unwrap())),
        ("ticket opened, vault", &|| drop(vault.open(&[3; 32], &ticket).unwrap())),
    ];
    let mut samples: [Vec<Sample>; 5] = Default::default();
    for _ in 0..options.rounds {
        for ((_, work), samples) in designs.iter().zip(&mut samples) {
            samples.push(round(&options, &vault, &cores, *work));
        }
    }
    let Options { rounds, batch, workers, pinned } = options;
    let place = if pinned { "a core each" } else { "on any core" };
    println!(
        "{rounds} interleaved rounds of {batch} for each of {workers} worker(s), {place}; medians"
    );
    println!("| what | CPU us | wall us | each second | switches: waited | preempted |");
    println!("|---|---|---|---|---|---|");
    for ((name, _), samples) in designs.iter().zip(&samples) {
        let median = |pick: fn(&Sample) -> f64| {
            let mut all: Vec<f64> = samples.iter().map(pick).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap()
        };
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} |",
            median(|s| s.cpu_us),
            median(|s| s.wall_us),
            median(|s| s.per_second),
            median(|s| s.given_up),
            median(|s| s.taken),
        );
    }
    handshakes(&options, &vault, cores.first().copied().flatten());
}

/// Whole handshakes, `AT_ONCE` of them ready at the same time: the server's CPU and the vault's.
fn handshakes(options: &Options, vault: &Vault, core: Option<usize>) {
    const AT_ONCE: [usize; 4] = [1, 2, 4, 16];
    vault.bind_worker(0, core);
    let (own, kept) = (Site::in_process(vault), Site::new(vault, KeyAlgorithm::P256));
    let designs = [
        ("key in process", &own, false),
        ("vault", &kept, false),
        ("vault, together", &kept, true),
    ];
    let pid = vault.status().pid;
    println!();
    println!("| handshakes ready at once | key in process: CPU us | vault | vault, together |");
    println!("|---|---|---|---|");
    for at_once in AT_ONCE {
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for ((_, site, may_stop), samples) in designs.iter().zip(&mut samples) {
                samples.push(shake(site, *may_stop, at_once, options.batch, pid));
            }
        }
        let medians = samples.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap()
        });
        let [own, alone, together] = medians;
        let against = |one: f64| (one / own - 1.0) * 100.0;
        println!(
            "| {at_once} | {own:.1} | {alone:.1} ({:+.1} %) | {together:.1} ({:+.1} %) |",
            against(alone),
            against(together)
        );
    }
}

/// CPU in microseconds for each of about `batch / 8` handshakes. What the clients do is left out.
fn shake(site: &Site, may_stop: bool, at_once: usize, batch: u32, vault: u32) -> f64 {
    let groups = usize::try_from(batch).unwrap() / 8 / at_once;
    let mut groups: Vec<Vec<Handshake>> = (0..groups)
        .map(|_| (0..at_once).map(|_| Handshake::begin(site, may_stop)).collect())
        .collect();
    let mut ns = 0.0;
    // The first words and the last ones.
    for _ in 0..2 {
        let begun = cpu(vault);
        for group in &mut groups {
            // Those that stop are gone on with the second time.
            group.iter_mut().for_each(Handshake::poll);
            group.iter_mut().for_each(Handshake::poll);
        }
        ns += cpu(vault) - begun;
        groups.iter_mut().flatten().for_each(Handshake::talk);
    }
    assert!(groups.iter().flatten().all(|handshake| matches!(handshake.done, Some(Ok(())))));
    ns / 1000.0 / (groups.len() * at_once) as f64
}

/// CPU of this thread and of the vault, in nanoseconds.
fn cpu(vault: u32) -> f64 {
    std::thread::yield_now();
    let ran = |thread: &Path| -> f64 {
        let text = std::fs::read_to_string(thread.join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let threads = std::fs::read_dir(format!("/proc/{vault}/task")).unwrap();
    let vault: f64 = threads.map(|thread| ran(&thread.unwrap().path())).sum();
    vault + ran(Path::new("/proc/thread-self"))
}

fn round(options: &Options, vault: &Vault, cores: &[Option<usize>], work: Work<'_>) -> Sample {
    let (begin, end) = (Barrier::new(options.workers + 1), Barrier::new(options.workers + 1));
    let pid = vault.status().pid;
    std::thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(index, core)| {
                let (begin, end) = (&begin, &end);
                scope.spawn(move || {
                    vault.bind_worker(index, *core);
                    (0..50).for_each(|_| work());
                    begin.wait();
                    let (used, started) =
                        (Used::of(Path::new("/proc/thread-self")), Instant::now());
                    (0..options.batch).for_each(|_| work());
                    let wall = started.elapsed().as_secs_f64() * 1e6;
                    std::thread::yield_now();
                    let used = Used::of(Path::new("/proc/thread-self")).since(used);
                    end.wait();
                    (used, wall)
                })
            })
            .collect();
        let before = Used::of_process(pid);
        begin.wait();
        end.wait();
        let mut used = Used::of_process(pid).since(before);
        let mut walls = Vec::new();
        for thread in threads {
            let (own, wall) = thread.join().unwrap();
            used = used.and(own);
            walls.push(wall);
        }
        let each = f64::from(options.batch) * options.workers as f64;
        let longest = walls.iter().copied().fold(0.0, f64::max);
        Sample {
            cpu_us: used.ns / 1000.0 / each,
            wall_us: walls.iter().sum::<f64>() / each,
            per_second: each / longest * 1e6,
            given_up: used.given_up / each,
            taken: used.taken / each,
        }
    })
}

/// What the kernel says of a thread.
#[derive(Clone, Copy, Default)]
struct Used {
    ns: f64,
    given_up: f64,
    taken: f64,
}

impl Used {
    fn of(thread: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(thread.join(name)).unwrap();
        let status = read("status");
        let count = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().parse().unwrap()
        };
        Self {
            ns: read("schedstat").split_whitespace().next().unwrap().parse().unwrap(),
            given_up: count("voluntary_ctxt_switches"),
            taken: count("nonvoluntary_ctxt_switches"),
        }
    }

    fn of_process(pid: u32) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        threads.map(|thread| Self::of(&thread.unwrap().path())).fold(Self::default(), Self::and)
    }

    fn and(self, other: Self) -> Self {
        Self {
            ns: self.ns + other.ns,
            given_up: self.given_up + other.given_up,
            taken: self.taken + other.taken,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            ns: self.ns - before.ns,
            given_up: self.given_up - before.given_up,
            taken: self.taken - before.taken,
        }
    }
}
