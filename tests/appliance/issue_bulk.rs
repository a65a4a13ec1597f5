//! Many certificates from a file: interrupted and killed on either side, and begun again until each was
//! issued once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use keyward::cert::chain::Chain;
use keyward::vault::key_file::KeyFile;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::daemon::BINARY;
use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::issue_api::CLIENT;
use crate::issue_api::balance;
use crate::issue_api::ledger;
use crate::issue_api::office;
use crate::scene::Scene;
use crate::terminal::Terminal;

/// Kills of the daemon while it issues, unless `KEYWARD_KILLS` says how many.
const KILLS: usize = 25;

/// A run of `keyward issue --file`, which ends when it is dropped.
struct Bulk(Child);

impl Bulk {
    fn begin(keyward: &Keyward, file: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command
            .arg("--socket")
            .arg(keyward.dir.path().join("run/admin.sock"))
            .args(["issue", "--client", CLIENT, "--file"])
            .arg(file)
            .args(more)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Every certificate of the client: its id, and whether it is there.
fn certificates(keyward: &Keyward) -> BTreeMap<String, (bool, String)> {
    let listed = keyward.cli(&["list", "--all", "--json"]).json();
    let mut found = BTreeMap::new();
    for one in listed["certificates"].as_array().unwrap() {
        if one["issue"]["client"] == CLIENT {
            let id = one["id"].as_str().unwrap().to_owned();
            let claim = one["issue"]["claim"].as_str().unwrap().to_owned();
            assert!(found.insert(id, (!one["installed"].is_null(), claim)).is_none());
        }
    }
    found
}

/// Whether the books say the same as the certificates: each sum is right, each certificate has its
/// entries, and each entry its certificate.
fn settled(keyward: &Keyward) {
    // A balance, the entries and the list are three looks: it is looked again if something went on.
    for _ in 0..200 {
        let (before, entries) = (balance(keyward), ledger(keyward));
        let (certificates, after) = (certificates(keyward), balance(keyward));
        if before != after || entries != ledger(keyward) {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (what, certificate) in entries.iter().filter(|(_, of)| !of.is_empty()) {
            of.entry(certificate).or_default().push(what);
        }
        let [_, reserved, consumed] = after;
        let count = |claim: &str| {
            u64::try_from(certificates.values().filter(|(_, is)| is == claim).count()).unwrap()
        };
        assert_eq!((reserved, consumed), (count("reserved"), count("consumed")), "{entries:?}");
        for (id, (installed, claim)) in &certificates {
            let entries = of.remove(id.as_str()).unwrap_or_default();
            // What came to nothing before was given back.
            let mut rest = &entries[..];
            while let ["reserved", "refunded", tail @ ..] = rest {
                rest = tail;
            }
            let expected: &[&str] = match claim.as_str() {
                "consumed" => &["reserved", "consumed"],
                "reserved" => &["reserved"],
                _ => &[],
            };
            assert_eq!((*installed, rest), (claim == "consumed", expected), "{id} {claim}");
        }
        assert!(of.is_empty(), "entries without a certificate: {of:?}");
        return;
    }
    panic!("something goes on all the time");
}

fn names(dir: &Path, count: usize) -> std::path::PathBuf {
    let text: String = (0..count).map(|number| format!("n{number}.example\n")).collect();
    let file = dir.join("names.txt");
    fs::write(&file, text).unwrap();
    file
}

/// One run to its end.
fn finish(scene: &Scene, file: &Path, more: &[&str]) -> crate::daemon::Said {
    let mut arguments = vec!["issue", "--client", CLIENT, "--file", file.to_str().unwrap()];
    arguments.extend(more);
    scene.keyward.cli(&arguments)
}

#[test]
fn a_file_is_issued_once_through_interruptions_and_kills_of_either_side() {
    const COUNT: usize = 60;
    let mut scene = office(100, |_| {});
    let dir = scene.keyward.dir.path().to_owned();
    let (file, out) = (names(&dir, COUNT), dir.join("out"));
    fs::create_dir(&out).unwrap();
    let report = dir.join("report.csv");
    let more = ["--out", out.to_str().unwrap(), "--report", report.to_str().unwrap()];
    let issued = |scene: &Scene, least: usize| {
        eventually("some are issued", Duration::from_secs(240), || {
            (scene.pebble.certificates() >= least).then_some(())
        });
    };
    // Interrupted, as by a person.
    let mut bulk = Bulk::begin(&scene.keyward, &file, &more);
    issued(&scene, 5);
    bulk.signal(Signal::SIGINT);
    let status = eventually("it ends", Duration::from_secs(60), || bulk.ended());
    assert_eq!(status.code(), Some(75));
    // Killed, while it is at it.
    let bulk = Bulk::begin(&scene.keyward, &file, &more);
    issued(&scene, 15);
    bulk.signal(Signal::SIGKILL);
    drop(bulk);
    // The daemon killed beneath it: it waits, and goes on.
    let mut bulk = Bulk::begin(&scene.keyward, &file, &more);
    issued(&scene, 25);
    scene.keyward.kill9();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bulk.ended(), None, "it waits for the daemon");
    scene.keyward.start();
    issued(&scene, 35);
    drop(bulk);
    // A CA that looked for a proof while nobody was there is asked again in a minute or more.
    let said = eventually("everything is issued", Duration::from_secs(900), || {
        let said = finish(&scene, &file, &more);
        said.status.success().then_some(said.out)
    });
    assert!(said.contains("60 of 60 issued"), "{said}");

    assert_eq!(scene.pebble.certificates(), COUNT, "each was issued once");
    assert_eq!(balance(&scene.keyward), [40, 0, 60]);
    settled(&scene.keyward);
    for number in 0..COUNT {
        let read =
            |ending: &str| fs::read(out.join(format!("n{number}.example.{ending}"))).unwrap();
        let leaf = Chain::from_pem(&read("crt")).unwrap().leaf().unwrap();
        assert_eq!(leaf.names[0].to_string(), format!("n{number}.example"));
        assert_eq!(KeyFile::from_pem(&read("key")).unwrap().id, leaf.key);
    }
    let told = fs::read_to_string(&report).unwrap();
    assert_eq!(told.lines().count(), COUNT + 1);
    assert!(told.starts_with("line,names,outcome,certificate,serial,not_after,reason"), "{told}");

    // Once more: nothing is ordered, in any order of the lines.
    let text = fs::read_to_string(&file).unwrap();
    let turned: Vec<&str> = text.lines().rev().collect();
    fs::write(&file, turned.join("\n")).unwrap();
    finish(&scene, &file, &more).ok();
    assert_eq!(scene.pebble.certificates(), COUNT);
}

#[test]
fn bad_lines_are_told_before_anything_is_ordered_and_the_status_says_all_some_or_none() {
    let scene = office(2, |settings| settings.blocked = vec!["blocked.example".to_owned()]);
    let dir = scene.keyward.dir.path();
    let file = dir.join("some.csv");
    let run = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        finish(&scene, &file, more)
    };
    let said = run("names,key\na.example,\nb..example,\nc.example,dsa\n", &[]);
    assert_eq!(said.status.code(), Some(65), "{said:?}");
    assert!(said.err.contains("line 3:") && said.err.contains("line 4:"), "{said:?}");
    assert_eq!((scene.pebble.orders(), balance(&scene.keyward)), (0, [2, 0, 0]));
    let said = run("names\na.example\nb.example\nc.example\n", &["--dry-run"]);
    assert_eq!((said.status.code(), scene.pebble.orders()), (Some(1), 0), "{said:?}");
    assert!(said.out.contains("more than is left"), "{said:?}");
    let said = run("names\nx.blocked.example\n", &[]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let said = run("names\na.example\nx.blocked.example\nb.example\nc.example\n", &["--json"]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let outcomes: Vec<_> =
        told.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    // Two were to be had: the third is refused with the balance.
    assert_eq!(outcomes.iter().filter(|word| **word == "issued").count(), 2, "{told}");
    assert!(said.out.contains("pack grant panel"), "{told}");
    let said = run("names\na.example\n", &[]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    settled(&scene.keyward);
}

#[test]
fn a_bar_at_a_terminal_says_how_far_it_is_and_that_it_waits_for_the_limits_of_the_ca() {
    let mut scene = office(5, |_| {});
    scene.keyward.terminate();
    scene.configure_with("limits = { orders = \"2/2h\" }\n", "[allowance]\nsingle = 5\n");
    scene.keyward.start();
    let file = names(scene.keyward.dir.path(), 3);
    // In the place of the shell, whose status an interrupt would become.
    let line = format!(
        "exec env COLUMNS=120 {BINARY} --socket {} issue --client {CLIENT} --file {}",
        scene.keyward.dir.path().join("run/admin.sock").display(),
        file.display()
    );
    let mut terminal = Terminal::begin(&line);
    terminal.press("] 2/3", "");
    terminal.press("used up", "\u{3}");
    let (shown, status) = terminal.end();
    assert_eq!(status.code(), Some(75), "{shown}");
    assert!(shown.contains("2 of 3 issued, 1 pending"), "{shown}");
    assert!(shown.contains("interrupted after 2 of 3"), "{shown}");
    assert_eq!(scene.pebble.certificates(), 2);
}

/// A draw that need not be a good one.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's, TAOCP volume 2, section 3.3.4.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn the_books_balance_after_every_kill_and_nothing_is_issued_twice() {
    let kills = std::env::var("KEYWARD_KILLS").ok().and_then(|text| text.parse().ok());
    let kills: usize = kills.unwrap_or(KILLS);
    let seed = std::env::var("KEYWARD_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(17);
    let mut draw = Draw(seed);
    // So many that there is always something under way, and not more than are issued in the end.
    let count = 40 + 2 * kills;
    let mut scene = office(u32::try_from(count + 10).unwrap(), |_| {});
    let dir = scene.keyward.dir.path().to_owned();
    let file = names(&dir, count);
    let mut bulk = Bulk::begin(&scene.keyward, &file, &[]);
    for number in 0..kills {
        if bulk.ended().is_some() {
            bulk = Bulk::begin(&scene.keyward, &file, &[]);
        }
        let begin = Instant::now();
        let pause = Duration::from_millis(20 + draw.below(1200));
        std::thread::sleep(pause);
        scene.keyward.kill9();
        scene.keyward.start();
        settled(&scene.keyward);
        println!("kill {number} after {pause:?}, {:?}", begin.elapsed());
    }
    drop(bulk);
    // A CA that looked for a proof while nobody was there is asked again in a minute or more.
    let said = eventually("everything is issued", Duration::from_secs(1800), || {
        let said = finish(&scene, &file, &["--json"]);
        said.status.success().then_some(said.out)
    });
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    let mut serials: Vec<_> =
        told.as_array().unwrap().iter().map(|row| row["serial"].as_str().unwrap()).collect();
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), count);
    settled(&scene.keyward);
    let [_, reserved, consumed] = balance(&scene.keyward);
    assert_eq!((reserved, consumed), (0, u64::try_from(count).unwrap()));
    // What Pebble signed is what is in the store, and no more.
    assert_eq!(scene.pebble.certificates(), count, "seed {seed}");
}
