//! A million names: what opening their store costs, what a look-up and a change cost, how much of
//! the disk a name takes, and what the daemon needs to serve them, beside one that has one name.
//!
//! `cargo bench --bench million`, or `-- --names 10000` for less, `-- --quick` to see that it runs.
//! Certificates and keys are distinct, one for each name; all are signed by one intermediate. They
//! are laid into the store as imported ones; their keys are sealed under the master key of the
//! daemon. `--keys 4000` shares so many among all names, which takes less time and leaves the traces
//! away: they are about keys. Other sizes: `--lookups`, `--handshakes` of each kind in a round,
//! `--rounds`, `--changes`, `--requests` of a trace. The room for opened keys is the same share of
//! them as the default is of a million.
//!
//! A million names take 6 GB in the temporary directory, and some minutes, most of them to make the
//! certificates; `--keep DIR` makes them there and finds them there the next time. CPU is that of both processes, from the kernel's accounting of their threads, in
//! rounds of all kinds in turn; medians. In a trace one request in ten is by a client that goes
//! through all names one after the other; it is not counted, as it hits nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::large_futures,
    reason = "a benchmark ends at its first surprise, measures time and prints its figures"
)]

#[path = "../../tests/kit/daemon.rs"]
mod daemon;
mod making;
mod raw;
mod trace;

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::admin::wire::transfer::ImportOrder;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Catalog as _;
use keyward::store::Catalog;
use keyward::store::Store;
use keyward::vault::MasterKeySource;
use keyward::vault::import_box;
use keyward::vault::import_box::Label;
use keyward::vault::keys;
use keyward::vault::keys::OpenKey;
use keyward::vault::seal::Sealer;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;

use self::making::Issuer;
use self::making::chain;
use self::making::name;

/// Bytes of memory for a P-256 key that is open; what 64 MiB hold of a million is the share that
/// is open here of however many there are.
const OPEN_KEY: usize = 480;
const OPEN_SHARE: f64 = 0.1398;

/// Names that are asked for so often that everything is at hand for them.
const BUSY: usize = 500;

/// Of the names, so many have room for their keys in a trace.
const TRACE_SHARE: f64 = 0.01;

/// How much is done.
struct Sizes {
    names: usize,
    keys: usize,
    lookups: usize,
    /// Handshakes of each kind in a round.
    handshakes: usize,
    rounds: usize,
    requests: usize,
    changes: usize,
}

/// A daemon with so many names.
struct World {
    house: daemon::Keyward,
    /// The daemon's state directory.
    state: PathBuf,
    names: usize,
    sealer: Sealer,
    /// For opened keys, as the configuration has it.
    room: String,
    processes: Vec<(&'static str, i32)>,
}

fn main() {
    let quick = std::env::args().any(|one| one == "--quick");
    let names = argument("--names", if quick { 2000 } else { 1_000_000 });
    let sizes = Sizes {
        names,
        keys: argument("--keys", names).min(names),
        lookups: argument("--lookups", if quick { 1000 } else { 20_000 }),
        handshakes: argument("--handshakes", if quick { 50 } else { 500 }),
        rounds: argument("--rounds", if quick { 2 } else { 15 }),
        requests: argument("--requests", if quick { 2000 } else { 100_000 }),
        changes: argument("--changes", if quick { 5 } else { 50 }),
    };
    let kept = word("--keep").map(|dir| {
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::canonicalize(dir).unwrap()
    });
    let issuer = making::issuer(kept.as_deref());
    let client = client(&issuer, rustls::DEFAULT_VERSIONS);

    let mut one = World::new(1, 1, &issuer, None);
    let mut many = World::new(sizes.names, sizes.keys, &issuer, kept.as_deref());
    many.rooms(sizes.lookups);
    let alone = one.start(&client, "one name");
    let all = many.start(&client, &format!("{names} names"));
    println!(
        "memory of a name: {:.1} bytes in both processes",
        (all as f64 - alone as f64) * 1024.0 / names as f64
    );
    handshakes(&one, &many, &client, &sizes);
    many.memory("after handshakes");
    many.changes(&client, &issuer, &sizes);
    if sizes.keys < names {
        println!("names share keys: no traces");
    } else {
        many.traces(&issuer, &sizes);
    }
    // What is kept is closed in order.
    assert!(many.house.terminate().success());
}

/// Room for so many keys, as the configuration has it.
fn room(keys: f64) -> String {
    format!("cache = \"{}KiB\"", (keys as usize * OPEN_KEY).div_ceil(1024).max(256))
}

/// What stands behind `name` on the command line.
fn word(name: &str) -> Option<String> {
    std::env::args().skip_while(|one| one != name).nth(1)
}

/// The number behind `name` on the command line.
fn argument(name: &str, default: usize) -> usize {
    word(name).map_or(default, |value| value.parse().expect("a number"))
}

impl World {
    /// A state with so many names, and nobody at work on it; below `kept` if it is to be kept.
    fn new(names: usize, keys: usize, issuer: &Issuer, kept: Option<&Path>) -> Self {
        let house = daemon::Keyward::new(
            "accept_terms = true",
            &format!(
                "[[site]]\nnames = [\"default.internal\"]\norigin = \"http://127.0.0.1:9\"\n\
                 default = true\n[vault]\n{}\n[edge]\nhandshake_share = 100\n",
                room(keys as f64 * OPEN_SHARE)
            ),
        );
        house.edit("level = \"debug\"", "level = \"warn\"");
        let state = kept.map_or_else(|| house.state(), |kept| kept.join(format!("{names}-{keys}")));
        house.edit(&house.state().display().to_string(), &state.display().to_string());
        let vault = state.join("vault");
        std::fs::create_dir_all(&vault).unwrap();
        let master = MasterKeySource::CreateIfMissing(vault.join("master.key")).load().unwrap();
        let sealer = Sealer::under(master.present, None).unwrap();
        // Written when all is made.
        let made = state.join("made");
        if made.exists() {
            println!("{names} names, {keys} keys: from before");
            std::fs::remove_file(state.join("served/busiest")).ok();
        } else {
            let begun = Instant::now();
            std::fs::remove_dir_all(state.join("store")).ok();
            making::fill(&state.join("store"), names, keys, &sealer, issuer);
            println!("{names} names, {keys} keys: made in {:.1} s", begun.elapsed().as_secs_f64());
            std::fs::write(made, "").unwrap();
        }
        let room = room(keys as f64 * OPEN_SHARE);
        Self { house, state, names, sealer, room, processes: Vec::new() }
    }

    /// Store and second copy by themselves.
    fn rooms(&self, lookups: usize) {
        let (dir, served) = (self.state.join("store"), self.state.join("served"));
        let runtime = runtime();
        let begun = Instant::now();
        let store = Store::open(&dir).unwrap();
        drop(runtime.block_on(store.catalog(&served)).unwrap());
        println!("second copy made in {:.1} s", begun.elapsed().as_secs_f64());
        drop(store);
        let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64 / self.names as f64;
        println!(
            "disk of a name: store {:.0} bytes, second copy {:.0} bytes",
            size(&dir.join("keyward.redb")),
            size(&served.join("catalog.redb"))
        );
        let begun = Instant::now();
        let store = Store::open(&dir).unwrap();
        let opened = begun.elapsed();
        let catalog = runtime.block_on(store.catalog(&served)).unwrap();
        println!(
            "opened: store {} us, both {} us",
            opened.as_micros(),
            begun.elapsed().as_micros()
        );

        let mut rng = fastrand::Rng::with_seed(1);
        let one = Identifier::parse(&name(self.names / 2)).unwrap();
        told("look-up of one name", (0..lookups).map(|_| look(&catalog, &one, 1)));
        let any: Vec<_> = (0..lookups).map(|_| name(rng.usize(..self.names))).collect();
        let any: Vec<_> = any.iter().map(|name| Identifier::parse(name).unwrap()).collect();
        told("look-up of any name", any.iter().map(|name| look(&catalog, name, 1)));
        let absent: Vec<_> = (0..lookups).map(|n| format!("m{n}.bench.example")).collect();
        let absent: Vec<_> = absent.iter().map(|name| Identifier::parse(name).unwrap()).collect();
        told("look-up of no name", absent.iter().map(|name| look(&catalog, name, 0)));
    }

    /// Starts the daemon, and gives the KiB that both processes take at rest.
    fn start(&mut self, client: &Arc<ClientConfig>, what: &str) -> u64 {
        let begun = Instant::now();
        self.house.spawn();
        let mut own = false;
        while begun.elapsed() < Duration::from_secs(120) {
            if let Some(shown) = shake(client, self.house.https, &name(self.names / 3)) {
                own = shown;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        println!(
            "{what}: first handshake after {} ms, with {} certificate",
            begun.elapsed().as_millis(),
            if own { "the name's own" } else { "another" }
        );
        let status =
            daemon::eventually("the admin socket answers", Duration::from_secs(60), || {
                let said = self.house.cli(&["status", "--json"]);
                said.status.success().then(|| said.json())
            });
        println!("{what}: status after {} ms", begun.elapsed().as_millis());
        let vault = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
        self.processes = vec![("main", self.house.pid()), ("vault", vault)];
        self.memory(&format!("{what}, at rest"))
    }

    /// Starts it once more with another `room` for keys, and nothing at hand from before.
    fn anew(&mut self, room: String, client: &Arc<ClientConfig>, what: &str) {
        assert!(self.house.terminate().success());
        std::fs::remove_file(self.state.join("served/busiest")).ok();
        self.house.edit(&self.room, &room);
        self.room = room;
        self.start(client, what);
    }

    /// Keys at hand as clients ask for them.
    fn traces(&mut self, issuer: &Issuer, sizes: &Sizes) {
        let client = client(issuer, rustls::DEFAULT_VERSIONS);
        let older = self::client(issuer, &[&rustls::version::TLS12]);
        for exponent in [0.9, 1.1] {
            self.anew(room(self.names as f64 * TRACE_SHARE), &client, &format!("Zipf {exponent}"));
            trace::trace(self, &older, exponent, sizes.requests);
            self.memory("after the trace");
        }
    }

    fn memory(&self, when: &str) -> u64 {
        let mut told = Vec::new();
        let mut all = 0;
        for (name, pid) in &self.processes {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let of = |field: &str| -> u64 {
                let line = rollup.lines().find(|line| line.starts_with(field)).unwrap();
                line.split_whitespace().nth(1).unwrap().parse().unwrap()
            };
            all += of("Rss:");
            let (rss, own) = (of("Rss:") as f64 / 1024.0, of("Private_Dirty:") as f64 / 1024.0);
            told.push(format!("{name} {rss:.1} MiB ({own:.1} of it private and written)"));
        }
        println!("memory {when}: {}, together {:.1} MiB", told.join(", "), all as f64 / 1024.0);
        all
    }

    /// CPU of main and of the vault so far.
    fn cpu(&self) -> [Duration; 2] {
        [cpu(self.processes[0].1), cpu(self.processes[1].1)]
    }

    /// What the vault has done so far, by name.
    fn figures(&self) -> impl Fn(&str) -> u64 + use<> {
        let status = self.house.cli(&["status", "--json"]).json();
        move |name| status["vault"]["figures"][name].as_u64().unwrap()
    }

    /// Microseconds of CPU of main and vault for each full handshake.
    fn burst(&self, client: &Arc<ClientConfig>, numbers: &[usize]) -> [f64; 2] {
        let before = self.cpu();
        for number in numbers {
            let own = shake(client, self.house.https, &name(*number));
            assert_eq!(own, Some(true), "{}", name(*number));
        }
        let after = self.cpu();
        [0, 1].map(|n| (after[n] - before[n]).as_secs_f64() * 1e6 / numbers.len() as f64)
    }

    /// A certificate brought anew for a name that has one, as `keyward import` asks for it.
    fn changes(&self, client: &Arc<ClientConfig>, issuer: &Issuer, sizes: &Sizes) {
        let public = import_box::public_of(&self.sealer).unwrap();
        let written = || {
            let io = std::fs::read_to_string(format!("/proc/{}/io", self.processes[0].1)).unwrap();
            let of = |field: &str| -> u64 {
                let line = io.lines().find(|line| line.starts_with(field)).unwrap();
                line.split_whitespace().nth(1).unwrap().parse().unwrap()
            };
            (of("wchar:"), of("syscw:"))
        };
        let (before, used) = (written(), self.cpu());
        let (mut times, mut syncs, mut sync) = (Vec::new(), Vec::new(), raw::sync(&self.state));
        for change in 0..sizes.changes {
            let number = self.names / sizes.changes.max(1) * change;
            let pkcs8 = keys::generate(KeyAlgorithm::P256).unwrap();
            let usage = KeyUsage::Tls;
            let (open, spki) = OpenKey::from_pkcs8(KeyAlgorithm::P256, usage, &pkcs8).unwrap();
            let label = Label { algorithm: KeyAlgorithm::P256, usage, key: open.id };
            let made = import_box::seal(&public, label, &pkcs8).unwrap();
            let order = ImportOrder {
                chain: chain(number, (1 << 40) + change as u64, &spki, issuer).to_pem(),
                key: open.id.to_hex(),
                key_algorithm: KeyAlgorithm::P256,
                exportable: false,
                force: false,
                encapsulated: STANDARD.encode(made.encapsulated),
                sealed: STANDARD.encode(made.sealed),
            };
            let body = serde_json::to_string(&order).unwrap();
            let begun = Instant::now();
            let said = self.post("/v1/import", &body);
            times.push(begun.elapsed());
            syncs.push(sync());
            assert!(said.starts_with("HTTP/1.1 2"), "{said}");
            assert!(said.contains("\"replaced\""), "{said}");
            assert_eq!(shake(client, self.house.https, &name(number)), Some(true));
        }
        let (after, spent) = (written(), self.cpu());
        told("change of one, as the admin socket answers it", times.into_iter());
        told("a page written and synced by itself, in between", syncs.into_iter());
        let of = |n: u64| n as f64 / sizes.changes.max(1) as f64;
        let both = (spent[0] + spent[1]) - (used[0] + used[1]);
        println!(
            "change of one: {:.1} KiB written by {:.1} calls, CPU {:.0} us with a handshake",
            of(after.0 - before.0) / 1024.0,
            of(after.1 - before.1),
            both.as_secs_f64() * 1e6 / sizes.changes.max(1) as f64
        );
    }

    fn post(&self, path: &str, body: &str) -> String {
        let mut socket = UnixStream::connect(self.house.dir.path().join("run/admin.sock")).unwrap();
        write!(
            socket,
            "POST {path} HTTP/1.1\r\nHost: keyward\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        said
    }
}

/// One name alone against one of many, busy ones of many, and ones never asked for before.
fn handshakes(one: &World, many: &World, client: &Arc<ClientConfig>, sizes: &Sizes) {
    let mut rng = fastrand::Rng::with_seed(3);
    let names = sizes.names;
    let busy: Vec<_> = (0..BUSY.min(names)).map(|n| (n * 7919 + 5) % names).collect();
    let mut fresh: Vec<_> = (0..names).collect();
    rng.shuffle(&mut fresh);
    let mut fresh = fresh.into_iter().cycle();
    one.burst(client, &vec![0; sizes.handshakes]);
    many.burst(client, &busy);
    many.burst(client, &busy);
    let mut all: [Vec<[f64; 2]>; 4] = Default::default();
    let mut raw = raw::Raw::new(names);
    let mut alone = Vec::new();
    for _ in 0..sizes.rounds {
        let any: Vec<_> = (0..sizes.handshakes).map(|_| busy[rng.usize(..busy.len())]).collect();
        let new: Vec<_> = fresh.by_ref().take(sizes.handshakes).collect();
        all[0].push(one.burst(client, &vec![0; sizes.handshakes]));
        all[1].push(many.burst(client, &vec![busy[0]; sizes.handshakes]));
        all[2].push(many.burst(client, &any));
        all[3].push(many.burst(client, &new));
        alone.push([raw.burst(sizes.handshakes), 0.0]);
    }
    let median = |rounds: &[[f64; 2]], of: fn(&[f64; 2]) -> f64| {
        let mut values: Vec<_> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let base = median(&all[0], |both| both[0] + both[1]);
    let kinds = ["the one name there is", "one of many", "500 busy ones of many", "a new one each"];
    println!("| full handshakes with | CPU us | of it main | of it vault | against one name |");
    println!("|---|---|---|---|---|");
    for (kind, rounds) in kinds.iter().zip(&all) {
        let sum = median(rounds, |both| both[0] + both[1]);
        let (main, vault) = (median(rounds, |both| both[0]), median(rounds, |both| both[1]));
        println!(
            "| {kind} | {sum:.0} | {main:.0} | {vault:.0} | {:+.0} us, {:+.1} % |",
            sum - base,
            (sum / base - 1.0) * 100.0
        );
    }
    let raw = median(&alone, |one| one[0]);
    let miss = median(&all[3], |both| both[0] + both[1]) - base;
    println!(
        "a sealed key read, opened and made ready by a loop: {raw:.1} us; a new one each adds {:.1} \
         times that",
        miss / raw
    );
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn look(catalog: &Catalog, host: &Identifier, expected: usize) -> Duration {
    let begun = Instant::now();
    let found = catalog.candidates(host).unwrap();
    let took = begun.elapsed();
    assert_eq!(found.len(), expected, "{host}");
    took
}

fn told(what: &str, all: impl Iterator<Item = Duration>) {
    let mut all: Vec<_> = all.collect();
    all.sort();
    let at = |share: usize| all[(all.len() - 1) * share / 100].as_micros();
    println!("{what}: median {} us, 99 % within {} us, worst {} us", at(50), at(99), at(100));
}

fn client(issuer: &Issuer, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(keyward::base::tls::provider());
    let mut config = config
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// One full handshake: whether the name's own certificate was shown; `None` when nobody answers.
fn shake(client: &Arc<ClientConfig>, port: u16, name: &str) -> Option<bool> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let host = name.to_owned().try_into().unwrap();
    let mut tls = ClientConnection::new(Arc::clone(client), host).unwrap();
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut tcp) {
            let refused = error.kind() == std::io::ErrorKind::InvalidData;
            return refused.then_some(false);
        }
    }
    tls.send_close_notify();
    let _ = tls.complete_io(&mut tcp).and_then(|_| tcp.flush());
    Some(true)
}

/// What the threads of a process have used so far, in the kernel's nanoseconds.
fn cpu(pid: i32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |thread: std::fs::DirEntry| -> u64 {
        let told = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        told.split_whitespace().next().map_or(0, |nanos| nanos.parse().unwrap())
    };
    Duration::from_nanos(threads.map(|thread| of(thread.unwrap())).sum())
}
