//! Clients that are silent between two requests: nothing of theirs is lost, and their limits hold.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::house::{House, limits, read_all, site};
use crate::origin::Origin;

/// Waits until so many clients have given their buffers back.
async fn resting(house: &House, count: u64) {
    for _ in 0..500 {
        if house.edge.stats().connections.resting == count {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", house.edge.stats().connections);
}

/// Longer than a client is silent before it rests.
const LONG: Duration = Duration::from_millis(1500);

type Stream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// Sends a request and takes its answer.
async fn ask(stream: &mut Stream, request: &str) -> String {
    ask_for(stream, request, 1).await
}

/// Sends requests and takes as many answers.
async fn ask_for(stream: &mut Stream, requests: &str, count: usize) -> String {
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    while answers.matches("\r\n\r\nok").count() < count {
        let mut octets = vec![0; 4096];
        let read = stream.read(&mut octets).await.unwrap();
        assert!(read > 0, "the server hangs up behind {answers}");
        answers.push_str(std::str::from_utf8(&octets[..read]).unwrap());
    }
    answers
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[tokio::test]
async fn a_client_that_was_silent_for_a_while_is_answered_on_the_same_connection() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut stream = house.tls("a.example").await;
    for _ in 0..3 {
        resting(&house, 1).await;
        assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 200"));
    }
    // A request that comes in pieces, with a pause in the middle of its head.
    resting(&house, 1).await;
    let (head, rest) = GET.split_at(20);
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(LONG).await;
    assert_eq!(house.edge.stats().connections.resting, 0, "it is in the middle of a request");
    assert!(ask(&mut stream, rest).await.starts_with("HTTP/1.1 200"));
    // And one behind which another follows at once.
    resting(&house, 1).await;
    ask_for(&mut stream, &GET.repeat(2), 2).await;
    assert_eq!((origin.seen(), house.edge.stats().connections.total), (6, 1));
    // What could be read in two ways is still refused.
    resting(&house, 1).await;
    let bad = "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(bad.as_bytes()).await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_client_that_says_nothing_rests_from_the_start_and_has_its_ticket() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut stream = house.tls("a.example").await;
    let shaken = Instant::now();
    resting(&house, 1).await;
    // Those that have been answered take longer than that.
    assert!(shaken.elapsed() < Duration::from_millis(900), "{:?}", shaken.elapsed());
    let mut nothing = [0; 16];
    let silence = tokio::time::timeout(Duration::from_millis(600), stream.read(&mut nothing));
    assert!(silence.await.is_err(), "nothing was asked");
    assert_eq!(stream.get_ref().1.tls13_tickets_received(), 1);
    assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_stays_silent_is_told_goodbye_at_its_deadline() {
    let origin = Origin::start();
    let mut limits = limits();
    limits.idle_timeout = Duration::from_secs(3);
    let house = House::open(vec![site(&["a.example"], origin.address)], limits);
    let mut stream = house.tls("a.example").await;
    ask(&mut stream, GET).await;
    let begun = Instant::now();
    // An end without a farewell would be an error.
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
    let took = begun.elapsed();
    assert!((Duration::from_millis(2500)..Duration::from_secs(6)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_drain_ends_clients_that_rest_and_costs_no_request() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut stream = house.tls("a.example").await;
    ask(&mut stream, GET).await;
    resting(&house, 1).await;
    let edge = house.edge;
    let draining = tokio::task::spawn(async move { edge.drain(Duration::from_secs(20)).await });
    sleep(Duration::from_millis(300)).await;
    let last = ask(&mut stream, GET).await.to_ascii_lowercase();
    assert!(last.contains("connection: close"), "{last}");
    draining.await.unwrap();
}
