//! TLS in the kernel: what goes over to it, what clients see of it, and how it ends.

use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::daemon::Keyward;
use crate::daemon::eventually;

const MIB: usize = 1024 * 1024;

/// A body in which no two records are alike, made fast: the machine is slow.
fn body(len: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(len + 1000);
    let mut count = 0_u64;
    while body.len() < len {
        body.extend_from_slice(&[b'x'; 1000]);
        body.extend_from_slice(&count.to_be_bytes());
        count += 1;
    }
    body.truncate(len);
    body
}

/// An origin: `GET /N` gives N octets, `POST` takes a body of a stated length and compares it.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    address
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let answer = if first.starts_with("POST") {
        let mut taken = vec![0; length];
        reader.read_exact(&mut taken)?;
        if taken == body(length) { b"the same".to_vec() } else { b"another".to_vec() }
    } else {
        body(first.split(['/', ' ']).nth(2).unwrap().parse().unwrap())
    };
    write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len())?;
    // In pieces of no size in particular.
    answer.chunks(50_000).try_for_each(|piece| writer.write_all(piece))
}

/// A daemon in front of an origin, and the root of its certificate.
struct House {
    keyward: Keyward,
    root: std::path::PathBuf,
}

impl House {
    fn new(ktls: &str) -> Self {
        let site = format!(
            "[[site]]\nnames = [\"localhost\"]\norigin = \"http://{}\"\nissuer = \"internal\"\n",
            origin()
        );
        let mut keyward = Keyward::new("", &site);
        keyward.edit("level = \"debug\"", "level = \"info\"");
        keyward.edit("[log]", &format!("[tls]\nktls = \"{ktls}\"\n\n[log]"));
        keyward.start();
        let root = keyward.dir.path().join("root.pem");
        std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
        eventually("the site is served", Duration::from_secs(30), || {
            keyward.curl(&root, "localhost", "/1", &[]).status.success().then_some(())
        });
        Self { keyward, root }
    }

    fn figure(&self, name: &str) -> u64 {
        let status = self.keyward.cli(&["status", "--json"]).json();
        status["edge"][name].as_u64().unwrap()
    }

    /// A client of our own, which hears every word: connected, with its hands shaken.
    fn client(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(&self.root).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(keyward::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection =
            ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.keyward.https)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        StreamOwned::new(connection, socket)
    }
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn ask(client: &mut Client, line: &str, more: &str) {
    write!(client, "{line} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").unwrap();
}

/// The head of an answer, octet by octet, so that nothing of the body is taken.
fn head(client: &mut Client) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        client.read_exact(&mut octet).unwrap();
        head.push(octet[0]);
    }
    String::from_utf8(head).unwrap()
}

fn taken(client: &mut Client, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    client.read_exact(&mut body).unwrap();
    body
}

/// curl gets what the origin has, by every suite and either protocol, and the kernel has sealed it.
pub(crate) fn downloads() {
    let house = House::new("auto");
    let status = house.keyward.cli(&["status"]).ok();
    assert!(status.contains("kernel         kernel TLS, "), "{status}");
    let file = house.keyward.dir.path().join("body");
    let to = file.to_str().unwrap();
    for (count, (len, more)) in [
        (16 * MIB, ["--http1.1", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"]),
        (2 * MIB, ["--http2", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"]),
        (2 * MIB, ["--http2", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"]),
    ]
    .into_iter()
    .enumerate()
    {
        let more = [&more[..], &["--output", to, "--max-time", "100"]].concat();
        let said = house.keyward.curl(&house.root, "localhost", &format!("/{len}"), &more);
        println!("{more:?} done");
        assert!(said.status.success(), "{more:?}: {said:?}\n{}", house.keyward.log());
        assert!(std::fs::read(&file).unwrap() == body(len), "another body with {more:?}");
        assert_eq!(house.figure("kernel_tls.taken"), count as u64 + 1, "{more:?}");
    }
    // TLS 1.2 stays with rustls, and so does what carries little.
    let len = 2 * MIB;
    for (len, more) in [(len, "--tls-max=1.2"), (100 * 1024, "--http1.1")] {
        let more = more.split('=').chain(["--output", to]).collect::<Vec<_>>();
        let said = house.keyward.curl(&house.root, "localhost", &format!("/{len}"), &more);
        assert!(said.status.success(), "{said:?}");
        assert!(std::fs::read(&file).unwrap() == body(len), "another body with {more:?}");
    }
    assert_eq!(house.figure("kernel_tls.taken"), 3);
    assert_eq!(house.figure("kernel_tls.refused"), 0);
    let status = house.keyward.cli(&["status"]).ok();
    assert!(status.contains("; 3 connections went over to kernel TLS"), "{status}");
    println!("{status}");
}

/// One connection goes on after it went over: more requests, a body up, and a proper end.
pub(crate) fn conversation() {
    let house = House::new("auto");
    let mut client = house.client();
    for _ in 0..2 {
        ask(&mut client, &format!("GET /{MIB}"), "");
        assert!(head(&mut client).contains("200 OK"));
        assert!(taken(&mut client, MIB) == body(MIB), "another body");
    }
    assert_eq!(house.figure("kernel_tls.taken"), 1);
    let up = 3 * MIB + 7;
    ask(&mut client, "POST /", &format!("Content-Length: {up}\r\nConnection: close\r\n"));
    client.write_all(&body(up)).unwrap();
    client.flush().unwrap();
    assert!(head(&mut client).contains("200 OK"));
    let mut rest = Vec::new();
    // An end without a farewell would be an error here.
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"the same");
    assert_eq!(house.figure("kernel_tls.taken"), 1);
    assert_eq!(house.figure("panics"), 0);
}

/// A client that changes its keys is told goodbye in order, and others are served.
pub(crate) fn change_of_keys() {
    let house = House::new("auto");
    let mut client = house.client();
    ask(&mut client, &format!("GET /{MIB}"), "");
    head(&mut client);
    taken(&mut client, MIB);
    assert_eq!(house.figure("kernel_tls.taken"), 1);
    client.conn.refresh_traffic_keys().unwrap();
    ask(&mut client, "GET /5", "");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "nothing was answered, and the end was a proper one");
    assert_eq!(house.figure("kernel_tls.rekeyed"), 1);

    // Before it went over, a change of keys is rustls's business, and stands in nobody's way.
    let mut client = house.client();
    ask(&mut client, "GET /5", "");
    head(&mut client);
    taken(&mut client, 5);
    client.conn.refresh_traffic_keys().unwrap();
    ask(&mut client, &format!("GET /{MIB}"), "");
    head(&mut client);
    assert!(taken(&mut client, MIB) == body(MIB), "another body");
    ask(&mut client, "GET /5", "");
    head(&mut client);
    assert_eq!(taken(&mut client, 5), body(5));
    assert_eq!(house.figure("kernel_tls.taken"), 2);
    assert_eq!(house.figure("kernel_tls.rekeyed"), 1);
}

/// A client that breaks a record, or its connection, hurts nobody but itself.
pub(crate) fn broken_clients() {
    let house = House::new("auto");
    for record in [
        // Nobody has sealed this.
        [&[23, 3, 3, 0, 32][..], &[7; 32]].concat(),
        // The wrong kind, and far too long.
        vec![22, 3, 3, 0, 4, 1, 2, 3, 4],
        [&[23, 3, 3, 0xff, 0xff][..], &[7; 64]].concat(),
        // Half of one, and the end.
        vec![23, 3, 3, 0, 64, 1],
    ] {
        let mut client = house.client();
        ask(&mut client, &format!("GET /{MIB}"), "");
        head(&mut client);
        taken(&mut client, MIB);
        client.sock.write_all(&record).unwrap();
        client.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // However it ends, it ends.
        let ended = client.read_to_end(&mut rest);
        println!("{:?}: {ended:?}", &record[..5]);
        assert_eq!(rest, b"");
    }
    assert_eq!(house.figure("kernel_tls.taken"), 4);
    eventually("they are gone", Duration::from_secs(10), || {
        (house.figure("connections.open") == 0).then_some(())
    });
    assert_eq!(house.figure("panics"), 0);
    let said = house.keyward.curl(&house.root, "localhost", "/5", &[]);
    assert!(said.status.success(), "{said:?}");
}

/// Who does not want it has none.
pub(crate) fn turned_off() {
    let house = House::new("off");
    let mut client = house.client();
    ask(&mut client, &format!("GET /{MIB}"), "");
    head(&mut client);
    assert!(taken(&mut client, MIB) == body(MIB), "another body");
    assert_eq!(house.figure("kernel_tls.taken"), 0);
    let status = house.keyward.cli(&["status"]).ok();
    assert!(status.contains("kernel TLS (missing: [tls] ktls is off)"), "{status}");
}
