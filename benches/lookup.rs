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
    clippy::large_futures,
    reason = "in a benchmark a panic is the report, and the runtime is its own"
)]

#[path = "../tests/kit/house.rs"]
mod house;
#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/memory.rs"]
mod memory;
#[path = "../tests/kit/threads.rs"]
mod threads;

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;

use keyward::cert::identifier::Identifier;
use keyward::cert::key::SealedKey;
use keyward::cert::ports::{Catalog, Signers};
use keyward::cert::served::Served;
use keyward::config;
use rustls::ClientConfig;
use rustls::compress::{CertDecompressor, DecompressionFailed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use self::house::House;

/// Names that are asked for again and again.
const BUSY: usize = 500;

struct Bench {
    runtime: Runtime,
    house: House,
    plain: Arc<ClientConfig>,
    compressed: Arc<ClientConfig>,
    names: usize,
    handshakes: usize,
    /// The next name that nobody asked for.
    fresh: usize,
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
    println!("the catalog was asked {} times", bench.house.edge.stats().certificates.looked_up);
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

impl Bench {
    fn open(names: usize, handshakes: usize) -> Self {
        let ca = memory::MemoryCa::new();
        let numbers = (0..names).map(|n| (name(n).into_boxed_str(), u32::try_from(n).unwrap()));
        let table =
            Table { numbers: numbers.collect(), pattern: (*ca.issue(&["*.many.example"])).clone() };
        let mut default = house::site(&["default.example"], "127.0.0.1:1".parse().unwrap());
        (default.default, default.origin) = (true, config::Origin::Welcome);
        let nothing = memory::Shelf::of(Vec::new());
        let found = (nothing, Arc::new(table) as Arc<dyn Catalog>);
        let signers: Arc<dyn Signers> = ca.signers.clone();
        let house = House::over((ca, signers), vec![default], house::unlimited(), found);
        let mut plain = (*load::client_config(&house.ca.root(), &[])).clone();
        plain.cert_decompressors = Vec::new();
        plain.resumption = rustls::client::Resumption::disabled();
        let mut compressed = plain.clone();
        compressed.cert_decompressors = vec![&Expand];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            runtime,
            house,
            plain: Arc::new(plain),
            compressed: Arc::new(compressed),
            names,
            handshakes,
            fresh: BUSY,
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
        let before = self.house.edge.stats().handshakes.resumed;
        let cpu = self.shake(&vec![name(0); self.handshakes], &config);
        let resumed = self.house.edge.stats().handshakes.resumed - before;
        assert!(resumed + 2 >= self.handshakes as u64, "{resumed} were resumed");
        cpu
    }

    fn shake(&self, names: &[String], config: &Arc<ClientConfig>) -> f64 {
        self.runtime.block_on(async {
            let before = threads::cpu("edge-0");
            for name in names {
                let mut stream = load::connect(config, self.house.https, name).await.unwrap();
                // The ticket comes before the server hangs up.
                stream.shutdown().await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.unwrap();
            }
            (threads::cpu("edge-0") - before) / names.len() as f64
        })
    }
}

fn name(number: usize) -> String {
    format!("n{number}.many.example")
}
