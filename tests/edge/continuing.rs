//! `Expect: 100-continue`: the origin says whether a body is wanted, and only then it is sent.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, limits, read_all, site};
use crate::scripted::Scripted;

/// What the kit's origin takes for the head of a next request.
const BODY: &[u8] = b"body!\r\n\r\n";

const HEAD: &str = "Host: a.example\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\
                    Connection: close\r\n\r\n";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn origin(head: &str) -> Option<String> {
    let answer = match head.split(' ').nth(1) {
        Some("/refuse") => "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
        Some("/want") => {
            std::thread::sleep(Duration::from_millis(400));
            "HTTP/1.1 100 Continue\r\n\r\n"
        }
        Some("/silent") => "",
        _ => OK,
    };
    Some(answer.to_owned())
}

fn one_worker() -> keyward::config::Edge {
    let mut one = limits();
    one.workers = 1;
    one
}

#[tokio::test]
async fn a_body_that_is_refused_is_never_asked_for() {
    let origin = Scripted::start(origin);
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    let request = format!("PUT /refuse HTTP/1.1\r\n{HEAD}");
    let begun = Instant::now();
    let answer = house.raw("a.example", request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(origin.heard()[0].contains("expect: 100-continue\r\n"), "{:?}", origin.heard());
    // The connection on which the origin may wait for it is not used again.
    let get = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert!(house.raw("a.example", get).await.starts_with("HTTP/1.1 200 "));
    assert_eq!((origin.heard().len(), origin.connected()), (2, 2));
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_origin_does_or_says_nothing_for_a_second() {
    let origin = Scripted::start(origin);
    let house = House::open(vec![site(&["a.example"], origin.address)], one_worker());
    for (path, soonest, latest) in [("/want", 350, 950), ("/silent", 950, 5000)] {
        let mut stream = house.tls("a.example").await;
        let begun = Instant::now();
        let head = format!("PUT {path} HTTP/1.1\r\n{HEAD}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 25];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n", "{path}");
        let after = begun.elapsed().as_millis();
        assert!((soonest..latest).contains(&after), "{path}: after {after} ms");
        stream.write_all(BODY).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{path}: {answer}");
    }
    assert_eq!(origin.heard().iter().filter(|heard| heard.as_bytes() == BODY).count(), 2);
}
