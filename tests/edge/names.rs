//! Hosts of origins by name: looked up beside the requests, moved while connections are open, and
//! kept while no name server answers.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyward::config;
use keyward::config::{Address, Origin as Behind};

use crate::house::{House, limits, site};

/// A name server of one zone, whose answers hold for a second.
struct Zone {
    address: SocketAddr,
    hosts: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    silent: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

const A: u16 = 1;
const AAAA: u16 = 28;

impl Zone {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let hosts = Arc::<Mutex<HashMap<String, Vec<IpAddr>>>>::default();
        let (silent, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (known, mute, count) = (Arc::clone(&hosts), Arc::clone(&silent), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                if !mute.load(Ordering::SeqCst) {
                    let answer = answer(&buffer[..length], &known.lock().unwrap());
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { address, hosts, silent, asked }
    }

    fn set(&self, host: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.hosts.lock().unwrap().insert(host.to_owned(), addresses);
    }
}

/// The answer to a message with one question (RFC 1035, section 4).
fn answer(question: &[u8], hosts: &HashMap<String, Vec<IpAddr>>) -> Vec<u8> {
    let (mut name, mut at) = (Vec::new(), 12);
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let end = at + 5;
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let found = hosts.get(&name.join("."));
    let records: Vec<Vec<u8>> = found
        .into_iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
            (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut message = question[..2].to_vec();
    // An answer of one who is asked to look further and does; 3 is that there is no such name.
    message.extend([0x81, 0x80 | if found.is_some() { 0 } else { 3 }]);
    message.extend([0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    message.extend(&question[12..end]);
    for record in records {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 1, 0, u8::try_from(record.len()).unwrap()]);
        message.extend(record);
    }
    message
}

/// A server that keeps connections open.
struct Place {
    seen: Arc<AtomicUsize>,
}

impl Place {
    /// At `address`, and if that has no port, at one that is free.
    fn open(address: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer) {
                        counted.fetch_add(1, Ordering::SeqCst);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        if stream.write_all(answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (Self { seen }, address)
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

/// Places at these addresses, which share a port.
fn places<const N: usize>(addresses: [&str; N]) -> ([Place; N], u16) {
    let mut port = 0;
    let places = addresses.map(|address| {
        let (place, at) = Place::open(SocketAddr::new(address.parse().unwrap(), port));
        port = at.port();
        place
    });
    (places, port)
}

fn house(zone: &Zone, host: &str, port: u16) -> House {
    let mut limits = limits();
    (limits.workers, limits.name_servers) = (1, vec![zone.address]);
    House::open(vec![behind(host, port)], limits)
}

fn behind(host: &str, port: u16) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let authority = format!("{host}:{port}").parse().unwrap();
    site.origin = Behind::several([Address::Http(authority)]);
    site
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

async fn status(house: &House) -> u16 {
    let answer = house.raw("a.example", GET).await;
    answer[9..12].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_origin_that_moves_is_followed_and_its_old_connections_are_let_go() {
    let ([old, new], port) = places(["127.0.0.1", "127.0.0.2"]);
    let zone = Zone::start();
    zone.set("app.test", &["127.0.0.1"]);
    let house = house(&zone, "app.test", port);
    for _ in 0..3 {
        assert_eq!(status(&house).await, 200);
    }
    assert_eq!((old.seen(), new.seen()), (3, 0));
    assert_eq!(house.edge.stats().origin_connections, 1);
    zone.set("app.test", &["127.0.0.2"]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for _ in 0..3 {
        assert_eq!(status(&house).await, 200);
    }
    // The connection to the old place was good, and idle.
    assert_eq!((old.seen(), new.seen()), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn while_no_name_server_answers_the_last_answer_holds_and_nobody_waits() {
    let ([place], port) = places(["127.0.0.1"]);
    let zone = Zone::start();
    zone.set("app.test", &["127.0.0.1"]);
    let house = house(&zone, "app.test", port);
    assert_eq!(status(&house).await, 200);
    for trouble in ["silence", "no such name"] {
        if trouble == "silence" {
            zone.silent.store(true, Ordering::SeqCst);
        } else {
            zone.hosts.lock().unwrap().clear();
            zone.silent.store(false, Ordering::SeqCst);
        }
        let asked = zone.asked.load(Ordering::SeqCst);
        let before = Instant::now();
        while zone.asked.load(Ordering::SeqCst) < asked + 2 {
            assert!(before.elapsed() < Duration::from_secs(30), "{trouble}: nobody asks");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let before = Instant::now();
        assert_eq!(status(&house).await, 200, "{trouble}");
        assert!(before.elapsed() < Duration::from_secs(3), "{trouble}: {:?}", before.elapsed());
    }
    assert_eq!(place.seen(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_addresses_of_a_host_are_used_and_those_that_lead_nowhere_cost_no_request() {
    // Nobody listens at the second one.
    let ([one, other], port) = places(["127.0.0.1", "::1"]);
    let zone = Zone::start();
    zone.set("app.test", &["127.0.0.1", "127.0.0.2", "::1"]);
    let mut none_kept = limits();
    (none_kept.workers, none_kept.name_servers) = (1, vec![zone.address]);
    none_kept.origin_idle = 0;
    let house = House::open(vec![behind("app.test", port)], none_kept);
    for round in 0..40 {
        assert_eq!(status(&house).await, 200, "{round}");
    }
    assert_eq!(one.seen() + other.seen(), 40);
    assert!(one.seen() >= 5 && other.seen() >= 5, "{} and {}", one.seen(), other.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_host_that_is_not_known_is_a_502_until_it_is() {
    let ([place], port) = places(["127.0.0.1"]);
    let zone = Zone::start();
    let house = house(&zone, "late.test", port);
    let before = Instant::now();
    assert_eq!(status(&house).await, 502);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    zone.set("late.test", &["127.0.0.1"]);
    for _ in 0..100 {
        if status(&house).await == 200 {
            assert_eq!(place.seen(), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the host is known for ten seconds and not found");
}
