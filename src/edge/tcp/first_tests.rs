//! First flights of clients, whole, in pieces and without an end.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;

fn list(width: usize, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_be_bytes();
    [&length[length.len() - width..], body].concat()
}

/// The message of a client that asks for `name` and speaks `alpn`.
fn message(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let names = list(2, &[&[0][..], &list(2, name.as_bytes())].concat());
    let alpn: Vec<u8> = alpn.iter().flat_map(|one| list(1, one)).collect();
    // One that nobody knows (RFC 8701) comes first.
    let extensions = [
        &[0x1a, 0x1a, 0, 0][..],
        &[&[0, 0][..], &list(2, &names)].concat(),
        &[&[0, 16][..], &list(2, &list(2, &alpn))].concat(),
    ]
    .concat();
    let hello = [
        &[3; 34][..],
        &list(1, &[9; 32]),
        &list(2, &[0x13, 1]),
        &list(1, &[0]),
        &list(2, &extensions),
    ]
    .concat();
    [&[1][..], &list(3, &hello)].concat()
}

/// The same in records of at most `piece` octets.
fn records(message: &[u8], piece: usize) -> Vec<u8> {
    message.chunks(piece).flat_map(|part| [&[22, 3, 1][..], &list(2, part)].concat()).collect()
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_hello_is_read_in_whatever_pieces_and_nothing_behind_it() {
    let message = message("a.example", &[b"h2"]);
    for piece in [1000, 40, 7, 3, 1] {
        let sent = records(&message, piece);
        let (mut client, mut server) = pair().await;
        let behind = [&sent[..], b"behind"].concat();
        client.write_all(&behind).await.unwrap();
        let first = read(&mut server, Vec::new()).await.unwrap();
        assert_eq!(first.octets, sent, "{piece}");
        assert_eq!(first.hello.as_deref(), Some(&message[4..]), "{piece}");
        assert_eq!(first.name(), Some("a.example"));
        assert!(!first.is_challenge());
        let mut left = [0; 6];
        server.read_exact(&mut left).await.unwrap();
        assert_eq!(&left, b"behind");
    }
}

#[tokio::test]
async fn what_is_no_hello_is_left_as_it_came() {
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0, 4, 2, 0, 0, 9], &[22, 3, 1, 0, 0]] {
        let (mut client, mut server) = pair().await;
        client.write_all(sent).await.unwrap();
        let first = read(&mut server, Vec::new()).await.unwrap();
        assert!(first.hello.is_none() && sent.starts_with(&first.octets), "{first:?}");
        assert_eq!(first.name(), None);
    }
}

/// A client that says it would send sixteen megabytes, a record at a time.
#[expect(clippy::disallowed_methods, reason = "a test has no set of tasks")]
#[tokio::test]
async fn no_more_is_kept_than_a_first_flight_may_take() {
    let (mut client, mut server) = pair().await;
    let endless = [&[1, 255, 255, 255][..], &vec![7; 300_000]].concat();
    let sent = records(&endless, 16_000);
    let writing = tokio::spawn(async move { client.write_all(&sent).await });
    let first = read(&mut server, Vec::new()).await.unwrap();
    assert!(first.hello.is_none());
    assert!(first.octets.len() <= FIRST_FLIGHT + HEADER, "{}", first.octets.len());
    drop(server);
    let _reset = writing.await.unwrap();
}

#[test]
fn a_ca_that_looks_for_a_challenge_is_known() {
    let first = |alpn: &[&[u8]]| First {
        octets: Vec::new(),
        hello: Some(message("a.example", alpn)[4..].to_vec()),
    };
    assert!(first(&[b"acme-tls/1"]).is_challenge());
    assert!(!first(&[b"acme-tls/1", b"h2"]).is_challenge());
    assert!(!first(&[]).is_challenge());
}

proptest! {
    /// Whatever is in there: no panic.
    #[test]
    fn anything_may_stand_in_a_hello(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..150) {
        let whole = message("a.example", &[b"h2"])[4..].to_vec();
        let cut = whole[..cut.min(whole.len())].to_vec();
        for hello in [bytes.clone(), [cut, bytes].concat()] {
            let first = First { octets: Vec::new(), hello: Some(hello) };
            let _ = (first.name(), first.is_challenge());
        }
    }
}
