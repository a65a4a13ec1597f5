//! Origins that speak HTTP/2: connections that are shared, what is asked again, and trailers.

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use keyward::config;
use keyward::config::{Address, Asking, Origin as Behind, OriginHttp};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::house::{House, limits, site};
use crate::secure::Ca;

/// A server of HTTP/2 frames, with a hand on each stream.
pub(crate) struct Second {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<String>>>,
}

type Asked = (Request<h2::RecvStream>, h2::server::SendResponse<Bytes>);
type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Second {
    /// Answers each request by `answer`; takes `streams` at a time.
    async fn start(streams: u32, answer: fn(Asked) -> Answering) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&heard));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(talk(stream, streams, answer, Arc::clone(&noted)));
            }
        });
        Self { address, connections, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn connected(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A request for `/leave` is the last that its connection looks at, and is answered.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    streams: u32,
    answer: fn(Asked) -> Answering,
    noted: Arc<Mutex<Vec<String>>>,
) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        if request.uri().path() == "/leave" {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer((request, respond)));
    }
}

fn empty(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

async fn whole(body: &mut h2::RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    all
}

/// Says what it was asked: the target, the fields, the body, and the trailers.
fn tell((mut request, mut respond): Asked) -> Answering {
    Box::pin(async move {
        let mut told = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            told += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
        }
        let body = whole(request.body_mut()).await;
        told += &format!("body: {}\n", String::from_utf8_lossy(&body));
        if let Ok(Some(trailers)) = request.body_mut().trailers().await {
            for (name, value) in &trailers {
                told += &format!("behind: {name}={}\n", value.to_str().unwrap());
            }
        }
        if request.uri().path().starts_with("/slow") {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let mut sending = respond.send_response(empty(StatusCode::OK), false).unwrap();
        let _ = sending.send_data(Bytes::from(told), false);
        let mut trailers = HeaderMap::new();
        for name in ["x-checksum", "set-cookie"] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("abc"));
        }
        let _ = sending.send_trailers(trailers);
    })
}

fn behind(address: Address, http: OriginHttp) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let Behind::Servers(mut servers) = Behind::several([address]) else { panic!("no server") };
    servers.asking = Asking { http, ..Asking::default() };
    site.origin = Behind::Servers(servers);
    site
}

fn h2c(address: SocketAddr) -> config::Site {
    behind(Address::H2c(address.to_string().parse().unwrap()), OriginHttp::Auto)
}

fn one_worker() -> config::Edge {
    let mut one = limits();
    one.workers = 1;
    one
}

fn request(line: &str, rest: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{rest}\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_h2c_origin_gets_requests_in_its_own_form() {
    let origin = Second::start(100, tell).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    let post = request(
        "POST /p?q=1",
        "Connection: x-private, te\r\nX-Private: 1\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
         Cookie: a=b\r\n\r\n3\r\nabc\r\n0\r\nX-Behind: 1\r\nX-Forwarded-For: 6.6.6.6\r\n",
    );
    let answer = house.raw("a.example", &post).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nvia: 2.0 keyward\r\n"), "{answer}");
    for present in [
        "POST http://a.example/p?q=1\n",
        "te: trailers\n",
        "cookie: a=b\n",
        "x-forwarded-for: 127.0.0.1\n",
        "via: 1.1 keyward\n",
        "body: abc\n",
        "behind: x-behind=1\n",
    ] {
        assert!(answer.contains(present), "{present}: {answer}");
    }
    for absent in ["6.6.6.6", "x-private", "connection:", "\nhost:", "transfer-encoding: chunked\n"]
    {
        let told = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(!told.contains(absent), "{absent}: {told}");
    }
    // A second one, of a client that speaks HTTP/2 itself, on the same connection.
    let url = house.url("a.example", "/second");
    let answer = house.curl("a.example", &["--http2", "-d", "xyz", &url]);
    let target = format!("POST http://a.example:{}/second\n", house.https.port());
    assert!(answer.starts_with(&target), "{answer}");
    assert!(answer.contains("body: xyz\n") && answer.contains("via: 2.0 keyward\n"), "{answer}");
    assert!(!answer.contains("\nhost:"), "{answer}");
    assert_eq!((origin.heard().len(), origin.connected()), (2, 1));
    assert_eq!(house.edge.stats().origin_connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_and_a_site_without_the_clients_host_may_be_asked_in_http_2() {
    let origin = Second::start(100, tell).await;
    let mut site =
        behind(Address::Http(origin.address.to_string().parse().unwrap()), OriginHttp::Two);
    site.preserve_host = false;
    let house = House::open(vec![site], one_worker());
    let answer = house.raw("a.example", &request("GET /", "")).await;
    let own = format!("GET http://{}/\n", origin.address);
    assert!(answer.contains(&own) && answer.contains("x-forwarded-host: a.example\n"), "{answer}");
}

/// So many requests at once, each on a connection of its own.
async fn at_once(house: &House, path: &str, count: usize) -> Vec<String> {
    let asked = request(&format!("GET {path}"), "");
    futures_util::future::join_all((0..count).map(|_| house.raw("a.example", &asked))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_share_a_connection_as_far_as_the_origin_allows() {
    for (allowed, connections) in [(100, 1), (3, 4)] {
        let origin = Second::start(allowed, tell).await;
        let house = House::open(vec![h2c(origin.address)], one_worker());
        // Now it is known how many it takes.
        at_once(&house, "/", 1).await;
        let answers = at_once(&house, "/slow", 12).await;
        let good = answers.iter().filter(|a| a.starts_with("HTTP/1.1 200 ")).count();
        assert_eq!((good, origin.connected()), (12, connections), "{allowed} at a time");
    }
}

/// Refuses the first request of each connection, and tells of the others.
fn refuse_first((request, mut respond): Asked) -> Answering {
    if u32::from(respond.stream_id()) == 1 {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        return Box::pin(async {});
    }
    tell((request, respond))
}

/// The same with a reset that does not say whether the request was looked at.
fn break_first((request, mut respond): Asked) -> Answering {
    let path = request.uri().path();
    if path == "/broken" || u32::from(respond.stream_id()) == 1 && path == "/break" {
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
        return Box::pin(async {});
    }
    tell((request, respond))
}

/// Refuses what is asked on the first connection alone.
fn refuse_once(asked: Asked) -> Answering {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    if SEEN.fetch_add(1, Ordering::SeqCst) == 1 { refuse(asked) } else { tell(asked) }
}

fn refuse((_, mut respond): Asked) -> Answering {
    respond.send_reset(h2::Reason::REFUSED_STREAM);
    Box::pin(async {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_origin_refused_unseen_is_asked_again_whatever_it_is() {
    let origin = Second::start(100, refuse_once).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    let post = request("POST /", "Content-Length: 0\r\n");
    for round in 0..3 {
        let answer = house.raw("a.example", &post).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{round}: {answer}");
    }
    // The second was refused, and asked again on another connection.
    assert_eq!((origin.heard().len(), origin.connected()), (4, 2));

    // One that refuses on a new connection too is left alone.
    let origin = Second::start(100, refuse_first).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    assert!(house.raw("a.example", &post).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(origin.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_origin_may_have_seen_is_not_asked_again() {
    let origin = Second::start(100, break_first).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    let post = request("POST /break", "Content-Length: 0\r\n");
    assert!(house.raw("a.example", &post).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(origin.heard().len(), 1);
    // The stream is broken, not the connection.
    assert!(house.raw("a.example", &post).await.starts_with("HTTP/1.1 200 "));
    assert_eq!((origin.heard().len(), origin.connected()), (2, 1));
    // Nor on a connection that was there already.
    let post = request("POST /broken", "Content-Length: 0\r\n");
    assert!(house.raw("a.example", &post).await.starts_with("HTTP/1.1 502 "));
    assert_eq!((origin.heard().len(), origin.connected()), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_leaves_answers_what_it_has_and_the_rest_goes_elsewhere() {
    let origin = Second::start(100, tell).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    for round in 0..4 {
        let (slow, leave, after) = tokio::join!(
            at_once(&house, "/slow", 3),
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                at_once(&house, "/leave", 1).await
            },
            async {
                tokio::time::sleep(Duration::from_millis(60)).await;
                at_once(&house, "/after", 8).await
            }
        );
        for answer in slow.iter().chain(&leave).chain(&after) {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{round}: {answer}");
        }
    }
    assert_eq!(origin.heard().len(), 4 * 12);
    assert!(origin.connected() >= 4, "{}", origin.connected());
    assert_eq!(house.edge.stats().origin_failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_an_answer_reach_a_client_that_takes_them() {
    let origin = Second::start(100, tell).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    let config = crate::load::client_config(&house.ca.root(), &[b"h2"]);
    let stream = crate::load::connect(&config, house.https, "a.example").await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://a.example/").body(http_body_util::Empty::<Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let names: HashSet<_> = body.trailers().unwrap().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, HashSet::from(["x-checksum"]));
}

/// What nobody takes of one answer holds up none of the others on the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_hold_up_no_other_on_their_connection() {
    fn pour((request, mut respond): Asked) -> Answering {
        if request.uri().path() == "/" {
            return tell((request, respond));
        }
        Box::pin(async move {
            let mut sending = respond.send_response(empty(StatusCode::OK), false).unwrap();
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            for _ in 0..256 {
                sending.reserve_capacity(piece.len());
                let enough = |stream: &h2::SendStream<Bytes>| stream.capacity() >= piece.len();
                while !enough(&sending) {
                    let more = futures_util::future::poll_fn(|cx| sending.poll_capacity(cx)).await;
                    if !matches!(more, Some(Ok(_))) {
                        return;
                    }
                }
                if sending.send_data(piece.clone(), false).is_err() {
                    return;
                }
            }
        })
    }
    let origin = Second::start(100, pour).await;
    let house = House::open(vec![h2c(origin.address)], one_worker());
    let mut stuck = Vec::new();
    for _ in 0..40 {
        let mut client = house.tls("a.example").await;
        client.write_all(&request("GET /pour", "")).await.unwrap();
        stuck.push(client);
    }
    while origin.heard().len() < 40 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let answer = at_once(&house, "/", 1).await;
    assert!(answer[0].starts_with("HTTP/1.1 200 "), "{}", answer[0]);
    assert_eq!(origin.connected(), 1);
}

/// A server over TLS that speaks what was agreed on, and says so.
async fn choosing(ca: &Ca, alpn: &'static [&'static str]) -> SocketAddr {
    let acceptor = ca.acceptor("127.0.0.1", alpn);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return talk(stream, 100, tell, Arc::default()).await;
                }
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let head = String::from_utf8_lossy(&buffer[..length]).replace('\r', "");
                    let length = head.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

fn secure(ca: &Ca, address: SocketAddr, http: OriginHttp) -> config::Site {
    let mut site = behind(Address::Https(address.to_string().parse().unwrap()), http);
    if let Behind::Servers(servers) = &mut site.origin {
        servers.tls.ca = Some(ca.file());
    }
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_the_origin_chooses_the_version_unless_the_operator_does() {
    const BOTH: &[&str] = &["h2", "http/1.1"];
    let (one, two) = ("GET / HTTP/1.1\n", "GET https://a.example/\n");
    let ca = Ca::new();
    for (alpn, http, told) in [
        (BOTH, OriginHttp::Auto, Some(two)),
        (&["http/1.1"], OriginHttp::Auto, Some(one)),
        (&[], OriginHttp::Auto, Some(one)),
        (BOTH, OriginHttp::One, Some(one)),
        (&["h2"], OriginHttp::Two, Some(two)),
        (&["http/1.1"], OriginHttp::Two, None),
        (&[], OriginHttp::Two, None),
    ] {
        let origin = choosing(&ca, alpn).await;
        let house = House::open(vec![secure(&ca, origin, http)], one_worker());
        // The second knows what the first has found out.
        for round in 0..2 {
            let answer = house.raw("a.example", &request("GET /", "")).await;
            let what = format!("{alpn:?} {http:?} {round}: {answer}");
            match told {
                Some(told) => assert!(answer.contains(told), "{what}"),
                None => assert!(answer.starts_with("HTTP/1.1 502 "), "{what}"),
            }
        }
        let opened = house.edge.stats().origin_connections;
        assert_eq!(opened, u64::from(told.is_some()), "{alpn:?} {http:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_protocol_is_asked_for_on_a_connection_of_its_own() {
    let ca = Ca::new();
    let origin = choosing(&ca, &["h2", "http/1.1"]).await;
    let house = House::open(vec![secure(&ca, origin, OriginHttp::Auto)], one_worker());
    assert!(house.raw("a.example", &request("GET /", "")).await.contains("GET https://"));
    let upgrade = b"GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = house.raw("a.example", upgrade).await;
    assert!(answer.contains("GET /ws HTTP/1.1\n") && answer.contains("upgrade: websocket\n"));
    // What follows shares the other one again.
    assert!(answer.contains("GET https://a.example/\n"), "{answer}");
    assert_eq!(house.edge.stats().origin_connections, 2);
}

/// A server that others wrote, in both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_is_asked_in_http_2_with_and_without_tls() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let (chain, key) = ca.pem("127.0.0.1");
    std::fs::write(dir.path().join("chain.pem"), chain).unwrap();
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (plain, tls) = (free(), free());
    let at = dir.path().display();
    let file = format!(
        "{{\n admin off\n auto_https off\n servers {{\n protocols h1 h2 h2c\n }}\n}}\n\
         http://{plain} {{\n bind 127.0.0.1\n respond \"{{http.request.proto}}\"\n}}\n\
         https://{tls} {{\n bind 127.0.0.1\n tls {at}/chain.pem {at}/key.pem\n \
         respond \"{{http.request.proto}}\"\n}}\n",
    );
    std::fs::write(dir.path().join("Caddyfile"), file).unwrap();
    let mut caddy = std::process::Command::new("caddy")
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(dir.path().join("Caddyfile"))
        .env("HOME", dir.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("caddy is installed");
    let mut two = h2c(plain);
    let mut own = secure(&ca, tls, OriginHttp::Auto);
    own.names = site(&["b.example"], plain).names;
    // It answers for its own name alone.
    (two.preserve_host, own.preserve_host) = (false, false);
    let house = House::open(vec![two, own], one_worker());
    for name in ["a.example", "b.example"] {
        let get = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        for _ in 0..100 {
            answer = house.raw(name, get.as_bytes()).await;
            if answer.starts_with("HTTP/1.1 200 ") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(answer.ends_with("HTTP/2.0"), "{name}: {answer}");
    }
    caddy.kill().unwrap();
    caddy.wait().unwrap();
}
