//! Requests and answers on their way through: fields, bodies, faults of origins.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::house::{House, limits, site};
use crate::origin::Origin;
use crate::scripted::Scripted;

fn field<'a>(seen: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("{name}: ");
    let body = seen.split_once("\r\n\r\n").unwrap().1;
    body.lines().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

#[tokio::test]
async fn the_origin_hears_of_the_client_from_us_alone() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let answer = house
        .raw(
            "a.example",
            b"GET /head?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 6.6.6.6\r\n\
              X-Forwarded-Proto: http\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
              Forwarded: for=6.6.6.6\r\nProxy: http://evil\r\nX-Forwarded-Ssl: on\r\n\
              Connection: close, X-Private, X-Forwarded-Host\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\
              TE: trailers, deflate\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\
              Proxy-Authorization: Basic x\r\nProxy-Connection: close\r\nVia: 1.0 before\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("6.6.6.6") && !answer.contains("evil"), "{answer}");
    for (name, expected) in [
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-real-ip", vec!["127.0.0.1"]),
        ("x-forwarded-proto", vec!["https"]),
        ("x-forwarded-host", vec!["a.example"]),
        ("forwarded", vec!["for=127.0.0.1;host=\"a.example\";proto=https"]),
        ("host", vec!["a.example"]),
        ("via", vec!["1.0 before", "1.1 keyward"]),
        ("te", vec!["trailers"]),
        ("connection", vec!["TE"]),
    ] {
        assert_eq!(field(&answer, name), expected, "{name}: {answer}");
    }
    assert_eq!(field(&answer, "x-forwarded-port"), [house.https.port().to_string().as_str()]);
    for gone in [
        "x-private",
        "keep-alive",
        "upgrade",
        "http2-settings",
        "proxy-authorization",
        "proxy-connection",
        "proxy",
        "x_forwarded_for",
        "x-forwarded-ssl",
    ] {
        assert!(field(&answer, gone).is_empty(), "{gone}: {answer}");
    }
    assert!(answer.contains("GET /head?q=1 HTTP/1.1\n"), "{answer}");
}

#[tokio::test]
async fn answers_lose_hop_by_hop_fields_and_get_ours() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let request = b"GET /hop HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = house.raw("a.example", request).await.to_lowercase();
    for present in [
        "strict-transport-security: max-age=63072000\r\n",
        "via: 1.1 keyward\r\n",
        "server: the-origin\r\n",
        "x-public: 1\r\n",
    ] {
        assert!(answer.contains(present), "{present}: {answer}");
    }
    for gone in ["x-private", "keep-alive", "proxy-authenticate", "max-age=1\r\n"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
}

#[tokio::test]
async fn without_preserve_host_the_origin_sees_its_own() {
    let origin = Origin::start();
    let mut own = site(&["a.example"], origin.address);
    own.preserve_host = false;
    let house = House::open(vec![own], limits());
    let request = b"GET /head HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = house.raw("a.example", request).await;
    assert_eq!(field(&answer, "host"), [origin.address.to_string().as_str()]);
    assert_eq!(field(&answer, "x-forwarded-host"), ["a.example"]);
}

#[tokio::test]
async fn connections_to_the_origin_are_reused() {
    let origin = Origin::start();
    let mut one = limits();
    one.workers = 1;
    let house = House::open(vec![site(&["a.example"], origin.address)], one);
    let request = b"GET /bytes/100000 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for _ in 0..10 {
        assert!(house.raw("a.example", request).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!((origin.seen(), origin.connected()), (10, 1));
}

#[tokio::test]
async fn a_reused_connection_that_died_costs_no_request_that_may_be_repeated() {
    let origin = Origin::fickle();
    let mut one = limits();
    one.workers = 1;
    let house = House::open(vec![site(&["a.example"], origin.address)], one);
    let request = |line: &str, rest: &str| {
        format!("{line} / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{rest}")
    };
    let first = house.raw("a.example", request("GET", "\r\n").as_bytes()).await;
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    for (line, rest, expected) in [
        ("GET", "\r\n", "200"),
        ("DELETE", "\r\n", "200"),
        // These may have been acted upon.
        ("POST", "\r\n", "502"),
        ("GET", "\r\n", "200"),
        ("PUT", "Content-Length: 1\r\n\r\nx", "502"),
    ] {
        let answer = house.raw("a.example", request(line, rest).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{line}: {answer}");
    }
    assert_eq!(house.edge.stats().origin_failures, 2);
}

#[tokio::test]
async fn an_origin_that_ends_idle_connections_is_no_trouble() {
    let origin = Origin::start();
    let mut one = limits();
    one.workers = 1;
    let house = House::open(vec![site(&["a.example"], origin.address)], one);
    for pause in [0, 20, 28, 30, 32, 35, 60] {
        for path in ["/last", "/"] {
            let get =
                format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
            let answer = house.raw("a.example", get.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "after {pause} ms: {answer}");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    assert_eq!(house.edge.stats().origin_failures, 0);
}

#[tokio::test]
async fn an_origin_that_is_down_is_a_502_without_internals() {
    let address = {
        let origin = Origin::start();
        origin.address
    };
    let house = House::open(vec![site(&["a.example"], address)], limits());
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = house.raw("a.example", request).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(!answer.contains("127.0.0.1") && !answer.contains("refused"), "{answer}");
    assert_eq!(house.edge.stats().origin_failures, 1);
}

#[tokio::test]
async fn an_origin_that_hangs_up_is_a_502() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let request = b"GET /drop HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert!(house.raw("a.example", request).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(
        origin.requests.load(Ordering::SeqCst),
        1,
        "a request that was seen is not repeated"
    );
}

#[tokio::test]
async fn the_welcome_page_stands_on_its_own() {
    let mut own = site(&["a.example"], "127.0.0.1:1".parse().unwrap());
    own.origin = keyward::config::Origin::Welcome;
    let house = House::open(vec![own], limits());
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = house.raw("a.example", request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("keyward is at the door"));
    assert!(!answer.contains("src=") && !answer.contains("href="), "no external requests");
    assert!(answer.contains("strict-transport-security"), "{answer}");
}

#[tokio::test]
async fn a_fault_of_ours_costs_one_connection() {
    #[derive(Debug)]
    struct Faulty;
    impl rustls::sign::SigningKey for Faulty {
        fn choose_scheme(
            &self,
            _: &[rustls::SignatureScheme],
        ) -> Option<Box<dyn rustls::sign::Signer>> {
            panic!("a fault on purpose")
        }
        fn algorithm(&self) -> rustls::SignatureAlgorithm {
            rustls::SignatureAlgorithm::ECDSA
        }
    }
    #[derive(Debug)]
    struct FaultySigners;
    impl keyward::cert::ports::Signers for FaultySigners {
        fn certified_key(
            &self,
            chain: &keyward::cert::chain::Chain,
            _: &keyward::cert::key::KeyHandle,
        ) -> Result<std::sync::Arc<rustls::sign::CertifiedKey>, String> {
            let key = std::sync::Arc::new(Faulty);
            Ok(std::sync::Arc::new(rustls::sign::CertifiedKey::new(chain.to_rustls(), key)))
        }
        fn client_key(
            &self,
            chain: &keyward::cert::chain::Chain,
            key: &keyward::cert::key::KeyHandle,
        ) -> Result<std::sync::Arc<rustls::sign::CertifiedKey>, String> {
            self.certified_key(chain, key)
        }
        fn bind_worker(&self, _: usize, _: Option<usize>) {}
    }
    let ca = crate::memory::MemoryCa::new();
    let served = ca.issue(&["a.example"]);
    let mut own = site(&["a.example"], "127.0.0.1:1".parse().unwrap());
    own.origin = keyward::config::Origin::Welcome;
    let https = keyward::edge::listen::bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
    let address = https[0].local_addr().unwrap();
    let mut one = limits();
    one.workers = 1;
    let options = keyward::edge::EdgeOptions {
        https,
        http: Vec::new(),
        tcp: Vec::new(),
        limits: one.clone(),
        clock: std::sync::Arc::new(keyward::base::SystemClock),
        config: std::sync::Arc::new(crate::house::config(vec![own], one)),
        catalog: crate::house::catalog(vec![served]),
        tickets: keyward::edge::tickets::Tickets::default(),
    };
    let edge = keyward::edge::Edge::start(options, std::sync::Arc::new(FaultySigners)).unwrap();
    let config = crate::load::client_config(&ca.root(), &[b"http/1.1"]);
    for _ in 0..3 {
        assert!(crate::load::connect(&config, address, "a.example").await.is_err());
    }
    for _ in 0..100 {
        if edge.stats().connections.open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stats = edge.stats();
    assert_eq!((stats.panics, stats.connections.total, stats.connections.open), (3, 3, 0));
}

/// Those that were announced and no other, nor where a route has fields of its own.
#[tokio::test]
async fn trailers_that_are_announced_reach_an_origin_of_http_1() {
    // It answers when all is there.
    let origin = Scripted::start(|heard| {
        let head = heard.starts_with("POST ");
        Some(if head { "" } else { "HTTP/1.1 204 No Content\r\n\r\n" }.to_owned())
    });
    let text = "[[site.route]]\npath = '/own/*'\nset_request = ['A: b']\n";
    let house = crate::policies::house(origin.address, text);
    let (chunked, end) = ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n");
    let announced = format!("{chunked}Trailer: X-Sum, X-Forwarded-For\r\n");
    let more = format!("{end}X-Sum: 1\r\nX-Other: 2\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    let (kept, cut) = (format!("{end}x-sum: 1\r\n\r\n"), format!("{end}\r\n"));
    let short = "Content-Length: 7\r\nTrailer: X-Sum\r\n".to_owned();
    for (path, fields, body, trailer, sent) in [
        ("/a", &announced, more.as_str(), Some("trailer: x-sum"), kept.as_str()),
        ("/a", &chunked.to_owned(), &more, None, &cut),
        ("/own/a", &announced, &more, None, &cut),
        ("/a", &short, "abc\r\n\r\n", None, "abc\r\n\r\n"),
    ] {
        let before = origin.heard().len();
        let answer = crate::policies::ask(&house, &format!("POST {path}"), fields, body).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        let heard = origin.heard();
        let [head, rest] = &heard[before..] else { panic!("{heard:?}") };
        let told = head.lines().find(|line| line.to_lowercase().starts_with("trailer"));
        assert_eq!(told, trailer, "{head}");
        assert_eq!(rest, sent, "{path} {fields}");
    }
}

#[tokio::test]
async fn trailers_of_a_client_end_here() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let request = b"POST /head HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\
        Trailer: X-Forwarded-For\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\
        X-Forwarded-For: 6.6.6.6\r\n\r\n";
    let answer = house.raw("a.example", request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\nabc"), "{answer}");
    assert!(!answer.contains("trailer") && !answer.contains("6.6.6.6"), "{answer}");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_spoils_nothing() {
    let origin = Origin::hasty();
    let mut one = limits();
    one.workers = 1;
    let house = House::open(vec![site(&["a.example"], origin.address)], one);
    for _ in 0..5 {
        let early = b"POST /early HTTP/1.1\r\nHost: a.example\r\nContent-Length: 90\r\n\r\nabc";
        let mut stream = house.tls("a.example").await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, early).await.unwrap();
        let mut head = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        let next = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let answer = house.raw("a.example", next).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    }
}
