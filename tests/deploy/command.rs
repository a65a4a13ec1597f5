//! `keyward probe`, without a daemon.

use std::process::{Command, Output};

use serde_json::Value;

use crate::daemon::free_port;
use crate::servers::{Kind, Pair, Server};

fn keyward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyward"))
        .arg("probe")
        .args(arguments)
        .env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        .output()
        .unwrap()
}

#[test]
fn what_is_shown_is_told_and_its_absence_is_a_failure() {
    let pair = Pair::new("mail.example");
    let server = Server::start(Kind::Nginx, &pair);
    let place = server.place(0);
    let said = keyward(&[&place, "--sni", "mail.example"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(0), "{text}");
    for expected in [
        &format!("place       {place}"),
        "names       mail.example",
        &format!("serial      {}", pair.serial().to_lowercase()),
        "key         ECDSA P-256",
        "chain       1 certificate",
        "protocol    TLS 1.3",
        &format!("seen at     127.0.0.1:{}", server.ports[0]),
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected}: {text}");
    }
    let ends = text.lines().find(|line| line.starts_with("not after")).unwrap();
    assert!(ends.contains(" CET (in ") || ends.contains(" CEST (in "), "{ends}");

    let said = keyward(&[&place, "--json"]);
    let look: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&look["place"], &look["sni"]), (&place.as_str().into(), &"127.0.0.1".into()));
    assert_eq!(look["seen"]["serial"], pair.serial().to_lowercase());
    assert_eq!(look["error"], Value::Null);

    // It has no other kind of key.
    let said = keyward(&[&place, "--key", "rsa"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");

    let nobody = format!("imap://127.0.0.1:{}", free_port());
    let said = keyward(&[&nobody]);
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!((said.status.code(), said.stdout.len()), (Some(1), 0));
    assert!(text.contains("cannot be reached: Connection refused"), "{text}");
    let said = keyward(&[&nobody, "--json"]);
    let look: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((said.status.code(), &look["seen"]), (Some(1), &Value::Null));
    assert!(look["error"].as_str().unwrap().contains("cannot be reached"), "{look}");

    let said = keyward(&["gopher://a"]);
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(64), "{text}");
    assert!(text.contains("with one of tls, https, smtp"), "{text}");
}
