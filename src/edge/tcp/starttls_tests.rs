//! Talks before TLS, as their protocols have them and as attackers do.

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

/// What becomes of a client that sends `parts`, each after a moment, and all that it was told.
async fn begun(protocol: StartTls, parts: &[&[u8]]) -> (io::Result<Begun>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let speaking = async {
        let begun = speak(&mut server, protocol, "mail.example").await;
        drop(server);
        begun
    };
    let asking = async {
        client.set_nodelay(true).unwrap();
        for part in parts {
            // The server may have hung up.
            let _gone = client.write_all(part).await;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        let _gone = client.shutdown().await;
        let mut told = Vec::new();
        let _reset = client.read_to_end(&mut told).await;
        String::from_utf8(told).unwrap()
    };
    tokio::join!(speaking, asking)
}

#[tokio::test]
async fn each_protocol_gets_to_tls() {
    for (protocol, parts, last) in [
        (
            StartTls::Smtp,
            &[&b"EHLO me\r\n"[..], b"MAIL FROM:<a@b>\r\n", b"starttls\r\n"][..],
            "220 2.0.0 Ready to start TLS\r\n",
        ),
        (
            StartTls::Imap,
            &[b"a CAPABILITY\r\n", b"b LOGIN me secret\r\n", b"c StartTLS\r\n"],
            "c OK begin TLS now\r\n",
        ),
        (StartTls::Pop3, &[b"CAPA\r\n", b"USER me\r\n", b"STLS\r\n"], "+OK begin TLS now\r\n"),
        (StartTls::Postgres, &[&GSSENC_REQUEST, &SSL_REQUEST], "NS"),
    ] {
        let (begun, told) = begun(protocol, parts).await;
        assert_eq!(begun.unwrap(), Begun::Tls(Vec::new()), "{told}");
        assert!(told.ends_with(last), "{told}");
        let refused = ["530 5.7.0", "b NO [PRIVACYREQUIRED]", "-ERR", "N"];
        assert!(refused.iter().any(|word| told.contains(word)), "{told}");
    }
    let (smtp, _) = (begun(StartTls::Smtp, &[b"EHLO x\r\n", b"QUIT\r\n"]).await, ());
    assert_eq!(smtp.0.unwrap(), Begun::Over);
    assert!(smtp.1.contains("250-mail.example\r\n250 STARTTLS\r\n"), "{}", smtp.1);
}

/// A client of PostgreSQL 17 may do without the question.
#[tokio::test]
async fn postgresql_may_begin_with_tls() {
    let (begun, told) = begun(StartTls::Postgres, &[&[22, 3, 1, 2, 0, 1, 0, 1, 252]]).await;
    assert_eq!(begun.unwrap(), Begun::Tls(vec![22, 3, 1, 2, 0, 1, 0, 1]));
    assert_eq!(told, "");
    // Version 3.0 of the protocol, without TLS.
    let plain = [&[0, 0, 0, 9, 0, 3, 0, 0][..], b"\0"].concat();
    let (begun, told) = self::begun(StartTls::Postgres, &[&plain]).await;
    assert!(matches!(begun.unwrap(), Begun::Refused(_)));
    assert!(told.starts_with('E') && told.contains("TLS is needed here"), "{told}");
}

/// CVE-2011-0411: what comes in plain behind the request must not be taken for what comes under TLS.
#[tokio::test]
async fn nothing_may_come_in_plain_behind_the_request() {
    for (protocol, injected) in [
        (StartTls::Smtp, &b"STARTTLS\r\nMAIL FROM:<evil@x>\r\n"[..]),
        (StartTls::Imap, b"a STARTTLS\r\nb LOGIN evil x\r\n"),
        (StartTls::Pop3, b"STLS\r\nUSER evil\r\n"),
        (StartTls::Smtp, b"STARTTLS\r\n\x16"),
    ] {
        let (begun, told) = begun(protocol, &[injected]).await;
        assert!(matches!(begun.unwrap(), Begun::Refused(_)), "{told}");
        assert!(!told.contains("Ready") && !told.contains("begin TLS"), "{told}");
    }
}

#[tokio::test]
async fn lines_are_bounded_in_length_number_and_kind() {
    let endless = vec![b'a'; 4096];
    let many = b"NOOP\r\n".repeat(100);
    for (what, sent) in [
        ("length", &endless[..]),
        ("number", &many),
        ("a bare line feed", b"EHLO a\nSTARTTLS\r\n"),
        ("an octet of nothing", b"EHLO a\0b\r\n"),
        ("no text", b"EHLO \xff\r\n"),
    ] {
        let (begun, told) = begun(StartTls::Smtp, &[sent]).await;
        assert!(matches!(begun.unwrap(), Begun::Refused(_)), "{what}: {told}");
    }
    let (ended, _) = begun(StartTls::Smtp, &[b"EHLO"]).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

async fn greeted(protocol: StartTls, said: &[u8]) -> io::Result<Vec<u8>> {
    let (mut ours, mut server) = tokio::io::duplex(64 * 1024);
    server.write_all(said).await.unwrap();
    drop(server);
    greeting(&mut ours, protocol).await
}

#[tokio::test]
async fn the_servers_greeting_is_swallowed_and_a_refusal_is_not() {
    let lines = b"220-one\r\n220-two\r\n220 three\r\nmore";
    assert_eq!(greeted(StartTls::Smtp, lines).await.unwrap(), b"more");
    assert_eq!(greeted(StartTls::Smtp, b"554 no\r\n").await.unwrap(), b"554 no\r\n");
    assert_eq!(greeted(StartTls::Imap, b"* OK hi\r\n").await.unwrap(), b"");
    assert_eq!(greeted(StartTls::Imap, b"* BYE\r\n").await.unwrap(), b"* BYE\r\n");
    assert_eq!(greeted(StartTls::Pop3, b"+OK <1@x>\r\n").await.unwrap(), b"");
    assert_eq!(greeted(StartTls::Postgres, b"").await.unwrap(), b"");
    assert!(greeted(StartTls::Smtp, &[b'2'; 9000]).await.is_err());
    assert!(greeted(StartTls::Smtp, b"220-one\r\n").await.is_err());
}

proptest! {
    /// Whatever a client says: no panic, and one line never gets to TLS but by its request.
    #[test]
    fn any_line_may_come(line in "\\PC{0,80}") {
        for (answer, request) in [
            (smtp as fn(&str, &str) -> Reply, "STARTTLS"), (imap, "STARTTLS"), (pop3, "STLS"),
        ] {
            let begins = matches!(answer(&line, "x"), Reply::Begin(_));
            prop_assert!(!begins || line.to_ascii_uppercase().ends_with(request));
        }
    }
}
