//! What a handshake costs the server, by kind of handshake and number of workers: with the key in
//! the server's process, and with it in the vault.
//!
//! The first table is of the product: clients at sockets, the edge, and the vault, by how many clients
//! there are at once for each worker; those who arrive together ask the vault together (`door.rs`).
//! The other is of the handshake alone, one asked at a time, without sockets and all else that an edge
//! does. Server CPU only, from the kernel's accounting: clients work outside the measured stretches, and
//! for the vault its process's CPU is added. Each worker has a core of its own, where its thread of
//! the vault is too, as in the daemon; all of them begin a stretch together. Rounds of both places
//! are interleaved, so that a busy machine is unjust to both alike: medians of the rounds, and
//! percentiles of the time that the server worked on one handshake. Of a full handshake, the session
//! ticket is a part as at the edge; where sessions are resumed, the vault has the keys of tickets.
//!
//! `cargo bench --bench handshake [-- --quick] [--table sockets|alone] [--only NAME]... [--workers N]...`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark ends at its first surprise"
)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::cast_precision_loss, reason = "a figure of three digits")]
#![allow(
    clippy::indexing_slicing,
    clippy::large_futures,
    dead_code,
    reason = "a benchmark uses a part of the kit"
)]

mod door;
#[path = "../../tests/kit/house.rs"]
mod house;
mod kinds;
#[path = "../../tests/kit/load.rs"]
mod load;
#[path = "../../tests/kit/memory.rs"]
mod memory;
mod rounds;

use std::path::Path;
use std::time::Duration;

use door::Door;
use door::Shown;
use keyward::os::affinity;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use keyward::vault::wire_tickets::Step;
use kinds::KINDS;
use kinds::Kind;
use kinds::Place;
use kinds::Site;
use rounds::Sample;
use rounds::Squad;
use rustls::NamedGroup;

/// Clients at once, for each worker.
const AT_ONCE: [usize; 4] = [1, 4, 16, 64];

/// What is asked for on the command line.
struct Options {
    rounds: usize,
    batch: usize,
    /// For how long clients come in a round.
    time: Duration,
    table: Option<String>,
    only: Vec<String>,
    workers: Vec<usize>,
}

fn main() {
    let cores = affinity::allowed_cores().unwrap();
    let options = options(cores.len());
    let widest = options.workers.iter().copied().max().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let core = |index: usize| cores.get(index % cores.len()).copied();
    let vault = Vault::start(VaultOptions {
        exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
        master: MasterKeySource::CreateIfMissing(dir.path().join("master.key")),
        cache_bytes: 1 << 20,
        workers: widest,
        cores: (0..widest).map(core).collect(),
        gates: true,
        strict: false,
    })
    .unwrap();
    let state = vault.turn_tickets(true, Step::Look, 1, b"").unwrap().state;
    vault.adopt_tickets(&state).unwrap();

    println!("{} cores; {} interleaved rounds; medians", cores.len(), options.rounds);
    if options.table.as_deref() != Some("alone") {
        sockets(&options, &vault, core);
    }
    if options.table.as_deref() != Some("sockets") {
        alone(&options, &vault, core);
    }
}

/// The table of the product.
fn sockets(options: &Options, vault: &Vault, core: impl Fn(usize) -> Option<usize>) {
    println!(
        "| through sockets, TLS 1.3, P-256 | workers | clients for each | CPU us, in process | in \
         the vault | more | asked together | handshakes in a second of its CPU | with clients, in a \
         second | p50, p99 us in process | in the vault |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for group in [NamedGroup::X25519, NamedGroup::X25519MLKEM768] {
        let name = format!("{group:?}");
        if !options.only.is_empty() && !options.only.iter().any(|only| name.contains(only)) {
            continue;
        }
        for &workers in &options.workers {
            let cores: Vec<_> = (0..workers).map(&core).collect();
            let mut doors =
                [Place::Process, Place::Vault].map(|place| Door::new(place, group, vault, &cores));
            for at_once in AT_ONCE {
                for _ in 0..options.rounds {
                    for door in &mut doors {
                        door.round(workers, at_once, options.time);
                    }
                }
                let shown = doors.each_mut().map(Door::shown);
                through(&format!("{name} | {workers} | {at_once}"), &shown);
            }
        }
    }
}

fn through(name: &str, [process, vault]: &[Shown; 2]) {
    let more = vault.cpu_us / process.cpu_us;
    println!(
        "| {name} | {:.1} | {:.1} | {:+.1} % | {:.0} % | {:.1} % | {:.1} % of {:.0}/s | {:.0}, {:.0} \
         | {:.0}, {:.0} |",
        process.cpu_us,
        vault.cpu_us,
        (more - 1.0) * 100.0,
        vault.together * 100.0,
        100.0 / more,
        vault.per_second / process.per_second * 100.0,
        process.per_second,
        process.p50_us,
        process.p99_us,
        vault.p50_us,
        vault.p99_us,
    );
}

/// The table of the handshake alone.
fn alone(options: &Options, vault: &Vault, core: impl Fn(usize) -> Option<usize>) {
    let Options { rounds, batch, .. } = *options;
    println!();
    println!("{batch} handshakes for each worker in a round");
    println!(
        "| handshake | workers | CPU us, in process | in the vault | more | throughput | p50, p99 \
         us in process | in the vault |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for kind in KINDS.iter().filter(|kind| options.wants(kind)) {
        let sites = [Place::Process, Place::Vault].map(|place| Site::new(kind, place, vault));
        for &workers in &options.workers {
            let cores: Vec<_> = (0..workers).map(&core).collect();
            let [process, vaulted] = &sites;
            let mut squads = [process, vaulted].map(|site| Squad::new(site, vault, cores.clone()));
            for _ in 0..rounds {
                for squad in &mut squads {
                    squad.round(batch);
                }
            }
            row(kind, workers, squads.map(Squad::sum));
        }
    }
}

fn row(kind: &Kind, workers: usize, [process, vault]: [Sample; 2]) {
    println!(
        "| {} | {workers} | {:.1} | {:.1} | {:+.1} % | {:.1} % of {:.0}/s | {:.0}, {:.0} | {:.0}, \
         {:.0} |",
        kind.name,
        process.cpu_us,
        vault.cpu_us,
        (vault.cpu_us / process.cpu_us - 1.0) * 100.0,
        vault.per_second / process.per_second * 100.0,
        process.per_second,
        process.p50_us,
        process.p99_us,
        vault.p50_us,
        vault.p99_us,
    );
}

impl Options {
    fn wants(&self, kind: &Kind) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| kind.name.contains(part.as_str()))
    }
}

fn options(cores: usize) -> Options {
    let (only, workers) = (Vec::new(), Vec::new());
    let time = Duration::from_millis(400);
    let mut options = Options { rounds: 15, batch: 200, time, table: None, only, workers };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value after the option");
        match argument.as_str() {
            "--quick" => (options.rounds, options.batch, options.time) = (3, 40, time / 4),
            "--table" => options.table = Some(value()),
            "--only" => options.only.push(value()),
            "--workers" => options.workers.push(value().parse().expect("a number of workers")),
            // Cargo says that it is a benchmark.
            "--bench" => {}
            other => panic!("{other} is no option; see the head of this file"),
        }
    }
    if options.workers.is_empty() {
        options.workers = vec![1, 2, cores];
        options.workers.sort_unstable();
        options.workers.dedup();
    }
    let table = options.table.as_deref();
    assert!(matches!(table, None | Some("sockets" | "alone")), "--table knows sockets and alone");
    assert!(KINDS.iter().any(|kind| options.wants(kind)), "--only names no kind of {KINDS:?}");
    options
}
