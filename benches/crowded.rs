//! What everybody else notices of ten thousand idle connections and a thousand slow ones.
//!
//! `cargo bench --bench crowded` (`-- --quick` to see that it runs). Requests are asked one after the
//! other on a few connections that stay open, before the crowd is there and while it is: the slowest
//! hundredth may take twice as long as before, not more. Half of the slow ones say their request in small
//! pieces, half take a long answer in small pieces; both go on as long as it is measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "a benchmark ends at its first surprise, measures time, and has a runtime of its own"
)]

#[path = "../tests/kit/daemon.rs"]
mod daemon;
#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/origin.rs"]
mod origin;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustls::ClientConfig;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const NAME: &str = "crowd.internal";

/// Connections on which it is measured.
const OTHERS: usize = 4;

/// Handshakes of the crowd that are under way at a time.
const AT_ONCE: usize = 16;

struct Sizes {
    idle: usize,
    slow: usize,
    requests: usize,
    rounds: usize,
}

/// Where everybody goes.
#[derive(Clone)]
struct Way {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

impl Way {
    async fn connect(&self) -> TlsStream<TcpStream> {
        load::connect(&self.config, self.address, NAME).await.unwrap()
    }
}

fn main() {
    let quick = std::env::args().any(|one| one == "--quick");
    let sizes = match quick {
        true => Sizes { idle: 200, slow: 50, requests: 200, rounds: 1 },
        false => Sizes { idle: 10_000, slow: 1000, requests: 2000, rounds: 3 },
    };
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, most) = nix::sys::resource::getrlimit(limit).unwrap();
    nix::sys::resource::setrlimit(limit, most, most).unwrap();
    let origin = origin::Origin::start();
    let site = format!(
        "[edge]\nmax_connections = 20000\nnetwork_share = 100\nhandshake_share = 100\n\
         idle_timeout = \"1h\"\n[[site]]\nnames = [\"{NAME}\"]\norigin = \"http://{}\"\n\
         issuer = \"internal\"\n",
        origin.address
    );
    let mut keyward = daemon::Keyward::new("", &site);
    keyward.edit("level = \"debug\"", "level = \"info\"");
    keyward.start();
    keyward.wait_issued(NAME);
    let root = keyward.cli(&["trust", "--print"]).ok();
    let root = keyward::cert::chain::Chain::from_pem(root.as_bytes()).unwrap();
    let way = Way {
        config: load::client_config(&root.to_rustls()[0], &[b"http/1.1"]),
        address: SocketAddr::from(([127, 0, 0, 1], keyward.https)),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut quiet, mut crowded) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let _warm = measure(&way, sizes.requests / 4).await;
        for _ in 0..sizes.rounds {
            quiet.push(measure(&way, sizes.requests).await);
        }
        let idle = crowd(&way, sizes.idle).await;
        let goes_on = Arc::new(AtomicBool::new(true));
        let (busy, broken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        for number in 0..sizes.slow {
            let (way, goes_on) = (way.clone(), Arc::clone(&goes_on));
            let (busy, broken) = (Arc::clone(&busy), Arc::clone(&broken));
            drop(tokio::task::spawn(async move {
                while goes_on.load(Ordering::SeqCst) {
                    let stream = way.connect().await;
                    busy.fetch_add(1, Ordering::SeqCst);
                    let went = if number % 2 == 0 {
                        slow_to_speak(stream).await
                    } else {
                        slow_to_listen(stream, &goes_on).await
                    };
                    busy.fetch_sub(1, Ordering::SeqCst);
                    if went.is_err() && goes_on.load(Ordering::SeqCst) {
                        broken.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }));
        }
        while busy.load(Ordering::SeqCst) < sizes.slow * 9 / 10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..sizes.rounds {
            crowded.push(measure(&way, sizes.requests).await);
        }
        let status = keyward.cli(&["status", "--json"]).json();
        println!(
            "open connections: {}, of which {} rest; slow ones under way: {}, cut off: {}",
            status["edge"]["connections.open"],
            status["edge"]["connections.resting"],
            busy.load(Ordering::SeqCst),
            broken.load(Ordering::SeqCst)
        );
        assert_eq!(broken.load(Ordering::SeqCst), 0, "who is slow within the limits is served");
        goes_on.store(false, Ordering::SeqCst);
        drop(idle);
    });
    println!("| requests of the others, us | p50 | p99 |\n|---|---|---|");
    let show = |what: &str, all: &[(u64, u64)]| {
        let (p50, p99) = (median(all.iter().map(|x| x.0)), median(all.iter().map(|x| x.1)));
        println!("| {what} | {p50} | {p99} |");
        p99
    };
    let before = show("quiet", &quiet);
    let among = format!("among {} idle and {} slow ones", sizes.idle, sizes.slow);
    let during = show(&among, &crowded);
    println!("p99: {:.2} times the quiet one", during as f64 / before as f64);
}

/// Median and slowest hundredth of so many requests, in microseconds.
async fn measure(way: &Way, requests: usize) -> (u64, u64) {
    let mut tasks = Vec::new();
    for _ in 0..OTHERS {
        let way = way.clone();
        tasks.push(tokio::task::spawn(async move {
            let mut stream = way.connect().await;
            let mut times = Vec::with_capacity(requests / OTHERS);
            for _ in 0..requests / OTHERS {
                let began = Instant::now();
                ask(&mut stream).await;
                times.push(u64::try_from(began.elapsed().as_micros()).unwrap());
                // Nobody else is measured than who has something to say now and then.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    let request = format!("GET /bytes/1000 HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "hung up");
        seen.extend_from_slice(&buffer[..read]);
        // The last chunk of a streamed answer, or its whole length.
        let head = seen.windows(4).position(|four| four == b"\r\n\r\n");
        if seen.ends_with(b"0\r\n\r\n") || head.is_some_and(|at| seen.len() >= at + 4 + 1000) {
            return;
        }
    }
}

/// So many connections that have asked once, and say nothing more.
async fn crowd(way: &Way, count: usize) -> Vec<TlsStream<TcpStream>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let some = (0..AT_ONCE.min(count - all.len())).map(|_| async {
            let mut stream = way.connect().await;
            ask(&mut stream).await;
            stream
        });
        all.extend(futures_util::future::join_all(some).await);
    }
    all
}

/// A request in pieces over some seconds, within the time for a head.
async fn slow_to_speak(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    for part in request.as_bytes().chunks(10) {
        stream.write_all(part).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
}

/// A long answer in pieces.
async fn slow_to_listen(
    mut stream: TlsStream<TcpStream>,
    goes_on: &AtomicBool,
) -> std::io::Result<()> {
    let request = format!("GET /bytes/50000000 HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = [0; 2048];
    while goes_on.load(Ordering::SeqCst) {
        if stream.read(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

fn median(all: impl Iterator<Item = u64>) -> u64 {
    let mut all: Vec<u64> = all.collect();
    all.sort_unstable();
    all[all.len() / 2]
}
