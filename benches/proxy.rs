//! What the front door costs: requests through the proxy over TLS, against the origin asked
//! directly, and full handshakes with keys in memory.
//!
//! `cargo bench --bench proxy`. Everything runs on loopback in this one process; server time is
//! the CPU time of the edge's worker thread alone, so the load generator and the origin do not
//! count. The measurements take turns, and medians are shown, because machines are noisy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/memory.rs"]
mod memory;
#[path = "../tests/kit/origin.rs"]
mod origin;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyward::base::SystemClock;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::ports::Signers;
use keyward::cert::ports::TicketSeal;
use keyward::cert::spec::IssuerName;
use keyward::config;
use keyward::edge::tickets::Tickets;
use keyward::edge::{Edge, EdgeOptions, listen};
use keyward::vault::ticket::RawTicketKey;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const ROUNDS: usize = 7;
const REQUESTS: usize = 4000;
const BULK: usize = 256 * 1024 * 1024;
const HANDSHAKES: usize = 400;
const NAME: &str = "a.example";

struct Bench {
    runtime: Runtime,
    edge: SocketAddr,
    origin: origin::Origin,
    ca: memory::MemoryCa,
    _edge: Edge,
}

/// A name and how to measure it once.
type Row = (&'static str, fn(&Bench) -> Figure);

/// One measurement: operations a second, and CPU microseconds of the edge for each.
type Figure = (f64, f64);

fn main() {
    let bench = Bench::open();
    let rows: [Row; 7] = [
        ("origin directly, h1 keep-alive, 1 KiB, 1 client", |b| b.direct(1)),
        ("proxy, h1 keep-alive, 1 KiB, 1 client", |b| b.h1(1, NAME)),
        ("proxy, h1 keep-alive, 1 KiB, 16 clients", |b| b.h1(16, NAME)),
        ("proxy, h2, 1 KiB, 1 connection, 10 streams", |b| b.h2(10)),
        ("full handshake, TLS 1.3, P-256, X25519MLKEM768", |b| b.handshakes(false)),
        ("resumed handshake, same", |b| b.handshakes(true)),
        ("proxy, h1, bulk, per MiB", Bench::bulk),
    ];
    let mut figures = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, measure), figures) in rows.iter().zip(&mut figures) {
            figures.push(measure(&bench));
        }
    }
    println!("{:<50} {:>10} {:>14} {:>8}", "operation", "per second", "edge CPU us", "spread");
    for ((name, _), figures) in rows.iter().zip(&figures) {
        let (rate, cpu) = (median(figures, |f| f.0), median(figures, |f| f.1));
        let least = figures.iter().map(|f| f.1).fold(f64::INFINITY, f64::min);
        let most = figures.iter().map(|f| f.1).fold(0.0, f64::max);
        println!("{name:<50} {rate:>10.0} {cpu:>14.1} {least:>6.1}-{most:.1}");
    }
}

fn median(figures: &[Figure], pick: fn(&Figure) -> f64) -> f64 {
    let mut sorted: Vec<f64> = figures.iter().map(pick).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
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
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let origin = origin::Origin::start();
        let ca = memory::MemoryCa::new();
        let limits = config::Edge {
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
        };
        let https = listen::bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
        let edge = https[0].local_addr().unwrap();
        let signers: Arc<dyn Signers> = ca.signers.clone();
        let options = EdgeOptions {
            https,
            http: Vec::new(),
            limits: limits.clone(),
            clock: Arc::new(SystemClock),
            config: Arc::new(configuration(origin.address, limits)),
            catalog: memory::Shelf::of(vec![ca.issue(&[NAME])]),
            tickets: tickets(),
        };
        let started = Edge::start(options, signers).unwrap();
        Self { runtime, edge, origin, ca, _edge: started }
    }

    fn measure<F: Future<Output = usize>>(&self, work: F) -> Figure {
        self.runtime.block_on(async {
            let (before, start) = (edge_cpu(), Instant::now());
            let done = work.await as f64;
            let took = start.elapsed().as_secs_f64();
            (done / took, (edge_cpu() - before) / done)
        })
    }

    fn direct(&self, clients: usize) -> Figure {
        self.measure(async {
            let stream = tokio::net::TcpStream::connect(self.origin.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            requests_h1(TokioIo::new(stream), REQUESTS / clients).await
        })
    }

    fn h1(&self, clients: usize, name: &'static str) -> Figure {
        let config = load::client_config(&self.ca.root(), &[b"http/1.1"]);
        let streams: Vec<_> = self.runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..clients {
                let stream = load::connect(&config, self.edge, name).await.unwrap();
                streams.push(TokioIo::new(stream));
            }
            streams
        });
        self.measure(async {
            let each = streams.into_iter().map(|s| requests_h1(s, REQUESTS / clients));
            let tasks: Vec<_> = each.map(tokio::task::spawn).collect();
            let mut done = 0;
            for task in tasks {
                done += task.await.unwrap();
            }
            done
        })
    }

    fn h2(&self, streams: usize) -> Figure {
        let config = load::client_config(&self.ca.root(), &[b"h2"]);
        let connect = async {
            let stream = load::connect(&config, self.edge, NAME).await.unwrap();
            let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(
                TokioExecutor::new(),
                TokioIo::new(stream),
            )
            .await
            .unwrap();
            tokio::task::spawn(connection);
            sender
        };
        let sender = self.runtime.block_on(connect);
        self.measure(async {
            let tasks: Vec<_> = (0..streams)
                .map(|_| {
                    let mut sender = sender.clone();
                    tokio::task::spawn(async move {
                        for _ in 0..REQUESTS / streams {
                            let request = Request::get(format!("https://{NAME}/bytes/1024"));
                            let request = request.body(Empty::new()).unwrap();
                            let answer = sender.send_request(request).await.unwrap();
                            assert_eq!(answer.status(), 200);
                            answer.into_body().collect().await.unwrap();
                        }
                        REQUESTS / streams
                    })
                })
                .collect();
            let mut done = 0;
            for task in tasks {
                done += task.await.unwrap();
            }
            done
        })
    }

    fn handshakes(&self, resume: bool) -> Figure {
        use tokio::io::AsyncReadExt as _;
        let config = load::client_config(&self.ca.root(), &[b"http/1.1"]);
        self.measure(async {
            for _ in 0..HANDSHAKES {
                // A new configuration has no tickets.
                let config = if resume {
                    Arc::clone(&config)
                } else {
                    load::client_config(&self.ca.root(), &[b"http/1.1"])
                };
                let mut stream = load::connect(&config, self.edge, NAME).await.unwrap();
                // The ticket follows the handshake; both rows take it, so that they compare.
                while stream.get_ref().1.tls13_tickets_received() == 0 {
                    let mut byte = [0; 1];
                    tokio::select! {
                        biased;
                        read = stream.read(&mut byte) => panic!("unasked: {read:?}"),
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
            HANDSHAKES
        })
    }

    fn bulk(&self) -> Figure {
        let config = load::client_config(&self.ca.root(), &[b"http/1.1"]);
        self.measure(async {
            let stream = load::connect(&config, self.edge, NAME).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::task::spawn(connection);
            let request = Request::get(format!("/bytes/{BULK}")).header("host", NAME);
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let mut body = sender.send_request(request).await.unwrap().into_body();
            let mut size = 0;
            while let Some(frame) = body.frame().await {
                size += frame.unwrap().data_ref().map_or(0, Bytes::len);
            }
            assert_eq!(size, BULK);
            BULK / 1024 / 1024
        })
    }
}

async fn requests_h1<T>(io: T, count: usize) -> usize
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::task::spawn(connection);
    for _ in 0..count {
        let request = Request::get("/bytes/1024").header("host", NAME).header("accept", "*/*");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
    }
    count
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

fn configuration(origin: SocketAddr, edge: config::Edge) -> config::Config {
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
            tickets: config::TicketMode::Fast,
            ticket_rotation: Duration::from_secs(3600),
            unknown_names: config::UnknownNames::DefaultSite,
            ktls: config::KernelTls::Auto,
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
            names: vec![Identifier::parse(NAME).unwrap()],
            origin: config::Origin::Http(origin.to_string().parse().unwrap()),
            issuer: IssuerName::Internal,
            key: KeyAlgorithm::P256,
            profile: None,
            hsts: Some(config::Hsts {
                max_age: 63_072_000,
                include_subdomains: false,
                preload: false,
            }),
            redirect: true,
            default: false,
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
