//! The machine of the edge against hyper, which reads the same bytes after it: where the machine
//! ends a message, hyper must end it too, or one of them sees a request that the other does not.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyward::edge::Scanner;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A request that hyper saw whole: method, target, body.
type Seen = (String, String, Vec<u8>);

/// What a bare hyper sees in `bytes`, and whether it was content to the end.
fn by_hyper(runtime: &tokio::runtime::Runtime, bytes: &[u8]) -> (Vec<Seen>, bool) {
    let seen = Rc::new(RefCell::new((Vec::new(), false)));
    let noting = Rc::clone(&seen);
    let content = runtime.block_on(async move {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let noting = Rc::clone(&noting);
            async move {
                let (parts, body) = request.into_parts();
                let target = parts.uri.to_string();
                if let Ok(body) = body.collect().await {
                    noting.borrow_mut().0.push((
                        parts.method.to_string(),
                        target,
                        body.to_bytes().to_vec(),
                    ));
                } else {
                    noting.borrow_mut().1 = true;
                }
                let mut response = Response::new(Empty::<Bytes>::new());
                if parts.method == http::Method::CONNECT {
                    // As the edge answers it; after a 200 the bytes would be no HTTP any more.
                    *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder.half_close(true).header_read_timeout(None);
        let ended = builder.serve_connection(TokioIo::new(server), service).await;
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        ended.is_ok() && !answers.windows(12).any(|w| w == b"HTTP/1.1 400")
    });
    let (seen, broken) = seen.borrow().clone();
    (seen, content && !broken)
}

/// The pieces that the machine cuts `bytes` into, and what was refused after them.
fn cut(bytes: &[u8]) -> (Vec<&[u8]>, Option<keyward::edge::Refusal>) {
    let mut scanner = Scanner::default();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for (at, byte) in bytes.iter().enumerate() {
        if let Err(mut refusal) = scanner.feed(std::slice::from_ref(byte)) {
            refusal.at = at;
            return (pieces, Some(refusal));
        }
        if scanner.messages() > pieces.len() as u64 {
            pieces.push(&bytes[from..=at]);
            from = at + 1;
        }
    }
    (pieces, None)
}

fn line() -> impl Strategy<Value = String> {
    let method = prop_oneof![
        6 => Just("GET"), 6 => Just("POST"), 1 => Just("HEAD"), 1 => Just("CONNECT"),
        1 => Just("OPTIONS"), 1 => Just("M~!"),
    ];
    let target = prop_oneof![
        8 => Just("/"), 2 => Just("/a?b=c"), 1 => Just("*"), 1 => Just("http://a/x"),
        1 => Just("a:443"), 1 => Just("//a"), 1 => Just("/%0d%0a"), 1 => Just("/{}|\"^"),
    ];
    let version = prop_oneof![12 => Just("1.1"), 2 => Just("1.0"), 1 => Just("2.0")];
    (method, target, version).prop_map(|(m, t, v)| format!("{m} {t} HTTP/{v}\r\n"))
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0usize..12).prop_map(|n| format!("Content-Length: {n}\r\n")),
        2 => (0usize..12).prop_map(|n| format!("content-length:\t0{n} \r\n")),
        6 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
        2 => Just("transfer-Encoding:\t CHUNKED \t\r\n".to_owned()),
        1 => Just("Transfer-Encoding: gzip, chunked\r\n".to_owned()),
        1 => Just("Transfer-Encoding : chunked\r\n".to_owned()),
        1 => Just("Transfer-Encoding:\r\n chunked\r\n".to_owned()),
        1 => Just("Expect: 100-continue\r\n".to_owned()),
        1 => Just("Connection: keep-alive\r\n".to_owned()),
        1 => Just("Connection: close\r\n".to_owned()),
        1 => Just("Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned()),
        1 => Just("Content_Length: 7\r\n".to_owned()),
        1 => Just("Trailer: T\r\n".to_owned()),
        1 => Just("X: \u{e9}\r\n".to_owned()),
    ]
}

const DATA: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n0\r\n\r\n";

fn chunk() -> impl Strategy<Value = String> {
    let digits = prop_oneof![
        8 => Just(""), 1 => Just("0"), 1 => Just("000000000000"), 1 => Just("00000000000000000"),
        1 => Just("1000000000000000"), 1 => Just("f"), 1 => Just("0x"), 1 => Just(" "),
    ];
    let extension = prop_oneof![
        8 => Just(""), 1 => Just(";a"), 1 => Just(";a=\"\r\""), 1 => Just(";"), 1 => Just(" "),
        1 => Just("; a = \"b;c\""), 1 => Just("\t;a"), 1 => Just(";a\n"),
    ];
    let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    (digits, 0usize..36, extension, end.clone(), end).prop_map(|(zeros, size, extension, a, b)| {
        if size == 0 {
            format!("{zeros}0{extension}{a}{b}")
        } else {
            format!("{zeros}{size:x}{extension}{a}{}{b}", DATA.get(..size).unwrap())
        }
    })
}

/// One message that is nearly right: a head, then what may be its body or another's.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let fields = proptest::collection::vec(field(), 0..3);
    let body = prop_oneof![
        3 => Just(String::new()),
        3 => "[a-z]{0,12}",
        4 => (proptest::collection::vec(chunk(), 0..3), any::<bool>()).prop_map(|(chunks, trailer)| {
            format!("{}0\r\n{}\r\n", chunks.concat(), if trailer { "T: 1\r\n" } else { "" })
        }),
    ];
    (line(), fields, body).prop_map(|(line, fields, body)| {
        format!("{line}Host: a\r\n{}\r\n{body}", fields.concat()).into_bytes()
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::option::weighted(
        0.4,
        (
            any::<prop::sample::Index>(),
            prop_oneof![
                Just(b'\r'),
                Just(b'\n'),
                Just(0),
                Just(b' '),
                Just(b';'),
                Just(b':'),
                any::<u8>()
            ],
        ),
    );
    (proptest::collection::vec(message(), 1..4), damage).prop_map(|(messages, damage)| {
        let mut bytes = messages.concat();
        if let Some((index, byte)) = damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// Bytes, shown as text when a case fails.
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn hyper_ends_messages_where_the_machine_does(bytes in stream().prop_map(Shown)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bytes = bytes.0;
        let (pieces, refusal) = cut(&bytes);
        let mut alone = Vec::new();
        for piece in &pieces {
            let (seen, content) = by_hyper(&runtime, piece);
            // hyper may refuse what the machine lets pass, but never read it as something else.
            prop_assert!(seen.len() <= 1, "two in one: {:?}", String::from_utf8_lossy(piece));
            prop_assert!(content || seen.is_empty(), "more than one: {:?}", String::from_utf8_lossy(piece));
            if seen.is_empty() {
                prop_assert!(!content, "not seen: {:?}", String::from_utf8_lossy(piece));
                break;
            }
            alone.extend(seen);
        }
        // As the guard hands them on: up to the fault, and the poison in its place.
        let mut poisoned = bytes.clone();
        if let Some(refusal) = refusal {
            poisoned.truncate(refusal.at);
            poisoned.push(refusal.poison);
        }
        let (together, content) = by_hyper(&runtime, &poisoned);
        // hyper ends a connection early (close, HTTP/1.0); what it saw must be what was cut.
        prop_assert!(together.len() <= alone.len(), "{together:?} is more than {alone:?}");
        prop_assert_eq!(&together[..], &alone[..together.len()]);
        if refusal.is_some() && together.len() == alone.len() && together.len() == pieces.len() {
            let last = pieces.last().map_or(String::new(), |p| String::from_utf8_lossy(p).to_lowercase());
            let left = last.contains("close") || last.contains("http/1.0");
            prop_assert!(!content || left, "the fault went unnoticed");
        }
    }
}
