//! Many certificates issued in bulk, by the command that people use, from a Pebble on the same machine:
//! how many in a second, what each costs in processor time, and what is kept of them.
//!
//! `cargo bench --bench issuing -- --names 10000`; `--always-valid` has Pebble look for no proof. It takes
//! a Pebble (`scripts/install-pebble`), which does not sleep before it looks. Pebble itself is the slowest
//! of all who take part, and comes to a stop in thousands of orders: `PATH=$(scripts/mend-pebble):$PATH`
//! has one that does not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark ends at its first surprise, and measures time"
)]

#[path = "../tests/kit/daemon.rs"]
mod daemon;
#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/origin.rs"]
mod origin;
#[path = "../tests/kit/pebble.rs"]
mod pebble;
#[path = "../tests/appliance/scene.rs"]
#[allow(dead_code, reason = "a benchmark uses a part of it")]
mod scene;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use scene::Scene;

/// Between two looks at memory.
const LOOK: Duration = Duration::from_secs(1);

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let after = |word: &str| given.iter().skip_while(|one| *one != word).nth(1);
    let names: usize = after("--names").map_or(500, |text| text.parse().unwrap());
    let at_once = after("--at-once").map_or("64", String::as_str);
    let always_valid = given.iter().any(|one| one == "--always-valid");
    let mut scene = Scene::custom("office.example", "", |settings| {
        settings.always_valid = always_valid;
        settings.retry_after = (0, 0);
    });
    scene.configure(&format!("[allowance]\nsingle = {names}\n"));
    scene.keyward.edit("level = \"debug\"", "level = \"info\"");
    scene.keyward.start();
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let vault = status["vault"]["pid"].as_u64().unwrap();
    let main = u64::try_from(scene.keyward.pid()).unwrap();
    let file = scene.keyward.dir.path().join("names.txt");
    let text: String = (0..names).map(|number| format!("n{number}.example\n")).collect();
    fs::write(&file, text).unwrap();
    let before = [processor(main), processor(vault)];
    let (begin, size) = (Instant::now(), database(&scene));
    let mut command = Command::new(daemon::BINARY)
        .arg("--socket")
        .arg(scene.keyward.dir.path().join("run/admin.sock"))
        .args(["issue", "--at-once", at_once, "--file"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut peak, mut told) = ([0_u64; 2], Instant::now());
    let ended = loop {
        if let Some(status) = command.try_wait().unwrap() {
            break status;
        }
        for (peak, process) in peak.iter_mut().zip([main, vault]) {
            *peak = (*peak).max(resident(process));
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let done = scene.pebble.certificates();
            println!("{done} after {:.0} s", begin.elapsed().as_secs_f64());
        }
        std::thread::sleep(LOOK);
    };
    let took = begin.elapsed().as_secs_f64();
    assert!(ended.success(), "not all were issued: {ended}");
    assert_eq!(scene.pebble.certificates(), names, "each was issued once");
    let after = [processor(main), processor(vault)];
    let each = |at: usize| (after[at] - before[at]) * 1e3 / names as f64;
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("{names} certificates in {took:.1} s: {:.1} in a second", names as f64 / took);
    println!("processor time for each: main {:.2} ms, vault {:.2} ms", each(0), each(1));
    println!("most memory: main {} MiB, vault {} MiB", peak[0] / 1024, peak[1] / 1024);
    let grown = database(&scene).saturating_sub(size);
    let mib = database(&scene) as f64 / f64::from(1 << 20);
    println!("database: {mib:.1} MiB, {} bytes for each certificate", grown / names as u64);
    println!("load of the machine at the end: {}", load.trim());
}

/// Seconds of processor time so far.
fn processor(process: u64) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    // Fields 14 and 15 (proc_pid_stat(5)), of which a hundred make a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// KiB of what is resident that are its share.
fn resident(process: u64) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Bytes of the files with state.
fn database(scene: &Scene) -> u64 {
    fn size(dir: &Path) -> u64 {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| match entry.metadata() {
                Ok(found) if found.is_dir() => size(&entry.path()),
                Ok(found) => found.len(),
                Err(_) => 0,
            })
            .sum()
    }
    size(&scene.keyward.state().join("store"))
}
