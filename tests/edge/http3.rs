//! HTTP/3 with a client of its own kind: what is the same as over TCP, and what is not.

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h3::error::StreamError;
use http::{Request, StatusCode};
use keyward::config;
use quinn::ConnectionError;
use quinn::TransportErrorCode;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use crate::house::{House, limits, site};
use crate::origin::Origin;
use crate::quic as http3;
use crate::quic::Http3;
use crate::visitors::Ca;

/// A house that offers HTTP/3 for `a.example` and `b.example`.
fn open(origin: &Origin, limits: config::Edge) -> House {
    let sites = ["a.example", "b.example"].map(|name| site(&[name], origin.address));
    let house = House::open(sites.into(), limits);
    offering(house)
}

/// The same house, which offers HTTP/3 from now on. Its port is one of TCP; a client of another test
/// may have that of UDP for a moment.
fn offering(house: House) -> House {
    offer(&house);
    house
}

pub(crate) fn offer(house: &House) {
    for _ in 0..200 {
        house.edge.follow_http3(true, true, Vec::new());
        if house.edge.http3() == [house.https] {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the port of UDP does not get free");
}

fn signatures(house: &House) -> usize {
    house.ca.signers.signed.load(Ordering::SeqCst)
}

async fn visit(house: &House, name: &str) -> Http3 {
    Http3::connect(&house.ca.root(), house.https, name).await.unwrap()
}

/// What the client is told when it is refused.
async fn refusal(house: &House, name: &str, alpn: &[&[u8]]) -> u64 {
    let config = http3::config(&house.ca.root(), alpn);
    match Http3::on(http3::endpoint(), config, house.https, name).await {
        Err(ConnectionError::ConnectionClosed(close)) => close.error_code.into(),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_request_goes_the_way_of_all_requests() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let mut client = visit(&house, "a.example").await;
    let (response, body) = client.get("https://a.example/head?q=1").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(body.starts_with("GET /head?q=1 HTTP/1.1\n"), "{body}");
    for field in [
        "\nhost: a.example\n",
        "\nx-forwarded-for: 127.0.0.1\n",
        "\nx-forwarded-proto: https\n",
        "\nvia: 3.0 keyward\n",
    ] {
        assert!(body.contains(field), "{field} in {body}");
    }
    let fields = response.headers();
    assert_eq!(fields["strict-transport-security"], "max-age=63072000");
    assert!(fields.contains_key("date") && !fields.contains_key("alt-svc"), "{fields:?}");
    // One site to a connection, as over TCP.
    let (other, _) = client.get("https://b.example/head").await.unwrap();
    assert_eq!(other.status(), StatusCode::MISDIRECTED_REQUEST);
    let stats = house.edge.stats();
    assert_eq!((stats.http3.connections, stats.http3.requests, stats.requests), (1, 2, 2));
    assert_eq!((stats.handshakes.full, stats.connections.open), (1, 1));
    // An answer of our own.
    let mut welcomed = site(&["w.example"], origin.address);
    welcomed.origin = config::Origin::Welcome;
    let house = offering(House::open(vec![welcomed], limits()));
    let mut client = visit(&house, "w.example").await;
    let (response, body) = client.get("https://w.example/").await.unwrap();
    assert_eq!(response.headers()["content-length"], body.len().to_string());
    let head = client.begin(Request::head("https://w.example/").body(()).unwrap(), false).await;
    let (response, nothing) = http3::answer(head.unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-length"], body.len().to_string());
    assert_eq!(nothing, "");
}

#[tokio::test]
async fn bodies_pass_both_ways_and_many_at_once() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let mut client = visit(&house, "a.example").await;
    let (response, body) = client.get("https://a.example/bytes/5000000").await.unwrap();
    assert_eq!(
        (response.headers()["content-length"].clone(), body.len()),
        ("5000000".parse().unwrap(), 5_000_000)
    );
    // Empty parts do not end a body: the library takes them for an end.
    let pieces: Vec<Bytes> =
        (0..40).flat_map(|_| [Bytes::new(), Bytes::from(vec![b'x'; 70_000])]).collect();
    let post = || Request::post("https://a.example/count");
    let (_, counted) = client.post(post().body(()).unwrap(), &pieces).await.unwrap();
    assert_eq!(counted, "2800000");
    let known = post().header("content-length", "2800000").body(()).unwrap();
    assert_eq!(client.post(known, &pieces).await.unwrap().1, "2800000");
    let mut streams = Vec::new();
    for _ in 0..50 {
        let request = Request::get("https://a.example/drip/20/20").body(()).unwrap();
        streams.push(client.begin(request, false).await.unwrap());
    }
    for stream in streams {
        assert_eq!(http3::answer(stream).await.unwrap().1.len(), 20);
    }
    assert_eq!(house.edge.stats().panics, 0);
}

/// What the origin gets is what was announced, or it does not get a whole request.
#[tokio::test]
async fn a_body_that_is_not_what_was_announced_is_refused() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let mut client = visit(&house, "a.example").await;
    for (said, sent) in [("10", 9), ("10", 11)] {
        let post = Request::post("https://a.example/count").header("content-length", said);
        let body = [Bytes::from(vec![b'x'; sent])];
        let (response, _) = client.post(post.body(()).unwrap(), &body).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{said} {sent}");
    }
    assert_eq!(client.get("https://a.example/head").await.unwrap().0.status(), StatusCode::OK);
}

#[tokio::test]
async fn clients_of_tcp_learn_of_it_and_those_of_plain_http_do_not() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let port = house.https.port();
    let said = house.curl("a.example", &["-i", &house.url("a.example", "/head")]);
    assert!(said.contains(&format!("\nalt-svc: h3=\":{port}\"; ma=86400\r\n")), "{said}");
    let old = house.curl("a.example", &["-i", "--http1.1", &house.url("a.example", "/head")]);
    assert!(old.to_ascii_lowercase().contains("\nalt-svc: h3="), "{old}");
    let plain = format!("http://a.example:{}/", house.http.port());
    let plain = house.curl("a.example", &["-i", &plain]).to_ascii_lowercase();
    assert!(plain.starts_with("http/1.1 308") && !plain.contains("alt-svc"), "{plain}");
    // Off with a line, and gone at once; on again on the same port, once that is free.
    house.edge.follow_http3(false, true, Vec::new());
    let said = house.curl("a.example", &["-i", &house.url("a.example", "/head")]);
    assert!(!said.contains("alt-svc"), "{said}");
    let house = offering(house);
    for _ in 0..4 {
        let mut client = visit(&house, "a.example").await;
        let (response, _) = client.get("https://a.example/head").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// A port that somebody else has is no reason to serve nobody.
#[tokio::test]
async fn where_udp_is_not_to_be_had_https_goes_on_over_tcp() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let taken = UdpSocket::bind(house.https).unwrap();
    house.edge.follow_http3(true, true, Vec::new());
    assert_eq!(house.edge.http3(), Vec::<SocketAddr>::new());
    let said = house.curl("a.example", &["-i", &house.url("a.example", "/head")]);
    assert!(said.starts_with("HTTP/2 200") && !said.contains("alt-svc"), "{said}");
    // One that was passed on is used as it is.
    house.edge.follow_http3(true, false, vec![taken]);
    let mut client = visit(&house, "a.example").await;
    assert_eq!(client.get("https://a.example/head").await.unwrap().0.status(), StatusCode::OK);
}

#[tokio::test]
async fn who_asks_for_nothing_of_ours_is_refused_before_anything_is_signed() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let alert = |description: u8| u64::from(TransportErrorCode::crypto(description));
    assert_eq!(refusal(&house, "unknown.example", &[b"h3"]).await, alert(112));
    assert_eq!(refusal(&house, "a.example", &[b"h2"]).await, alert(120));
    assert_eq!(refusal(&house, "a.example", &[b"acme-tls/1"]).await, alert(120));
    assert_eq!(refusal(&house, "a.example", &[]).await, alert(120));
    let stats = house.edge.stats();
    assert_eq!((stats.handshakes.failed.unknown_name, stats.handshakes.failed.protocol), (1, 3));
    assert_eq!((stats.handshakes.full, signatures(&house)), (0, 0));
}

#[tokio::test]
async fn a_returning_client_costs_no_signature() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let config = http3::config(&house.ca.root(), &[b"h3"]);
    let endpoint = http3::endpoint();
    for round in 1..=3 {
        let mut client =
            Http3::on(endpoint.clone(), config.clone(), house.https, "a.example").await.unwrap();
        // The ticket comes behind the handshake.
        client.get("https://a.example/head").await.unwrap();
        let stats = house.edge.stats();
        assert_eq!((stats.handshakes.full, stats.handshakes.resumed), (1, round - 1));
        assert_eq!(signatures(&house), 1);
        client.connection.close(0_u32.into(), b"");
    }
    assert_eq!(house.edge.stats().tickets.accepted, 2);
}

/// A client that moves is known again by whichever worker has it, and stays who it was.
#[tokio::test]
async fn a_client_may_move_to_another_address() {
    let origin = Origin::start();
    let mut many = limits();
    many.workers = 4;
    let house = open(&origin, many);
    for _ in 0..4 {
        let mut client = visit(&house, "a.example").await;
        for _ in 0..4 {
            let (_, seen) = client.get("https://a.example/head").await.unwrap();
            assert!(seen.contains("\nx-forwarded-for: 127.0.0.1\n"), "{seen}");
            let moved = UdpSocket::bind("127.0.0.2:0").unwrap();
            let before = client.endpoint.local_addr().unwrap();
            client.endpoint.rebind(moved).unwrap();
            assert_ne!(client.endpoint.local_addr().unwrap(), before);
        }
        client.get("https://a.example/bytes/100000").await.unwrap();
    }
    let stats = house.edge.stats();
    assert_eq!((stats.http3.connections, stats.http3.requests), (4, 20));
}

/// Below a limit nobody is asked to show where it is; above it everybody is, and comes through.
#[tokio::test]
async fn clients_show_where_they_are_when_many_have_not() {
    let origin = Origin::start();
    let mut one = limits();
    (one.workers, one.network_share, one.handshake_share) = (1, 100, 100);
    let house = open(&origin, one);
    visit(&house, "a.example").await.get("https://a.example/head").await.unwrap();
    assert_eq!(house.edge.stats().http3.retries, 0);
    // Clients that begin and are not heard of again: a proxy lets their first packets through alone.
    let mut mute = Vec::new();
    for _ in 0..64 {
        let gate = Gate::to(house.https).await;
        let config = http3::config(&house.ca.root(), &[b"h3"]);
        let endpoint = http3::endpoint();
        let begun = endpoint.connect_with(config, gate.address, "a.example").unwrap();
        mute.push((gate, endpoint, begun));
    }
    let mut waited = 0;
    while house.edge.stats().connections.open < 64 {
        waited += 1;
        assert!(waited < 200, "{:?}", house.edge.stats());
        sleep(Duration::from_millis(20)).await;
    }
    let mut client = visit(&house, "a.example").await;
    client.get("https://a.example/head").await.unwrap();
    assert_eq!(house.edge.stats().http3.retries, 1);
}

/// Lets what clients send to a server pass, and nothing back.
struct Gate {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Gate {
    async fn to(server: SocketAddr) -> Self {
        let inside = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let outside = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let task = tokio::task::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, _)) = inside.recv_from(&mut buffer).await {
                outside.send_to(&buffer[..length], server).await.unwrap();
            }
        });
        Self { address, task }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_drain_lets_requests_end_and_says_goodbye() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let mut busy = visit(&house, "a.example").await;
    let idle = visit(&house, "a.example").await;
    let request = Request::get("https://a.example/drip/40/50").body(()).unwrap();
    let stream = busy.begin(request, false).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    let (_, answered) =
        tokio::join!(house.edge.drain(Duration::from_secs(20)), http3::answer(stream),);
    assert_eq!(answered.unwrap().1.len(), 40);
    for client in [&busy, &idle] {
        match client.ended().await {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(u64::from(close.error_code), 0x100);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(house.edge.stats().connections.open, 0);
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_taken_from_the_origin_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sites = vec![site(&["a.example"], listener.local_addr().unwrap())];
    let house = offering(House::open(sites, limits()));
    let mut client = visit(&house, "a.example").await;
    let request = Request::get("https://a.example/").body(()).unwrap();
    let mut stream = client.begin(request, false).await.unwrap();
    let (mut asked, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4096];
    assert!(asked.read(&mut buffer).await.unwrap() > 0);
    stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
    let end = timeout(Duration::from_secs(5), asked.read(&mut buffer)).await;
    assert_eq!(end.expect("the origin still works for nobody").unwrap(), 0);
}

/// CVE-2023-44487, over QUIC.
#[tokio::test]
async fn a_client_that_takes_back_all_it_asks_for_is_closed() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let mut client = visit(&house, "a.example").await;
    let begun = tokio::time::Instant::now();
    let ended = loop {
        let request = Request::get("https://a.example/silent").body(()).unwrap();
        match client.begin(request, false).await {
            Ok(mut stream) => stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED),
            Err(_) => break client.ended().await,
        }
        let long = begun.elapsed() > Duration::from_secs(15);
        assert!(!long && house.edge.stats().http3.requests < 2000, "it goes on for ever");
        sleep(Duration::from_millis(2)).await;
    };
    match ended {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(u64::from(close.error_code), 0x107);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fields_that_are_too_many_are_refused_and_the_connection_goes_on() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let mut client = visit(&house, "a.example").await;
    let long = Request::get("https://a.example/head").header("x-long", "x".repeat(20_000));
    let long = long.header("x-more", "y".repeat(20_000)).body(()).unwrap();
    match client.begin(long, false).await {
        // The client knows from our settings that it need not try.
        Err(StreamError::HeaderTooBig { .. }) => {}
        Ok(stream) => {
            let (response, _) = http3::answer(stream).await.unwrap();
            assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        Err(other) => panic!("{other:?}"),
    }
    for (name, value) in [("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip")]
    {
        let bad = Request::get("https://a.example/head").header(name, value).body(()).unwrap();
        let stream = client.begin(bad, false).await.unwrap();
        let (response, _) = http3::answer(stream).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}");
    }
    let (response, _) = client.get("https://a.example/head").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// Raw streams: frames that promise gigabytes, and bodies that end in the middle.
#[tokio::test]
async fn frames_that_are_not_to_be_read_cost_the_connection() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    // A request that is well-formed: GET https://a.example/count, as static fields of QPACK.
    let head = [&[1, 16, 0, 0, 0xd1, 0xd7, 0xc1, 0x50, 9][..], b"a.example"].concat();
    let far = [0xff_u8; 8];
    let cases: [(&str, Vec<u8>, bool, u64); 4] = [
        ("fields", [&[1][..], &far].concat(), false, 0x107),
        ("ignored", [&[0x21][..], &far].concat(), false, 0x107),
        ("webtransport", vec![0x40, 0x41, 0], false, 0x105),
        ("cut", [&head[..], &[0, 9], b"half"].concat(), true, 0x106),
    ];
    for (what, bytes, finish, code) in cases {
        let client = visit(&house, "a.example").await;
        let (mut send, _recv) = client.connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        match client.ended().await {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(u64::from(close.error_code), code, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    // The control stream of a client as well.
    let client = visit(&house, "a.example").await;
    let mut control = client.connection.open_uni().await.unwrap();
    control.write_all(&[&[0, 4][..], &far].concat()).await.unwrap();
    assert!(matches!(client.ended().await, ConnectionError::ApplicationClosed(_)));
    let mut client = visit(&house, "a.example").await;
    assert_eq!(client.get("https://a.example/head").await.unwrap().0.status(), StatusCode::OK);
    assert_eq!(house.edge.stats().panics, 0);
}

#[tokio::test]
async fn what_is_no_quic_is_not_answered_with_more_than_it_was() {
    let origin = Origin::start();
    let house = open(&origin, limits());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 2048];
    let (mut sent, mut got) = (0, 0);
    for round in 0..400_u32 {
        // Short ones, long headers with nonsense behind them, and Initials that are too small.
        let mut packet = vec![u8::try_from(round % 256).unwrap(); 1 + (round as usize * 7) % 1200];
        if round % 3 == 0 {
            packet.splice(..1, [0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0]);
        }
        sent += socket.send_to(&packet, house.https).unwrap();
        while let Ok(length) = socket.recv(&mut buffer) {
            got += length;
        }
    }
    assert!(got <= sent, "{got} for {sent}");
    let mut client = visit(&house, "a.example").await;
    assert_eq!(client.get("https://a.example/head").await.unwrap().0.status(), StatusCode::OK);
    assert_eq!(house.edge.stats().panics, 0);
}

/// A network has its share of the connections over QUIC and TCP together.
#[tokio::test]
async fn a_network_has_no_more_connections_than_its_share() {
    let origin = Origin::start();
    let mut few = limits();
    (few.workers, few.max_connections, few.network_share) = (1, 12, 50);
    let house = open(&origin, few);
    let mut clients = Vec::new();
    let refused = loop {
        match Http3::connect(&house.ca.root(), house.https, "a.example").await {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() <= 12, "there is no end");
    };
    match refused {
        ConnectionError::ConnectionClosed(close) => {
            assert_eq!(
                u64::from(close.error_code),
                u64::from(TransportErrorCode::CONNECTION_REFUSED)
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(clients.len(), 6);
    assert!(house.edge.stats().turned_away.connections >= 1);
    for client in &mut clients {
        let (response, _) = client.get("https://a.example/head").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn idle_connections_are_closed_and_those_at_work_are_not() {
    let origin = Origin::start();
    let mut short = limits();
    short.idle_timeout = Duration::from_millis(800);
    let house = open(&origin, short);
    let mut busy = visit(&house, "a.example").await;
    // One that keeps the connection lively and says nothing on it.
    let mut lively = http3::config(&house.ca.root(), &[b"h3"]);
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(100)));
    lively.transport_config(Arc::new(transport));
    let idle = Http3::on(http3::endpoint(), lively, house.https, "a.example").await.unwrap();
    let request = Request::get("https://a.example/drip/30/100").body(()).unwrap();
    let stream = busy.begin(request, false).await.unwrap();
    match idle.ended().await {
        ConnectionError::ApplicationClosed(close) => assert_eq!(u64::from(close.error_code), 0x100),
        other => panic!("{other:?}"),
    }
    assert_eq!(http3::answer(stream).await.unwrap().1.len(), 30);
}

#[tokio::test]
async fn clients_show_certificates_over_quic_as_over_tcp() {
    let origin = Origin::start();
    let ca = Ca::new("clients");
    let badge = ca.badge(7);
    let mut guarded = site(&["a.example"], origin.address);
    guarded.clients = Some(config::ClientCertificates {
        required: true,
        ca: ca.path(),
        crl: None,
        crl_url: None,
    });
    let house = offering(House::open(vec![guarded], limits()));
    let mut roots = RootCertStore::empty();
    roots.add(house.ca.root()).unwrap();
    let mut shows = rustls::ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(&badge.cert).unwrap()],
            PrivateKeyDer::from_pem_file(&badge.key).unwrap(),
        )
        .unwrap();
    shows.alpn_protocols = vec![b"h3".to_vec()];
    let shows = http3::over(Arc::new(shows));
    let client = Http3::on(http3::endpoint(), shows, house.https, "a.example").await;
    let (_, seen) = client.unwrap().get("https://a.example/head").await.unwrap();
    assert!(seen.contains("\nclient-cert: :"), "{seen}");
    // Who shows none does not get in; the client learns of it behind its own half.
    match Http3::connect(&house.ca.root(), house.https, "a.example").await {
        Err(_) => {}
        Ok(mut client) => assert!(client.get("https://a.example/head").await.is_err()),
    }
    assert_eq!(house.edge.stats().http3.connections, 1);
}
