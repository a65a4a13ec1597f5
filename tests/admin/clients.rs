//! Several users of one machine on one socket: what each may, and that none takes from another.

use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use std::time::Instant;

use keyward::admin::Open;
use keyward::admin::table;
use keyward::admin::wire::whoami::WhoAmI;
use keyward::cert::rights::Scope;

use crate::house::Running;
use crate::house::configuration;
use crate::house::pause;
use crate::socket::ask_on;
use crate::socket::problem;
use crate::socket::status;
use crate::users::connect_as;
use crate::users::is_root;

const CLIENTS: &str = "
[admin]
client_connections = 6
client_requests = 3
client_per_minute = 100000
body = '64KiB'
[[client]]
name = 'ann'
users = ['70001']
[[client]]
name = 'bob'
groups = ['70900']
[[client]]
name = 'auditor'
users = ['70003']
role = 'observer'
[[client]]
name = 'night-shift'
users = ['70004']
role = 'operator'
";

const ANN: (u32, &[u32]) = (70001, &[70001]);
/// By a group that is not its first.
const BOB: (u32, &[u32]) = (70002, &[70002, 70900]);
const AUDITOR: (u32, &[u32]) = (70003, &[70003]);
const NIGHT_SHIFT: (u32, &[u32]) = (70004, &[70004]);
const STRANGER: (u32, &[u32]) = (70005, &[70005]);

fn connect(running: &Running, (user, groups): (u32, &[u32])) -> UnixStream {
    connect_as(&running.socket, user, groups)
}

fn ask(running: &Running, who: (u32, &[u32]), method: &str, path: &str) -> String {
    ask_on(connect(running, who), method, path, "content-type: application/json\r\n")
}

#[expect(clippy::disallowed_methods, reason = "it is measured how long another thread takes")]
fn now() -> Instant {
    Instant::now()
}

fn mode(running: &Running) -> u32 {
    std::fs::metadata(&running.socket).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_is_let_in_to_what_the_table_says_on_every_route() {
    if !is_root() {
        return;
    }
    let (running, _configs) = Running::start_with(CLIENTS);
    let whoami = |who| {
        let answer = ask(&running, who, "GET", "/v1/whoami");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let me: WhoAmI = serde_json::from_str(body).unwrap();
        (me.client.unwrap_or_default(), me.role, me.scopes.join(","))
    };
    let told = |client: &str, role: &str, scopes: &str| {
        (client.to_owned(), role.to_owned(), scopes.to_owned())
    };
    assert_eq!(whoami(ANN), told("ann", "client", "read,issue,deploy"));
    assert_eq!(whoami(BOB), told("bob", "client", "read,issue,deploy"));
    assert_eq!(whoami(AUDITOR), told("auditor", "observer", "read"));
    assert_eq!(whoami(NIGHT_SHIFT), told("night-shift", "operator", "read,issue,deploy,operate"));
    assert_eq!(whoami((0, &[0])).1, "operator");
    for (method, path, need) in table() {
        let path = path.replace("{selector}", "shop.example").replace("{name}", "shop.example");
        let status_of = |who| status(&ask(&running, who, method.as_str(), &path));
        let told = format!("{method} {path}");
        let own = need.open == Open::Owners;
        assert_eq!(status_of(ANN) != 403, own, "{told}");
        assert_eq!(status_of(BOB) != 403, own, "{told}");
        assert_eq!(status_of(AUDITOR) != 403, need.scope == Scope::Read, "{told}");
        assert_ne!(status_of(NIGHT_SHIFT), 403, "{told}");
        assert_eq!(status_of(STRANGER), 403, "{told}");
    }
    let refused = problem(&ask(&running, STRANGER, "GET", "/v1/status"));
    assert!(refused.detail.contains("user 70005 is neither"), "{}", refused.detail);
    // What an order does in spite of its method is no question.
    for path in ["/v1/doctor/shop.example?staging=x", "/v1/status"] {
        assert_eq!(status(&ask(&running, ANN, "GET", path)), 403, "{path}");
    }
    assert_eq!(status(&ask(&running, AUDITOR, "GET", "/v1/doctor/shop.example?staging=x")), 403);
}

#[test]
fn descriptors_are_taken_from_those_who_may_hand_them_over() {
    if !is_root() {
        return;
    }
    let (running, _configs) = Running::start_with(CLIENTS);
    let hand_over = |who, order: &[u8]| {
        let (_reader, pipe) = std::io::pipe().unwrap();
        let mut stream = connect(&running, who);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        keyward::os::descriptors::send_with(stream.as_fd(), order, &[pipe.as_fd()]).unwrap();
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        answer
    };
    let export = b"\0\x01{\"export\":{\"certificate\":\"shop.example\"}}";
    let backup = b"\0\x01\"backup\"";
    assert!(hand_over(ANN, export).contains("the chain"));
    for (who, order) in [(ANN, &backup[..]), (AUDITOR, backup), (AUDITOR, export)] {
        let answer = hand_over(who, order);
        assert!(answer.contains("/problems/not-allowed"), "{who:?}: {answer}");
    }
    assert!(!hand_over(NIGHT_SHIFT, backup).contains("not-allowed"));
    assert!(hand_over(STRANGER, backup).starts_with("HTTP/1.1 4"));
}

#[test]
fn a_client_that_is_taken_out_of_the_file_is_out_at_once() {
    if !is_root() {
        return;
    }
    let (running, configs) = Running::start_with(CLIENTS);
    assert_eq!(mode(&running), 0o666);
    let mut follower = connect(&running, ANN);
    let follow = b"GET /v1/events?follow=true HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n";
    follower.write_all(follow).unwrap();
    follower.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut first = [0; 512];
    let length = follower.read(&mut first).unwrap();
    assert!(first[..length].starts_with(b"HTTP/1.1 200"));
    // One connection that is there already.
    let mut kept = connect(&running, ANN);
    let head = b"GET /v1/whoami HTTP/1.1\r\nhost: k\r\n\r\n";
    kept.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    kept.write_all(head).unwrap();
    let length = kept.read(&mut first).unwrap();
    assert!(first[..length].starts_with(b"HTTP/1.1 200"));
    configs.send_replace(configuration(&CLIENTS.replace("'70001'", "'70011'")));
    let mut rest = Vec::new();
    follower.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream is ended: {rest:?}");
    kept.write_all(head).unwrap();
    let length = kept.read(&mut first).unwrap();
    assert!(first[..length].starts_with(b"HTTP/1.1 403"));
    configs.send_replace(configuration(""));
    let end = now() + Duration::from_secs(60);
    while mode(&running) != 0o660 {
        assert!(now() < end, "without clients the mode keeps others out");
        pause(20);
    }
}

#[test]
fn who_floods_exhausts_its_own_share_and_nobody_elses() {
    if !is_root() {
        return;
    }
    let (running, _configs) = Running::start_with(CLIENTS);
    let in_time = |flood: &str| {
        for who in [BOB, AUDITOR, (0, &[0][..])] {
            let begun = now();
            let answer = ask(&running, who, "GET", "/v1/certificates");
            assert_eq!(status(&answer), 200, "{flood}, {who:?}: {answer}");
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(8), "{flood}, {who:?}: {took:?}");
        }
    };
    // Connections with half a head each, of a client and of somebody who is none.
    for (who, share) in [(ANN, 6), (STRANGER, 4)] {
        let mut held: Vec<_> = (0..200).map(|_| connect(&running, who)).collect();
        for stream in &mut held {
            let _turned_away = stream.write_all(b"GET /v1/status HT");
        }
        in_time("half heads");
        let refused: Vec<_> = held
            .iter_mut()
            .filter_map(|stream| {
                stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                let mut answer = [0; 512];
                let length = stream.read(&mut answer).ok()?;
                Some(String::from_utf8_lossy(&answer[..length]).into_owned())
            })
            .collect();
        assert!(refused.len() >= 200 - share, "{}", refused.len());
        assert!(refused[0].starts_with("HTTP/1.1 503"), "{}", refused[0]);
        assert!(refused[0].contains("retry-after: 1\r\n"), "{}", refused[0]);
        assert_eq!(problem(&refused[0]).kind, "/problems/too-many-connections");
    }
    // Bodies that take their time, and more than may be in work.
    let mut slow: Vec<_> = (0..6).map(|_| connect(&running, ANN)).collect();
    let end = now() + Duration::from_secs(60);
    // The connections of before go as they are noticed.
    while slow.iter_mut().any(|stream| {
        let head = b"POST /v1/certificates/shop.example/renew HTTP/1.1\r\nhost: k\r\n\
                     content-length: 60000\r\n\r\n";
        stream.write_all(head).is_err()
    }) {
        assert!(now() < end);
        pause(50);
        slow = (0..6).map(|_| connect(&running, ANN)).collect();
    }
    in_time("slow bodies");
    let answers = slow.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).ok().filter(|length| *length > 0)?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    });
    let busy: Vec<_> = answers.filter(|answer| status(answer) == 429).collect();
    assert_eq!(busy.len(), 3, "{busy:?}");
    assert!(busy[0].contains("retry-after: 1\r\n"), "{}", busy[0]);
    drop(slow);
    let large = "content-length: 65537\r\n";
    let answer = ask_on(connect(&running, BOB), "POST", "/v1/certificates/x.example/renew", large);
    assert_eq!(problem(&answer).kind, "/problems/too-large", "refused by what it says");
    // Followers.
    pause(200);
    let followed: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = connect(&running, ANN);
            let _late = stream.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nhost: k\r\n\r\n");
            stream
        })
        .collect();
    in_time("followers");
    drop(followed);
}

#[test]
fn a_minute_has_so_many_requests_for_each() {
    if !is_root() {
        return;
    }
    let few = CLIENTS.replace("client_per_minute = 100000", "client_per_minute = 30");
    let (running, _configs) = Running::start_with(&few);
    let answers: Vec<_> = (0..40).map(|_| ask(&running, ANN, "GET", "/v1/whoami")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| status(answer) == 429).collect();
    assert!((1..=10).contains(&refused.len()), "{}", refused.len());
    assert_eq!(problem(refused[0]).kind, "/problems/too-many-requests");
    assert!(refused[0].contains("retry-after: "), "{}", refused[0]);
    assert_eq!(status(&ask(&running, BOB, "GET", "/v1/whoami")), 200);
    assert!((0..40).all(|_| status(&ask(&running, (0, &[0]), "GET", "/v1/whoami")) == 200));
}
