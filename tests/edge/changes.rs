//! Changes while requests run: new certificates, new sites, new addresses, and the end.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::base::SystemClock;
use keyward::cert::ports::Signers;
use keyward::edge::{Edge, EdgeOptions, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, config, limits, site};
use crate::load::{Load, Target, client_config, connect, serial};
use crate::memory::MemoryCa;
use crate::origin::Origin;

fn target(house: &House, h2: bool) -> Target {
    Target {
        address: house.https,
        name: "a.example".to_owned(),
        path: "/bytes/2000".to_owned(),
        root: house.ca.root(),
        h2,
        per_connection: 7,
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_and_costs_no_request() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let loads = [Load::start(&target(&house, false), 3), Load::start(&target(&house, true), 2)];
    let mut old = house.tls("a.example").await;
    let mut configured = house.config.clone();
    let client = client_config(&house.ca.root(), &[]);
    for round in 0..10 {
        let served = house.ca.issue(&["a.example"]);
        // Sites come and go meanwhile.
        configured.sites.truncate(1);
        if round % 2 == 0 {
            configured.sites.push(site(&["b.example"], origin.address));
        }
        house.edge.publish(&configured);
        house.show(vec![Arc::clone(&served)]);
        let stream = connect(&client, house.https, "a.example").await.unwrap();
        assert_eq!(serial(&stream), served.installed.serial, "the next handshake has it");
        for load in &loads {
            load.progress(20).await;
        }
    }
    // A connection from before still serves.
    old.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    old.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    for load in loads {
        let seen = load.stop().await;
        assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
        assert!(seen.serials.lock().unwrap().len() >= 2, "old and new were seen");
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_made_again() {
    let origin = Origin::start();
    let mut one = limits();
    one.workers = 1;
    let sites = vec![site(&["a.example"], origin.address), site(&["b.example"], origin.address)];
    let ca = MemoryCa::new();
    let certificates = vec![ca.issue(&["a.example"]), ca.issue(&["b.example"])];
    let house = House::with(ca, sites, one, certificates.clone());
    let counts = || {
        let made = house.ca.signers.asked.load(Ordering::SeqCst);
        (house.shelf.asked.load(Ordering::SeqCst), made)
    };
    assert_eq!(counts(), (0, 0), "nothing is loaded ahead");
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    house.raw("a.example", request).await;
    house.raw("a.example", request).await;
    assert_eq!(counts(), (1, 1), "once, and of the one that was asked for");
    // The same content in other allocations, as a reload from the store gives it.
    let copies: Vec<_> = certificates.iter().map(|c| Arc::new((**c).clone())).collect();
    house.edge.publish(&house.config);
    house.show(copies);
    house.raw("a.example", request).await;
    assert_eq!(counts(), (1, 1), "certificates are kept");
    assert_eq!(origin.connected(), 1, "origin connections are kept");
    let renewed = vec![house.ca.issue(&["a.example"]), Arc::clone(&certificates[1])];
    house.show(renewed);
    house.raw("a.example", request).await;
    house.tls("b.example").await;
    house.tls("b.example").await;
    assert_eq!(counts(), (3, 3), "one anew, and one for the first time");
}

#[tokio::test]
async fn a_removed_site_is_gone_and_a_changed_origin_is_used() {
    let (origin, other) = (Origin::start(), Origin::start());
    let sites = vec![site(&["a.example"], origin.address), site(&["b.example"], origin.address)];
    let ca = MemoryCa::new();
    let certificates = vec![ca.issue(&["a.example"]), ca.issue(&["b.example"])];
    let house = House::with(ca, sites, limits(), certificates.clone());
    let mut changed = house.config.clone();
    changed.sites = vec![site(&["a.example"], other.address)];
    let mut old = house.tls("b.example").await;
    house.edge.publish(&changed);
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert!(house.raw("a.example", request).await.starts_with("HTTP/1.1 200"));
    assert_eq!((origin.seen(), other.seen()), (0, 1));
    let client = client_config(&house.ca.root(), &[]);
    assert!(connect(&client, house.https, "b.example").await.is_err());
    old.write_all(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    old.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 421", "an open connection to it hears that it is gone");
}

#[tokio::test]
async fn addresses_come_and_go_and_the_others_stay() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let load = Load::start(&target(&house, false), 2);
    let client = client_config(&house.ca.root(), &[]);
    for _ in 0..3 {
        house.edge.relisten(&[house.https, free], &[]).unwrap();
        connect(&client, free, "a.example").await.unwrap();
        assert_eq!(house.edge.addresses(), (sorted(vec![house.https, free]), vec![]));
        house.edge.relisten(&[house.https], &[]).unwrap();
        load.progress(20).await;
        let mut gone = false;
        for _ in 0..100 {
            gone = tokio::net::TcpStream::connect(free).await.is_err();
            if gone {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone, "the address is closed");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap();
    let error = house.edge.relisten(&[house.https, busy], &[]).unwrap_err().to_string();
    assert!(error.contains(&busy.to_string()), "{error}");
    assert_eq!(house.edge.addresses().0, [house.https], "nothing has changed");
    assert_eq!(*load.stop().await.failures.lock().unwrap(), Vec::<String>::new());
}

fn sorted(mut addresses: Vec<std::net::SocketAddr>) -> Vec<std::net::SocketAddr> {
    addresses.sort();
    addresses
}

/// As in an upgrade under systemd: two edges have the same socket, the first one drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_costs_no_request() {
    let origin = Origin::start();
    let ca = MemoryCa::new();
    let served = ca.issue(&["a.example"]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let open = || {
        let signers: Arc<dyn Signers> = ca.signers.clone();
        let options = EdgeOptions {
            https: listen::share(socket.try_clone().unwrap(), 2).unwrap(),
            http: Vec::new(),
            tcp: Vec::new(),
            limits: limits(),
            clock: Arc::new(SystemClock),
            config: Arc::new(config(vec![site(&["a.example"], origin.address)], limits())),
            catalog: crate::house::catalog(vec![Arc::clone(&served)]),
            tickets: crate::house::tickets(),
        };
        Edge::start(options, signers).unwrap()
    };
    let load = |h2| Target {
        address,
        name: "a.example".to_owned(),
        path: "/bytes/5000".to_owned(),
        root: ca.root(),
        h2,
        per_connection: 1_000_000,
    };
    let mut edge = open();
    let loads = [Load::start(&load(false), 4), Load::start(&load(true), 2)];
    for _ in 0..4 {
        for load in &loads {
            load.progress(50).await;
        }
        let next = open();
        edge.drain(Duration::from_secs(10)).await;
        assert_eq!(edge.stats().connections.open, 0, "everyone left in time");
        edge = next;
    }
    for load in loads {
        load.progress(50).await;
        let seen = load.stop().await;
        assert_eq!(*seen.failures.lock().unwrap(), Vec::<String>::new());
        assert!(seen.connections.load(Ordering::SeqCst) > 4, "clients moved on");
    }
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut stuck = house.tls("a.example").await;
    stuck.write_all(b"GET /silent HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let idle = house.tls("a.example").await;
    while origin.seen() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let start = tokio::time::Instant::now();
    house.edge.drain(Duration::from_secs(1)).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(stuck.read(&mut [0; 1]).await.unwrap_or(0), 0, "cut off");
    // A child that another test has just forked holds the socket until it is another program.
    let mut listens = true;
    for _ in 0..200 {
        listens = tokio::net::TcpStream::connect(house.https).await.is_ok();
        if !listens {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!listens, "nobody listens");
    drop(idle);
}

/// A request that is under way to an idle connection when the drain begins must not be lost.
#[tokio::test]
async fn an_idle_connection_may_still_ask_once_while_draining() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut idle = house.tls("a.example").await;
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    let asking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        idle.write_all(request).await.unwrap();
        crate::house::read_all(&mut idle).await
    };
    let (rest, ()) = tokio::join!(asking, house.edge.drain(Duration::from_secs(10)));
    assert!(rest.contains("HTTP/1.1 200 OK") && rest.contains("connection: close"), "{rest}");
}

/// Closing a listener resets what waits in its queue, so the queue is emptied first.
#[tokio::test]
async fn connections_that_wait_in_the_queue_are_served_before_the_door_closes() {
    let origin = Origin::start();
    let mut one = limits();
    (one.workers, one.max_connections) = (1, 1);
    let house = House::open(vec![site(&["a.example"], origin.address)], one);
    let first = house.tls("a.example").await;
    // The kernel accepts this one; the worker has no room for it.
    let waiting = tokio::net::TcpStream::connect(house.https).await.unwrap();
    let asking = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let name = rustls_pki_types::ServerName::try_from("a.example").unwrap();
        let connector =
            tokio_rustls::TlsConnector::from(client_config(&house.ca.root(), &[b"http/1.1"]));
        let mut stream = connector.connect(name, waiting).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let answer = crate::house::read_all(&mut stream).await;
        drop(first);
        answer
    };
    let (answer, ()) = tokio::join!(asking, house.edge.drain(Duration::from_secs(10)));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
