//! More clients than there is room or time for: who gets in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::house::{House, limits, site};
use crate::load::client_config;
use crate::origin::Origin;

/// A connection from 127.0.`network`.7.
async fn from(network: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, network, 7), 0).into())?;
    socket.connect(to).await
}

async fn shake(
    house: &House,
    config: &Arc<ClientConfig>,
    network: u8,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = from(network, house.https).await?;
    let name = ServerName::try_from("a.example").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// A whole visit, with a request and its answer.
async fn visit(house: &House, config: &Arc<ClientConfig>, network: u8) -> HandshakeKind {
    let shaken = shake(house, config, network).await;
    let mut stream = shaken.unwrap_or_else(|error| panic!("{error}: {:?}", house.edge.stats()));
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answer = crate::house::read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream.get_ref().1.handshake_kind().unwrap()
}

/// A ClientHello for `name`, as often as one likes.
fn hello(house: &House, name: &str) -> Arc<[u8]> {
    let config = client_config(&house.ca.root(), &[b"http/1.1"]);
    let mut client =
        ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes.into()
}

/// Clients that say hello again and again and want nothing else.
struct Flood {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Flood {
    /// From `networks`, four clients in each.
    fn start(house: &House, name: &str, networks: impl Iterator<Item = u8>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (answered, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let bytes = hello(house, name);
        let tasks = networks
            .flat_map(|network| [network; 4])
            .map(|network| {
                let (to, bytes, stop) = (house.https, Arc::clone(&bytes), Arc::clone(&stop));
                let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
                tokio::task::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        let mut head = [0; 1];
                        let Ok(mut stream) = from(network, to).await else { continue };
                        // The server may be quick to close.
                        let _ = stream.write_all(&bytes).await;
                        match timeout(Duration::from_secs(10), stream.read(&mut head)).await {
                            // A record of the handshake.
                            Ok(Ok(1)) if head == [22] => answered.fetch_add(1, Ordering::SeqCst),
                            _ => refused.fetch_add(1, Ordering::SeqCst),
                        };
                    }
                })
            })
            .collect();
        Self { stop, answered, refused, tasks }
    }

    async fn until(&self, count: &AtomicUsize, enough: usize) {
        for _ in 0..3000 {
            if count.load(Ordering::SeqCst) >= enough {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("answered {:?}, refused {:?}", self.answered, self.refused);
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// With a worker of its own, so that there is one crowd.
fn house(share: u8) -> (Origin, House) {
    let origin = Origin::start();
    let mut limits = limits();
    (limits.workers, limits.handshake_share) = (1, share);
    let house = House::open(vec![site(&["a.example"], origin.address)], limits);
    (origin, house)
}

#[tokio::test]
async fn no_network_fills_all_connections() {
    let origin = Origin::start();
    let mut few = limits();
    (few.workers, few.max_connections) = (1, 40);
    let house = House::open(vec![site(&["a.example"], origin.address)], few);
    let mut held = Vec::new();
    for turn in 0..40 {
        let (address, first) =
            if turn % 2 == 0 { (house.https, b"\x16") } else { (house.http, b"G") };
        let mut stream = from(1, address).await.unwrap();
        stream.write_all(first).await.unwrap();
        held.push(stream);
    }
    for _ in 0..500 {
        if house.edge.stats().turned_away.connections == 10 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let stats = house.edge.stats();
    assert_eq!((stats.connections.open, stats.turned_away.connections), (30, 10));
    assert_eq!(house.edge.crowding().unwrap().to_string(), "127.0.1.0/24");
    // Those who got no place know it.
    let mut reset = 0;
    for stream in &mut held {
        match timeout(Duration::from_millis(20), stream.read(&mut [0; 1])).await {
            Ok(Err(error)) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                reset += 1;
            }
            Ok(Ok(_)) => panic!("ended, but not with a reset"),
            Err(_) => {}
        }
    }
    assert_eq!(reset, 10);
    let config = client_config(&house.ca.root(), &[b"http/1.1"]);
    visit(&house, &config, 2).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_from_one_network_leaves_others_theirs() {
    let (_origin, house) = house(20);
    let config = client_config(&house.ca.root(), &[b"http/1.1"]);
    let flood = Flood::start(&house, "a.example", [1, 1].into_iter());
    flood.until(&flood.refused, 200).await;
    let mut longest = Duration::ZERO;
    // Each from a network of its own: in this build, beside others on the same core, two or three
    // handshakes are all that one network may have at once of so little time.
    for network in 2..12 {
        let fresh = client_config(&house.ca.root(), &[b"http/1.1"]);
        let begun = Instant::now();
        assert_eq!(visit(&house, &fresh, network).await, HandshakeKind::Full);
        longest = longest.max(begun.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    let stats = house.edge.stats();
    assert!(stats.turned_away.handshakes >= 200, "{stats:?}");
    assert_eq!(stats.turned_away.busy, 0, "there was time for others");
    assert!(flood.answered.load(Ordering::SeqCst) > 0);
    flood.end().await;
    // It is forgotten soon.
    sleep(Duration::from_secs(2)).await;
    visit(&house, &config, 1).await;
}

/// From so many networks that none stands out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_client_gets_through_a_flood_from_everywhere() {
    let (_origin, house) = house(5);
    let config = client_config(&house.ca.root(), &[b"http/1.1"]);
    assert_eq!(visit(&house, &config, 2).await, HandshakeKind::Full);
    let flood = Flood::start(&house, "a.example", 10..42);
    flood.until(&flood.refused, 300).await;
    for _ in 0..6 {
        assert_eq!(visit(&house, &config, 2).await, HandshakeKind::Resumed);
        sleep(Duration::from_millis(200)).await;
    }
    flood.end().await;
    let stats = house.edge.stats();
    assert_eq!((stats.handshakes.resumed, stats.handshakes.false_tickets), (6, 0));
    assert!(stats.turned_away.total() >= 300, "{stats:?}");
}

#[tokio::test]
async fn a_ticket_that_spares_nothing_is_counted() {
    let (_origin, house) = house(80);
    let config = client_config(&house.ca.root(), &[b"http/1.1"]);
    assert_eq!(visit(&house, &config, 1).await, HandshakeKind::Full);
    // A hello with its ticket, which lies before its age of 4 octets and the list of one binder.
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let within = bytes.len() - (2 + 1 + 48) - 4 - 20;
    bytes[within] ^= 1;
    let mut stream = from(1, house.https).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut head = [0; 1];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [22], "a handshake without the ticket");
    drop(stream);
    for _ in 0..500 {
        if house.edge.stats().handshakes.false_tickets == 1 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let stats = house.edge.stats();
    assert_eq!((stats.handshakes.false_tickets, stats.tickets.refused), (1, 1));
    assert_eq!(house.ca.signers.signed.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_names_cost_no_signature() {
    let (_origin, house) = house(80);
    let config = client_config(&house.ca.root(), &[b"http/1.1"]);
    visit(&house, &config, 2).await;
    assert_eq!(house.ca.signers.signed.load(Ordering::SeqCst), 1);
    let flood = Flood::start(&house, "nobody.example", [1, 1].into_iter());
    flood.until(&flood.refused, 1000).await;
    flood.end().await;
    let stats = house.edge.stats();
    assert!(stats.handshakes.failed.unknown_name >= 1000, "{stats:?}");
    assert_eq!(stats.turned_away.total(), 0, "they are refused, and know why");
    assert_eq!(house.ca.signers.signed.load(Ordering::SeqCst), 1);
    let fresh = client_config(&house.ca.root(), &[b"http/1.1"]);
    visit(&house, &fresh, 1).await;
    assert_eq!(house.ca.signers.signed.load(Ordering::SeqCst), 2);
}
