//! The soak itself: the load, what is done to the daemon meanwhile, and what is measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::clients;
use crate::clients::Book;
use crate::clients::CHAT;
use crate::clients::again;
use crate::load;
use crate::load::Load;
use crate::origin::Origin;
use crate::scene::Scene;
use crate::scene::runtime;

/// The site whose renewals, requests and downloads are looked at.
const NAME: &str = "soak.example";

/// One that comes and goes with the reloads.
const VISITOR: &str = "visitor.internal";

/// Memory and descriptors at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) second: u64,
    /// KiB of main and its vault.
    pub(crate) present: u64,
    /// KiB of all processes of keyward's.
    pub(crate) all: u64,
    pub(crate) processes: usize,
    /// Of main.
    pub(crate) descriptors: usize,
}

/// What came of it.
pub(crate) struct Report {
    pub(crate) minutes: u64,
    pub(crate) done: BTreeMap<&'static str, usize>,
    pub(crate) failures: Vec<String>,
    pub(crate) samples: Vec<Sample>,
    /// Milliseconds that new connections waited in each upgrade.
    pub(crate) waited: Vec<u64>,
}

/// Loads a daemon of its own for so long.
pub(crate) fn soak(minutes: u64) -> Report {
    let mut scene = Scene::new(NAME);
    let chat = Origin::websocket();
    let site = scene.site(NAME);
    let internal = |name: &str| {
        format!("[[site]]\nnames = [\"{name}\"]\norigin = \"http://{}\"\n", chat.address)
    };
    let (sites, visitor) = (format!("{site}\n{}", internal(CHAT)), internal(VISITOR));
    scene.configure(&sites);
    scene.keyward.start();
    scene.keyward.wait_issued(NAME);
    scene.keyward.wait_issued(CHAT);
    let root = scene.keyward.cli(&["trust", "--print"]).ok();
    let root = keyward::cert::chain::Chain::from_pem(root.as_bytes()).unwrap();
    let target = scene.target(false);
    let book = Arc::new(Book {
        config: load::client_config(&target.root, &[b"http/1.1"]),
        internal: load::client_config(&root.to_rustls()[0], &[b"http/1.1"]),
        target,
        stop: AtomicBool::new(false),
        done: std::sync::Mutex::default(),
        failures: std::sync::Mutex::default(),
        began: Instant::now(),
        deeds: std::sync::Mutex::default(),
    });
    let runtime = runtime();
    let _inside = runtime.enter();
    let loads = [Load::start(&book.target, 2), Load::start(&scene.target(true), 2)];
    let mut tasks = Vec::new();
    for _ in 0..2 {
        tasks.push(tokio::task::spawn(again(
            Arc::clone(&book),
            "return",
            clients::return_with_ticket,
        )));
        tasks.push(tokio::task::spawn(again(Arc::clone(&book), "download", clients::download)));
        tasks.push(tokio::task::spawn(again(Arc::clone(&book), "upload", clients::upload)));
    }
    for _ in 0..5 {
        let long = clients::long_download;
        tasks.push(tokio::task::spawn(again(Arc::clone(&book), "long download", long)));
        tasks.push(tokio::task::spawn(again(Arc::clone(&book), "slow request", clients::slow)));
        tasks.push(tokio::task::spawn(again(Arc::clone(&book), "WebSocket", clients::talk)));
    }
    let (began, mut samples, mut waited) = (book.began, Vec::new(), Vec::new());
    for minute in 0..minutes {
        for tenth in 1..=6 {
            let more = if minute % 2 == 0 { visitor.as_str() } else { "" };
            waited.extend(act(&book, &mut scene, tenth, &format!("{sites}\n{more}")));
            let until = Duration::from_secs(minute * 60 + tenth * 10);
            std::thread::sleep(until.saturating_sub(began.elapsed()));
            let sample = sample(&scene, began);
            println!(
                "{} s: {} KiB of main and vault, {} KiB of {} processes, {} descriptors",
                sample.second, sample.present, sample.all, sample.processes, sample.descriptors
            );
            samples.push(sample);
        }
    }
    book.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    for load in loads {
        let seen = runtime.block_on(load.stop());
        let times = seen.times.lock().unwrap().clone();
        for (failure, at) in seen.failures.lock().unwrap().iter().zip(times) {
            book.failed("load", failure, at.saturating_duration_since(book.began));
        }
        let mut done = book.done.lock().unwrap();
        *done.entry("requests of loads").or_default() += seen.good.load(Ordering::SeqCst);
        *done.entry("full handshakes of loads").or_default() +=
            seen.connections.load(Ordering::SeqCst);
    }
    let status = scene.keyward.cli(&["status", "--json"]).json();
    if status["degraded"] != serde_json::Value::Null {
        book.fail("status", &status["degraded"]);
    }
    let (done, failures) =
        (book.done.lock().unwrap().clone(), book.failures.lock().unwrap().clone());
    Report { minutes, done, failures, samples, waited }
}

/// What is done to the daemon in this part of a minute, with these `sites` if it is a reload; for how
/// long new connections waited, if it is an upgrade.
fn act(book: &Book, scene: &mut Scene, tenth: u64, sites: &str) -> Option<u64> {
    match tenth {
        1 => {
            book.note("a reload");
            scene.configure(sites);
            scene.keyward.cli(&["reload"]).ok();
        }
        2 => {
            book.note("a renewal");
            drop(scene.renew());
        }
        3 => {
            book.note("the vault is killed");
            kill_vault(scene);
        }
        4 => {
            book.note("an upgrade");
            return scene.keyward.upgrade()["waited"].as_u64();
        }
        _ => {}
    }
    None
}

fn kill_vault(scene: &Scene) {
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let pid = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn sample(scene: &Scene, began: Instant) -> Sample {
    let status = scene.keyward.cli(&["status", "--json"]).json();
    let main = scene.keyward.pid();
    let vault = status["vault"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let all = family(scene);
    Sample {
        second: began.elapsed().as_secs(),
        present: [Some(main), vault].into_iter().flatten().map(pss).sum(),
        all: all.iter().copied().map(pss).sum(),
        processes: all.len(),
        descriptors: std::fs::read_dir(format!("/proc/{main}/fd")).map_or(0, Iterator::count),
    }
}

/// All processes of this daemon's program and state: mains by their configuration, the others by
/// the place of the master key.
fn family(scene: &Scene) -> Vec<i32> {
    let place = scene.keyward.dir.path().display().to_string();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let what = line.split('\0').nth(1).unwrap_or_default();
        ["run", "vault", "vault-keeper"].contains(&what) && line.contains(&place)
    })
    .collect()
}

/// KiB of a process's share of what is resident; 0 for one that is gone.
fn pss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

impl Report {
    pub(crate) fn print(&self) {
        println!("\n{} minutes, {} failures", self.minutes, self.failures.len());
        for (what, count) in &self.done {
            println!("{count:>9} {what}");
        }
        println!("new connections waited in upgrades, ms: {:?}", self.waited);
        println!("\n| part | KiB, main and vault | KiB, all processes | processes | descriptors |");
        println!("|---|---|---|---|---|");
        for (name, part) in
            [("first", self.third(0)), ("second", self.third(1)), ("last", self.third(2))]
        {
            println!(
                "| {name} third | {} | {} | {} | {} |",
                median(part, |s| s.present),
                median(part, |s| s.all),
                median(part, |s| s.processes as u64),
                median(part, |s| s.descriptors as u64)
            );
        }
    }

    /// Whether nothing is a quarter and two MiB, or twenty descriptors, more in the last third
    /// than in the second. The first one fills what has a bound.
    pub(crate) fn is_flat(&self) -> bool {
        let (then, now) = (self.third(1), self.third(2));
        let memory = |of: fn(&Sample) -> u64| median(now, of) <= median(then, of) * 5 / 4 + 2048;
        let descriptors = |part: &[Sample]| median(part, |s| s.descriptors as u64);
        memory(|s| s.present) && memory(|s| s.all) && descriptors(now) <= descriptors(then) + 20
    }

    fn third(&self, number: usize) -> &[Sample] {
        let third = self.samples.len() / 3;
        &self.samples[number * third..(number + 1) * third]
    }
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    let mut all: Vec<u64> = samples.iter().map(of).collect();
    all.sort_unstable();
    all[all.len() / 2]
}
