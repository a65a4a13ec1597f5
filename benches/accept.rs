//! What it costs to take clients in, and to turn them away.
//!
//! `cargo bench --bench accept` (`-- --quick` for a look whether it runs). The first rows are
//! accept loops of their own, as in `edge/accept.rs`, with one thing changed in each: so they show
//! what batches and socket options save. The last ones are the edge itself, with ClientHellos that
//! were made before. CPU is that of the serving thread alone; measurements take turns, and medians
//! are shown. Clients are on the same machine and count in the rate.
//!
//! `-- --first-packet` compares clients that say hello in their first packet (TCP Fast Open) with
//! those that connect first, in a network of its own in which the kernel admits it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::large_futures,
    unused_crate_dependencies,
    dead_code,
    reason = "a benchmark ends at its first surprise, measures time, and uses a part of the kit"
)]

#[path = "../tests/kit/house.rs"]
mod house;
#[path = "../tests/kit/load.rs"]
mod load;
#[path = "../tests/kit/memory.rs"]
mod memory;
#[path = "../tests/kit/threads.rs"]
mod threads;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use keyward::config;
use keyward::os::tcp;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::runtime::LocalOptions;

/// Connections that are opened together, so that the server finds some that wait.
const TOGETHER: usize = 64;

/// How an accept loop differs.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    /// Connections in a row.
    batch: usize,
    /// Whether they wait in the kernel until the client has spoken.
    defer: bool,
    /// Whether each connection is told not to delay, or the listener once.
    each_told: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "32 in a row, deferred (as served)", batch: 32, defer: true, each_told: false },
    Way { name: "one in a row, deferred", batch: 1, defer: true, each_told: false },
    Way { name: "32 in a row, not deferred", batch: 32, defer: false, each_told: false },
    Way { name: "32 in a row, deferred, option on each", batch: 32, defer: true, each_told: true },
];

/// Connections a second, and CPU microseconds of the serving thread for each.
type Figure = (f64, f64);

/// Set in the process that has a network of its own.
const OWN_NETWORK: &str = "KEYWARD_BENCH_NETWORK";

fn main() {
    if std::env::args().any(|argument| argument == "--first-packet") {
        return first_packets();
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, rows) = if quick { (1, 5) } else { (9, 200) };
    let loops: Vec<_> = WAYS.iter().map(|way| Loop::start(*way)).collect();
    let door = Door::open();
    let mut names: Vec<_> = WAYS.iter().map(|way| format!("accept: {}", way.name)).collect();
    names.extend(
        ["unknown name, refused", "known name, turned away", "known name, answered"]
            .map(|name| format!("edge: {name}")),
    );
    let mut figures = vec![Vec::new(); names.len()];
    for _ in 0..rounds {
        for (one, figures) in loops.iter().zip(&mut figures) {
            figures.push(measure(one.way.name, one.address, b"x", rows));
        }
        let hellos = [(&door.unknown, 100), (&door.known, 1), (&door.known, 100)];
        for ((hello, share), figures) in hellos.into_iter().zip(&mut figures[WAYS.len()..]) {
            door.allow(share);
            if share == 1 {
                // Until its share is used up.
                measure("edge-0", door.house.https, hello, rows.min(20));
            }
            figures.push(measure("edge-0", door.house.https, hello, rows));
        }
    }
    println!("{:<48} {:>10} {:>10} {:>8}", "connection", "per second", "CPU us", "spread");
    for (name, figures) in names.iter().zip(&mut figures) {
        figures.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (rate, cpu) = figures[figures.len() / 2];
        let (least, most) = (figures[0].1, figures[figures.len() - 1].1);
        println!("{name:<48} {rate:>10.0} {cpu:>10.1} {least:>6.1}-{most:.1}");
    }
    let stats = door.house.edge.stats();
    let away = stats.turned_away.handshakes + stats.turned_away.busy;
    assert!(away > stats.connections.total / 8, "{stats:?}");
    assert!(stats.handshakes.failed.unknown_name > 0, "{stats:?}");
}

/// Visits up to the server's answer, one after the other, with the hello in the first packet and
/// behind it.
fn first_packets() {
    if std::env::var_os(OWN_NETWORK).is_none() {
        let mut inside = std::process::Command::new("unshare");
        inside.args(["--net", "--map-root-user", "sh", "-c"]);
        inside.arg(
            "ip link set lo up && echo 3 >/proc/sys/net/ipv4/tcp_fastopen && exec \"$0\" \"$@\"",
        );
        inside.arg(std::env::current_exe().unwrap()).args(std::env::args().skip(1));
        assert!(inside.env(OWN_NETWORK, "1").status().unwrap().success());
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, visits) = if quick { (1, 100) } else { (15, 1000) };
    let door = Door::open();
    door.allow(100);
    let ways = ["hello behind the connection", "hello in the first packet"];
    let mut figures = vec![Vec::new(); ways.len()];
    for round in 0..=rounds {
        for (early, figures) in [false, true].into_iter().zip(&mut figures) {
            let (before, begun) = (threads::cpu("edge-0"), Instant::now());
            (0..visits).for_each(|_| door.visit(early));
            let took = begun.elapsed().as_secs_f64() * 1e6 / f64::from(visits);
            let spent = (threads::cpu("edge-0") - before) / f64::from(visits);
            // The first one brings the cookie.
            if round > 0 {
                figures.push((took, spent));
            }
        }
    }
    println!("{:<34} {:>14} {:>12}", "visit up to the first answer", "took us", "CPU us");
    for (name, figures) in ways.iter().zip(&figures) {
        let middle = |pick: fn(&Figure) -> f64| {
            let mut all: Vec<f64> = figures.iter().map(pick).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!("{name:<34} {:>14.1} {:>12.1}", middle(|f| f.0), middle(|f| f.1));
    }
}

/// An accept loop on a thread of its own, named as its way.
struct Loop {
    way: Way,
    address: SocketAddr,
}

impl Loop {
    fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let option = socket2::SockRef::from(&listener);
        option.set_tcp_nodelay(!way.each_told).unwrap();
        tcp::set_defer_accept(&listener, i32::from(way.defer)).unwrap();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
                .unwrap();
            runtime.block_on(serve(way, listener));
        };
        // The kernel keeps 15 octets.
        std::thread::Builder::new().name(thread_name(way.name)).spawn(serve).unwrap();
        Self { way, address }
    }
}

/// A name of at most 15 octets that is its own.
fn thread_name(name: &str) -> String {
    if name == "edge-0" {
        return name.to_owned();
    }
    let at = WAYS.iter().position(|way| way.name == name).unwrap();
    format!("accept-{at}")
}

async fn serve(way: Way, listener: TcpListener) {
    let listener = tcp::watch(listener).unwrap();
    loop {
        let mut ready = listener.readable().await.unwrap();
        let mut empty = false;
        for _ in 0..way.batch {
            let Ok((stream, _)) = tcp::accept(listener.get_ref()) else {
                empty = true;
                break;
            };
            if way.each_told {
                stream.set_nodelay(true).unwrap();
            }
            let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
            drop(tokio::task::spawn_local(async move {
                let _ = stream.read(&mut [0; 1]).await;
            }));
        }
        if empty {
            ready.clear_ready();
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Opens `rows` times [`TOGETHER`] connections, says `first` on each, and waits for its end or for
/// an answer.
fn measure(server: &str, address: SocketAddr, first: &[u8], rows: usize) -> Figure {
    let name = thread_name(server);
    let (before, begun) = (threads::cpu(&name), Instant::now());
    for _ in 0..rows {
        let streams: Vec<_> = (0..TOGETHER).map(|_| TcpStream::connect(address).unwrap()).collect();
        for mut stream in &streams {
            // A reset may be there already.
            let _ = stream.write_all(first);
        }
        for mut stream in &streams {
            let _ = stream.read(&mut [0; 1]);
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    let took = begun.elapsed().as_secs_f64();
    // What is left to do for the last ones.
    std::thread::sleep(Duration::from_millis(20));
    let count = (rows * TOGETHER) as f64;
    (count / took, (threads::cpu(&name) - before) / count)
}

/// The edge, and what clients say to it.
struct Door {
    house: house::House,
    known: Vec<u8>,
    unknown: Vec<u8>,
}

impl Door {
    fn open() -> Self {
        let limits = config::Edge { workers: 1, ..house::limits() };
        let origin = "127.0.0.1:1".parse().unwrap();
        let ca = memory::MemoryCa::new();
        let certificates = vec![ca.issue(&["a.example"])];
        let sites = vec![house::site(&["a.example"], origin)];
        let house = house::House::with(ca, sites, limits, certificates);
        let hello = |name: &str| {
            let config = load::client_config(&house.ca.root(), &[b"http/1.1"]);
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let mut client = rustls::ClientConnection::new(config, name).unwrap();
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            bytes
        };
        let (known, unknown) = (hello("a.example"), hello("b.example"));
        Self { house, known, unknown }
    }

    /// One hello and the beginning of what comes back.
    fn visit(&self, early: bool) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let to = self.house.https.into();
        let sent = if early {
            socket.send_to_with_flags(&self.known, &to, libc::MSG_FASTOPEN).unwrap()
        } else {
            socket.connect(&to).unwrap();
            socket.send(&self.known).unwrap()
        };
        assert_eq!(sent, self.known.len());
        let mut stream = TcpStream::from(socket);
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Lets handshakes take so much of the worker's time.
    fn allow(&self, share: u8) {
        let mut config = self.house.config.clone();
        (config.edge.handshake_share, config.edge.network_share) = (share, 100);
        self.house.edge.publish(&config);
    }
}
