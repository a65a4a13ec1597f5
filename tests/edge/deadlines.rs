//! Clients and origins that dawdle, and limits on how many may.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::house::{House, limits, read_all, site};
use crate::origin::Origin;

const SHORT: Duration = Duration::from_millis(600);

/// How long until the server ends the connection; it must be about `expected`.
async fn cut(stream: &mut (impl tokio::io::AsyncRead + Unpin), expected: Duration) -> String {
    let start = Instant::now();
    let answer = read_all(stream).await;
    let took = start.elapsed();
    assert!(took >= expected / 2 && took < expected + Duration::from_secs(5), "cut after {took:?}");
    answer
}

#[tokio::test]
async fn a_client_that_never_speaks_is_cut_at_the_handshake_deadline() {
    let mut short = limits();
    short.handshake_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], "127.0.0.1:1".parse().unwrap())], short);
    let mut silent = TcpStream::connect(house.https).await.unwrap();
    cut(&mut silent, SHORT).await;
    let mut halting = TcpStream::connect(house.https).await.unwrap();
    halting.write_all(&[22, 3, 1]).await.unwrap();
    cut(&mut halting, SHORT).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(house.edge.stats().handshakes.failed.timeout, 2);
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_at_its_deadline() {
    let mut short = limits();
    short.header_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], "127.0.0.1:1".parse().unwrap())], short);
    let slow = house.tls("a.example").await;
    let (mut read, mut write) = tokio::io::split(slow);
    let start = Instant::now();
    let trickle = async {
        write.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ").await.unwrap();
        loop {
            sleep(Duration::from_millis(50)).await;
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = trickle => {}
        _ = read_all(&mut read) => {}
    }
    assert!(start.elapsed() < SHORT + Duration::from_secs(5), "{:?}", start.elapsed());
    let mut silent = TcpStream::connect(house.http).await.unwrap();
    cut(&mut silent, SHORT).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let origin = Origin::start();
    let mut short = limits();
    short.idle_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let mut stream = house.tls("a.example").await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let answer = cut(&mut stream, SHORT).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_origin_that_never_answers_is_a_504() {
    let origin = Origin::start();
    let mut short = limits();
    short.response_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let request = b"GET /silent HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let start = Instant::now();
    let answer = house.raw("a.example", request).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(start.elapsed() >= SHORT / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_upload_that_stops_is_a_408() {
    let origin = Origin::start();
    let mut short = limits();
    short.body_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let request = b"POST /count HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nabc";
    let answer = house.raw("a.example", request).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn an_answer_that_stops_is_broken_off_and_not_made_whole() {
    let origin = Origin::start();
    let mut short = limits();
    short.body_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let request = b"GET /stall HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let answer = house.raw("a.example", request).await;
    assert!(
        answer.contains("content-length: 20") && answer.ends_with("\r\n\r\nxxxxxxxxxx"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let origin = Origin::start();
    let mut short = limits();
    short.body_timeout = SHORT;
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let mut stream = house.tls("a.example").await;
    stream.write_all(b"GET /bytes/50000000 HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    for _ in 0..200 {
        sleep(Duration::from_millis(50)).await;
        if house.edge.stats().connections.open == 0 {
            break;
        }
    }
    assert_eq!(house.edge.stats().connections.open, 0, "cut while the client takes nothing");
    assert_eq!(house.edge.stats().requests, 1);
}

#[tokio::test]
async fn further_connections_wait_until_there_is_room() {
    let origin = Origin::start();
    let mut few = limits();
    (few.workers, few.max_connections) = (1, 2);
    let house = House::open(vec![site(&["a.example"], origin.address)], few);
    let one = house.tls("a.example").await;
    let two = house.tls("a.example").await;
    // The plain listener may hold one place open; the TLS one takes no third.
    let third = timeout(Duration::from_millis(400), house.tls("a.example")).await;
    assert!(third.is_err(), "a third connection is not served");
    drop(one);
    let mut third = timeout(Duration::from_secs(10), house.tls("a.example")).await.unwrap();
    third.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert!(third.read(&mut [0; 1]).await.unwrap() == 1);
    drop(two);
}

#[tokio::test]
async fn every_head_has_its_own_time() {
    let origin = Origin::start();
    let mut short = limits();
    short.header_timeout = Duration::from_millis(1000);
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    let mut stream = house.tls("a.example").await;
    let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let (begin, end) = get.split_at(20);
    stream.write_all(begin.as_bytes()).await.unwrap();
    for _ in 0..3 {
        sleep(Duration::from_millis(600)).await;
        // The end of one head and the beginning of the next, in one piece.
        stream.write_all(format!("{end}{begin}").as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let mut rest = [0; 4096];
        let read = stream.read(&mut rest).await.unwrap();
        assert!(rest[..read].ends_with(b"ok"), "{:?}", String::from_utf8_lossy(&rest[..read]));
    }
}
