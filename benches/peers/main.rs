//! keyward beside nginx, HAProxy and Caddy: CPU of the whole server, isolation included, for the
//! same work in the same run.
//!
//! `cargo bench --bench peers` (`-- --quick` to see that it runs, `-- --only keyward` for one). It takes
//! those peers that are installed (`apt-get install nginx-light haproxy caddy`), each with one worker
//! on core 0 under the configuration that lies beside this file; clients and origin are on core 1.
//! CPU is the kernel's account of all threads of a server's processes, and memory their share of what is
//! resident. Servers take turns, and medians are shown.
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

#[path = "../../tests/kit/daemon.rs"]
mod daemon;
#[path = "../../tests/kit/origin.rs"]
mod origin;
mod servers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::tls::provider;
use keyward::os::affinity;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::servers::{NAME, Server};

/// Clients at a time.
const CLIENTS: usize = 16;

const REQUEST: &[u8] = b"GET /bytes/1024 HTTP/1.1\r\nHost: a.internal\r\nAccept: */*\r\n\r\n";
const LAST_REQUEST: &[u8] =
    b"GET /bytes/1024 HTTP/1.1\r\nHost: a.internal\r\nConnection: close\r\n\r\n";

/// How much is done in a round.
#[derive(Clone, Copy)]
struct Sizes {
    handshakes: usize,
    requests: usize,
    idle: usize,
}

/// One kind of work: how often it was done.
type Work = fn(&Bench, &Subject, Sizes) -> usize;

struct Bench {
    runtime: tokio::runtime::Runtime,
    all: Vec<Subject>,
}

/// A server, and its clients, of whom each has sessions of its own if it resumes any.
struct Subject {
    server: Server,
    full: Arc<ClientConfig>,
    returning: Vec<Arc<ClientConfig>>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1);
    let (rounds, sizes) = if quick {
        (1, Sizes { handshakes: 320, requests: 1600, idle: 200 })
    } else {
        (9, Sizes { handshakes: 1600, requests: 8000, idle: 2000 })
    };
    // Before anything is started here: threads inherit it.
    affinity::bind_thread(1).expect("this takes two cores");
    let dir = tempfile::tempdir().unwrap();
    let origin = origin::Origin::start();
    let mut all = servers::all(dir.path(), origin.address);
    all.retain(|server| only.is_none_or(|only| server.name == only));
    all.iter().for_each(|server| println!("{}", server.version));
    let bench = Bench::new(all);
    let all = &bench.all;
    let rows: [(&str, Work); 4] = [
        ("full handshake", |b, s, n| b.connections(s, n.handshakes, false, b"")),
        ("resumed handshake", |b, s, n| b.connections(s, n.handshakes, true, b"")),
        ("full handshake and one request", |b, s, n| {
            b.connections(s, n.handshakes, false, LAST_REQUEST)
        }),
        ("request, kept alive, 1 KiB", |b, s, n| b.requests(s, n.requests)),
    ];
    let head: String = all.iter().map(|one| format!("{:>10}", one.server.name)).collect();
    println!("{:<34}{head}{:>26}", "server CPU us", "keyward / best of others");
    for (name, work) in rows {
        let mut figures = vec![Vec::new(); all.len()];
        for round in 0..=rounds {
            for (one, figures) in all.iter().zip(&mut figures) {
                let before = one.server.cpu();
                let done = work(&bench, one, sizes);
                // What is left to do for the last ones.
                std::thread::sleep(Duration::from_millis(30));
                // The first round makes everything warm.
                if round > 0 {
                    figures.push((one.server.cpu() - before) / done as f64);
                }
            }
        }
        tell(name, figures.iter_mut().map(|figures| median(figures)).collect());
    }
    let (silent, asked) = all.iter().map(|one| bench.idle(one, sizes.idle)).unzip();
    tell("KiB of an idle connection", silent);
    tell("the same after a request", asked);
}

fn tell(name: &str, figures: Vec<f64>) {
    let text: String = figures.iter().map(|figure| format!("{figure:>10.1}")).collect();
    let best = figures.iter().skip(1).copied().fold(f64::INFINITY, f64::min);
    println!("{name:<34}{text}{:>20.2} x", figures[0] / best);
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Bench {
    fn new(all: Vec<Server>) -> Self {
        let subject = |server: Server| {
            let full = client(&server, false);
            let returning = (0..CLIENTS).map(|_| client(&server, true)).collect();
            Subject { server, full, returning }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, all: all.into_iter().map(subject).collect() }
    }

    /// Opens so many connections, [`CLIENTS`] at a time, and says `request` on each, which is the
    /// last one; without any, the client says goodbye at once. Either way it hears all that is said.
    fn connections(
        &self,
        one: &Subject,
        count: usize,
        resumed: bool,
        request: &'static [u8],
    ) -> usize {
        let address = one.server.address;
        let each = (0..CLIENTS).map(|client| {
            let config = Arc::clone(if resumed { &one.returning[client] } else { &one.full });
            async move {
                for turn in 0..count / CLIENTS {
                    let mut stream = connect(&config, address).await;
                    let kind = stream.get_ref().1.handshake_kind();
                    assert!(turn == 0 || (kind == Some(HandshakeKind::Resumed)) == resumed);
                    if request.is_empty() {
                        stream.shutdown().await.unwrap();
                    } else {
                        stream.write_all(request).await.unwrap();
                    }
                    let mut heard = Vec::new();
                    // Some end without a farewell.
                    let _ended = stream.read_to_end(&mut heard).await;
                    assert!(request.is_empty() || heard.starts_with(b"HTTP/1.1 200"));
                }
            }
        });
        self.all(each);
        count / CLIENTS * CLIENTS
    }

    fn requests(&self, one: &Subject, count: usize) -> usize {
        let address = one.server.address;
        let each = (0..CLIENTS).map(|_| {
            let config = Arc::clone(&one.full);
            async move {
                let mut stream = connect(&config, address).await;
                for _ in 0..count / CLIENTS {
                    ask(&mut stream).await;
                }
            }
        });
        self.all(each);
        count / CLIENTS * CLIENTS
    }

    /// KiB that an open connection takes, and one that has had an answer.
    ///
    /// Connections are opened before the first look and all are kept until the last one: others that
    /// were open before have left memory free, which would be taken for that of the next ones.
    fn idle(&self, one: &Subject, count: usize) -> (f64, f64) {
        let (held, figures) = self.runtime.block_on(async {
            let mut held = Vec::new();
            let mut figures = Vec::new();
            for request in [REQUEST, b"", REQUEST] {
                let before = one.server.memory();
                for _ in 0..count {
                    let mut stream = connect(&one.full, one.server.address).await;
                    if !request.is_empty() {
                        ask(&mut stream).await;
                    }
                    held.push(stream);
                }
                // Longer than any server takes to give back what only a request needs.
                tokio::time::sleep(Duration::from_secs(3)).await;
                figures.push((one.server.memory() - before) / count as f64);
            }
            (held, figures)
        });
        drop(held);
        std::thread::sleep(Duration::from_secs(1));
        (figures[1], figures[2])
    }

    fn all(&self, tasks: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
        self.runtime.block_on(async {
            let tasks: Vec<_> = tasks.map(tokio::task::spawn).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

async fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap()
}

/// Sends a request and takes the answer.
async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(REQUEST).await.unwrap();
    let mut heard = Vec::with_capacity(4096);
    loop {
        assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "an answer ends early");
        let head = heard.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|at| heard.len() >= at + 4 + 1024) {
            assert!(heard.starts_with(b"HTTP/1.1 200"));
            return;
        }
    }
}

/// A client of this server that has X25519 alone, and resumes or not.
fn client(server: &Server, resumes: bool) -> Arc<ClientConfig> {
    let mut provider = (*provider()).clone();
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    let mut roots = RootCertStore::empty();
    roots.add(server.root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}
