//! Requests that come before their handshake is complete: which are taken, and how often.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::HandshakeKind;
use rustls::NamedGroup;
use rustls::client::ClientSessionMemoryCache;
use rustls::client::ClientSessionStore;
use rustls::client::Tls12ClientSessionValue;
use rustls::client::Tls13ClientSessionValue;
use rustls::pki_types::ServerName;

use crate::frames::DATA;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::HEADERS;
use crate::frames::SETTINGS;
use crate::frames::block;
use crate::frames::frame;
use crate::house::House;
use crate::house::limits;
use crate::house::site;
use crate::load;
use crate::origin::Origin;

fn open(early_data: bool) -> (House, Origin) {
    let origin = Origin::start();
    let mut sites =
        vec![site(&["a.example"], origin.address), site(&["b.example"], origin.address)];
    sites[0].early_data = early_data;
    (House::open(sites, limits()), origin)
}

fn client(house: &House) -> Arc<ClientConfig> {
    client_of(house, b"http/1.1")
}

fn client_of(house: &House, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = (*load::client_config(&house.ca.root(), &[protocol])).clone();
    config.enable_early_data = true;
    Arc::new(config)
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("a.example").unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

/// One visit in the usual way, which leaves a session.
fn visit(house: &House, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let socket = TcpStream::connect(house.https).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = rustls::StreamOwned::new(connection(config), socket);
    stream.write_all(&request("GET", "/", "Connection: close\r\n")).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    stream.conn.handshake_kind()
}

fn request(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{more}\r\n").into_bytes()
}

/// A client's first octets, with `request` in them.
fn first_flight(config: &Arc<ClientConfig>, request: &[u8]) -> (ClientConnection, Vec<u8>) {
    let mut tls = connection(config);
    tls.early_data().expect("a session for early data").write_all(request).unwrap();
    let mut octets = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut octets).unwrap();
    }
    (tls, octets)
}

fn send(house: &House, octets: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(house.https).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(octets).unwrap();
    socket
}

/// Reads until an answer to a request has come, without a word from the client.
fn answer(tls: &mut ClientConnection, socket: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut octets = vec![0; 16 * 1024];
        match tls.reader().read(&mut octets) {
            Ok(read) => text.push_str(&String::from_utf8_lossy(&octets[..read])),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
            });
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                return text;
            }
        }
        let read = tls.read_tls(socket).unwrap();
        assert!(read > 0, "closed after {text:?}");
        tls.process_new_packets().unwrap();
    }
}

/// An HTTP/2 client whose first octets were early.
struct Streams {
    tls: ClientConnection,
    socket: TcpStream,
    octets: Vec<u8>,
    /// By their number: the header block that came, the body, and whether that is all.
    answers: std::collections::HashMap<u32, (Vec<u8>, Vec<u8>, bool)>,
}

/// `:status` as it begins a header block: 200 has a place in the static table, 425 is a literal in
/// Huffman's code (RFC 7541, appendices A and B).
const OK: &[u8] = &[0x88];
const TOO_EARLY: &[u8] = &[0x08, 0x83, 0x68, 0x4d, 0xff];

/// The beginning of a connection, on which each header block is to stand by itself: the table of
/// those that came before has no room (RFC 7541, section 4.2).
fn preface() -> Vec<u8> {
    let no_table = [0, 1, 0, 0, 0, 0];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &no_table)].concat()
}

fn stream(number: u32, method: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", method.as_bytes()),
        (":scheme", b"https"),
        (":authority", b"a.example"),
        (":path", path.as_bytes()),
    ];
    frame(HEADERS, END_STREAM | END_HEADERS, number, &block(&fields))
}

impl Streams {
    fn send(&mut self, octets: &[u8]) {
        self.tls.writer().write_all(octets).unwrap();
        speak(&mut self.tls, &mut self.socket);
    }

    /// The whole answer of a stream: the beginning of its header block, and the body.
    fn answer(&mut self, number: u32) -> (Vec<u8>, String) {
        loop {
            if let Some((head, body, true)) = self.answers.get(&number) {
                return (head.clone(), String::from_utf8_lossy(body).to_ascii_lowercase());
            }
            let mut octets = vec![0; 16 * 1024];
            match self.tls.reader().read(&mut octets) {
                Ok(read) => self.octets.extend_from_slice(&octets[..read]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            while let Some([a, b, c, kind, flags, stream @ ..]) = self.octets.first_chunk::<9>() {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(*stream));
                if self.octets.len() < 9 + length {
                    break;
                }
                let payload: Vec<u8> = self.octets.drain(..9 + length).skip(9).collect();
                // That the table has no room is said at the head of a block.
                let payload = payload.strip_prefix(&[0x20]).unwrap_or(&payload).to_vec();
                let answer = self.answers.entry(stream).or_default();
                match kind {
                    HEADERS => answer.0 = payload,
                    DATA => answer.1.extend(payload),
                    _ => continue,
                }
                answer.2 = flags & END_STREAM != 0;
            }
            if self.answers.get(&number).is_none_or(|answer| !answer.2) {
                let read = self.tls.read_tls(&mut self.socket).unwrap();
                assert!(read > 0, "closed; {:?}", self.answers);
                self.tls.process_new_packets().unwrap();
            }
        }
    }
}

/// Says what the client has to say.
fn speak(tls: &mut ClientConnection, socket: &mut TcpStream) {
    while tls.wants_write() {
        tls.write_tls(socket).unwrap();
    }
}

#[test]
fn a_safe_request_is_answered_before_hands_are_shaken_and_the_origin_knows() {
    let (house, _origin) = open(true);
    let config = client(&house);
    assert_eq!(visit(&house, &config), Some(HandshakeKind::Full));
    let (mut tls, octets) = first_flight(&config, &request("GET", "/head", ""));
    let mut socket = send(&house, &octets);
    let early = answer(&mut tls, &mut socket).to_ascii_lowercase();
    assert!(early.starts_with("http/1.1 200") && early.contains("early-data: 1"), "{early}");
    assert!(tls.is_early_data_accepted());
    // Only now does the client prove that it is there.
    tls.writer().write_all(&request("GET", "/head", "")).unwrap();
    speak(&mut tls, &mut socket);
    let late = answer(&mut tls, &mut socket).to_ascii_lowercase();
    assert!(late.starts_with("http/1.1 200") && !late.contains("early-data"), "{late}");
    // What another gateway said of a request goes on.
    tls.writer().write_all(&request("GET", "/head", "Early-Data: 1\r\n")).unwrap();
    speak(&mut tls, &mut socket);
    assert!(answer(&mut tls, &mut socket).to_ascii_lowercase().contains("early-data: 1"));
    let stats = house.edge.stats();
    assert_eq!((stats.early.taken, stats.early.refused), (1, 0));
    assert_eq!((stats.handshakes.full, stats.handshakes.resumed), (1, 1));
}

#[test]
fn a_recording_that_is_sent_again_is_taken_at_most_once() {
    let (house, origin) = open(true);
    let config = client(&house);
    for round in 0..20 {
        visit(&house, &config);
        let before = origin.seen();
        let (_, octets) = first_flight(&config, &request("GET", "/", ""));
        // To all workers, at the same moment.
        let mut sockets: Vec<_> = std::thread::scope(|scope| {
            let sending: Vec<_> = (0..6).map(|_| scope.spawn(|| send(&house, &octets))).collect();
            sending.into_iter().map(|one| one.join().unwrap()).collect()
        });
        // Everyone gets an answer of some kind, behind which nothing more comes of it.
        for socket in &mut sockets {
            assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
        }
        for _ in 0..100 {
            if origin.seen() > before {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(origin.seen(), before + 1, "round {round}");
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((origin.seen(), house.edge.stats().early.taken), (40, 20));
    // And once more, when nothing of it is new.
    let (_, octets) = first_flight(&config_with_session(&house), &request("GET", "/", ""));
    let mut first = send(&house, &octets);
    assert!(first.read(&mut [0; 4096]).unwrap() > 0);
    std::thread::sleep(Duration::from_millis(300));
    let seen = origin.seen();
    assert!(send(&house, &octets).read(&mut [0; 4096]).unwrap() > 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(origin.seen(), seen);
}

fn config_with_session(house: &House) -> Arc<ClientConfig> {
    let config = client(house);
    visit(house, &config);
    config
}

#[test]
fn what_may_not_be_repeated_has_to_come_again() {
    let (house, origin) = open(true);
    let config = client(&house);
    let hidden = "Connection: keep-alive, Early-Data\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (method, more, body) in [
        ("POST", "Content-Length: 0\r\n", ""),
        ("DELETE", "", ""),
        ("GET", "Content-Length: 4\r\n", "body"),
        ("GET", hidden, ""),
        ("GET", upgrade, ""),
    ] {
        visit(&house, &config);
        let before = origin.seen();
        let mut asked = request(method, "/head", more);
        asked.extend_from_slice(body.as_bytes());
        let (mut tls, octets) = first_flight(&config, &asked);
        let mut socket = send(&house, &octets);
        let refused = answer(&mut tls, &mut socket);
        assert!(refused.starts_with("HTTP/1.1 425"), "{method} {more}: {refused}");
        assert!(refused.contains("strict-transport-security: max-age="), "{refused}");
        assert_eq!(origin.seen(), before);
        if body.is_empty() && more != upgrade {
            tls.writer().write_all(&asked).unwrap();
            speak(&mut tls, &mut socket);
            let late = answer(&mut tls, &mut socket);
            assert!(late.starts_with("HTTP/1.1 200"), "{method} {more}: {late}");
        }
    }
    // A site beside it takes nothing early, whoever is asked for on this connection.
    visit(&house, &config);
    let other = b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
    let (mut tls, octets) = first_flight(&config, other);
    let refused = answer(&mut tls, &mut send(&house, &octets));
    assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
    assert_eq!(house.edge.stats().early.refused, 5);
    assert_eq!(house.edge.stats().early.taken, 0);
}

/// Of the requests in one first flight, each is judged for itself.
#[test]
fn on_http_2_safe_requests_are_answered_early_and_others_have_to_come_again() {
    let (house, origin) = open(true);
    let config = client_of(&house, b"h2");
    // A visit in the usual way, which leaves a session.
    let mut socket = send(&house, &[]);
    let mut tls = connection(&config);
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    let answers = std::collections::HashMap::new();
    let mut usual = Streams { tls, socket, octets: Vec::new(), answers };
    usual.send(&[preface(), stream(1, "GET", "/head")].concat());
    let (head, body) = usual.answer(1);
    assert!(head.starts_with(OK) && !body.contains("early-data"), "{head:?} {body}");

    let before = origin.seen();
    let early = [
        preface(),
        stream(1, "POST", "/head"),
        stream(3, "GET", "/head"),
        stream(5, "DELETE", "/head"),
        stream(7, "HEAD", "/"),
    ];
    let (tls, octets) = first_flight(&config, &early.concat());
    let socket = send(&house, &octets);
    let answers = std::collections::HashMap::new();
    let mut client = Streams { tls, socket, octets: Vec::new(), answers };
    for refused in [1, 5] {
        let (head, body) = client.answer(refused);
        assert!(head.starts_with(TOO_EARLY), "stream {refused}: {head:?} {body}");
    }
    let (head, body) = client.answer(3);
    assert!(head.starts_with(OK) && body.contains("early-data: 1"), "{head:?} {body}");
    assert!(client.answer(7).0.starts_with(OK));
    assert!(client.tls.is_early_data_accepted());
    assert_eq!(origin.seen(), before + 2, "what is refused stays here");
    // Only now does the client prove that it is there.
    client.send(&[stream(9, "POST", "/head"), stream(11, "GET", "/head")].concat());
    for late in [9, 11] {
        let (head, body) = client.answer(late);
        assert!(head.starts_with(OK) && !body.contains("early-data"), "{head:?} {body}");
    }
    let stats = house.edge.stats();
    assert_eq!((stats.early.taken, stats.early.refused), (2, 2));
}

/// It knows better than we do which of its requests are harmless (RFC 8470, section 5.2).
#[test]
fn an_origin_that_says_425_is_heard() {
    let (house, origin) = open(true);
    let config = client(&house);
    visit(&house, &config);
    let before = origin.seen();
    let asked = request("GET", "/early", "");
    let (mut tls, octets) = first_flight(&config, &asked);
    let mut socket = send(&house, &octets);
    let early = answer(&mut tls, &mut socket);
    assert!(early.starts_with("HTTP/1.1 425") && early.ends_with("wants to be sure"), "{early}");
    assert_eq!(origin.seen(), before + 1);
    // On the same connection, once hands are shaken.
    tls.writer().write_all(&asked).unwrap();
    speak(&mut tls, &mut socket);
    let late = answer(&mut tls, &mut socket);
    assert!(late.starts_with("HTTP/1.1 200") && late.ends_with("ok"), "{late}");
    assert_eq!((house.edge.stats().early.taken, house.edge.stats().early.refused), (1, 0));
}

#[test]
fn nothing_comes_early_where_the_site_does_not_say_so() {
    let (house, _origin) = open(false);
    let config = client(&house);
    assert_eq!(visit(&house, &config), Some(HandshakeKind::Full));
    assert!(connection(&config).early_data().is_none());
    // That took the session.
    assert_eq!(visit(&house, &config), Some(HandshakeKind::Full));
    assert_eq!(visit(&house, &config), Some(HandshakeKind::Resumed));
}

/// The stream under it is our own.
#[test]
fn a_site_with_early_data_serves_everybody_else_as_usual() {
    let (house, _origin) = open(true);
    for version in ["--http1.1", "--http2"] {
        let large = house.curl("a.example", &[version, &house.url("a.example", "/bytes/3000000")]);
        assert_eq!(large.len(), 3_000_000);
        let body = "x".repeat(100_000);
        let url = house.url("a.example", "/count");
        let counted = house.curl("a.example", &[version, "--data", &body, &url]);
        assert_eq!(counted, "100000");
    }
    let old = house.curl("a.example", &["--tls-max", "1.2", &house.url("a.example", "/")]);
    assert_eq!(old, "ok");
    let stats = house.edge.stats();
    assert_eq!(stats.handshakes.failed.protocol + stats.handshakes.failed.closed, 0, "{stats:?}");
    // And tells those apart with whom it has nothing in common.
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &house.https.to_string(), "-servername", "a.example"])
        .args(["-alpn", "spdy/1"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alert number 120"), "{said}");
}

/// Keeps sessions, and learns nothing about key exchange.
#[derive(Debug)]
struct Stubborn(ClientSessionMemoryCache);

impl ClientSessionStore for Stubborn {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(name)
    }
}

/// The server asks for another key exchange, which is the end of early data (RFC 8446, section
/// 4.2.10).
#[test]
fn early_data_is_passed_over_where_the_client_has_to_begin_again() {
    let (house, origin) = open(true);
    let mut provider = (*keyward::base::tls::provider()).clone();
    provider.kx_groups.swap(0, 1);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ca.root()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_early_data = true;
    config.resumption =
        rustls::client::Resumption::store(Arc::new(Stubborn(ClientSessionMemoryCache::new(8))));
    let config = Arc::new(config);
    assert_eq!(visit(&house, &config), Some(HandshakeKind::FullWithHelloRetryRequest));
    let before = origin.seen();
    let (mut tls, octets) = first_flight(&config, &request("GET", "/bytes/5000", ""));
    let mut socket = send(&house, &octets);
    while tls.is_handshaking() {
        assert!(tls.read_tls(&mut socket).unwrap() > 0);
        tls.process_new_packets().unwrap();
        speak(&mut tls, &mut socket);
    }
    assert!(!tls.is_early_data_accepted());
    tls.writer().write_all(&request("GET", "/head", "")).unwrap();
    speak(&mut tls, &mut socket);
    let late = answer(&mut tls, &mut socket);
    assert!(late.starts_with("HTTP/1.1 200") && late.contains("GET /head"), "{late}");
    assert_eq!(origin.seen(), before + 1);
    assert_eq!(house.edge.stats().early.taken, 0);
}
