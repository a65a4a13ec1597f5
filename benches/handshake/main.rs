//! What a handshake costs the server, by kind of handshake and number of workers: with the key in
//! the server's process, and with it in the vault.
//!
//! Server CPU only, from the kernel's accounting: clients work outside the measured stretches, and
//! for the vault its process's CPU is added. Each worker has a core of its own, where its thread of
//! the vault is too, as in the daemon; all of them begin a stretch together. Rounds of both places
//! are interleaved, so that a busy machine is unjust to both alike: medians of the rounds, and
//! percentiles of the time that the server worked on one handshake. Of a full handshake, the session
//! ticket is a part as at the edge; where sessions are resumed, the vault has the keys of tickets.
//!
//! `cargo bench --bench handshake [-- --quick] [--only NAME]... [--workers N]...`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark ends at its first surprise"
)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::cast_precision_loss, reason = "a figure of three digits")]

mod kinds;
mod rounds;

use std::path::Path;

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

/// What is asked for on the command line.
struct Options {
    rounds: usize,
    batch: usize,
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

    let Options { rounds, batch, .. } = options;
    println!(
        "{} cores; {rounds} interleaved rounds of {batch} handshakes for each worker; medians",
        cores.len()
    );
    println!(
        "| handshake | workers | CPU us, in process | in the vault | more | throughput | p50, p99 \
         us in process | in the vault |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for kind in KINDS.iter().filter(|kind| options.wants(kind)) {
        let sites = [Place::Process, Place::Vault].map(|place| Site::new(kind, place, &vault));
        for &workers in &options.workers {
            let cores: Vec<_> = (0..workers).map(core).collect();
            let [process, vaulted] = &sites;
            let mut squads = [process, vaulted].map(|site| Squad::new(site, &vault, cores.clone()));
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
    let mut options = Options { rounds: 15, batch: 200, only: Vec::new(), workers: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value after the option");
        match argument.as_str() {
            "--quick" => (options.rounds, options.batch) = (3, 40),
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
    assert!(KINDS.iter().any(|kind| options.wants(kind)), "--only names no kind of {KINDS:?}");
    options
}
