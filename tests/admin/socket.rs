//! What the socket does with bytes that the program would never send.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use keyward::admin::wire::Journal;
use keyward::admin::wire::Problem;
use keyward::base::bounds;

use crate::house::Running;
use crate::house::pause;

/// Sends `bytes` and reads until the other side closes, or `until` was seen.
fn talk(running: &Running, bytes: &[u8], until: Option<&str>) -> String {
    let mut stream = UnixStream::connect(&running.socket).unwrap();
    // Shorter than the pause between two comments to a follower, so that silence ends the test.
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A server that has heard enough may close before everything is written.
    let _closed_early = stream.write_all(bytes);
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        heard.extend_from_slice(&piece[..length]);
        if until.is_some_and(|until| String::from_utf8_lossy(&heard).contains(until)) {
            break;
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

pub(crate) fn ask(running: &Running, method: &str, path: &str, headers: &str) -> String {
    let text = format!("{method} {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\n{headers}\r\n");
    talk(running, text.as_bytes(), None)
}

/// Sends one request and reads the whole answer.
pub(crate) fn ask_on(mut stream: UnixStream, method: &str, path: &str, more: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\n{more}\r\n");
    // One that is turned away may be so before it has said anything.
    let _turned_away = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0 if there is none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

pub(crate) fn problem(answer: &str) -> Problem {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {}", problem.status)), "{head}");
    problem
}

#[test]
fn every_refusal_is_a_problem_document() {
    let running = Running::start();
    let table = [
        ("GET", "/", 404, "/problems/unknown-path"),
        ("GET", "/v2/status", 404, "/problems/unknown-path"),
        ("DELETE", "/v1/status", 405, "/problems/wrong-method"),
        ("GET", "/v1/reload", 405, "/problems/wrong-method"),
        ("GET", "/v1/certificates/other.example", 404, "/problems/no-such-certificate"),
        ("GET", "/v1/certificates/%00", 400, "/problems/refused"),
        ("GET", "/v1/certificates/%ff", 400, "/problems/refused"),
        ("POST", "/v1/certificates/a%20b/renew", 400, "/problems/refused"),
        ("POST", "/v1/rotate/keys", 400, "/problems/bad-body"),
        ("GET", "/v1/events?after=minus", 400, "/problems/bad-question"),
        ("GET", "/v1/events?limit=-1", 400, "/problems/bad-question"),
    ];
    for (method, path, status, kind) in table {
        let problem = problem(&ask(&running, method, path, ""));
        assert_eq!((problem.status, problem.kind.as_str()), (status, kind), "{method} {path}");
    }
    let odd = problem(&ask(&running, "GET", "/v1/events", "last-event-id: seven\r\n"));
    assert_eq!(odd.status, 400);
}

#[test]
fn a_body_beyond_the_limit_is_refused_with_and_without_a_length() {
    let running = Running::start();
    let large = bounds::ADMIN_BODY + 1;
    let head = "POST /v1/reload HTTP/1.1\r\nhost: k\r\nconnection: close\r\n";
    let mut told = format!("{head}content-length: {large}\r\n\r\n").into_bytes();
    told.resize(told.len() + large, b' ');
    assert!(talk(&running, &told, Some("too-large")).starts_with("HTTP/1.1 413"));
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{large:x}\r\n").into_bytes();
    chunked.resize(chunked.len() + large, b' ');
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert!(talk(&running, &chunked, Some("too-large")).starts_with("HTTP/1.1 413"));
    let most = bounds::ADMIN_BODY;
    let mut fits = format!("{head}content-length: {most}\r\n\r\n").into_bytes();
    fits.resize(fits.len() + most, b' ');
    assert!(talk(&running, &fits, None).starts_with("HTTP/1.1 200"));
}

#[test]
fn garbage_costs_nobody_else_anything() {
    let running = Running::start();
    let mut garbage =
        vec![vec![0; 100_000], vec![b'A'; 100_000], b"GET / HTTP/9.9\r\n\r\n".to_vec()];
    garbage.push(format!("GET /v1/status HTTP/1.1\r\nx: {}\r\n", "y".repeat(64 * 1024)).into());
    garbage.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec());
    let mut state = 1u32;
    garbage.push(
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(50_000)
        .collect(),
    );
    for bytes in &garbage {
        let answer = talk(&running, bytes, Some("\r\n\r\n"));
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Half a head, and nothing more: it is held, and it hinders nobody.
    let mut half = UnixStream::connect(&running.socket).unwrap();
    half.write_all(b"GET /v1/status HT").unwrap();
    assert!(ask(&running, "GET", "/v1/status", "").starts_with("HTTP/1.1 200"));
    assert_eq!(running.keyward(&["status"]).0, 0);
    drop(half);
}

#[test]
fn half_a_head_is_given_up_after_its_deadline() {
    let running = Running::start();
    let mut half = UnixStream::connect(&running.socket).unwrap();
    half.write_all(b"GET /v1/status HT").unwrap();
    let limit = bounds::ADMIN_HEAD_DEADLINE + Duration::from_secs(10);
    half.set_read_timeout(Some(limit)).unwrap();
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_hundred_clients_at_once_are_all_answered() {
    let running = Running::start();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|number| {
                let running = &running;
                let path = if number % 2 == 0 { "/v1/status" } else { "/v1/certificates" };
                scope.spawn(move || ask(running, "GET", path, ""))
            })
            .collect();
        for client in clients {
            assert!(client.join().unwrap().starts_with("HTTP/1.1 200"));
        }
    });
}

#[test]
fn events_resume_after_the_last_one_that_was_seen() {
    let running = Running::start();
    for number in 1..=5 {
        running.fake.tell("ordering", "info", None, &format!("message {number}"));
    }
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let list = body(ask(&running, "GET", "/v1/events?limit=2", ""));
    let list: Journal = serde_json::from_str(&list).unwrap();
    assert_eq!(list.entries, running.fake.entries()[3..], "without a place: the newest");
    assert_eq!(list.head, 5);
    let list = body(ask(&running, "GET", "/v1/events?after=1&limit=2", ""));
    let list: Journal = serde_json::from_str(&list).unwrap();
    assert_eq!(list.entries, running.fake.entries()[1..3], "with a place: what follows it");

    let follow = "GET /v1/events?after=1 HTTP/1.1\r\nhost: k\r\naccept: text/event-stream\r\n\
                  last-event-id: 3\r\n\r\n";
    let heard = talk(&running, follow.as_bytes(), Some("message 5"));
    assert!(heard.contains("content-type: text/event-stream"), "{heard}");
    assert!(heard.contains("id: 4\nevent: entry\ndata: {\"seq\":4,"), "{heard}");
    assert!(!heard.contains("message 3"), "the id of the last event goes before the question");

    // A number from a store that is gone does not mean silence.
    let ahead = follow.replace("last-event-id: 3", "last-event-id: 900");
    let fake = std::sync::Arc::clone(&running.fake);
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| {
            pause(300);
            fake.tell("installed", "info", None, "message 6");
        });
        talk(&running, ahead.as_bytes(), Some("message 6"))
    });
    assert!(heard.contains("message 6") && !heard.contains("message 5"), "{heard}");
}

#[test]
fn followers_are_bounded_and_leave_room_for_questions_and_go_when_the_house_does() {
    let mut running = Running::start();
    let follow = b"GET /v1/events?follow=true HTTP/1.1\r\nhost: k\r\n\r\n";
    let mut followers: Vec<_> = (0..bounds::ADMIN_FOLLOWERS)
        .map(|_| {
            let mut stream = UnixStream::connect(&running.socket).unwrap();
            stream.write_all(follow).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut first = [0; 512];
            let length = stream.read(&mut first).unwrap();
            assert!(first[..length].starts_with(b"HTTP/1.1 200"));
            stream
        })
        .collect();
    let refused = problem(&ask(&running, "GET", "/v1/events?follow=true", ""));
    assert_eq!(refused.kind, "/problems/too-many-followers");
    assert!(ask(&running, "GET", "/v1/status", "").starts_with("HTTP/1.1 200"));
    // One that leaves makes room for another.
    drop(followers.pop());
    let mut again = String::new();
    for _ in 0..50 {
        again = talk(&running, follow, Some("\r\n\r\n"));
        if again.starts_with("HTTP/1.1 200") {
            break;
        }
        pause(50);
    }
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    running.stop();
    assert!(!running.socket.exists());
    for mut follower in followers {
        let mut rest = String::new();
        follower.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "the stream is ended, not cut: {rest:?}");
    }
}

/// One message with descriptors, and what is answered.
fn hand_over(running: &Running, bytes: &[u8], along: &[std::os::fd::BorrowedFd<'_>]) -> String {
    use std::os::fd::AsFd as _;
    let mut stream = UnixStream::connect(&running.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    keyward::os::descriptors::send_with(stream.as_fd(), bytes, along).unwrap();
    let mut answer = String::new();
    // A server that was told too much closes over what it did not read.
    let _reset = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_handover_that_is_none_is_refused_and_costs_nobody_else_anything() {
    use std::os::fd::AsFd as _;
    let running = Running::start();
    let (_reader, pipe) = std::io::pipe().unwrap();
    let pipe = pipe.as_fd();
    let order = b"\0\x01{\"export\":{\"certificate\":\"shop.example\"}}";
    let table: [(&[u8], &[_], &str); 7] = [
        (b"\0\x02{}", &[pipe], "another version"),
        (b"\0", &[pipe], "another version"),
        (b"\0\x01{\"import\":1}", &[pipe], "unknown variant"),
        (b"\0\x01nonsense", &[pipe], "expected"),
        (order, &[], "one descriptor"),
        (order, &[pipe, pipe], "one descriptor"),
        (&[&b"\0\x01"[..], &[b' '; 4096]].concat(), &[pipe], "too long"),
    ];
    for (bytes, along, word) in table {
        let answer = hand_over(&running, bytes, along);
        assert!(answer.contains("/problems/bad-handover") && answer.contains(word), "{answer}");
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    let answer = hand_over(&running, order, &[null.as_fd()]);
    assert!(answer.contains("writing alone"), "{answer}");
    assert!(hand_over(&running, order, &[pipe]).contains("the chain"));
    // Descriptors that nobody asked for do not hurt HTTP either.
    let http = b"GET /v1/sites HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n";
    assert!(hand_over(&running, http, &[pipe]).starts_with("HTTP/1.1 200"));
}
