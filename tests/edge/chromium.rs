//! A browser, as far as only a browser shows: certificates that it takes compressed, HTTP/3 as it speaks
//! it, and WebSocket as a stream of HTTP/2.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::cert::identifier::Identifier;
use keyward::cert::ports::Catalog;

use crate::house::{House, limits, site};
use crate::origin::Origin;
use crate::routes::routes;

/// What Chromium notes of its network (`net::NetLog`), as far as it is looked at.
struct Noted(serde_json::Value);

impl Noted {
    /// The types of the handshake messages that came in (RFC 8446, section 4), and their lengths.
    fn received(&self) -> Vec<(u64, u64)> {
        let kind = &self.0["constants"]["logEventTypes"]["SSL_HANDSHAKE_MESSAGE_RECEIVED"];
        assert!(kind.is_u64(), "Chromium has another name for it");
        let events = self.0["events"].as_array().unwrap().iter();
        let ours = events.filter(|event| event["type"] == *kind);
        ours.map(|event| {
            let params = &event["params"];
            // Type, then three octets of length; what is in base64 has four for three.
            let octets = params["bytes"].as_str().map_or(0, |text| text.len() as u64 / 4 * 3);
            (params["type"].as_u64().unwrap(), octets)
        })
        .collect()
    }
}

/// Visits `name` and gives the page, and what was noted.
fn visit(house: &House, name: &str) -> (String, Noted) {
    see(house, name, &format!("https://{name}/"), &[])
}

/// The same with a URL, and more to say to the browser.
fn see(house: &House, name: &str, url: &str, more: &[String]) -> (String, Noted) {
    let home = tempfile::tempdir().unwrap();
    let notes = home.path().join("notes.json");
    let output = Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--timeout=30000"])
        .args([
            "--no-proxy-server",
            "--ignore-certificate-errors",
            "--net-log-capture-mode=Everything",
        ])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(format!("--log-net-log={}", notes.display()))
        .arg(format!("--host-resolver-rules=MAP {name} 127.0.0.1:{}", house.https.port()))
        .args(more)
        .arg("--dump-dom")
        .arg(url)
        .output()
        .expect("chromium-headless-shell is installed");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    let notes = std::fs::read(&notes).unwrap_or_else(|error| panic!("{error}: {told}"));
    let notes = serde_json::from_slice(&notes).unwrap_or_else(|error| panic!("{error}: {told}"));
    (page, Noted(notes))
}

const CERTIFICATE: u64 = 11;
const COMPRESSED_CERTIFICATE: u64 = 25;

#[test]
fn chromium_takes_the_certificate_compressed() {
    let origin = Origin::start();
    let names: Vec<String> = (0..40).map(|number| format!("site{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let house = House::open(vec![site(&names, origin.address)], limits());
    let (page, noted) = visit(&house, "site0.example");
    assert!(page.contains("ok"), "{page}");
    let received = noted.received();
    let compressed = received.iter().find(|(kind, _)| *kind == COMPRESSED_CERTIFICATE);
    let (_, length) = compressed.unwrap_or_else(|| panic!("not compressed: {received:?}"));
    assert!(received.iter().all(|(kind, _)| *kind != CERTIFICATE), "{received:?}");
    // As it is, it takes more than one octet for each of its names' own.
    let whole: usize = names.iter().map(|name| name.len()).sum();
    assert!(*length > 0 && *length < whole as u64 + 400, "{length} octets of {whole} in names");
    let stats = house.edge.stats();
    assert!(stats.handshakes.full > 0, "{stats:?}");
}

#[test]
fn chromium_speaks_http3() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    house.edge.follow_http3(true, true, Vec::new());
    let served = house.shelf.candidates(&Identifier::parse("a.example").unwrap()).unwrap();
    let spki = ring::digest::digest(&ring::digest::SHA256, &served[0].key.spki);
    let more = [
        // It speaks QUIC with those alone whose CA everybody has, or whose key it was told.
        format!("--ignore-certificate-errors-spki-list={}", STANDARD.encode(spki)),
        "--enable-quic".to_owned(),
        "--origin-to-force-quic-on=a.example:443".to_owned(),
    ];
    let (page, _) = see(&house, "a.example", "https://a.example/head", &more);
    assert!(page.contains("via: 3.0 keyward"), "{page}");
    let stats = house.edge.stats();
    assert!(stats.http3.connections >= 1 && stats.http3.requests >= 1, "{stats:?}");
}

/// A page that opens a WebSocket on the connection it came by, and says what came of it.
const PAGE: &str = "<!doctype html><p id=said>nothing</p><img src=/drip/30/100><script>\
    let socket = new WebSocket('wss://a.example/chat');\
    socket.onopen = () => socket.send('as a stream');\
    socket.onmessage = event => said.textContent = 'heard ' + event.data;\
    </script>";

/// Has a server give it to everybody, as long as the tests run.
fn page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 8192]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len());
        }
    });
    address
}

#[test]
fn chromium_opens_a_websocket_as_a_stream_of_http2() {
    let (chat, slow) = (Origin::websocket(), Origin::start());
    let mut whole = site(&["a.example"], page());
    whole.routes = routes(&format!(
        "[[site.route]]\npath = '/chat'\norigin = 'http://{}'\n\
         [[site.route]]\npath = '/drip/*'\norigin = 'http://{}'\n",
        chat.address, slow.address
    ));
    let house = House::open(vec![whole], limits());
    let (page, _) = visit(&house, "a.example");
    assert!(page.contains("heard as a stream"), "{page}");
    let stats = house.edge.stats();
    // On one of the connections that are there.
    assert_eq!(stats.upgrades, 1);
    assert!(stats.handshakes.full + stats.handshakes.resumed <= 2, "{stats:?}");
}
