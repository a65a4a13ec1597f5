//! Tokens of clients, on the real daemon: what they open, and that those that are none open nothing.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::Keyward;
use crate::daemon::Said;
use crate::daemon::eventually;
use crate::origin::Origin;

const CLIENTS: &str = "
[[client]]
name = 'panel'
[[client]]
name = 'ops'
role = 'operator'
[[client]]
name = 'auditor'
role = 'observer'
";

struct Place {
    keyward: Keyward,
    _origin: Origin,
}

impl Place {
    fn start() -> Self {
        let origin = Origin::start();
        let address = origin.address;
        let site =
            format!("[[site]]\nnames = [\"a.internal\"]\norigin = \"http://{address}\"\n{CLIENTS}");
        let mut keyward = Keyward::new("", &site);
        keyward.start();
        Self { keyward, _origin: origin }
    }

    /// Makes a token and puts it into a file of this name.
    fn make(&self, file: &str, arguments: &[&str]) -> String {
        let said = self.keyward.cli(&[&["token", "create"], arguments].concat());
        assert!(said.err.contains("it is not shown again"), "{said:?}");
        let token = said.ok();
        std::fs::write(self.path(file), &token).unwrap();
        token.trim().to_owned()
    }

    fn path(&self, file: &str) -> String {
        self.keyward.dir.path().join(file).to_string_lossy().into_owned()
    }

    fn with(&self, file: &str, arguments: &[&str]) -> Said {
        self.keyward.cli(&[&["--token-file", &self.path(file)], arguments].concat())
    }

    /// One request with this in its `Authorization`.
    fn ask(&self, method: &str, path: &str, shown: &str) -> String {
        let mut stream = UnixStream::connect(self.keyward.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\nauthorization: {shown}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn listed(&self) -> Vec<Value> {
        self.keyward.cli(&["--json", "token", "list"]).json()["tokens"].as_array().unwrap().clone()
    }
}

#[test]
fn a_token_counts_in_the_place_of_the_user_until_it_is_revoked_or_has_run_out() {
    let mut place = Place::start();
    place.keyward.wait_issued("a.internal");
    let panel = place.make("panel", &["panel", "--name", "shop", "--scopes", "read,issue"]);
    assert!(panel.starts_with("kw_") && panel.len() == 75, "{panel}");
    place.make("ops", &["ops"]);
    place.make("auditor", &["auditor"]);
    // This process is root, which counts for nothing as soon as a token is shown.
    let said = place.with("panel", &["status"]);
    assert_eq!(said.status.code(), Some(77), "{said:?}");
    assert!(said.err.contains("by token"), "{said:?}");
    assert_eq!(place.with("ops", &["status"]).status.code(), Some(0));
    assert_eq!(place.with("ops", &["renew", "a.internal"]).status.code(), Some(0));
    assert_eq!(place.with("auditor", &["status"]).status.code(), Some(0));
    assert_eq!(place.with("auditor", &["renew", "a.internal"]).status.code(), Some(77));
    // What is there is not there for a client whose it is not.
    let shown = |file, arguments: &[&str]| place.with(file, arguments);
    for command in ["show", "why", "renew"] {
        let there = shown("panel", &[command, "a.internal"]);
        let nowhere = shown("panel", &[command, "b.internal"]);
        assert_eq!(there.status.code(), Some(1), "{there:?}");
        assert_eq!(there.err.replace("a.internal", "b.internal"), nowhere.err);
    }
    let list = shown("panel", &["--json", "list"]).json();
    assert_eq!(list["certificates"].as_array().unwrap().len(), 0, "{list}");
    let events = shown("panel", &["--json", "events"]).ok();
    assert!(!events.contains("a.internal"), "{events}");
    // A token gives no more than its client may, nor more than who makes it has.
    for (arguments, word) in [
        (&["token", "create", "auditor", "--scopes", "issue"][..], "cannot be given issue"),
        (&["token", "create", "nobody"], "there is no client nobody"),
    ] {
        let said = place.keyward.cli(arguments);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(said.err.contains(word), "{said:?}");
    }
    place.make("narrow", &["ops", "--scopes", "read,operate"]);
    let said = place.with("narrow", &["token", "create", "ops"]);
    assert!(said.err.contains("cannot give away issue"), "{said:?}");

    // A stream that is open when it is revoked ends, and nothing is let in any more.
    let mut stream = UnixStream::connect(place.keyward.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "GET /v1/events?follow=true HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\
         authorization: bearer {panel}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 256];
    let length = stream.read(&mut first).unwrap();
    assert!(first[..length].starts_with(b"HTTP/1.1 200"));
    let id = place.listed().iter().find(|one| one["name"] == "shop").unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    let told = place.keyward.cli(&["token", "revoke", id]).ok();
    assert!(told.contains("lets nobody in any more"), "{told}");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    let refused = place.ask("GET", "/v1/whoami", &format!("Bearer {panel}"));
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(refused.contains("www-authenticate: Bearer realm=\"keyward\""), "{refused}");

    // Killed and started again, the others are as they were, and the revoked one stays revoked.
    place.keyward.kill9();
    place.keyward.start();
    assert_eq!(place.with("ops", &["status"]).status.code(), Some(0));
    let refused = place.ask("GET", "/v1/whoami", &format!("Bearer {panel}"));
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    // Neither in the journal nor in the log.
    let (journal, log) = (place.keyward.cli(&["--json", "events"]).ok(), place.keyward.log());
    assert!(journal.contains("makes token") && journal.contains("revokes token"), "{journal}");
    for text in [journal, log] {
        assert!(!text.contains(&panel[3..40]), "a token is told");
    }
    let database = std::fs::read(place.keyward.state().join("store/keyward.redb"));
    if let Ok(bytes) = database {
        let octets: Vec<u8> = (0..32)
            .map(|n| u8::from_str_radix(&panel[3 + 2 * n..5 + 2 * n], 16).unwrap())
            .collect();
        assert!(!bytes.windows(32).any(|window| window == octets), "it is kept in the clear");
    }
}

#[test]
fn a_token_that_runs_out_is_none_from_then_on_and_ends_its_stream() {
    let place = Place::start();
    let order = r#"{"client":"ops","expires_in":4}"#;
    let body = format!(
        "POST /v1/tokens HTTP/1.1\r\nhost: k\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{order}",
        order.len()
    );
    let mut stream = UnixStream::connect(place.keyward.socket()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let made: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let token = made["token"].as_str().unwrap();
    let mut stream = UnixStream::connect(place.keyward.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "GET /v1/events?follow=true HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("0\r\n\r\n"), "{heard}");
    eventually("it lets nobody in", Duration::from_secs(30), || {
        let answer = place.ask("GET", "/v1/whoami", &format!("Bearer {token}"));
        answer.starts_with("HTTP/1.1 401 ").then_some(())
    });
    assert_eq!(place.listed()[0]["good"], false);
}

#[test]
fn slips_are_told_and_guesses_are_not_heard_for_long() {
    let place = Place::start();
    let token = place.make("ops", &["ops", "--expires", "90d"]);
    let slip = token.replace(&token[10..11], if &token[10..11] == "0" { "1" } else { "0" });
    std::fs::write(place.path("slip"), &slip).unwrap();
    let said = place.with("slip", &["status"]);
    assert_eq!(said.status.code(), Some(64), "{said:?}");
    assert!(said.err.contains("mistyped or cut") && !said.err.contains(&slip), "{said:?}");
    let answer = place.ask("GET", "/v1/status", &format!("Bearer {slip}"));
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("mistyped or cut"), "{answer}");
    for shown in ["Basic cm9vdDo=", "Bearer", "Bearer kw_", "kw_"] {
        assert!(place.ask("GET", "/v1/status", shown).starts_with("HTTP/1.1 401 "), "{shown}");
    }
    let mut refused = 0;
    for _ in 0..30 {
        let answer = place.ask("GET", "/v1/status", &format!("Bearer kw_{}", "0".repeat(72)));
        if answer.starts_with("HTTP/1.1 429 ") {
            assert!(answer.contains("retry-after: "), "{answer}");
            refused += 1;
        }
    }
    assert!(refused >= 15, "{refused}");
    // Who shows none is answered all the while.
    place.keyward.cli(&["status"]).ok();
    let listed = place.listed();
    assert_eq!(listed[0]["client"], "ops");
    assert!(listed[0]["expires"].is_string() && listed[0]["good"] == true, "{listed:?}");
}
