//! Lists of revoked clients that are named by a URL: what they revoke holds without a restart, and the
//! last good one over a restart without a network.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::origin::Origin;

struct Ca {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "clients");
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// Files for curl.
    fn badge(&self, dir: &Path, serial: u64) -> [String; 4] {
        let mut params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from(serial));
        let pair = rcgen::KeyPair::generate().unwrap();
        let (cert, key) = (dir.join(format!("{serial}.crt")), dir.join(format!("{serial}.key")));
        fs::write(&cert, params.signed_by(&pair, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let text = |path: &Path| path.display().to_string();
        ["--cert".to_owned(), text(&cert), "--key".to_owned(), text(&key)]
    }

    /// The `number`th list, which revokes these and is good for so long from now on.
    fn list(&self, number: u64, serials: &[u64], life: Duration) -> Vec<u8> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: epoch + now,
            next_update: epoch + now + life,
            crl_number: rcgen::SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

/// A server of one file; without any it has an error.
#[derive(Clone, Default)]
struct Publisher {
    file: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    fn start(port: u16) -> Self {
        let publisher = Self::default();
        let (own, listener) = (publisher.clone(), TcpListener::bind(("127.0.0.1", port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut octet = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut octet), Ok(1)) {
                    head.extend_from_slice(&octet);
                }
                own.asked.fetch_add(1, Ordering::SeqCst);
                let file = own.file.lock().unwrap().clone();
                let status = if file.is_some() { "200 OK" } else { "503 Service Unavailable" };
                let body = file.unwrap_or_default();
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        publisher
    }

    fn publish(&self, file: Option<Vec<u8>>) {
        *self.file.lock().unwrap() = file;
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_list_that_is_fetched_revokes_while_it_runs_and_after_a_restart_without_a_network() {
    let (origin, ca, dir) = (Origin::start(), Ca::new(), tempfile::tempdir().unwrap());
    let root = dir.path().join("clients.pem");
    fs::write(&root, &ca.pem).unwrap();
    let port = free_port();
    let publisher = Publisher::start(port);
    let site = format!(
        "[[site]]\nnames = [\"vpn.internal\"]\norigin = \"http://{}\"\n[site.tls]\n\
         client_certificates = \"required\"\nclient_ca = {root:?}\n\
         client_crl = \"http://127.0.0.1:{port}/clients.crl\"\n",
        origin.address
    );
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let own = dir.path().join("own.pem");
    fs::write(&own, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    let badges = [7, 8].map(|serial| ca.badge(dir.path(), serial));
    let let_in = |keyward: &Keyward| {
        badges.each_ref().map(|badge| {
            let badge: Vec<&str> = badge.iter().map(String::as_str).collect();
            keyward.curl(&own, "vpn.internal", "/", &badge).status.success()
        })
    };
    let wait = |keyward: &Keyward, what: &str, expected: [bool; 2]| {
        eventually(what, PATIENCE, || (let_in(keyward) == expected).then_some(()));
    };
    let notice = |keyward: &Keyward, what: &str| {
        eventually(what, PATIENCE, || {
            let status = keyward.cli(&["status"]).ok();
            status.split_whitespace().collect::<Vec<_>>().join(" ").contains(what).then_some(())
        });
    };
    let events = |keyward: &Keyward, kind: &str| {
        let journal = keyward.cli(&["events", "--json"]).json();
        let entries = journal["entries"].as_array().unwrap().clone();
        entries.iter().filter(|entry| entry["kind"] == kind).count()
    };

    // None was ever had.
    notice(&keyward, "cannot be had (the answer is 503); there is none yet");
    assert_eq!(let_in(&keyward), [false, false]);
    assert_eq!(events(&keyward, "list-failed"), 1);
    // It is asked for again by itself.
    publisher.publish(Some(ca.list(1, &[], Duration::from_secs(30))));
    wait(&keyward, "both are let in", [true, true]);
    assert_eq!(events(&keyward, "list-fetched"), 1);
    // Before it runs out, the next one is there.
    publisher.publish(Some(ca.list(2, &[7], HOUR)));
    wait(&keyward, "one is revoked", [false, true]);
    let shown = keyward.cli(&["show", "vpn.internal"]).ok();
    assert!(shown.contains(&format!("http://127.0.0.1:{port}/clients.crl: 1 list")), "{shown}");

    // One that somebody else made under the same name is not taken, and the last one stays.
    publisher.publish(Some(Ca::new().list(3, &[8], HOUR)));
    keyward.hangup();
    notice(&keyward, "not signed by CN=clients");
    assert_eq!(let_in(&keyward), [false, true]);
    // An earlier one brings nobody back.
    publisher.publish(None);
    assert!(keyward.terminate().success());
    keyward.start();
    wait(&keyward, "the last good one holds", [false, true]);
    notice(&keyward, "cannot be had (the answer is 503); the last one is good until");
    // A reload asks at once.
    publisher.publish(Some(ca.list(4, &[7, 8], HOUR)));
    keyward.hangup();
    wait(&keyward, "both are revoked", [false, false]);
    assert!(publisher.asked.load(Ordering::SeqCst) >= 6);
}
