//! Origins that listen on a Unix socket.

use std::path::Path;

use keyward::config;

use crate::house::{House, limits, site};
use crate::origin::Origin;

fn behind(path: &Path) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    site.origin = config::Origin::several([config::Address::Unix(path.to_owned())]);
    site
}

fn one_worker() -> config::Edge {
    let mut one = limits();
    one.workers = 1;
    one
}

const HEAD: &[u8] = b"GET /head HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn requests_go_over_the_socket_and_share_its_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let origin = Origin::on_socket(&path);
    let house = House::open(vec![behind(&path)], one_worker());
    let answer = house.raw("a.example", HEAD).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("GET /head HTTP/1.1"),
        "{answer}"
    );
    assert!(answer.contains("\nhost: a.example\n"), "{answer}");
    assert!(answer.contains("\nx-forwarded-for: 127.0.0.1\n"), "{answer}");
    let body = "x".repeat(100_000);
    let counted = house.curl("a.example", &["--data", &body, &house.url("a.example", "/count")]);
    assert_eq!(counted, "100000");
    let long = house.curl("a.example", &[&house.url("a.example", "/bytes/3000000")]);
    assert_eq!(long.len(), 3_000_000);
    assert_eq!((origin.seen(), origin.connected()), (3, 1));
}

#[tokio::test]
async fn without_preserve_host_a_socket_is_asked_as_localhost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let _origin = Origin::on_socket(&path);
    let mut own = behind(&path);
    own.preserve_host = false;
    let house = House::open(vec![own], one_worker());
    let answer = house.raw("a.example", HEAD).await;
    assert!(answer.contains("\nhost: localhost\n"), "{answer}");
    assert!(answer.contains("\nx-forwarded-host: a.example\n"), "{answer}");
}

/// A server may start after keyward, and start anew while it runs.
#[tokio::test]
async fn a_socket_that_comes_goes_and_comes_again_is_found_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let house = House::open(vec![behind(&path)], one_worker());
    // However often it was asked in vain: there is no other one.
    let away = async |house: &House| {
        for _ in 0..5 {
            let answer = house.raw("a.example", HEAD).await;
            assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        }
    };
    away(&house).await;
    for round in 0..2 {
        let origin = Origin::on_socket(&path);
        let answer = house.raw("a.example", HEAD).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{round}: {answer}");
        drop(origin);
        // Nobody listens at the path any more.
        away(&house).await;
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(house.edge.stats().origin_failures, 15);
}
