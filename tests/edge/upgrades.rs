//! WebSockets through the proxy.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::house::{House, limits, site};
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
