//! What a session ticket costs: sealed and opened in main, or asked of the vault (`strict`).
//!
//! CPU of this process and of the vault's, for one ticket made and one opened, as every resumed
//! handshake does. Rounds are interleaved; medians are printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark ends at its first surprise"
)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::cast_precision_loss, reason = "a figure of three digits")]

use std::path::Path;
use std::time::Instant;

use keyward::cert::ports::Signers;
use keyward::cert::ports::TicketSeal;
use keyward::os::affinity;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use keyward::vault::ticket::TicketKey;
use keyward::vault::wire_tickets::Step;
use nix::sys::resource::UsageWho;
use nix::sys::resource::getrusage;
use nix::sys::time::TimeVal;
use nix::sys::time::TimeValLike;

/// As long as rustls's own for a name of twenty octets.
const SESSION: [u8; 110] = [0x5a; 110];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, batch) = if quick { (3, 200) } else { (15, 5000) };
    let dir = tempfile::tempdir().unwrap();
    let core = affinity::allowed_cores().unwrap().first().copied();
    let vault = Vault::start(VaultOptions {
        exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
        master: MasterKeySource::CreateIfMissing(dir.path().join("master.key")),
        cache_bytes: 1 << 20,
        workers: 1,
        cores: vec![core],
        gates: true,
        strict: false,
    })
    .unwrap();
    vault.bind_worker(0, core);
    let state = vault.turn_tickets(true, Step::Look, 1, b"").unwrap().state;
    vault.adopt_tickets(&state).unwrap();
    let key = TicketKey::new([1; 16], &[2; 32]);
    let fast = || {
        let ticket = key.seal(&[3; 32], &SESSION).unwrap();
        assert!(key.open(&[3; 32], &ticket).is_some());
    };
    let strict = || {
        let ticket = vault.seal(&[3; 32], &SESSION).unwrap();
        assert!(vault.open(&[3; 32], &ticket).is_some());
    };
    let designs: [(&str, &dyn Fn()); 2] = [("fast", &fast), ("strict", &strict)];
    let mut samples = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for ((_, work), samples) in designs.iter().zip(&mut samples) {
            let (cpu, start) = (cpu_us(vault.status().pid), Instant::now());
            (0..batch).for_each(|_| work());
            let wall = start.elapsed().as_secs_f64() * 1e6;
            let cpu = cpu_us(vault.status().pid) - cpu;
            samples.push((cpu / f64::from(batch), wall / f64::from(batch)));
        }
    }
    println!("{rounds} interleaved rounds of {batch} tickets made and opened; medians");
    println!("| keys | CPU us, main and vault | wall us |");
    println!("|---|---|---|");
    for ((name, _), samples) in designs.iter().zip(&mut samples) {
        let median = |pick: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = samples.iter().map(pick).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap()
        };
        println!("| {name} | {:.2} | {:.2} |", median(|s| s.0), median(|s| s.1));
    }
}

/// CPU of this process, and of the vault's, from the kernel's accounting.
fn cpu_us(vault: u32) -> f64 {
    let own = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: TimeVal| time.num_microseconds() as f64;
    // In nanoseconds, and first: the time that its threads ran.
    let tasks = std::fs::read_dir(format!("/proc/{vault}/task")).unwrap();
    let ran: f64 = tasks
        .map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<f64>().unwrap()
        })
        .sum();
    of(own.user_time()) + of(own.system_time()) + ran / 1000.0
}
