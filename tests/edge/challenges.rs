//! Challenges of a CA, and the redirects beside them.

use std::process::Command;

use keyward::cert::challenge::Challenge;
use keyward::cert::identifier::Identifier;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::house::{House, limits, read_all, site};
use crate::origin::Origin;

async fn plain(house: &House, request: &str) -> String {
    let mut stream = TcpStream::connect(house.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_all(&mut stream).await
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_token_is_answered_for_every_host_while_it_is_presented() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let path = "/.well-known/acme-challenge/tok_en-1";
    let challenge = Challenge::Http01 {
        name: Identifier::parse("new.example").unwrap(),
        token: "tok_en-1".to_owned(),
        key_authorization: "tok_en-1.thumb".to_owned(),
    };
    let presented = house.edge.solver().present(challenge).await.unwrap();
    for host in ["new.example", "a.example", "127.0.0.1:80"] {
        let answer = plain(&house, &get(host, path)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("tok_en-1.thumb"),
            "{answer}"
        );
    }
    let other = plain(&house, &get("new.example", "/.well-known/acme-challenge/other")).await;
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    drop(presented);
    let answer = plain(&house, &get("new.example", path)).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert_eq!(origin.seen(), 0);
}

#[tokio::test]
async fn plain_http_is_redirected_where_the_site_says_so() {
    let origin = Origin::start();
    let mut quiet = site(&["quiet.example"], origin.address);
    quiet.redirect = false;
    let house =
        House::open(vec![site(&["a.example", "*.a.example"], origin.address), quiet], limits());
    let port = house.https.port();
    for (host, path, expected) in [
        ("a.example", "/x?y=1", format!("308 a.example:{port}/x?y=1")),
        ("A.example:80", "/", format!("308 A.example:{port}/")),
        ("w.a.example", "//evil.example/", format!("308 w.a.example:{port}//evil.example/")),
        ("quiet.example", "/", "404".to_owned()),
        ("other.example", "/", "404".to_owned()),
        ("a.example@evil", "/", "400".to_owned()),
    ] {
        let answer = plain(&house, &get(host, path)).await;
        let (status, location) = expected.split_once(' ').unwrap_or((expected.as_str(), ""));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        if !location.is_empty() {
            assert!(answer.contains(&format!("location: https://{location}\r\n")), "{answer}");
        }
        assert!(
            !answer.to_lowercase().contains("strict-transport"),
            "not over plain HTTP: {answer}"
        );
    }
    let smuggled = plain(&house, "GET / HTTP/1.1\r\nHost: a.example\r\nA : 1\r\n\r\n").await;
    assert!(smuggled.starts_with("HTTP/1.1 400 "), "{smuggled}");
    assert_eq!(origin.seen(), 0);
}

#[test]
fn tls_alpn_01_shows_the_digest_to_who_asks_for_it_alone() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (name, server_name, shown) in [
        ("a.example", "a.example", "DNS:a.example"),
        ("192.0.2.7", "7.2.0.192.in-addr.arpa", "IP Address:192.0.2.7"),
    ] {
        let challenge =
            Challenge::TlsAlpn01 { name: Identifier::parse(name).unwrap(), digest: [0xa5; 32] };
        let presented = runtime.block_on(house.edge.solver().present(challenge)).unwrap();
        let text = certificate(&house, &["-servername", server_name, "-alpn", "acme-tls/1"]);
        assert!(text.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
        assert!(text.contains(shown), "{text}");
        let alpn = s_client(&house, &["-servername", server_name, "-alpn", "acme-tls/1"]);
        assert!(alpn.contains("ALPN protocol: acme-tls/1"), "{alpn}");
        // A browser meanwhile sees the site.
        let text = certificate(&house, &["-servername", "a.example", "-alpn", "http/1.1"]);
        assert!(!text.contains("1.3.6.1.5.5.7.1.31"), "{text}");
        drop(presented);
        let refused = s_client(&house, &["-servername", server_name, "-alpn", "acme-tls/1"]);
        assert!(refused.contains("alert number 112"), "{refused}");
    }
    assert_eq!(house.edge.stats().challenges, 4);
}

fn s_client(house: &House, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &house.https.to_string()])
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

/// The leaf as openssl prints it.
fn certificate(house: &House, arguments: &[&str]) -> String {
    use std::io::Write as _;
    let shown = s_client(house, arguments);
    let mut reader = Command::new("openssl")
        .args(["x509", "-noout", "-text"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    reader.stdin.take().unwrap().write_all(shown.as_bytes()).unwrap();
    String::from_utf8_lossy(&reader.wait_with_output().unwrap().stdout).into_owned()
}

/// Only the very path, only to be read.
#[tokio::test]
async fn a_token_is_found_under_its_path_alone() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let challenge = Challenge::Http01 {
        name: Identifier::parse("a.example").unwrap(),
        token: "tok_en-1".to_owned(),
        key_authorization: "tok_en-1.thumb".to_owned(),
    };
    let presented = house.edge.solver().present(challenge).await.unwrap();
    let base = "/.well-known/acme-challenge/";
    let get = |path: &str| get("a.example", path);
    let found = plain(&house, &get(&format!("{base}tok_en-1?from=ca"))).await;
    assert!(found.starts_with("HTTP/1.1 200 ") && found.ends_with("tok_en-1.thumb"), "{found}");
    for path in [
        format!("/{base}tok_en-1"),
        format!("{base}tok_en-1/"),
        format!("{base}/tok_en-1"),
        format!("{base}./tok_en-1"),
        format!("{base}../acme-challenge/tok_en-1"),
        format!("/x/..{base}tok_en-1"),
        format!("{base}%74ok_en-1"),
        format!("{base}TOK_EN-1"),
        format!("{base}tok_en-1%00"),
        format!("{base}{}", "t".repeat(20_000)),
        base.to_owned(),
        "/.well-known/ACME-challenge/tok_en-1".to_owned(),
    ] {
        let answer = plain(&house, &get(&path)).await;
        assert!(answer.starts_with("HTTP/1.1 308 ") && !answer.contains("thumb"), "{answer}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"] {
        let request = get(&format!("{base}tok_en-1")).replacen("GET", method, 1);
        let answer = plain(&house, &request).await;
        assert!(!answer.starts_with("HTTP/1.1 200 ") && !answer.contains("thumb"), "{answer}");
    }
    let head = plain(&house, &get(&format!("{base}tok_en-1")).replacen("GET", "HEAD", 1)).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(origin.seen(), 0);
    drop(presented);
}
