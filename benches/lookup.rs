//! What it costs the front door to find the certificate: for one name, for the busy ones among a
//! million, and for one that nobody asked for yet; and what a kept one takes in memory.
//!
//! `cargo bench --bench lookup [-- --names N] [--quick]`. Full TLS 1.3 handshakes over loopback;
//! counted is the CPU time of the edge's worker thread alone. The catalog is a table in memory, so
//! what a database takes to read comes on top of a miss. Each name has a certificate of its own as
//! far as the edge can tell; the chains are copies of one. Rows take turns, medians are shown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "in a benchmark a panic is the report, and the runtime is its own"
)]

#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/memory.rs"]
mod memory;

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::SystemClock;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::{KeyAlgorithm, SealedKey};
use keyward::cert::ports::{Catalog, Signers, TicketSeal};
use keyward::cert::served::Served;
use keyward::cert::spec::IssuerName;
use keyward::config;
use keyward::edge::tickets::Tickets;
use keyward::edge::{Edge, EdgeOptions, listen};
use keyward::vault::ticket::RawTicketKey;
use rustls::ClientConfig;
use rustls::compress::{CertDecompressor, DecompressionFailed};
use tokio::runtime::Runtime;

/// Names that are asked for again and again.
const BUSY: usize = 500;

struct Bench {
    runtime: Runtime,
    address: SocketAddr,
    plain: Arc<ClientConfig>,
    compressed: Arc<ClientConfig>,
    names: usize,
    handshakes: usize,
    /// The next name that nobody asked for.
    fresh: usize,
    edge: Edge,
}

/// Every name `nX.many.example` has a certificate, and no two have the same.
#[derive(Debug)]
struct Table {
    numbers: HashMap<Box<str>, u32>,
    pattern: Served,
}

impl Catalog for Table {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        let Some(number) = self.numbers.get(host.to_string().as_str()) else {
            return Ok(Vec::new());
        };
        let mut served = self.pattern.clone();
        served.key.sealed = SealedKey([&number.to_be_bytes()[..], &[0; 200]].concat().into());
        Ok(vec![Arc::new(served)])
    }
}

#[derive(Debug)]
struct Expand;

impl CertDecompressor for Expand {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        let mut reader = brotli::Decompressor::new(input, 4096);
        reader.read_exact(output).map_err(|_| DecompressionFailed)
    }

    fn algorithm(&self) -> rustls::CertificateCompressionAlgorithm {
        rustls::CertificateCompressionAlgorithm::Brotli
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let given = arguments.iter().position(|argument| argument == "--names");
    let given = given.and_then(|at| arguments.get(at + 1)).map(|n| n.parse().expect("a number"));
    let names: usize = given.unwrap_or(if quick { 20_000 } else { 1_000_000 });
    let (rounds, handshakes) = if quick { (3, 200) } else { (9, 1000) };
    let mut bench = Bench::open(names.max(10 * BUSY), handshakes);
    type Row = (&'static str, fn(&mut Bench) -> f64);
    let rows: [Row; 5] = [
        ("one name, again and again", |b| b.ask(|_| 0, false)),
        ("the busy names among all", |b| b.ask(|turn| turn % BUSY, false)),
        ("a name that nobody asked for yet", Bench::ask_fresh),
        ("one name, certificate compressed", |b| b.ask(|_| 0, true)),
        ("one name, resumed", Bench::resume),
    ];
    // Everything that is kept is there before anything is measured.
    let before = resident();
    bench.handshakes = if quick { 1000 } else { 4000 };
    bench.ask_fresh();
    let each = (resident() - before) / bench.handshakes as f64;
    bench.handshakes = handshakes;
    for row in &rows {
        row.1(&mut bench);
    }
    let mut figures = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for ((_, measure), figures) in rows.iter().zip(&mut figures) {
            figures.push(measure(&mut bench));
        }
    }
    println!("{} names; {rounds} rounds of {handshakes} handshakes", bench.names);
    println!("{:<40} {:>12} {:>16}", "handshakes for", "edge CPU us", "against the first");
    let medians: Vec<f64> = figures.iter_mut().map(|values| median(values)).collect();
    for ((name, _), cpu) in rows.iter().zip(&medians) {
        println!("{name:<40} {cpu:>12.1} {:>+14.1} %", (cpu / medians[0] - 1.0) * 100.0);
    }
    println!("a certificate kept ready takes {each:.0} octets of memory, not compressed");
    println!("the catalog was asked {} times", bench.edge.stats().certificates.looked_up);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Octets of this process in memory.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096.0
}

/// CPU time of the edge's worker thread so far, in microseconds.
fn edge_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this is Linux");
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() == "edge-0" {
            let line = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanoseconds = line.split(' ').next().and_then(|n| n.parse::<f64>().ok());
            return nanoseconds.unwrap_or_default() / 1000.0;
        }
    }
    0.0
}

impl Bench {
    fn open(names: usize, handshakes: usize) -> Self {
        let ca = memory::MemoryCa::new();
        let numbers = (0..names).map(|n| (name(n).into_boxed_str(), u32::try_from(n).unwrap()));
        let table =
            Table { numbers: numbers.collect(), pattern: (*ca.issue(&["*.many.example"])).clone() };
        let limits = config::Edge { workers: 1, ..limits() };
        let https = listen::bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
        let address = https[0].local_addr().unwrap();
        let signers: Arc<dyn Signers> = ca.signers.clone();
        let options = EdgeOptions {
            https,
            http: Vec::new(),
            limits: limits.clone(),
            clock: Arc::new(SystemClock),
            config: Arc::new(configuration(limits)),
            catalog: Arc::new(table),
            tickets: tickets(),
        };
        let mut plain = (*load::client_config(&ca.root(), &[])).clone();
        plain.cert_decompressors = Vec::new();
        plain.resumption = rustls::client::Resumption::disabled();
        let mut compressed = plain.clone();
        compressed.cert_decompressors = vec![&Expand];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let edge = Edge::start(options, signers).unwrap();
        Self {
            runtime,
            address,
            plain: Arc::new(plain),
            compressed: Arc::new(compressed),
            names,
            handshakes,
            fresh: BUSY,
            edge,
        }
    }

    /// CPU of one handshake, in microseconds.
    fn ask(&self, number: impl Fn(usize) -> usize, compressed: bool) -> f64 {
        let config = if compressed { &self.compressed } else { &self.plain };
        let names: Vec<String> = (0..self.handshakes).map(|turn| name(number(turn))).collect();
        self.shake(&names, config)
    }

    /// The same for names that come up for the first time.
    fn ask_fresh(&mut self) -> f64 {
        let first = self.fresh;
        assert!(first + self.handshakes <= self.names, "too few names: give more with --names");
        self.fresh += self.handshakes;
        self.ask(|turn| first + turn, false)
    }

    fn resume(&mut self) -> f64 {
        let mut config = (*self.plain).clone();
        config.resumption = rustls::client::Resumption::default();
        let config = Arc::new(config);
        let before = self.edge.stats().handshakes.resumed;
        let cpu = self.shake(&vec![name(0); self.handshakes], &config);
        let resumed = self.edge.stats().handshakes.resumed - before;
        assert!(resumed + 2 >= self.handshakes as u64, "{resumed} were resumed");
        cpu
    }

    fn shake(&self, names: &[String], config: &Arc<ClientConfig>) -> f64 {
        use tokio::io::AsyncReadExt as _;
        self.runtime.block_on(async {
            let before = edge_cpu();
            for name in names {
                let mut stream = load::connect(config, self.address, name).await.unwrap();
                // The ticket is the last that the server does for a handshake.
                while stream.get_ref().1.tls13_tickets_received() == 0 {
                    let mut byte = [0; 1];
                    tokio::select! {
                        biased;
                        read = stream.read(&mut byte) => panic!("unasked: {read:?}"),
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
            (edge_cpu() - before) / names.len() as f64
        })
    }
}

fn name(number: usize) -> String {
    format!("n{number}.many.example")
}

fn limits() -> config::Edge {
    config::Edge {
        workers: 1,
        handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        origin_idle: 64,
        max_connections: 10_000,
        network_share: 100,
        handshake_share: 100,
        drain_timeout: Duration::from_secs(10),
        request_ids: config::RequestIds::Off,
    }
}

/// A ticket key as main holds it.
fn tickets() -> Tickets {
    #[derive(Debug)]
    struct NoVault;
    impl TicketSeal for NoVault {
        fn seal(&self, _: &[u8; 32], _: &[u8]) -> Option<Vec<u8>> {
            None
        }
        fn open(&self, _: &[u8; 32], _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }
    let tickets = Tickets::default();
    let key = RawTicketKey { name: [1; 16], key: Some(zeroize::Zeroizing::new([7; 32])) };
    let day = Duration::from_secs(24 * 3600);
    tickets.use_keys(&[key], &(Arc::new(NoVault) as Arc<dyn TicketSeal>), day, day);
    tickets
}

fn configuration(edge: config::Edge) -> config::Config {
    config::Config {
        acme: config::Acme {
            directory: "https://ca.example/dir".to_owned(),
            contact: Vec::new(),
            accept_terms: true,
            challenges: Vec::new(),
            ca_root: None,
            profile: None,
            eab: None,
            renewal_info: true,
        },
        listen: config::Listen { https: Vec::new(), http: Vec::new(), proxy_from: Vec::new() },
        state: config::State { dir: "/nonexistent".into() },
        admin: config::Admin { socket: "/nonexistent".into(), group: None },
        vault: config::Vault {
            master_key: config::MasterKey::Auto,
            cache: 1 << 20,
            require: config::Require::Available,
        },
        tls: config::Tls {
            ktls: config::KernelTls::Auto,
            tickets: config::TicketMode::Fast,
            ticket_rotation: Duration::from_secs(3600),
            unknown_names: config::UnknownNames::DefaultSite,
        },
        edge,
        log: config::Log { level: "info".to_owned(), format: config::LogFormat::Text },
        access_log: config::AccessLog {
            to: None,
            format: config::AccessFormat::Json,
            queries: false,
            sample: 1,
        },
        sites: vec![config::Site {
            names: vec![Identifier::parse("default.example").unwrap()],
            origin: config::Origin::Welcome,
            issuer: IssuerName::Internal,
            key: KeyAlgorithm::P256,
            profile: None,
            hsts: None,
            redirect: true,
            default: true,
            preserve_host: true,
            second_key: None,
            reuse_key: false,
            early_data: false,
            access_log: true,
            tls: config::Agreement::default(),
            clients: None,
            exportable: false,
            line: 0,
        }],
        source: None,
    }
}
