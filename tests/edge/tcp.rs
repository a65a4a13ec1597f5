//! Services that are no HTTP: TLS taken off or passed through, and what is told of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::cert::identifier::Identifier;
use keyward::config;
use keyward::config::{ProxyVersion, TcpService, TcpTls, TcpWay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::house::{House, limits, read_all, site};
use crate::load;
use crate::origin::Origin;

/// A service on 127.0.0.1, whose listener [`open`] finds.
pub(crate) fn service(names: &[&str], to: SocketAddr) -> TcpService {
    let config::Origin::Servers(to) = config::Origin::http(to.to_string().parse().unwrap()) else {
        unreachable!()
    };
    TcpService {
        names: names.iter().map(|name| Identifier::parse(name).unwrap()).collect(),
        listen: vec![([127, 0, 0, 1], 0).into()],
        to,
        way: TcpWay::Ended(TcpTls {
            agreement: config::Agreement::default(),
            clients: None,
            alpn: Vec::new(),
            starttls: None,
        }),
        proxy: None,
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(30),
        access_log: true,
        line: 0,
    }
}

fn through(names: &[&str], to: SocketAddr) -> TcpService {
    TcpService { way: TcpWay::Through, ..service(names, to) }
}

fn beside(service: TcpService) -> TcpService {
    TcpService { listen: Vec::new(), ..service }
}

/// An edge with a site, certificates for two names of services, and these services on one listener.
pub(crate) fn open(services: Vec<TcpService>, limits: config::Edge) -> (House, SocketAddr) {
    let origin: SocketAddr = ([127, 0, 0, 1], 9).into();
    let mut holder = site(&["mail.example", "db.example"], origin);
    holder.origin = config::Origin::Service;
    let mut house = House::open(vec![site(&["a.example"], origin), holder], limits);
    let at = listen(&mut house, services);
    (house, at)
}

fn listen(house: &mut House, mut services: Vec<TcpService>) -> SocketAddr {
    let opened = house.edge.open_tcp(&[([127, 0, 0, 1], 0).into()]).unwrap();
    let at = opened[0].local_addr().unwrap();
    for listen in services.iter_mut().flat_map(|service| &mut service.listen) {
        *listen = at;
    }
    house.config.tcp = services;
    house.edge.use_tcp(opened, &[at]).unwrap();
    house.edge.publish(&house.config);
    at
}

/// A server that reads to the end and then says how much that was, and what.
async fn counting() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                if stream.read_to_end(&mut all).await.is_ok() {
                    let shown = String::from_utf8_lossy(&all[..all.len().min(200)]).into_owned();
                    let answer = format!("{} octets: {shown}", all.len());
                    let _gone = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, serving)
}

/// A server that echoes.
async fn echoing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _gone = tokio::io::copy(&mut read, &mut write).await;
                let _gone = write.shutdown().await;
            });
        }
    });
    address
}

/// What comes back for `said`, after which the client has ended its half.
async fn ask(house: &House, at: SocketAddr, name: &str, alpn: &[&[u8]], said: &[u8]) -> String {
    let config = load::client_config(&house.ca.root(), alpn);
    let mut stream = load::connect(&config, at, name).await.unwrap();
    // A service without a server hangs up.
    let _ended = (stream.write_all(said).await, stream.shutdown().await);
    read_all(&mut stream).await
}

async fn refused(house: &House, at: SocketAddr, name: &str, alpn: &[&[u8]]) -> String {
    let config = load::client_config(&house.ca.root(), alpn);
    match load::connect(&config, at, name).await {
        Ok(_) => panic!("{name} is served"),
        Err(error) => error.to_string(),
    }
}

pub(crate) async fn eventually(what: &str, check: impl Fn() -> bool) {
    let begun = Instant::now();
    while !check() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tls_is_taken_off_and_an_end_is_passed_on() {
    let (server, _serving) = counting().await;
    let (house, at) = open(vec![service(&["mail.example"], server)], limits());
    assert_eq!(ask(&house, at, "mail.example", &[], b"hello").await, "5 octets: hello");
    // The site beside it is none of the service's business, nor the other way round.
    assert!(refused(&house, at, "a.example", &[]).await.contains("UnrecognisedName"));
    assert!(refused(&house, house.https, "mail.example", &[]).await.contains("UnrecognisedName"));
    // An address is no name: such clients get the first service.
    let config = load::client_config(&house.ca.root(), &[]);
    let error = load::connect(&config, at, "127.0.0.1").await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("not valid for name"), "{error}");
    eventually("it has ended", || house.edge.stats().tcp.open == 0).await;
    let tcp = house.edge.stats().tcp;
    assert_eq!((tcp.octets_received, tcp.octets_sent, tcp.passed_through), (5, 15, 0), "{tcp:?}");
    assert_eq!(house.edge.stats().handshakes.failed.unknown_name, 2);
}

/// A server that is done first leaves the client its say.
#[tokio::test]
async fn the_servers_end_leaves_the_other_half_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (house, at) =
        open(vec![service(&["mail.example"], listener.local_addr().unwrap())], limits());
    let config = load::client_config(&house.ca.root(), &[]);
    let mut client = load::connect(&config, at, "mail.example").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"done").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, "done");
    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    let mut said = String::new();
    server.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "still here");
}

#[tokio::test]
async fn much_passes_whole_in_both_directions_at_a_time() {
    let (house, at) = open(vec![service(&["mail.example"], echoing().await)], limits());
    let config = load::client_config(&house.ca.root(), &[]);
    let stream = load::connect(&config, at, "mail.example").await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n * 7 / 5).to_le_bytes()[0]).collect();
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, end) = tokio::join!(writing, read.read_to_end(&mut got));
    end.unwrap();
    assert!(got == sent, "{} of {} octets", got.len(), sent.len());
}

#[tokio::test]
async fn a_service_holds_clients_to_its_protocols_and_idle_ones_to_its_patience() {
    let (server, _serving) = counting().await;
    let mut mail = service(&["mail.example"], server);
    if let TcpWay::Ended(tls) = &mut mail.way {
        tls.alpn = vec!["imap".to_owned()];
    }
    mail.idle_timeout = Duration::from_millis(300);
    let (house, at) = open(vec![mail, service(&["db.example"], server)], limits());
    assert_eq!(ask(&house, at, "mail.example", &[b"imap"], b"x").await, "1 octets: x");
    // As a browser that was sent to the wrong port.
    let error = refused(&house, at, "mail.example", &[b"h2", b"http/1.1"]).await;
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    // The other service says nothing of protocols.
    assert_eq!(ask(&house, at, "db.example", &[b"anything"], b"x").await, "1 octets: x");
    let config = load::client_config(&house.ca.root(), &[]);
    let mut idle = load::connect(&config, at, "mail.example").await.unwrap();
    let begun = Instant::now();
    assert_eq!(read_all(&mut idle).await, "");
    assert!((Duration::from_millis(250)..Duration::from_secs(8)).contains(&begun.elapsed()));
}

#[tokio::test]
async fn a_server_is_told_of_the_client_first() {
    let (server, _serving) = counting().await;
    let mut one = service(&["mail.example"], server);
    one.proxy = Some(ProxyVersion::V1);
    let mut two = service(&["db.example"], server);
    two.proxy = Some(ProxyVersion::V2);
    let (house, at) = open(vec![one, two], limits());
    let seen = ask(&house, at, "mail.example", &[], b"hi").await;
    let port = at.port();
    assert!(seen.contains(": PROXY TCP4 127.0.0.1 127.0.0.1 "), "{seen}");
    assert!(seen.ends_with(&format!(" {port}\r\nhi")), "{seen}");
    let seen = ask(&house, at, "db.example", &[], b"hi").await;
    assert!(seen.contains("QUIT\n!") && seen.ends_with("hi"), "{}", seen.escape_debug());
    for told in ["db.example", "TLSv1.3", "TLS_AES_128_GCM_SHA256"] {
        assert!(seen.contains(told), "{told}: {}", seen.escape_debug());
    }
}

/// A server with TLS and a certificate of its own, that says who was asked for.
async fn secure() -> (SocketAddr, rustls::pki_types::CertificateDer<'static>) {
    let own =
        rcgen::generate_simple_self_signed(["own.example", "own.sub.example"].map(str::to_owned))
            .unwrap();
    let certificate = own.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
                let _gone = stream.write_all(name.as_bytes()).await;
                let _gone = stream.shutdown().await;
            });
        }
    });
    (address, certificate)
}

/// Passes on what it is sent, in pieces.
async fn in_pieces(to: SocketAddr, piece: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(to).await.unwrap();
            server.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let up = async {
                    let mut chunk = [0; 4096];
                    while let Ok(count @ 1..) = from_client.read(&mut chunk).await {
                        for part in chunk[..count].chunks(piece) {
                            let _gone = to_server.write_all(part).await;
                            tokio::task::yield_now().await;
                        }
                    }
                };
                tokio::join!(up, tokio::io::copy(&mut from_server, &mut to_client)).1
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_is_passed_through_beside_https_by_the_name_alone() {
    let (server, certificate) = secure().await;
    let origin = Origin::start();
    let mut house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let (plain, _serving) = counting().await;
    let own = through(&["own.example"], server);
    listen(&mut house, vec![beside(own.clone()), own, service(&["a.example"], plain)]);
    let at = house.config.tcp[1].listen[0];
    let slow = in_pieces(house.https, 3).await;
    for address in [house.https, at, slow] {
        let config = load::client_config(&certificate, &[]);
        let mut stream = load::connect(&config, address, "own.example").await.unwrap();
        assert_eq!(read_all(&mut stream).await, "own.example", "{address}");
    }
    // No handshake of ours was one of these, and the site is served as before.
    assert_eq!(house.edge.stats().handshakes.full, 0);
    assert!(house.curl("a.example", &[&house.url("a.example", "/head")]).contains("GET /head"));
    let request = b"GET /head HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let config = load::client_config(&house.ca.root(), &[b"http/1.1"]);
    let mut stream = load::connect(&config, slow, "a.example").await.unwrap();
    stream.write_all(request).await.unwrap();
    assert!(read_all(&mut stream).await.contains("GET /head HTTP/1.1"));
    // Where TLS is passed through for one name it still ends here for another.
    assert_eq!(ask(&house, at, "a.example", &[], b"x").await, "1 octets: x");
    assert!(refused(&house, at, "b.example", &[]).await.contains("UnrecognisedName"));
    // What is no TLS goes nowhere.
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(!read_all(&mut plain).await.contains("own"));
    eventually("all have ended", || house.edge.stats().tcp.open == 0).await;
    assert_eq!(house.edge.stats().tcp.passed_through, 3);
}

#[tokio::test]
async fn a_service_for_many_names_leaves_a_site_its_own() {
    let (server, certificate) = secure().await;
    let origin = Origin::start();
    let mut house = House::open(vec![site(&["a.sub.example"], origin.address)], limits());
    listen(&mut house, vec![beside(through(&["*.sub.example"], server))]);
    let url = house.url("a.sub.example", "/head");
    assert!(house.curl("a.sub.example", &[&url]).contains("GET /head"));
    let config = load::client_config(&certificate, &[]);
    let mut stream = load::connect(&config, house.https, "own.sub.example").await.unwrap();
    assert_eq!(read_all(&mut stream).await, "own.sub.example");
}

#[tokio::test]
async fn a_reload_touches_no_connection_and_ends_the_listener_of_a_service_that_is_gone() {
    let (mut house, at) = open(vec![service(&["mail.example"], echoing().await)], limits());
    let config = load::client_config(&house.ca.root(), &[]);
    let mut stays = load::connect(&config, at, "mail.example").await.unwrap();
    let mut buffer = [0; 4];
    for round in 0..3 {
        stays.write_all(b"ping").await.unwrap();
        stays.read_exact(&mut buffer).await.unwrap();
        match round {
            0 => house.edge.publish(&house.config),
            1 => {
                house.config.tcp.clear();
                house.edge.publish(&house.config);
                house.edge.use_tcp(Vec::new(), &[]).unwrap();
            }
            _ => {}
        }
    }
    let begun = Instant::now();
    // Not only that nobody is served: the kernel refuses whoever comes.
    while TcpStream::connect(at).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the listener is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A drain waits for it, as long as it may.
    let draining = house.edge.drain(Duration::from_secs(20));
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stays.write_all(b"last").await.unwrap();
        stays.read_exact(&mut buffer).await.unwrap();
        drop(stays);
        Instant::now()
    };
    let ((), left) = tokio::join!(draining, leaving);
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
}

#[tokio::test]
async fn of_two_servers_one_that_is_gone_costs_nobody_his_connection() {
    let (server, _serving) = counting().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut mail = service(&["mail.example"], server);
    mail.to.list.insert(
        0,
        config::Server {
            address: config::Address::Http(gone.to_string().parse().unwrap()),
            weight: 1,
        },
    );
    mail.to.asking.retries = 100;
    let mut limited = service(&["db.example"], gone);
    limited.to.asking.max_requests = 1;
    let mut one = limits();
    one.workers = 1;
    let (house, at) = open(vec![mail, limited], one);
    for _ in 0..20 {
        assert_eq!(ask(&house, at, "mail.example", &[], b"x").await, "1 octets: x");
    }
    assert!(house.edge.stats().origin_ejections >= 1);
    assert_eq!(house.edge.stats().tcp.no_server, 0);
    // One that is alone is told of.
    assert_eq!(ask(&house, at, "db.example", &[], b"x").await, "");
    eventually("it is counted", || house.edge.stats().tcp.no_server == 1).await;
}

#[tokio::test]
async fn a_service_has_no_more_connections_than_it_may() {
    let mut mail = service(&["mail.example"], echoing().await);
    mail.to.asking.max_requests = 2;
    let mut one = limits();
    one.workers = 1;
    let (house, at) = open(vec![mail], one);
    let config = load::client_config(&house.ca.root(), &[]);
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = load::connect(&config, at, "mail.example").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
        open.push(stream);
    }
    let mut third = load::connect(&config, at, "mail.example").await.unwrap();
    assert_eq!(read_all(&mut third).await, "");
    drop(open);
    eventually("there is room again", || house.edge.stats().tcp.open == 0).await;
    assert_eq!(ask(&house, at, "mail.example", &[], b"x").await, "x");
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_connection() {
    let (server, _serving) = counting().await;
    let (secure, certificate) = secure().await;
    let (mut house, at) =
        open(vec![service(&["mail.example"], server), through(&["own.example"], secure)], limits());
    let dir = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for format in [config::AccessFormat::Json, config::AccessFormat::Common] {
        let path = dir.path().join(format!("{format:?}"));
        house.config.access_log.to = Some(config::AccessLogTo::File(path.clone()));
        house.config.access_log.format = format;
        house.config.access_log.tls = format == config::AccessFormat::Json;
        house.edge.publish(&house.config);
        ask(&house, at, "mail.example", &[], b"hello").await;
        let own = load::client_config(&certificate, &[]);
        let mut stream = load::connect(&own, at, "own.example").await.unwrap();
        read_all(&mut stream).await;
        drop(stream);
        let text = || std::fs::read_to_string(&path).unwrap_or_default();
        eventually("two lines are there", || text().lines().count() == 2).await;
        lines.extend(text().lines().map(str::to_owned).collect::<Vec<_>>());
    }
    let ours = lines.iter().find(|line| line.contains("\"service\":\"mail.example\"")).unwrap();
    let ours: serde_json::Value = serde_json::from_str(ours).unwrap();
    assert_eq!(ours["host"], "mail.example");
    assert_eq!((&ours["tls"], &ours["end"]), (&"TLSv1.3".into(), &"whole".into()), "{ours}");
    assert_eq!((&ours["received"], &ours["sent"]), (&5.into(), &15.into()), "{ours}");
    assert!(ours["milliseconds"].as_f64().unwrap() > 0.0, "{ours}");
    let own = lines.iter().find(|line| line.contains("\"service\":\"own.example\"")).unwrap();
    let own: serde_json::Value = serde_json::from_str(own).unwrap();
    for line in [&ours, &own] {
        assert!(line["ja4"].as_str().unwrap().starts_with("t13d"), "{line}");
    }
    assert!(own.get("tls").is_none() && own["received"].as_u64().unwrap() > 100, "{own}");
    let common = |what: &str| lines.iter().any(|line| line.contains(what));
    assert!(common("] \"TCP mail.example TLSv1.3\" 200 15"), "{lines:#?}");
    assert!(common("] \"TCP own.example passthrough\" "), "{lines:#?}");
}
