//! Origins that break the rules: what they say must not reach a client as if it were whole, nor
//! another client at all.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, limits, site};
use crate::scripted::Scripted;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
}

fn one_worker() -> keyward::config::Edge {
    let mut one = limits();
    one.workers = 1;
    one
}

/// Answers `/` properly and everything else as the target, unescaped, says.
fn as_told(head: &str) -> Option<String> {
    let target = head.split(' ').nth(1)?;
    match target.strip_prefix("/say/") {
        None => Some(HELLO.to_owned()),
        Some(said) => Some(
            said.replace("_", " ").replace("~", "\r\n").replace("%0A", "\n").replace("%0D", "\r"),
        ),
    }
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_are_a_502_and_their_connection_ends() {
    for (what, said) in [
        (
            "both lengths",
            "HTTP/1.1_200_OK~Content-Length:_5~Transfer-Encoding:_chunked~~5~hello~0~~",
        ),
        (
            "both lengths, short",
            "HTTP/1.1_200_OK~Transfer-Encoding:_chunked~Content-Length:_2~~5~hello~0~~",
        ),
        ("two lengths", "HTTP/1.1_200_OK~Content-Length:_2~Content-Length:_3~~abc"),
        ("signed length", "HTTP/1.1_200_OK~Content-Length:_+2~~ok"),
        ("a coding we cannot undo", "HTTP/1.1_200_OK~Transfer-Encoding:_gzip~~ok"),
        ("a coding below chunked", "HTTP/1.1_200_OK~Transfer-Encoding:_gzip,_chunked~~2~ok~0~~"),
        (
            "chunked twice",
            "HTTP/1.1_200_OK~Transfer-Encoding:_chunked~Transfer-Encoding:_chunked~~2~ok~0~~",
        ),
        ("chunked in HTTP/1.0", "HTTP/1.0_200_OK~Transfer-Encoding:_chunked~~2~ok~0~~"),
        ("no HTTP", "hello~~"),
        ("folded field", "HTTP/1.1_200_OK~A:_1~_2~Content-Length:_2~~ok"),
        ("CR in a value", "HTTP/1.1_200_OK~A:_1%0D2~Content-Length:_2~~ok"),
        (
            "a switch nobody asked for",
            "HTTP/1.1_101_Switching_Protocols~Connection:_upgrade~Upgrade:_websocket~~",
        ),
    ] {
        let origin = Scripted::start(as_told);
        let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
        let answer = house.raw("a.example", get(&format!("/say/{said}")).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{what}: {answer}");
        assert!(!answer.contains("hello") && !answer.contains("ok\r\n"), "{what}: {answer}");
        let next = house.raw("a.example", get("/").as_bytes()).await;
        assert!(next.starts_with("HTTP/1.1 200") && next.ends_with("ok"), "{what}: {next}");
        assert_eq!(origin.connected(), 2, "{what}: the connection was used again");
    }
}

#[tokio::test]
async fn what_follows_an_answer_never_reaches_the_next_client() {
    for (what, method, said) in [
        (
            "a second answer",
            "GET",
            "HTTP/1.1_200_OK~Content-Length:_2~~okHTTP/1.1_200_OK~Content-Length:_6~~poison",
        ),
        ("a body longer than its length", "GET", "HTTP/1.1_200_OK~Content-Length:_2~~okpoison"),
        ("a body of a 204", "GET", "HTTP/1.1_204_No_Content~Content-Length:_6~~poison"),
        ("a body of a 304", "GET", "HTTP/1.1_304_Not_Modified~Content-Length:_6~~poison"),
        ("a body of a HEAD", "HEAD", "HTTP/1.1_200_OK~Content-Length:_6~~poison"),
        (
            "chunks of a 204",
            "GET",
            "HTTP/1.1_204_No_Content~Transfer-Encoding:_chunked~~6~poison~0~~",
        ),
        (
            "bytes after the last chunk",
            "GET",
            "HTTP/1.1_200_OK~Transfer-Encoding:_chunked~~0~~poison",
        ),
    ] {
        let origin = Scripted::start(as_told);
        let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
        let request = get(&format!("/say/{said}")).replacen("GET", method, 1);
        let answer = house.raw("a.example", request.as_bytes()).await;
        assert!(!answer.contains("poison"), "{what}: {answer}");
        let next = house.raw("a.example", get("/").as_bytes()).await;
        assert!(next.starts_with("HTTP/1.1 200") && next.ends_with("ok"), "{what}: {next}");
        assert_eq!(origin.connected(), 2, "{what}: the connection was used again");
    }
}

/// Bytes that an origin sends while nobody asked: the connection is not used any more.
#[tokio::test]
async fn unasked_bytes_end_an_idle_connection() {
    let origin = Scripted::start(as_told);
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    let answer = house.raw("a.example", get("/late").as_bytes()).await;
    assert!(answer.ends_with("ok"), "{answer}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let next = house.raw("a.example", get("/").as_bytes()).await;
    assert!(next.ends_with("ok"), "{next}");
    assert_eq!(origin.connected(), 2);
}

/// A 204 has no length (RFC 9110, section 8.6), and what an origin says of one is not passed on.
#[tokio::test]
async fn a_204_has_no_length() {
    let origin = Scripted::start(as_told);
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    let request = get("/say/HTTP/1.1_204_No_Content~Content-Length:_0~~");
    let answer = house.raw("a.example", request.as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 204") && !answer.contains("content-length"), "{answer}");
    let url = house.url("a.example", "/say/HTTP/1.1_204_No_Content~Content-Length:_5~~");
    let answer = house.curl("a.example", &["--http2", "-i", &url]).to_lowercase();
    assert!(answer.starts_with("http/2 204") && !answer.contains("content-length"), "{answer}");
}

#[tokio::test]
async fn a_switch_to_something_else_than_was_asked_for_is_a_502() {
    let origin = Scripted::start(|_| {
        Some(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"
                .to_owned(),
        )
    });
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    let request =
        b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut stream = house.tls("a.example").await;
    stream.write_all(request).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 502");
    assert_eq!(house.edge.stats().upgrades, 0);
}

/// A refused upgrade leaves an HTTP connection on which the next request is checked as ever.
#[tokio::test]
async fn after_a_refused_upgrade_bytes_are_still_watched() {
    let origin = Scripted::start(as_told);
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    let upgrade =
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let smuggled = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = house.raw("a.example", format!("{upgrade}{smuggled}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400 ").count(), 1, "{answer}");
    assert_eq!(origin.heard().len(), 1);
}

/// Many an origin closes a connection after some idle seconds; a POST that meets that moment is
/// lost, as it may not be sent twice. So it goes where nothing has been idle for long.
#[tokio::test]
async fn a_post_does_not_bet_on_a_connection_that_was_idle_for_long() {
    let origin = crate::origin::Origin::fickle();
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    let post =
        b"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for round in 0..2 {
        let answer = house.raw("a.example", post).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{round}: {answer}");
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    assert_eq!((origin.seen(), origin.connected()), (2, 2));
}
