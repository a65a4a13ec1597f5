//! WebSockets through the proxy.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::house::{House, limits, site};
use crate::load;
use crate::origin::Origin;

#[tokio::test]
async fn messages_pass_both_ways() {
    let origin = Origin::websocket();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let stream = house.tls("a.example").await;
    let (mut socket, response) =
        tokio_tungstenite::client_async("wss://a.example/chat", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    for size in [0, 1, 125, 126, 70_000, 3_000_000] {
        // CR, LF and NUL: what follows a 101 is no HTTP.
        let message = Message::binary(vec![b'\n'; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    let stats = house.edge.stats();
    assert_eq!((stats.upgrades, stats.connections.open), (1, 1));
    socket.close(None).await.unwrap();
    drop(socket);
    for _ in 0..100 {
        if house.edge.stats().connections.open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("an ended relay is still counted");
}

/// A client of HTTP/2 that has shaken hands, and knows our settings.
async fn h2(house: &House) -> SendRequest<Full<Bytes>> {
    let config = load::client_config(&house.ca.root(), &[b"h2"]);
    let stream = load::connect(&config, house.https, "a.example").await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::task::spawn(connection);
    let first = Request::get("https://b.example/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(first).await.unwrap().status(), 421);
    sender
}

/// CONNECT for `protocol` (RFC 8441, section 4).
fn connect(path: &str, protocol: &'static str) -> Request<Full<Bytes>> {
    let request = Request::connect(format!("https://a.example{path}"));
    let request = request.header("sec-websocket-version", "13");
    let mut request = request.body(Full::default()).unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request
}

async fn open(sender: &mut SendRequest<Full<Bytes>>) -> WebSocketStream<TokioIo<Upgraded>> {
    let mut response = sender.send_request(connect("/chat", "websocket")).await.unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
    for field in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(field), "{response:?}");
    }
    let io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    WebSocketStream::from_raw_socket(io, Role::Client, None).await
}

#[tokio::test]
async fn websockets_are_streams_of_a_connection_of_http2() {
    let origin = Origin::websocket();
    let mut short = limits();
    (short.body_timeout, short.idle_timeout) = (Duration::from_secs(1), Duration::from_secs(3));
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let mut sender = h2(&house).await;
    let (mut one, mut two) = (open(&mut sender).await, open(&mut sender).await);
    for size in [0, 1, 125, 126, 70_000, 3_000_000] {
        let message = Message::binary(vec![b'\n'; size]);
        two.send(Message::text("beside it")).await.unwrap();
        one.send(message.clone()).await.unwrap();
        assert_eq!(one.next().await.unwrap().unwrap(), message);
        assert_eq!(two.next().await.unwrap().unwrap(), Message::text("beside it"));
    }
    // Longer than a request may say nothing, and than a connection may be idle.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1900)).await;
        one.send(Message::text("still here")).await.unwrap();
        assert_eq!(one.next().await.unwrap().unwrap(), Message::text("still here"));
    }
    let stats = house.edge.stats();
    assert_eq!((stats.upgrades, stats.connections.open), (2, 1));
    let end = tokio::time::timeout(Duration::from_secs(10), two.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(_))), "a silent one is ended: {end:?}");
}

#[tokio::test]
async fn a_connect_that_leads_nowhere_is_not_answered_with_a_success() {
    let origin = Origin::start();
    let mut welcomed = site(&["a.example"], origin.address);
    let house = House::open(vec![welcomed.clone()], limits());
    let mut sender = h2(&house).await;
    // The origin answers the GET with 200.
    let declined = sender.send_request(connect("/head", "websocket")).await.unwrap();
    assert_eq!(declined.status(), 501);
    let other = sender.send_request(connect("/head", "connect-udp")).await.unwrap();
    assert_eq!(other.status(), 405);
    assert_eq!((house.edge.stats().upgrades, origin.seen()), (0, 1));
    welcomed.origin = keyward::config::Origin::Welcome;
    let house = House::open(vec![welcomed], limits());
    let welcome = h2(&house).await.send_request(connect("/", "websocket")).await.unwrap();
    assert_eq!(welcome.status(), 501);
}

#[tokio::test]
async fn a_silent_relay_is_ended() {
    let origin = Origin::websocket();
    let mut short = limits();
    short.idle_timeout = Duration::from_millis(500);
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let stream = house.tls("a.example").await;
    let (mut socket, _) =
        tokio_tungstenite::client_async("wss://a.example/", stream).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        socket.send(Message::text("still here")).await.unwrap();
        assert!(socket.next().await.unwrap().is_ok(), "traffic keeps it open");
    }
    let end = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
}

#[tokio::test]
async fn an_origin_that_declines_an_upgrade_is_heard() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let request = b"GET /head HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, close\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n";
    let answer = house.raw("a.example", request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("upgrade: websocket\n"), "{answer}");
    assert_eq!(house.edge.stats().upgrades, 0);
}
