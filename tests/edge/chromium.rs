//! A browser, as far as only a browser shows: certificates that it takes compressed.

use std::process::Command;

use crate::house::{House, limits, site};
use crate::origin::Origin;

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
        .arg("--dump-dom")
        .arg(format!("https://{name}/"))
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
