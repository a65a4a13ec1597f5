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

#[path = "../tests/kit/house.rs"]
mod house;
#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/memory.rs"]
mod memory;
#[path = "../tests/kit/origin.rs"]
mod origin;
#[path = "../tests/kit/threads.rs"]
mod threads;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use self::house::House;

const ROUNDS: usize = 7;
const REQUESTS: usize = 4000;
const BULK: usize = 256 * 1024 * 1024;
const HANDSHAKES: usize = 400;
const NAME: &str = "a.example";

struct Bench {
    runtime: Runtime,
    origin: origin::Origin,
    house: House,
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

impl Bench {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let origin = origin::Origin::start();
        let house = House::open(vec![house::site(&[NAME], origin.address)], house::unlimited());
        Self { runtime, origin, house }
    }

    fn measure<F: Future<Output = usize>>(&self, work: F) -> Figure {
        self.runtime.block_on(async {
            let (before, start) = (threads::cpu("edge-0"), Instant::now());
            let done = work.await as f64;
            let took = start.elapsed().as_secs_f64();
            (done / took, (threads::cpu("edge-0") - before) / done)
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
        let config = load::client_config(&self.house.ca.root(), &[b"http/1.1"]);
        let streams: Vec<_> = self.runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..clients {
                let stream = load::connect(&config, self.house.https, name).await.unwrap();
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
        let config = load::client_config(&self.house.ca.root(), &[b"h2"]);
        let connect = async {
            let stream = load::connect(&config, self.house.https, NAME).await.unwrap();
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
        let config = load::client_config(&self.house.ca.root(), &[b"http/1.1"]);
        self.measure(async {
            for _ in 0..HANDSHAKES {
                // A new configuration has no tickets.
                let config = if resume {
                    Arc::clone(&config)
                } else {
                    load::client_config(&self.house.ca.root(), &[b"http/1.1"])
                };
                let mut stream = load::connect(&config, self.house.https, NAME).await.unwrap();
                // Both rows take what the server says until it hangs up, so that they compare.
                stream.shutdown().await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.unwrap();
            }
            HANDSHAKES
        })
    }

    fn bulk(&self) -> Figure {
        let config = load::client_config(&self.house.ca.root(), &[b"http/1.1"]);
        self.measure(async {
            let stream = load::connect(&config, self.house.https, NAME).await.unwrap();
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
