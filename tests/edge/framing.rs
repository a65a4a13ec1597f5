//! What a strict reader refuses, as bytes; and that the machine does not mind how they are cut.

use std::sync::atomic::Ordering;

use keyward::edge::Scanner;
use proptest::prelude::*;

use crate::house::{House, limits, read_all, site};
use crate::origin::Origin;
use tokio::io::AsyncWriteExt;

const HOST: &str = "Host: a.example\r\n";

/// Heads that must be refused with 400 and the end of the connection, and never reach an origin.
fn refused() -> Vec<(&'static str, String)> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n");
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n{body}");
    vec![
        ("bare LF after the request line", format!("GET / HTTP/1.1\n{HOST}\r\n")),
        ("bare LF after a field", get("A: 1\nB: 2\r\n")),
        ("bare LF at the end", format!("GET / HTTP/1.1\r\n{HOST}\n")),
        ("bare CR in a value", get("A: 1\r2\r\n")),
        ("bare CR in the request line", format!("GET /\r HTTP/1.1\r\n{HOST}\r\n")),
        ("folded field", get("A: 1\r\n 2\r\n")),
        ("folded field with a tab", get("A: 1\r\n\t2\r\n")),
        ("space before the colon", get("A : 1\r\n")),
        ("tab before the colon", get("A\t: 1\r\n")),
        ("space before the first field", format!("GET / HTTP/1.1\r\n A: 1\r\n{HOST}\r\n")),
        ("no colon", get("A\r\n")),
        ("empty name", get(": 1\r\n")),
        ("NUL in a value", get("A: 1\0\r\n")),
        ("NUL in a name", get("A\0: 1\r\n")),
        ("control character in a value", get("A: \x01\r\n")),
        ("DEL in a value", get("A: \x7f\r\n")),
        ("no Host", "GET / HTTP/1.1\r\nA: 1\r\n\r\n".to_owned()),
        ("two Hosts", get("Host: a.example\r\n")),
        ("two different Hosts", get("Host: b.example\r\n")),
        ("empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned()),
        ("Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n".to_owned()),
        ("Host with a path", "GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n".to_owned()),
        ("Host that is a list", "GET / HTTP/1.1\r\nHost: a.example, b\r\n\r\n".to_owned()),
        ("Host with a bad port", "GET / HTTP/1.1\r\nHost: a.example:0x1\r\n\r\n".to_owned()),
        ("both lengths", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        (
            "both lengths, other order",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
        ("two equal lengths", post("Content-Length: 1\r\nContent-Length: 1\r\n", "x")),
        ("two different lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "xy")),
        ("list of lengths", post("Content-Length: 1, 1\r\n", "x")),
        ("signed length", post("Content-Length: +1\r\n", "x")),
        ("negative length", post("Content-Length: -1\r\n", "x")),
        ("hexadecimal length", post("Content-Length: 0x1\r\n", "x")),
        ("empty length", post("Content-Length: \r\n", "x")),
        ("length with a space inside", post("Content-Length: 1 1\r\n", "x")),
        ("length beyond all counting", post("Content-Length: 18446744073709551617\r\n", "x")),
        ("length beyond i64", post("Content-Length: 9223372036854775808\r\n", "x")),
        ("coding that is not chunked", post("Transfer-Encoding: gzip\r\n", "x")),
        ("chunked not last", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
        ("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        (
            "two fields with codings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        ),
        ("chunked in disguise", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("chunked with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
        ("chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
        (
            "chunked in HTTP/1.0",
            format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("HTTP/1.2", format!("GET / HTTP/1.2\r\n{HOST}\r\n")),
        ("HTTP/0.9", "GET /\r\n\r\n".to_owned()),
        ("two spaces in the request line", format!("GET  / HTTP/1.1\r\n{HOST}\r\n")),
        ("space in the target", format!("GET /a b HTTP/1.1\r\n{HOST}\r\n")),
        ("fragment in the target", format!("GET /#a HTTP/1.1\r\n{HOST}\r\n")),
        ("high byte in the target", format!("GET /\u{e9} HTTP/1.1\r\n{HOST}\r\n")),
        ("two empty lines first", format!("\r\n\r\nGET / HTTP/1.1\r\n{HOST}\r\n")),
        ("star for GET", format!("GET * HTTP/1.1\r\n{HOST}\r\n")),
        ("authority-form for GET", format!("GET a.example:443 HTTP/1.1\r\n{HOST}\r\n")),
        ("other scheme", format!("GET ftp://a.example/ HTTP/1.1\r\n{HOST}\r\n")),
        ("userinfo in the target", format!("GET https://u@a.example/ HTTP/1.1\r\n{HOST}\r\n")),
    ]
}

#[tokio::test]
async fn heads_that_could_be_read_in_two_ways_are_refused() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for (what, bytes) in refused() {
        let answer = house.raw("a.example", bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer:?}");
    }
    assert_eq!(origin.seen(), 0, "no refused request reaches the origin");
}

/// The machine alone refuses all of them but those whose fault is a matter of names.
#[test]
fn the_machine_refuses_them_without_help() {
    let names =
        ["Host", "star for GET", "authority-form", "other scheme", "userinfo in the target"];
    for (what, bytes) in refused() {
        let by_name = names.iter().any(|name| what.contains(name))
            && !["no Host", "two Hosts", "two different Hosts"].contains(&what);
        let verdict = Scanner::default().feed(bytes.as_bytes());
        assert_eq!(verdict.is_err(), !by_name, "{what}: {verdict:?}");
    }
}

/// Bodies whose framing breaks after the head: 400 (or nothing but the end), never a 200.
#[tokio::test]
async fn chunks_that_could_be_read_in_two_ways_are_refused() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for (what, body) in [
        ("bare LF after a chunk size", "3\nabc\r\n0\r\n\r\n"),
        ("bare LF after chunk data", "3\r\nabc\n0\r\n\r\n"),
        ("chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        ("space before the extension", "3 ;a\r\nabc\r\n0\r\n\r\n"),
        ("size beyond all counting", "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n"),
        ("LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("NUL in an extension", "3;\0\r\nabc\r\n0\r\n\r\n"),
        ("folded trailer", "3\r\nabc\r\n0\r\nA: 1\r\n 2\r\n\r\n"),
        ("bare LF in a trailer", "3\r\nabc\r\n0\r\nA: 1\n\r\n"),
        ("trailer without a colon", "3\r\nabc\r\n0\r\nA\r\n\r\n"),
    ] {
        let head = format!("POST /count HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
        let answer = house.raw("a.example", format!("{head}{body}").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_well_formed_passes() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let close = "Connection: close\r\n";
    for (what, bytes, expected) in [
        ("plain", format!("GET / HTTP/1.1\r\n{HOST}{close}\r\n"), "ok"),
        ("one empty line first", format!("\r\nGET / HTTP/1.1\r\n{HOST}{close}\r\n"), "ok"),
        (
            "host in capitals, with a port",
            format!("GET / HTTP/1.1\r\nHOST: A.Example.:443\r\n{close}\r\n"),
            "ok",
        ),
        ("HTTP/1.0 with a Host", format!("GET / HTTP/1.0\r\n{HOST}\r\n"), "ok"),
        (
            "absolute-form",
            format!("GET https://a.example/head HTTP/1.1\r\nHost: x.example\r\n{close}\r\n"),
            "host: a.example\n",
        ),
        (
            "high bytes in a value",
            format!("GET / HTTP/1.1\r\n{HOST}A: \u{e9}\t\u{e9}\r\n{close}\r\n"),
            "ok",
        ),
        ("empty value", format!("GET / HTTP/1.1\r\n{HOST}A:\r\n{close}\r\n"), "ok"),
        (
            "length",
            format!("POST /count HTTP/1.1\r\n{HOST}Content-Length:  003 \r\n{close}\r\nabc"),
            "3",
        ),
        (
            "chunks",
            format!(
                "POST /count HTTP/1.1\r\n{HOST}Transfer-Encoding: Chunked \r\n{close}\r\n3;x=\"y\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
            ),
            "13",
        ),
        (
            "chunks for GET",
            format!(
                "GET /head HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n{close}\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
            "\n\nabc",
        ),
    ] {
        let answer = house.raw("a.example", bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 OK"), "{what}: {answer:?}");
        assert!(answer.contains(expected), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn other_methods_of_refusal_have_their_own_status() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let long = "x".repeat(40_000);
    let many = "A: 1\r\n".repeat(120);
    for (what, bytes, expected) in [
        ("long field", format!("GET / HTTP/1.1\r\n{HOST}A: {long}\r\n\r\n"), "431"),
        ("many fields", format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n"), "431"),
        ("CONNECT", format!("CONNECT a.example:443 HTTP/1.1\r\n{HOST}\r\n"), "405"),
        ("OPTIONS *", format!("OPTIONS * HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"), "200"),
    ] {
        let answer = house.raw("a.example", bytes.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn pipelined_requests_before_a_bad_one_are_answered() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let good = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
    let post = format!("POST /count HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\nGET ");
    let bad = format!("GET / HTTP/1.1\r\n{HOST}A : 1\r\n\r\n");
    let answer = house.raw("a.example", format!("{good}{post}{good}{bad}{good}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400 ").count(), 1, "{answer}");
    assert_eq!(origin.requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_request_in_single_bytes_is_the_same_request() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut stream = house.tls("a.example").await;
    let request = format!(
        "POST /count HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n"
    );
    for byte in request.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('3'), "{answer}");
}

/// Bytes near the grammar: pieces of messages, some of them damaged.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => Just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        4 => Just(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345".to_vec()),
        4 => Just(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        4 => Just(b"a\r\n0123456789\r\n".to_vec()),
        3 => Just(b"0\r\n\r\n".to_vec()),
        2 => Just(b"0\r\nT: 1\r\n\r\n".to_vec()),
        1 => Just(b"Content-Length: 99999999999999999999\r\n".to_vec()),
        2 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just(b"\r\n".to_vec()),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Cut anywhere, the bytes are the same messages and break at the same place.
    #[test]
    fn it_does_not_matter_how_bytes_are_cut(bytes in nearly_http(), cut in 1usize..7) {
        let mut whole = Scanner::default();
        let verdict = whole.feed(&bytes);
        let mut pieces = Scanner::default();
        let mut at = 0;
        let mut broken = None;
        for piece in bytes.chunks(cut) {
            if let Err(mut refusal) = pieces.feed(piece) {
                refusal.at += at;
                broken = Some(refusal);
                break;
            }
            at += piece.len();
        }
        prop_assert_eq!(verdict.err(), broken);
        prop_assert_eq!(whole, pieces);
    }

    /// Well-formed messages are counted exactly, and the machine rests behind them.
    #[test]
    fn boundaries_are_found(bodies in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()), 1..6)) {
        let mut bytes = Vec::new();
        for (body, chunked) in &bodies {
            bytes.extend_from_slice(b"POST / HTTP/1.1\r\nHost: a\r\n");
            if *chunked {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(7) {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            } else {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
        }
        let mut scanner = Scanner::default();
        prop_assert_eq!(scanner.feed(&bytes), Ok(()));
        prop_assert_eq!(scanner.messages(), bodies.len() as u64);
        prop_assert!(scanner.at_rest());
    }
}
