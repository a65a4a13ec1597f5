//! Protocols in which clients ask for TLS, by the clients of others.

use std::process::{Command, Stdio};
use std::time::Duration;

use keyward::config::{StartTls, TcpService, TcpWay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{House, limits, read_all};
use crate::tcp::{eventually, open, service};

/// A server in plain that greets as `greeting` has it, and echoes behind "heard ".
async fn serving(greeting: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _gone = stream.write_all(greeting.as_bytes()).await;
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let heard = [b"heard ", &buffer[..count]].concat();
                    if stream.write_all(&heard).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn asking(protocol: StartTls, to: std::net::SocketAddr) -> TcpService {
    let mut service = service(&["mail.example"], to);
    if let TcpWay::Ended(tls) = &mut service.way {
        tls.starttls = Some(protocol);
    }
    service
}

/// What openssl shows of a session in which `line` is said.
async fn openssl(house: &House, at: std::net::SocketAddr, protocol: &str, line: &str) -> String {
    let mut child = tokio::process::Command::from(Command::new("openssl"))
        .args(["s_client", "-starttls", protocol, "-connect", &at.to_string()])
        .args(["-servername", "mail.example", "-verify_return_error", "-quiet", "-CAfile"])
        .arg(house.ca.root_file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut said = Vec::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&said).contains(line) {
            match out.read(&mut buffer).await {
                Ok(count @ 1..) => said.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
    };
    let _late = tokio::time::timeout(Duration::from_secs(20), reading).await;
    drop(stdin);
    let _ended = child.kill().await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn openssl_asks_for_tls_in_each_protocol_and_reaches_the_server() {
    for (protocol, word, greeting) in [
        (StartTls::Smtp, "smtp", "220-hello\r\n220 there\r\n"),
        (StartTls::Imap, "imap", "* OK hello\r\n"),
        (StartTls::Pop3, "pop3", "+OK hello\r\n"),
        (StartTls::Postgres, "postgres", ""),
    ] {
        let server = serving(greeting).await;
        let (house, at) = open(vec![asking(protocol, server)], limits());
        let said = openssl(&house, at, word, "something private").await;
        assert!(said.contains("heard something private"), "{word}: {said}");
        // The second greeting would be taken for an answer to what the client says first.
        assert!(!said.contains("hello"), "{word}: {said}");
        assert_eq!(house.edge.stats().handshakes.full, 1, "{word}");
    }
}

/// Whoever puts commands between hears that they are none, and no server hears of them.
#[tokio::test]
async fn no_server_hears_what_was_said_in_plain() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let (house, at) = open(vec![asking(StartTls::Smtp, server)], limits());
    let mut client = TcpStream::connect(at).await.unwrap();
    client.write_all(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@x>\r\n").await.unwrap();
    let said = read_all(&mut client).await;
    assert!(said.starts_with("220 mail.example ESMTP\r\n") && said.contains("250 STARTTLS"));
    assert!(!said.contains("Ready"), "{said}");
    // Behind the request, in a segment of its own, it is a handshake that fails.
    let mut client = TcpStream::connect(at).await.unwrap();
    client.write_all(b"STARTTLS\r\n").await.unwrap();
    let mut told = [0; 256];
    let mut all = String::new();
    while !all.contains("Ready") {
        let count = client.read(&mut told).await.unwrap();
        assert!(count > 0, "{all}");
        all.push_str(&String::from_utf8_lossy(&told[..count]));
    }
    client.write_all(b"MAIL FROM:<evil@x>\r\n").await.unwrap();
    read_all(&mut client).await;
    let nobody = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(nobody.is_err(), "the server was connected to");
    let stats = house.edge.stats();
    assert_eq!((stats.tcp.refused, stats.handshakes.failed.protocol), (1, 1), "{stats:?}");
}

/// Somebody who says nothing, or something every now and then, has the time of a handshake.
#[tokio::test]
async fn the_time_before_tls_is_bounded() {
    let mut short = limits();
    short.handshake_timeout = Duration::from_millis(700);
    let (house, at) = open(vec![asking(StartTls::Imap, serving("").await)], short);
    let begun = std::time::Instant::now();
    let mut client = TcpStream::connect(at).await.unwrap();
    let (mut read, mut write) = client.split();
    let talking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if write.write_all(b"a NOOP\r\n").await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = read_all(&mut read) => {}
        () = talking => {}
    }
    assert!((600..6000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    // Counted a moment after the client hears of it.
    eventually("it is counted", || house.edge.stats().handshakes.failed.timeout == 1).await;
}
