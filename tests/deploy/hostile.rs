//! Servers that misbehave get words, in bounded time.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use keyward::config::Probe;
use keyward::config::ProbeProtocol;
use keyward::deploy::probe::ProbeError;
use keyward::deploy::probe::probe;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// What a server does, one step after the other.
#[derive(Clone, Copy, Debug)]
enum Step {
    Say(&'static [u8]),
    /// The same octets, again and again.
    Endless(&'static [u8]),
    /// One octet now and then.
    Drip(&'static [u8]),
    Hear,
    Close,
    Wait,
}

use ProbeProtocol::Https;
use ProbeProtocol::Imap;
use ProbeProtocol::Ldap;
use ProbeProtocol::Mysql;
use ProbeProtocol::Pop3;
use ProbeProtocol::Postgres;
use ProbeProtocol::Smtp;
use ProbeProtocol::Tls;
use ProbeProtocol::Xmpp;
use Step::Close;
use Step::Drip;
use Step::Endless;
use Step::Hear;
use Step::Say;
use Step::Wait;

async fn act(mut stream: TcpStream, steps: &[Step]) -> std::io::Result<()> {
    for step in steps {
        match step {
            Say(octets) => stream.write_all(octets).await?,
            Endless(octets) => loop {
                stream.write_all(octets).await?;
            },
            Drip(octets) => {
                for octet in octets.iter().cycle() {
                    stream.write_all(&[*octet]).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Hear => {
                let mut heard = [0; 2048];
                if stream.read(&mut heard).await? == 0 {
                    return Ok(());
                }
            }
            Close => return Ok(()),
            Wait => std::future::pending::<()>().await,
        }
    }
    std::future::pending::<()>().await;
    Ok(())
}

async fn server(steps: &'static [Step]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream, steps));
        }
    });
    at
}

async fn look(protocol: ProbeProtocol, at: SocketAddr, within: Duration) -> ProbeError {
    let place = Probe { protocol, host: at.ip().to_string(), port: at.port() };
    let name = ServerName::try_from("mail.example").unwrap();
    probe(&place, &name, within).await.unwrap_err()
}

/// Long enough for a busy machine; none of these waits for it.
const AMPLE: Duration = Duration::from_secs(60);

const GREETED: &[u8] = b"220 a\r\n";
const OFFERED: &[u8] = b"250-a\r\n250 STARTTLS\r\n";

/// What a server does that is wrong, and what is said of it.
const WRONG: &[(ProbeProtocol, &[Step], &str)] = &[
    (Tls, &[Close], "closed the connection where the certificate was to come"),
    (Tls, &[Say(b"HTTP/1.0 400 Bad Request\r\n\r\n"), Wait], "handshake failed: "),
    // A fatal alert: handshake_failure (RFC 8446, section 6).
    (Https, &[Hear, Say(b"\x15\x03\x03\x00\x02\x02\x28"), Wait], "HandshakeFailure"),
    (Tls, &[Hear, Say(b"\x15\x03\x03\x00\x02\x02\x70"), Wait], "UnrecognisedName"),
    (Smtp, &[Close], "closed the connection where the greeting was to come"),
    (Smtp, &[Say(b"554 5.7.1 go away\r\n"), Wait], "does not begin TLS: \"554 5.7.1 go away\""),
    (Smtp, &[Say(b"hello\r\n"), Wait], "does not speak smtp as it should: it says \"hello\""),
    (Smtp, &[Say(b"220-a\r\n221 b\r\n"), Wait], "it says \"221 b\""),
    (Smtp, &[Say(b"\r\n"), Wait], "it says \"\""),
    (Smtp, &[Endless(b"220-again\r\n")], "more than 32768 octets before TLS"),
    (Smtp, &[Endless(b"x")], "a line does not end: \"xxx"),
    (Smtp, &[Say(b"220 \x1b[31m\x00red\r\n"), Hear, Say(b"500 \x1b]0;\x07\r\n"), Wait], "?]0;?"),
    (Smtp, &[Say(GREETED), Hear, Close], "where the answer to EHLO was to come"),
    (
        Smtp,
        &[Say(GREETED), Hear, Say(b"250-a\r\n250 STARTTLSX\r\n"), Wait],
        "STARTTLS is not among its extensions",
    ),
    // The name of the server is no extension.
    (Smtp, &[Say(GREETED), Hear, Say(b"250 STARTTLS\r\n"), Wait], "not among its extensions"),
    (
        Smtp,
        &[Say(GREETED), Hear, Say(OFFERED), Hear, Say(b"454 4.7.0 no certificate\r\n"), Wait],
        "does not begin TLS: \"454 4.7.0 no certificate\"",
    ),
    (
        Smtp,
        &[Say(GREETED), Hear, Say(OFFERED), Hear, Say(b"220 go\r\n250 evil\r\n"), Wait],
        "something in plain behind its word that TLS begins",
    ),
    (Imap, &[Say(b"* BYE too many\r\n"), Wait], "does not begin TLS: \"* BYE too many\""),
    (Imap, &[Say(b"* PREAUTH hello\r\n"), Wait], "PREAUTH"),
    (Imap, &[Say(b"+OK hello\r\n"), Wait], "does not speak imap as it should: it greets with"),
    (Imap, &[Say(b"* OK a\r\n"), Hear, Say(b"k1 BAD what\r\n"), Wait], "\"k1 BAD what\""),
    (Imap, &[Say(b"* OK a\r\n"), Hear, Endless(b"* CAPABILITY X\r\n")], "more than 32768"),
    (
        Imap,
        &[Say(b"* OK a\r\n"), Hear, Say(b"k1 OK go\r\n* CAPABILITY\r\n"), Wait],
        "something in plain",
    ),
    (Pop3, &[Say(b"-ERR full\r\n"), Wait], "does not begin TLS: \"-ERR full\""),
    (Pop3, &[Say(b"+OK\r\n"), Hear, Say(b"-ERR what\r\n"), Wait], "\"-ERR what\""),
    (Pop3, &[Say(b"220 a\r\n"), Wait], "does not speak pop3"),
    (Pop3, &[Say(b"+OK\r\n"), Hear, Say(b"+OK\r\n+OK\r\n"), Wait], "something in plain"),
    (Postgres, &[Hear, Say(b"N"), Wait], "TLS is off there"),
    (Postgres, &[Hear, Say(b"E\0\0\0\x10SFATAL\0"), Wait], "it answers the request with an error"),
    (Postgres, &[Hear, Say(b"SE\0\0\0\x10"), Wait], "something in plain"),
    (Postgres, &[Hear, Say(b"H"), Wait], "does not speak postgres"),
    (Postgres, &[Hear, Close], "where the answer to the request for TLS was to come"),
    (Ldap, &[Hear, Say(b"\x30\x80\0\0"), Wait], "an answer without a length"),
    (Ldap, &[Hear, Say(b"\x30\x84\xff\xff\xff\xff"), Wait], "a message of 4294967295 octets"),
    (Ldap, &[Hear, Say(b"HTTP/1.0 400"), Wait], "does not speak ldap"),
    (
        Ldap,
        &[Hear, Say(b"\x30\x0f\x02\x01\x01\x78\x0a\x0a\x01\x02\x04\x00\x04\x03off"), Wait],
        "StartTLS has the result 2, \"off\"",
    ),
    (
        Ldap,
        &[Hear, Say(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30"), Wait],
        "something in plain",
    ),
    (Mysql, &[Say(b"\xff\xff\xff\x00"), Wait], "a message of 16777215 octets"),
    (Mysql, &[Say(b"\x0b\0\0\0\xff\x69\x04blocked!"), Wait], "does not begin TLS: \"blocked!\""),
    (Mysql, &[Say(b"\x03\0\0\0\x0a5.\0"), Wait], "its first packet is no greeting"),
    (Mysql, &[Say(b"\x14\0\0\0\x0a5.5\0\x01\0\0\0saltsalt\0\xff\xf7"), Wait], "TLS is off there"),
    (
        Xmpp,
        &[Hear, Say(b"<stream:stream><stream:features><x/></stream:features>"), Wait],
        "starttls is not among its features",
    ),
    (
        Xmpp,
        &[Hear, Say(b"<stream:stream><stream:error><host-unknown/></stream:error>"), Wait],
        "host-unknown",
    ),
    (Xmpp, &[Hear, Endless(b"<a>")], "more than 32768"),
    (
        Xmpp,
        &[
            Hear,
            Say(b"<stream:features><starttls xmlns='x'/></stream:features>"),
            Hear,
            Say(b"<failure xmlns='x'/>"),
            Wait,
        ],
        "does not begin TLS: \"<failure",
    ),
];

#[tokio::test]
async fn what_is_wrong_is_said() {
    for (protocol, steps, expected) in WRONG {
        let begun = Instant::now();
        let at = server(steps).await;
        let error = look(*protocol, at, AMPLE).await.to_string();
        assert!(error.contains(expected), "{protocol:?} {steps:?}: {error}");
        assert!(error.starts_with(&at.to_string()), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
        assert!(begun.elapsed() < AMPLE / 2, "{protocol:?} {steps:?}: {:?}", begun.elapsed());
    }
}

/// Whoever says nothing, or something every now and then, has the time that was given and no more.
#[tokio::test]
async fn nobody_keeps_it_waiting() {
    let within = Duration::from_millis(700);
    let cases: &[(ProbeProtocol, &'static [Step], &str)] = &[
        (Tls, &[Wait], "the certificate did not come within 0.7 s"),
        // The head of a record that is long in coming.
        (Tls, &[Hear, Say(b"\x16\x03\x03\x40\x00"), Drip(b"\x02")], "the certificate did not come"),
        (Smtp, &[Wait], "the greeting did not come within 0.7 s"),
        (Smtp, &[Drip(b"220-wait\r\n")], "the greeting did not come"),
        (Imap, &[Say(b"* OK\r\n"), Hear, Drip(b"* OK wait\r\n")], "the answer to STARTTLS did not"),
        (Pop3, &[Say(b"+OK\r\n"), Hear, Wait], "the answer to STLS did not come"),
        (Postgres, &[Hear, Wait], "the answer to the request for TLS did not come"),
        (Ldap, &[Hear, Say(b"\x30\x0c"), Drip(b"\x02")], "the answer to StartTLS did not come"),
        (Mysql, &[Say(b"\x40\0\0\0"), Drip(b"\x0a")], "the greeting did not come"),
        (Xmpp, &[Hear, Drip(b"<stream")], "the list of features did not come"),
    ];
    for (protocol, steps, expected) in cases {
        let begun = Instant::now();
        let error = look(*protocol, server(steps).await, within).await.to_string();
        assert!(error.contains(expected), "{protocol:?} {steps:?}: {error}");
        let taken = begun.elapsed();
        assert!(taken >= within && taken < AMPLE, "{protocol:?} {steps:?}: {taken:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_reason() {
    let gone = SocketAddr::from(([127, 0, 0, 1], crate::daemon::free_port()));
    let error = look(Tls, gone, AMPLE).await;
    assert!(matches!(error, ProbeError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    let place = Probe { protocol: Tls, host: "no.invalid".to_owned(), port: 1 };
    let name = ServerName::try_from("no.invalid").unwrap();
    let error = probe(&place, &name, AMPLE).await.unwrap_err();
    assert!(matches!(error, ProbeError::Unresolved { .. }), "{error:?}");
}
