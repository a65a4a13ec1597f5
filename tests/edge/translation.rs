//! HTTP/2 made into HTTP/1: one request stays one request, whatever its fields say.

use crate::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Verdict, block, frame};
use crate::house::{House, limits, site};
use crate::scripted::Scripted;

fn origin() -> Scripted {
    Scripted::start(|_| Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()))
}

/// A well-formed request, in which `changes` replace or follow the fields.
fn request(changes: &[(&'static str, &'static [u8])]) -> Vec<u8> {
    let mut fields: Vec<(&str, &[u8])> = vec![
        (":method", b"GET"),
        (":scheme", b"https"),
        (":authority", b"a.example"),
        (":path", b"/"),
    ];
    for (name, value) in changes {
        match fields.iter_mut().find(|(known, _)| known == name && name.starts_with(':')) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    block(&fields)
}

#[tokio::test]
async fn what_has_no_meaning_in_http_1_is_refused() {
    let origin = origin();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for changes in [
        &[(":path", &b"/ HTTP/1.1\r\nX: 1"[..])][..],
        &[(":path", b"/a b")],
        &[(":path", b"/a\tb")],
        &[(":path", b"/\xc3\xa9")],
        &[(":path", b"/\x7f")],
        &[(":path", b"")],
        &[(":path", b"a")],
        &[(":path", b"*")],
        &[(":path", b"http://a.example/")],
        &[(":authority", b"a.example\r\nX: 1")],
        &[(":authority", b"a.example:0x50")],
        &[(":authority", b"a.example:99999")],
        &[(":authority", b"a.example:")],
        &[(":authority", b"u@a.example")],
        &[(":authority", b"a.example/x")],
        &[(":authority", b"")],
        &[(":authority", b"a.example"), ("host", b"b.example")],
        &[("host", b"a.example"), ("host", b"a.example")],
        &[(":method", b"GET / HTTP/1.1\r\nX: ")],
        &[(":method", b"G T")],
        &[(":scheme", b"ftp")],
        &[("x", b"1\r\n\r\nGET /smuggled HTTP/1.1")],
        &[("x", b"1\nx: 2")],
        &[("x", b"1\x002")],
        &[("x y", b"1")],
        &[("x:", b"1")],
        &[("x\r\ny", b"1")],
        &[("X", b"1")],
        &[("transfer-encoding", b"chunked")],
        &[("connection", b"content-length")],
        &[("keep-alive", b"1")],
        &[("upgrade", b"websocket")],
        &[("te", b"gzip")],
        &[("content-length", b"0"), ("content-length", b"0")],
        &[("content-length", b"0"), ("content-length", b"5")],
        &[("content-length", b"0, 0")],
        &[("content-length", b"+0")],
        &[("content-length", b" 0")],
        &[("content-length", b"")],
        // Said to have a body, but ended.
        &[("content-length", b"5")],
    ] {
        let mut client = Frames::open(&house, &[]).await;
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request(changes))).await;
        let verdict = client.verdict(1).await;
        let shown: Vec<_> =
            changes.iter().map(|(n, v)| (n, v.escape_ascii().to_string())).collect();
        assert!(
            matches!(verdict, Verdict::BadRequest | Verdict::Reset | Verdict::Closed),
            "{shown:?}: {verdict:?}, and the origin heard {:?}",
            origin.heard()
        );
    }
    assert_eq!(origin.heard(), Vec::<String>::new(), "nothing of it reaches the origin");
}

#[tokio::test]
async fn what_is_odd_but_honest_is_one_request() {
    for (changes, line) in [
        (&[(":path", &b"//a.example/x"[..])][..], "GET //a.example/x HTTP/1.1\r\n"),
        (&[(":path", b"/%0d%0aX:%201")], "GET /%0d%0aX:%201 HTTP/1.1\r\n"),
        (&[(":path", b"/a/../b;c?d=//e")], "GET /a/../b;c?d=//e HTTP/1.1\r\n"),
        (&[(":path", b"?q=1")], "GET /?q=1 HTTP/1.1\r\n"),
        (&[(":method", b"OPTIONS"), (":path", b"*")], "OPTIONS * HTTP/1.1\r\n"),
        (&[(":method", b"M-SEARCH")], "M-SEARCH / HTTP/1.1\r\n"),
        (&[("content-length", b"0")], "GET / HTTP/1.1\r\n"),
        (&[("content_length", b"7"), ("transfer_encoding", b"chunked")], "GET / HTTP/1.1\r\n"),
        (&[("te", b"trailers")], "GET / HTTP/1.1\r\n"),
    ] {
        let origin = origin();
        let house = House::open(vec![site(&["a.example"], origin.address)], limits());
        let mut client = Frames::open(&house, &[]).await;
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request(changes))).await;
        assert_eq!(client.verdict(1).await, Verdict::Ok, "{line}");
        let heard = origin.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        let head = heard[0].to_lowercase();
        assert!(heard[0].starts_with(line), "{heard:?}");
        for never in ["content_length", "transfer_encoding", "transfer-encoding"] {
            assert!(!head.contains(never), "{heard:?}");
        }
        assert!(head.matches("content-length").count() <= 1, "{heard:?}");
    }
}

/// A body has exactly one length on its way to the origin, whether the client names it or not.
#[tokio::test]
async fn a_body_has_one_length() {
    for (method, length, expected) in [
        ("POST", Some("5"), "content-length: 5\r\n"),
        ("GET", Some("5"), "content-length: 5\r\n"),
        ("POST", None, "transfer-encoding: chunked\r\n"),
        ("GET", None, "transfer-encoding: chunked\r\n"),
        ("DELETE", None, "transfer-encoding: chunked\r\n"),
    ] {
        let origin = Scripted::start(|head| {
            head.starts_with("GET /next")
                .then(|| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned())
                .or_else(|| Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()))
        });
        let house = House::open(vec![site(&["a.example"], origin.address)], limits());
        let mut client = Frames::open(&house, &[]).await;
        let mut fields: Vec<(&str, &[u8])> = vec![
            (":method", method.as_bytes()),
            (":scheme", b"https"),
            (":authority", b"a.example"),
            (":path", b"/"),
        ];
        if let Some(length) = length {
            fields.push(("content-length", length.as_bytes()));
        }
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        client.send(&frame(DATA, END_STREAM, 1, b"hello")).await;
        assert_eq!(client.verdict(1).await, Verdict::Ok);
        let heard = origin.heard()[0].to_lowercase();
        assert!(heard.contains(expected), "{method} {length:?}: {heard}");
        let lengths =
            heard.matches("content-length:").count() + heard.matches("transfer-encoding:").count();
        assert_eq!(lengths, 1, "{method} {length:?}: {heard}");
    }
}

/// A body that is longer or shorter than its length never becomes the next request.
#[tokio::test]
async fn a_body_that_lies_about_its_length_is_broken_off() {
    for (length, body) in
        [("5", &b"hello, and GET / HTTP/1.1"[..]), ("50", b"hello"), ("0", b"hello")]
    {
        let origin = origin();
        let mut one = limits();
        one.workers = 1;
        let house = House::open(vec![site(&["a.example"], origin.address)], one);
        let mut client = Frames::open(&house, &[]).await;
        let fields: Vec<(&str, &[u8])> = vec![
            (":method", b"POST"),
            (":scheme", b"https"),
            (":authority", b"a.example"),
            (":path", b"/"),
            ("content-length", length.as_bytes()),
        ];
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        client.send(&frame(DATA, END_STREAM, 1, body)).await;
        // The origin may have answered before the lie was seen.
        let _ = client.verdict(1).await;
        let next = b"GET /next HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let answer = house.raw("a.example", next).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{length}: {answer}");
        let heads = origin.heard();
        assert!(
            heads.iter().filter(|head| head.starts_with("GET /next")).count() == 1,
            "{heads:?}"
        );
        assert!(!heads.iter().any(|head| head.contains("and GET / HTTP")), "{length}: {heads:?}");
    }
}
