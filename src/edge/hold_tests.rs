//! What waits against a client of rustls: both ends are in one task, so that what has been sent is
//! there, and what is not there has not been sent.

use std::io;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::edge::meter::Measured;
use crate::edge::meter::Meter;

struct Ends {
    server: TlsStream<Measured>,
    client: ClientConnection,
    socket: TcpStream,
}

fn configs(version: &'static SupportedProtocolVersion) -> (ServerConfig, ClientConfig) {
    let provider = crate::base::tls::provider();
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    server.send_tls13_tickets = 1;
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

/// Sends what the client has to say, and reads once; how much, unless nothing is there.
fn turn(client: &mut ClientConnection, socket: &TcpStream) -> Option<usize> {
    let mut octets = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut octets).unwrap();
    }
    if !octets.is_empty() {
        assert_eq!(socket.try_write(&octets).unwrap(), octets.len());
    }
    let mut octets = vec![0; 64 * 1024];
    match socket.try_read(&mut octets) {
        Ok(read) => {
            let mut rest = &octets[..read];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                // The server hangs up, or a test looks at what is wrong.
                let _ = client.process_new_packets();
            }
            Some(read)
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            None
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, socket)
}

async fn shaken(version: &'static SupportedProtocolVersion) -> Ends {
    let (server, client) = configs(version);
    let (accepted, socket) = pair().await;
    let mut client =
        ClientConnection::new(Arc::new(client), "a.example".try_into().unwrap()).unwrap();
    let measured = Measured::new(accepted, Meter::default());
    let mut accepting = std::pin::pin!(TlsAcceptor::from(Arc::new(server)).accept(measured));
    let mut server = loop {
        turn(&mut client, &socket);
        // Both are looked at in turn, and nobody waits for the other without end.
        if let Ok(server) = timeout(std::time::Duration::from_millis(20), &mut accepting).await {
            break server.unwrap();
        }
    };
    server.get_mut().0.held.shaken();
    Ends { server, client, socket }
}

/// Whether `socket` has something to read, after the kernel had time to say so.
async fn readable(socket: &TcpStream) -> bool {
    timeout(std::time::Duration::from_millis(20), socket.readable()).await.is_ok()
}

#[tokio::test]
async fn a_ticket_goes_out_with_the_first_answer_in_one_write() {
    let Ends { mut server, mut client, socket } = shaken(&rustls::version::TLS13).await;
    assert!(!client.is_handshaking() && server.get_ref().0.held.waits());
    // A flush before it is due is no reason to send it.
    server.flush().await.unwrap();
    assert!(!readable(&socket).await, "nothing was sent by itself");
    server.write_all(b"an answer").await.unwrap();
    server.flush().await.unwrap();
    assert!(readable(&socket).await);
    turn(&mut client, &socket).unwrap();
    assert_eq!(client.tls13_tickets_received(), 1);
    let mut answer = [0; 16];
    assert_eq!(io::Read::read(&mut client.reader(), &mut answer).unwrap(), 9);
    assert!(!server.get_ref().0.held.waits());
}

#[tokio::test]
async fn a_ticket_that_no_answer_takes_along_goes_out_when_it_is_due() {
    let Ends { mut server, mut client, socket } = shaken(&rustls::version::TLS13).await;
    sleep(HELD_FOR).await;
    server.flush().await.unwrap();
    assert!(readable(&socket).await);
    turn(&mut client, &socket).unwrap();
    assert_eq!(client.tls13_tickets_received(), 1);
    assert!(!server.get_ref().0.held.waits());
}

#[tokio::test]
async fn a_ticket_goes_out_with_the_farewell() {
    let Ends { mut server, mut client, socket } = shaken(&rustls::version::TLS13).await;
    server.shutdown().await.unwrap();
    assert!(readable(&socket).await);
    turn(&mut client, &socket).unwrap();
    assert_eq!(client.tls13_tickets_received(), 1);
    assert_eq!(io::Read::read(&mut client.reader(), &mut [0]).unwrap(), 0, "a proper end");
}

/// There the server has the last word of the handshake.
#[tokio::test]
async fn nothing_waits_in_tls_1_2() {
    let Ends { server, mut client, socket } = shaken(&rustls::version::TLS12).await;
    assert!(!server.get_ref().0.held.waits());
    while client.is_handshaking() {
        assert!(readable(&socket).await);
        turn(&mut client, &socket);
    }
}

/// Whatever a socket takes at once, octets arrive whole and in order.
#[tokio::test]
async fn what_waits_arrives_before_what_is_written_however_little_the_socket_takes() {
    let (mut accepted, socket) = pair().await;
    let mut held = Held { octets: vec![1; 3_000_000], shaking: false, due: None };
    let body = vec![2; 1_000_000];
    let mut left = &*body;
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while seen.len() < 4_000_000 {
        let polled = std::future::poll_fn(|cx| {
            let bufs = [IoSlice::new(left)];
            Poll::Ready(if left.is_empty() {
                Poll::Pending
            } else {
                held.poll_write(&mut accepted, cx, &bufs)
            })
        });
        if let Poll::Ready(written) = polled.await {
            left = &left[written.unwrap()..];
        }
        socket.readable().await.unwrap();
        if let Ok(read) = socket.try_read(&mut buffer) {
            seen.extend_from_slice(&buffer[..read]);
        }
    }
    assert!(seen[..3_000_000].iter().all(|octet| *octet == 1));
    assert!(seen[3_000_000..].iter().all(|octet| *octet == 2));
}

#[test]
fn only_what_is_under_keys_waits_and_only_once_the_client_has_sent_such_a_record() {
    let record = [IoSlice::new(&[SEALED, 3, 3]), IoSlice::new(&[0, 1, 7])];
    let hello = [IoSlice::new(&[22, 3, 3])];
    let mut held = Held::shaking();
    assert_eq!(held.take(false, &record), None);
    assert_eq!(held.take(true, &hello), None);
    assert_eq!(held.take(true, &record), Some(6));
    assert_eq!(held.take(true, &[IoSlice::new(&[SEALED; HELD_MOST])]), None, "too much");
    assert!(held.shaken());
    assert_eq!(held.take(true, &record), None, "hands are shaken");
    assert_eq!(held.octets, [SEALED, 3, 3, 0, 1, 7]);
}
