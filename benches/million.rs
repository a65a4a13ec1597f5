//! A store of a million names: what opening it costs, what a look-up and a change cost, how much of
//! the disk a name takes, and what the daemon needs to serve it.
//!
//! `cargo bench --bench million`, or `-- --names 10000` for less. The certificates are distinct, each
//! with a name of its own, signed by one intermediate; their keys are drawn from a pool
//! (`--keys 4000`), because a million keys take the vault an hour to make. So what is told of the
//! cache of opened keys is told of the pool, of which it holds a part.

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

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use keyward::base::Timestamp;
use keyward::cert::chain::Chain;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::lifecycle::Phase;
use keyward::cert::ports::Catalog as _;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::served::Served;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::cert::validity::RenewalWindow;
use keyward::store::Catalog;
use keyward::store::Store;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
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

fn main() {
    let names = argument("--names", 1_000_000);
    let keys = argument("--keys", 4000).min(names);
    let lookups = argument("--lookups", 20_000);
    let handshakes = argument("--handshakes", 2000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut house = daemon::Keyward::new(
        "accept_terms = true",
        "[[site]]\nnames = [\"default.internal\"]\norigin = \"http://127.0.0.1:9\"\ndefault = true\n\
         [vault]\ncache = \"256KiB\"\n",
    );
    house.edit("level = \"debug\"", "level = \"warn\"");
    let issuer = issuer();
    let state = house.state();
    let begun = Instant::now();
    let pool = pool(&state.join("vault"), keys);
    println!("{names} names, {keys} keys made in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    runtime.block_on(fill(&state.join("store"), names, &pool, &issuer));
    println!("store made in {:.1} s", begun.elapsed().as_secs_f64());
    runtime.block_on(rooms(&state, names, lookups, &pool, &issuer));
    serve(&mut house, names, handshakes, &issuer);
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

/// Keys sealed under the master key that the daemon will have.
fn pool(dir: &Path, keys: usize) -> Vec<KeyHandle> {
    std::fs::create_dir_all(dir).unwrap();
    let vault = Vault::start(VaultOptions {
        exe: Path::new(daemon::BINARY).to_owned(),
        master: MasterKeySource::CreateIfMissing(dir.join("master.key")),
        cache_bytes: 1 << 20,
        workers: 1,
        cores: vec![None],
        gates: true,
        strict: false,
    })
    .unwrap();
    let make = || vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
    std::iter::repeat_with(make).take(keys).collect()
}

fn name(number: usize) -> String {
    format!("n{number}.bench.example")
}

fn now() -> Timestamp {
    use keyward::base::Clock as _;
    keyward::base::SystemClock.now()
}

/// The certificate number `number`, as it is held after an import.
fn record(number: usize, key: &KeyHandle, issuer: &Issuer) -> Certificate {
    let mut params = CertificateParams::new(vec![name(number)]).unwrap();
    let at = |moment: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.as_unix())
    };
    params.not_before = at(now().minus(DAY));
    params.not_after = at(now().plus(DAY * 90));
    params.serial_number = Some((number as u64).into());
    // The point is what follows the fixed head of the subject public key info.
    let public = Public(key.spki[key.spki.len() - 65..].to_vec());
    let leaf = params.signed_by(&public, issuer).unwrap().der().to_vec();
    let chain = Chain::from_der(vec![leaf, issuer.der().to_vec()]).unwrap();
    let installed = Installed::read(chain, now()).unwrap();
    assert_eq!(installed.key, key.id);
    let names = vec![Identifier::parse(&name(number)).unwrap()];
    let spec =
        Specification::new(names, IssuerName::Imported, KeyAlgorithm::P256, None, Role::Imported);
    let renew_at = now().plus(DAY * 60);
    let window = RenewalWindow::new(renew_at, now().plus(DAY * 70)).unwrap();
    let phase = Phase::Holding { renew_at, window, recheck_at: None };
    Certificate { spec, phase, installed: Some(installed), revision: 0 }
}

async fn fill(dir: &Path, names: usize, pool: &[KeyHandle], issuer: &Issuer) {
    let store = Store::open(dir).unwrap();
    let mut keys = pool.to_vec();
    let mut number = 0;
    while number < names {
        let until = (number + PORTION).min(names);
        let records = (number..until).map(|n| record(n, &pool[n % pool.len()], issuer)).collect();
        store.add_all(records, std::mem::take(&mut keys), vec![]).await.unwrap();
        number = until;
    }
}

/// Store and second copy by themselves.
async fn rooms(state: &Path, names: usize, lookups: usize, pool: &[KeyHandle], issuer: &Issuer) {
    let (dir, served) = (state.join("store"), state.join("served"));
    let begun = Instant::now();
    let store = Store::open(&dir).unwrap();
    let opened = begun.elapsed();
    let begun = Instant::now();
    drop(store.catalog(&served).await.unwrap());
    println!("second copy made in {:.1} s", begun.elapsed().as_secs_f64());
    drop(store);
    let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64 / names as f64;
    println!("store: {:.0} bytes a name", size(&dir.join("keyward.redb")));
    println!("second copy: {:.0} bytes a name", size(&served.join("catalog.redb")));
    let begun = Instant::now();
    let store = Store::open(&dir).unwrap();
    let catalog = store.catalog(&served).await.unwrap();
    let both = begun.elapsed();
    println!(
        "opened: store {} us, then store and copy {} us",
        opened.as_micros(),
        both.as_micros()
    );

    let mut rng = fastrand::Rng::with_seed(1);
    let one = Identifier::parse(&name(names / 2)).unwrap();
    told("look-up of one name", (0..lookups).map(|_| look(&catalog, &one, 1)));
    let any: Vec<_> = (0..lookups).map(|_| name(rng.usize(..names))).collect();
    let any: Vec<_> = any.iter().map(|name| Identifier::parse(name).unwrap()).collect();
    told("look-up of any name", any.iter().map(|name| look(&catalog, name, 1)));
    let absent: Vec<_> = (0..lookups).map(|n| format!("m{n}.bench.example")).collect();
    let absent: Vec<_> = absent.iter().map(|name| Identifier::parse(name).unwrap()).collect();
    told("look-up of no name", absent.iter().map(|name| look(&catalog, name, 0)));

    let (mut stores, mut copies) = (Vec::new(), Vec::new());
    for number in (0..names).step_by((names / 40).max(1)) {
        let key = &pool[number % pool.len()];
        let mut changed = record(number, key, issuer);
        let begun = Instant::now();
        let read = store.certificate(changed.id()).await.unwrap().unwrap();
        changed.revision = read.revision;
        let stored = store.update(changed, vec![]).await.unwrap();
        stores.push(begun.elapsed());
        let begun = Instant::now();
        let (id, spec) = (stored.id(), stored.spec.clone());
        let installed = stored.installed.clone().unwrap();
        let served = Served { id, spec, installed, key: key.clone() };
        catalog.stage(id, Some(Arc::new(served)), stored.revision);
        let settled = catalog.flush().unwrap();
        copies.push(begun.elapsed());
        store.settle(settled).await;
    }
    told("change of one, in the store", stores.into_iter());
    told("change of one, in the second copy", copies.into_iter());
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

/// The daemon on that state.
fn serve(house: &mut daemon::Keyward, names: usize, handshakes: usize, issuer: &Issuer) {
    let client = client(issuer);
    let begun = Instant::now();
    house.spawn();
    let mut own = false;
    while begun.elapsed() < Duration::from_secs(120) {
        if let Some(shown) = shake(&client, house.https, &name(names / 3)) {
            own = shown;
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    println!(
        "daemon: first handshake after {} ms, with {} certificate",
        begun.elapsed().as_millis(),
        if own { "the name's own" } else { "another" }
    );
    let status = daemon::eventually("the admin socket answers", Duration::from_secs(60), || {
        let said = house.cli(&["status", "--json"]);
        said.status.success().then(|| said.json())
    });
    let vault = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    let processes = [("main", house.pid()), ("vault", vault)];
    memory("at rest", &processes);
    let mut rng = fastrand::Rng::with_seed(2);
    let one = vec![names / 2; handshakes];
    let any: Vec<_> = (0..handshakes).map(|_| rng.usize(..names)).collect();
    burst("one name", house, &client, &processes, &one);
    burst("any name, uniformly", house, &client, &processes, &any);
    for exponent in [0.9, 1.1] {
        let zipf = Zipf::new(names, exponent);
        let mut scanned = 0;
        let mix: Vec<_> = (0..handshakes)
            .map(|number| {
                // A fourth of all by a client that goes through the names one by one.
                if number % 4 == 3 {
                    scanned += 1;
                    (names / 7 + scanned) % names
                } else {
                    zipf.draw(&mut rng)
                }
            })
            .collect();
        burst(&format!("Zipf {exponent} and a scan"), house, &client, &processes, &mix);
    }
    memory("after that", &processes);
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

/// Full handshakes with `numbers`, in turn: time, CPU of both processes, and what the vault had at
/// hand.
fn burst(
    what: &str,
    house: &daemon::Keyward,
    client: &Arc<ClientConfig>,
    processes: &[(&str, i32)],
    numbers: &[usize],
) {
    let figures = || {
        let status = house.cli(&["status", "--json"]).json();
        let of = |name: &str| status["vault"]["figures"][name].as_u64().unwrap_or(0);
        (of("hits"), of("misses"))
    };
    let cpu = || processes.iter().map(|(_, pid)| cpu(*pid)).sum::<Duration>();
    let ((hits, misses), before) = (figures(), cpu());
    let mut own = 0;
    let mut times = Vec::with_capacity(numbers.len());
    for number in numbers {
        let begun = Instant::now();
        own += usize::from(shake(client, house.https, &name(*number)) == Some(true));
        times.push(begun.elapsed());
    }
    let used = cpu() - before;
    let (hits, misses) = {
        let (h, m) = figures();
        (h - hits, m - misses)
    };
    println!(
        "{what}: {own} of {} with the name's own certificate, CPU {:.0} us each, keys at hand {:.1} %",
        numbers.len(),
        used.as_secs_f64() * 1e6 / numbers.len() as f64,
        hits as f64 * 100.0 / (hits + misses).max(1) as f64,
    );
    told(&format!("{what}, seen by the client"), times.into_iter());
}

/// User and system time of a process, in the kernel's hundredths of a second.
fn cpu(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks = rest.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn memory(when: &str, processes: &[(&str, i32)]) {
    let mut all = 0;
    for (name, pid) in processes {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let of = |field: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        all += of("Rss:");
        println!("memory {when}: {name} {} KiB resident, {} KiB its own", of("Rss:"), of("Pss:"));
    }
    println!("memory {when}: {} MiB resident together", all / 1024);
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
