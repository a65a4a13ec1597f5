//! Connections that come through a balancer with the PROXY protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward::config::IpNetwork;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, limits, read_all, site};
use crate::load;
use crate::origin::Origin;

/// An edge that takes the header from 127.0.0.1 alone; tests that are nobody come from 127.0.0.2.
fn open(origin: &Origin, names: &[&str]) -> House {
    let mut limits = limits();
    limits.handshake_timeout = Duration::from_secs(2);
    let mut house = House::open(vec![site(names, origin.address)], limits);
    let network = IpNetwork { address: [127, 0, 0, 1].into(), prefix: 32 };
    house.config.listen.proxy_from = vec![network];
    house.edge.publish(&house.config);
    house
}

async fn dial(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

const BALANCER: [u8; 4] = [127, 0, 0, 1];
const NOBODY: [u8; 4] = [127, 0, 0, 2];

/// What the origin got of a request that came over TLS behind `header`, sent in pieces of `piece`.
async fn visit(house: &House, from: [u8; 4], header: &[u8], piece: usize) -> Option<String> {
    let mut stream = dial(from, house.https).await;
    stream.set_nodelay(true).unwrap();
    for part in header.chunks(piece) {
        // Turned away already, after the pieces before.
        stream.write_all(part).await.ok()?;
        tokio::task::yield_now().await;
    }
    let config = load::client_config(&house.ca.root(), &[b"http/1.1"]);
    let name = ServerName::try_from("a.example").unwrap();
    let mut stream =
        tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, stream).await.ok()?;
    let request = b"GET /head HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    Some(read_all(&mut stream).await.to_lowercase())
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 8443\r\n";

fn v2(more: &[u8]) -> Vec<u8> {
    let body = [&[192, 0, 2, 9, 198, 51, 100, 7, 4, 210, 32, 251][..], more].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &body].concat()
}

#[tokio::test]
async fn the_client_behind_a_balancer_is_the_one_that_counts() {
    let origin = Origin::start();
    let house = open(&origin, &["a.example"]);
    // With something a balancer adds: type 4 is padding.
    let padded = v2(&[4, 0, 3, 0, 0, 0]);
    for (header, piece) in [(V1, 1000), (V1, 1), (&v2(&[]), 1000), (&v2(&[]), 1), (&padded, 5)] {
        let seen = visit(&house, BALANCER, header, piece).await.expect("it is served");
        assert!(seen.contains("x-forwarded-for: 192.0.2.9\n"), "{seen}");
        assert!(seen.contains("x-forwarded-port: 8443\n"), "{seen}");
        assert!(seen.contains("forwarded: for=192.0.2.9;"), "{seen}");
        assert!(!seen.contains("127.0.0.1\n"), "{seen}");
    }
    // A balancer that looks whether somebody is there speaks for itself.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
        let seen = visit(&house, BALANCER, header, 1000).await.expect("it is served");
        assert!(seen.contains("x-forwarded-for: 127.0.0.1\n"), "{seen}");
    }
    // Whoever comes from elsewhere is who they are, and cannot say otherwise.
    let seen = visit(&house, NOBODY, b"", 1).await.expect("it is served");
    assert!(seen.contains("x-forwarded-for: 127.0.0.2\n"), "{seen}");
    assert_eq!(visit(&house, NOBODY, V1, 1000).await, None);
    assert_eq!(visit(&house, NOBODY, &v2(&[]), 1000).await, None);
}

#[tokio::test]
async fn a_listed_network_without_a_sound_header_is_not_served() {
    let origin = Origin::start();
    let house = open(&origin, &["a.example"]);
    let endless = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
    let long = v2(&[0; 1100]);
    let mut wrong = v2(&[]);
    wrong[12] = 0x31;
    for header in [&b""[..], &endless, &long, &wrong, b"PROXY TCP4 x y 1 2\r\n"] {
        let seen = visit(&house, BALANCER, header, 1000).await;
        assert_eq!(seen, None, "{}", header.escape_ascii());
    }
    // A header that does not come, or not whole, waits no longer than a handshake may.
    for part in [&b""[..], &V1[..20], &v2(&[])[..20]] {
        let mut stream = dial(BALANCER, house.https).await;
        stream.write_all(part).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut rest));
        let _reset_or_not = end.await.expect("the connection is ended");
        assert_eq!(rest, b"");
    }
    assert!(house.edge.stats().handshakes.failed.timeout >= 2);
}

#[tokio::test]
async fn plain_http_and_addresses_of_sites_come_through_a_balancer_as_well() {
    let origin = Origin::start();
    let house = open(&origin, &["a.example", "198.51.100.7"]);
    let mut stream = dial(BALANCER, house.http).await;
    stream.write_all(V1).await.unwrap();
    let request = b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    // A client that names an address asks for the one it came to, which is the balancer's.
    let mut stream = dial(BALANCER, house.https).await;
    stream.write_all(V1).await.unwrap();
    let config = load::client_config(&house.ca.root(), &[b"http/1.1"]);
    let name = ServerName::try_from("198.51.100.7").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
    stream
        .write_all(b"GET /x HTTP/1.1\r\nHost: 198.51.100.7\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn who_is_let_in_is_the_client_and_not_its_balancer() {
    let origin = Origin::start();
    let mut house = open(&origin, &["a.example"]);
    let network = IpNetwork { address: [192, 0, 2, 0].into(), prefix: 24 };
    house.config.sites[0].policy.clients.allow = vec![network];
    house.edge.publish(&house.config);
    let status = |answer: Option<String>| answer.unwrap()[..12].to_owned();
    assert_eq!(status(visit(&house, BALANCER, V1, usize::MAX).await), "http/1.1 200");
    let other = b"PROXY TCP4 203.0.113.9 198.51.100.7 1234 8443\r\n";
    assert_eq!(status(visit(&house, BALANCER, other, usize::MAX).await), "http/1.1 403");
    assert_eq!(status(visit(&house, NOBODY, b"", 1).await), "http/1.1 403");
}
