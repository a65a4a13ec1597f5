//! A million names: what opening their store costs, what a look-up and a change cost, how much of
//! the disk a name takes, and what the daemon needs to serve them, beside one that has one name.
//!
//! `cargo bench --bench million`, or `-- --names 10000` for less, `-- --quick` to see that it runs.
//! Certificates and keys are distinct, one for each name; all are signed by one intermediate. They
//! are laid into the store as imported ones; their keys are sealed under the master key of the
//! daemon (`--keys 4000` shares so many among all names, which takes less time). The room for
//! opened keys is the same share of them as the default is of a million.
//!
//! CPU is that of both processes, from the kernel's accounting of their threads, in rounds of all
//! kinds in turn; medians. In a trace one request in ten is by a client that goes through all names
//! one after the other; it is not counted, as it hits nothing.

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

#[path = "../tests/kit/daemon.rs"]
mod daemon;

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::admin::wire::transfer::ImportOrder;
use keyward::base::Timestamp;
use keyward::cert::chain::Chain;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::lifecycle::Phase;
use keyward::cert::ports::Catalog as _;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::cert::validity::RenewalWindow;
use keyward::store::Catalog;
use keyward::store::Store;
use keyward::vault::MasterKeySource;
use keyward::vault::import_box;
use keyward::vault::import_box::Label;
use keyward::vault::keys;
use keyward::vault::keys::OpenKey;
use keyward::vault::seal::Content;
use keyward::vault::seal::Sealer;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;

/// Records that are written in one transaction while the store is made.
const PORTION: usize = 5000;
const DAY: Duration = Duration::from_secs(86_400);

/// Bytes of memory for a P-256 key that is open; what 64 MiB hold of a million is the share that
/// is open here of however many there are.
const OPEN_KEY: usize = 480;
const OPEN_SHARE: f64 = 0.1398;

/// Names that are asked for so often that everything is at hand for them.
const BUSY: usize = 500;

/// One request of a trace in so many is the scanner's.
const SCANS: usize = 10;

type Issuer = CertifiedIssuer<'static, KeyPair>;

struct Public(Vec<u8>);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

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
    names: usize,
    sealer: Sealer,
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
        requests: argument("--requests", if quick { 400 } else { 200_000 }),
        changes: argument("--changes", if quick { 5 } else { 50 }),
    };
    let issuer = issuer();
    let client = client(&issuer);

    let mut one = World::new(1, 1, &issuer);
    let mut many = World::new(sizes.names, sizes.keys, &issuer);
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
    for exponent in [0.9, 1.1] {
        many.trace(&client, exponent, sizes.requests);
        many.memory("after the trace");
    }
}

/// The number behind `name` on the command line.
fn argument(name: &str, default: usize) -> usize {
    let mut all = std::env::args().skip_while(|one| one != name).skip(1);
    all.next().map_or(default, |value| value.parse().expect("a number"))
}

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "A bench's intermediate");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A key, sealed as the daemon's vault would.
fn key(sealer: &Sealer) -> KeyHandle {
    let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Tls);
    let pkcs8 = keys::generate(algorithm).unwrap();
    let (open, spki) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8).unwrap();
    let content = Content::Key { usage, algorithm, id: open.id };
    let sealed = sealer.seal(content, &pkcs8).unwrap();
    KeyHandle { id: open.id, algorithm, usage, spki: spki.into(), sealed: SealedKey(sealed.into()) }
}

fn name(number: usize) -> String {
    format!("n{number}.bench.example")
}

fn now() -> Timestamp {
    use keyward::base::Clock as _;
    keyward::base::SystemClock.now()
}

/// Leaf and intermediate for this name and key.
fn chain(number: usize, serial: u64, spki: &[u8], issuer: &Issuer) -> Chain {
    let mut params = CertificateParams::new(vec![name(number)]).unwrap();
    let at = |moment: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.as_unix())
    };
    params.not_before = at(now().minus(DAY));
    params.not_after = at(now().plus(DAY * 90));
    params.serial_number = Some(serial.into());
    // The point is what follows the fixed head of the subject public key info.
    let public = Public(spki[spki.len() - 65..].to_vec());
    let leaf = params.signed_by(&public, issuer).unwrap().der().to_vec();
    Chain::from_der(vec![leaf, issuer.der().to_vec()]).unwrap()
}

/// The certificate number `number`, as it is held after an import.
fn record(number: usize, key: &KeyHandle, issuer: &Issuer) -> Certificate {
    let installed = Installed::read(chain(number, number as u64, &key.spki, issuer), now());
    let installed = installed.unwrap();
    assert_eq!(installed.key, key.id);
    let names = vec![Identifier::parse(&name(number)).unwrap()];
    let spec =
        Specification::new(names, IssuerName::Imported, KeyAlgorithm::P256, None, Role::Imported);
    let renew_at = now().plus(DAY * 60);
    let window = RenewalWindow::new(renew_at, now().plus(DAY * 70)).unwrap();
    let phase = Phase::Holding { renew_at, window, recheck_at: None };
    Certificate { spec, phase, installed: Some(installed), revision: 0 }
}

impl World {
    /// A state with so many names, and nobody at work on it.
    fn new(names: usize, keys: usize, issuer: &Issuer) -> Self {
        let house = daemon::Keyward::new(
            "accept_terms = true",
            &format!(
                "[[site]]\nnames = [\"default.internal\"]\norigin = \"http://127.0.0.1:9\"\n\
                 default = true\n[vault]\ncache = \"{}KiB\"\n",
                (keys as f64 * OPEN_SHARE) as usize * OPEN_KEY / 1024 + 256
            ),
        );
        house.edit("level = \"debug\"", "level = \"warn\"");
        let vault = house.state().join("vault");
        std::fs::create_dir_all(&vault).unwrap();
        let master = MasterKeySource::CreateIfMissing(vault.join("master.key")).load().unwrap();
        let sealer = Sealer::under(master.present, None).unwrap();
        let begun = Instant::now();
        let world = Self { house, names, sealer, processes: Vec::new() };
        runtime().block_on(world.fill(keys, issuer));
        println!("{names} names, {keys} keys: made in {:.1} s", begun.elapsed().as_secs_f64());
        world
    }

    async fn fill(&self, keys: usize, issuer: &Issuer) {
        let store = Store::open(&self.house.state().join("store")).unwrap();
        let mut shared = Vec::new();
        let mut number = 0;
        while number < self.names {
            let until = (number + PORTION).min(self.names);
            let mut fresh = Vec::new();
            let mut records = Vec::new();
            for n in number..until {
                if n < keys {
                    let key = key(&self.sealer);
                    records.push(record(n, &key, issuer));
                    if keys < self.names {
                        shared.push(key.clone());
                    }
                    fresh.push(key);
                } else {
                    records.push(record(n, &shared[n % keys], issuer));
                }
            }
            store.add_all(records, fresh, vec![]).await.unwrap();
            number = until;
        }
    }

    /// Store and second copy by themselves.
    fn rooms(&self, lookups: usize) {
        let (dir, served) = (self.house.state().join("store"), self.house.state().join("served"));
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

    /// Keys that were at hand and that were not.
    fn figures(&self) -> (u64, u64) {
        let status = self.house.cli(&["status", "--json"]).json();
        let of = |name: &str| status["vault"]["figures"][name].as_u64().unwrap_or(0);
        (of("hits"), of("misses"))
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

    /// Requests as many clients make them, and a scanner.
    fn trace(&mut self, client: &Arc<ClientConfig>, exponent: f64, requests: usize) {
        assert!(self.house.terminate().success());
        // With nothing at hand from before.
        std::fs::remove_file(self.house.state().join("served/busiest")).ok();
        self.start(client, &format!("Zipf {exponent}"));
        let zipf = Zipf::new(self.names, exponent);
        let mut rng = fastrand::Rng::with_seed(2);
        let mut scanned = 0;
        let mut before = (0, 0);
        for number in 0..requests {
            if number == requests / 2 {
                before = self.figures();
            }
            let wanted = if number % SCANS == SCANS - 1 {
                scanned += 1;
                (self.names / 7 + scanned) % self.names
            } else {
                zipf.draw(&mut rng)
            };
            shake(client, self.house.https, &name(wanted)).unwrap();
        }
        let after = self.figures();
        let counted = (requests - requests / 2) as u64;
        let (hits, misses) = (after.0 - before.0, after.1 - before.1);
        let scans = counted / SCANS as u64;
        println!(
            "Zipf {exponent} and a scanner, second half of {requests} requests: keys at hand \
             {:.1} % ({hits} hits, {misses} misses, {scans} of the scanner)",
            // The signature that follows a miss finds the key, so every handshake has its hit.
            hits.saturating_sub(misses) as f64 * 100.0 / (counted - scans) as f64
        );
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
        let mut times = Vec::new();
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
            assert!(said.starts_with("HTTP/1.1 2"), "{said}");
            assert!(said.contains("\"replaced\""), "{said}");
            assert_eq!(shake(client, self.house.https, &name(number)), Some(true));
        }
        let (after, spent) = (written(), self.cpu());
        told("change of one, as the admin socket answers it", times.into_iter());
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
    for _ in 0..sizes.rounds {
        let any: Vec<_> = (0..sizes.handshakes).map(|_| busy[rng.usize(..busy.len())]).collect();
        let new: Vec<_> = fresh.by_ref().take(sizes.handshakes).collect();
        all[0].push(one.burst(client, &vec![0; sizes.handshakes]));
        all[1].push(many.burst(client, &vec![busy[0]; sizes.handshakes]));
        all[2].push(many.burst(client, &any));
        all[3].push(many.burst(client, &new));
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

fn client(issuer: &Issuer) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(keyward::base::tls::provider());
    let mut config = config
        .with_safe_default_protocol_versions()
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

/// Numbers of which the n-th is drawn with a weight of n to the power of minus `exponent`.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|n| {
            sum += (n as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let at = rng.f64() * self.0.last().unwrap();
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}
