//! Servers that are asked how they are: once for all workers, left out while they are down, and let
//! in again by and by.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyward::config;
use keyward::config::{Address, Asking, Health, Origin as Behind, OriginTls, Server, Servers};
use keyward::edge::ServerState;

use crate::house::{House, limits, site};

/// A server whose health is what it is told.
struct Patient {
    address: SocketAddr,
    /// The status of an answer to a check; 0 is none.
    says: Arc<AtomicU16>,
    requests: Arc<AtomicUsize>,
    checks: Arc<AtomicUsize>,
}

impl Patient {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::new(AtomicU16::new(200));
        let (requests, checks) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let patient = Self { address, says, requests, checks };
        let (says, requests, checks) =
            (Arc::clone(&patient.says), Arc::clone(&patient.requests), Arc::clone(&patient.checks));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (says, requests, checks) =
                    (Arc::clone(&says), Arc::clone(&requests), Arc::clone(&checks));
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let head = String::from_utf8_lossy(&buffer[..length]);
                        let mut status = 200;
                        if head.starts_with("GET /well?a=b HTTP/1.1\r\n") {
                            assert!(head.contains("host: check.example\r\n"), "{head}");
                            checks.fetch_add(1, Ordering::SeqCst);
                            status = says.load(Ordering::SeqCst);
                        } else {
                            requests.fetch_add(1, Ordering::SeqCst);
                        }
                        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                        if status == 0 {
                            std::thread::sleep(Duration::from_secs(3));
                        } else if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        patient
    }

    fn say(&self, status: u16) {
        self.says.store(status, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }
}

fn health() -> Health {
    Health {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(500),
        host: Some("check.example".to_owned()),
        ..Health::at("/well?a=b")
    }
}

fn behind(patients: &[&Patient], slow_start: Duration) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let address = |patient: &&Patient| Address::Http(patient.address.to_string().parse().unwrap());
    let list = patients.iter().map(|p| Server { address: address(p), weight: 1 }).collect();
    let asking = Asking { slow_start, ..Asking::default() };
    let (tls, health) = (OriginTls::default(), Some(health()));
    site.origin = Behind::Servers(Servers { list, asking, tls, health, sticky: None });
    site
}

async fn ask(house: &House, count: usize) {
    for round in 0..count {
        let get = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let answer = house.raw("a.example", get).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{round}: {answer}");
    }
}

/// Waits until the server with this number is as `wanted` says, and how it is in words.
async fn until(house: &House, number: usize, wanted: fn(&ServerState) -> bool) -> ServerState {
    let begun = Instant::now();
    loop {
        let servers = house.edge.servers("a.example");
        let server = &servers[number];
        // Something is known of it.
        if server.since.is_some() && wanted(&server.state) {
            return server.state.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{servers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_down(state: &ServerState) -> bool {
    matches!(state, ServerState::Down(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_says_that_it_is_not_well_gets_nothing_until_it_is() {
    let (one, two) = (Patient::start(), Patient::start());
    let house = House::open(vec![behind(&[&one, &two], Duration::ZERO)], limits());
    until(&house, 1, |state| *state == ServerState::Good).await;
    assert_eq!(house.edge.server_news(), []);
    two.say(500);
    let said = until(&house, 1, is_down).await;
    assert_eq!(said, ServerState::Down("it answers with 500".to_owned()));
    let before = (one.requests(), two.requests());
    ask(&house, 20).await;
    assert_eq!((one.requests() - before.0, two.requests() - before.1), (20, 0));
    let unwell = house.edge.unwell();
    assert_eq!(unwell.len(), 1);
    assert_eq!(unwell[0].address, format!("http://{}", two.address));
    two.say(302);
    until(&house, 1, |state| *state == ServerState::Good).await;
    ask(&house, 40).await;
    assert!(two.requests() - before.1 > 5, "{}", two.requests());
    let news = house.edge.server_news();
    let told: Vec<_> = news.iter().map(|news| (news.server.clone(), news.down.clone())).collect();
    let address = format!("http://{}", two.address);
    assert_eq!(told, [(address.clone(), Some("it answers with 500".to_owned())), (address, None)]);
    assert!(house.edge.server_news().is_empty() && house.edge.unwell().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn servers_that_are_all_down_are_asked_all_the_same() {
    let (one, two) = (Patient::start(), Patient::start());
    one.say(503);
    // One that says nothing is not well either.
    two.say(0);
    let house = House::open(vec![behind(&[&one, &two], Duration::ZERO)], limits());
    until(&house, 0, is_down).await;
    let silent = until(&house, 1, is_down).await;
    assert_eq!(silent, ServerState::Down("it does not answer within 500 ms".to_owned()));
    ask(&house, 40).await;
    assert_eq!(one.requests() + two.requests(), 40);
    assert!(one.requests() > 5 && two.requests() > 5, "{}", one.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_workers_share_one_check_which_a_reload_does_not_disturb() {
    let one = Patient::start();
    let mut many = limits();
    many.workers = 4;
    let house = House::open(vec![behind(&[&one], Duration::ZERO)], many);
    until(&house, 0, |state| *state == ServerState::Good).await;
    let (before, begun) = (one.checks(), Instant::now());
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        house.edge.publish(&house.config);
        assert!(house.edge.servers("a.example")[0].since.is_some(), "what was known is lost");
    }
    let (checks, due) = (one.checks() - before, begun.elapsed().as_millis() / 100);
    let due = usize::try_from(due).unwrap();
    assert!(checks >= 5 && checks <= due + due / 4 + 2, "{checks} checks where {due} are due");
    // A site that is gone has nobody checked.
    let mut without = house.config.clone();
    without.sites[0].origin = Behind::Welcome;
    house.edge.publish(&without);
    ask(&house, 8).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = one.checks();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(one.checks(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_comes_back_gets_little_at_first() {
    let (one, two) = (Patient::start(), Patient::start());
    let span = Duration::from_secs(600);
    let house = House::open(vec![behind(&[&one, &two], span)], limits());
    until(&house, 1, |state| *state == ServerState::Good).await;
    two.say(500);
    until(&house, 1, is_down).await;
    two.say(200);
    let state = until(&house, 1, |state| !is_down(state)).await;
    assert_eq!(state, ServerState::Rising(10));
    let before = (one.requests(), two.requests());
    ask(&house, 110).await;
    let got = (one.requests() - before.0, two.requests() - before.1);
    // Ten of them by its share.
    assert!(got.1 >= 1 && got.1 <= 30, "{got:?}");
}
