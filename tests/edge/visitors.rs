//! Client certificates: who is let in, what the origin learns, and what a revocation does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use keyward::config::ClientCertificates;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::handshakes::s_client;
use crate::house::{House, limits, site};
use crate::origin::Origin;

/// A CA for clients, with its files.
pub(crate) struct Ca {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and key, in files and in DER.
pub(crate) struct Badge {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    der: Vec<u8>,
}

impl Badge {
    fn curl(&self) -> [String; 4] {
        let path = |path: &Path| path.display().to_string();
        ["--cert".to_owned(), path(&self.cert), "--key".to_owned(), path(&self.key)]
    }
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn badge(&self, serial: u64) -> Badge {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let file = |name: &str| self.dir.path().join(format!("{serial}.{name}"));
        std::fs::write(file("pem"), cert.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        Badge { cert: file("pem"), key: file("key"), der: cert.der().to_vec() }
    }

    /// Writes a list that revokes these; out of date if it is `old`.
    fn revoke(&self, serials: &[u64], old: bool) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(if old { 2021 } else { 4000 }, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.path().join("list.crl");
        let list = list.signed_by(&self.issuer).unwrap();
        // In both forms in which CAs publish them.
        let text =
            if serials.len() > 1 { list.pem().unwrap().into_bytes() } else { list.der().to_vec() };
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn open(origin: &Origin, ca: &Ca, required: bool, crl: Option<PathBuf>) -> House {
    let mut guarded = site(&["a.example"], origin.address);
    guarded.clients = Some(ClientCertificates { required, ca: ca.path(), crl, crl_url: None });
    House::open(vec![guarded, site(&["open.example"], origin.address)], limits())
}

/// The answer's status, with curl and perhaps a certificate; 0 when there is none.
fn status(house: &House, name: &str, badge: Option<&Badge>) -> u16 {
    let port = house.https.port();
    let output = std::process::Command::new("curl")
        .args(["-s", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
        .arg(house.ca.root_file())
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(badge.map(Badge::curl).into_iter().flatten())
        .arg(house.url(name, "/head"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

/// The fields that the origin got.
fn head(house: &House, name: &str, badge: Option<&Badge>, more: &[&str]) -> String {
    let url = house.url(name, "/head");
    let badge: Vec<String> = badge.map(Badge::curl).into_iter().flatten().collect();
    let mut arguments: Vec<&str> = badge.iter().map(String::as_str).collect();
    arguments.extend(more);
    arguments.push(&url);
    house.curl(name, &arguments).to_lowercase()
}

#[test]
fn a_required_certificate_is_checked_and_the_origin_learns_of_it() {
    let origin = Origin::start();
    let (ca, other) = (Ca::new("clients"), Ca::new("others"));
    let house = open(&origin, &ca, true, None);
    let (good, foreign) = (ca.badge(7), other.badge(8));
    assert_eq!(status(&house, "a.example", None), 0);
    assert_eq!(status(&house, "a.example", Some(&foreign)), 0);
    assert_eq!(status(&house, "open.example", None), 200, "the site beside it asks nobody");
    for (version, alert) in [("-tls1_3", "alert number 116"), ("-tls1_2", "alert number")] {
        let script = format!(
            "(sleep 1) | timeout 20 openssl s_client -connect {} -servername a.example {version} 2>&1",
            house.https
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(alert), "{version}: {text}");
    }
    let hint = s_client(&house, &["-servername", "a.example", "-tls1_2"]);
    assert!(hint.contains("Acceptable client certificate CA names"), "{hint}");
    assert!(hint.contains("CN = clients"), "{hint}");

    let expected = base64::engine::general_purpose::STANDARD.encode(&good.der);
    for version in [["--http1.1", "--tls-max", "1.2"], ["--http2", "--tlsv1.3", "-s"]] {
        // What a client writes itself counts for nothing.
        let forged = ["-H", "Client-Cert: :Zm9yZ2Vk:", "-H", "Client_Cert_Chain: :Zm9yZ2Vk:"];
        let more = [&version[..], &forged].concat();
        let seen = head(&house, "a.example", Some(&good), &more);
        assert!(seen.contains(&format!("client-cert: :{}:\n", expected.to_lowercase())), "{seen}");
        assert!(!seen.contains("zm9yz2vk"), "{seen}");
        let seen = head(&house, "open.example", Some(&good), &more);
        assert!(!seen.contains("client-cert") && !seen.contains("client_cert"), "{seen}");
    }
}

#[test]
fn an_optional_certificate_may_be_left_out_but_not_be_bad() {
    let origin = Origin::start();
    let (ca, other) = (Ca::new("clients"), Ca::new("others"));
    let house = open(&origin, &ca, false, None);
    let seen = head(&house, "a.example", None, &[]);
    assert!(seen.contains("get /head") && !seen.contains("client-cert"), "{seen}");
    let seen = head(&house, "a.example", Some(&ca.badge(7)), &[]);
    assert!(seen.contains("client-cert: :"), "{seen}");
    assert_eq!(status(&house, "a.example", Some(&other.badge(8))), 0);
}

#[test]
fn a_revoked_certificate_is_out_and_so_is_a_list_that_is_too_old() {
    let origin = Origin::start();
    let ca = Ca::new("clients");
    let (seven, eight) = (ca.badge(7), ca.badge(8));
    let list = ca.revoke(&[], false);
    let house = open(&origin, &ca, true, Some(list));
    assert_eq!(status(&house, "a.example", Some(&seven)), 200);
    let changed = |serials: &[u64], old| {
        ca.revoke(serials, old);
        house.edge.refresh(&house.config);
        [&seven, &eight].map(|badge| status(&house, "a.example", Some(badge)))
    };
    assert_eq!(changed(&[7], false), [0, 200], "in DER");
    assert_eq!(changed(&[7, 8], false), [0, 0], "in PEM");
    assert_eq!(changed(&[9], false), [200, 200]);
    assert_eq!(changed(&[10], true), [0, 0], "out of date");
    std::fs::write(ca.dir.path().join("list.crl"), "no list").unwrap();
    house.edge.refresh(&house.config);
    assert_eq!(status(&house, "a.example", Some(&seven)), 0, "nobody while it cannot be read");
    assert_eq!(status(&house, "open.example", None), 200);
    assert_eq!(changed(&[11], false), [200, 200]);
}

/// A connection over HTTP/1.1 with a certificate.
async fn dial(
    house: &House,
    badge: Option<&Badge>,
) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ca.root()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match badge {
        None => builder.with_no_client_auth(),
        Some(badge) => {
            let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&badge.key).unwrap();
            builder.with_client_auth_cert(vec![badge.der.clone().into()], key).unwrap()
        }
    };
    crate::load::connect(&std::sync::Arc::new(config), house.https, "a.example").await.unwrap()
}

/// The head of the answer to a request on `stream`; `Connection: close` in it, or not.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer));
    let read = read.await.expect("an answer").unwrap();
    String::from_utf8_lossy(&answer[..read]).to_lowercase()
}

#[tokio::test]
async fn what_a_site_asks_for_holds_for_connections_that_are_open() {
    let origin = Origin::start();
    let ca = Ca::new("clients");
    let (seven, eight) = (ca.badge(7), ca.badge(8));
    let mut house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut from_before = dial(&house, None).await;
    assert!(ask(&mut from_before).await.starts_with("http/1.1 200"));
    let crl = Some(ca.revoke(&[], false));
    house.config.sites[0].clients =
        Some(ClientCertificates { required: true, ca: ca.path(), crl, crl_url: None });
    house.edge.publish(&house.config);
    // It has proven nothing, and is told to come again on another connection.
    let answer = ask(&mut from_before).await;
    assert!(answer.starts_with("http/1.1 421") && answer.contains("connection: close"), "{answer}");

    let (mut one, mut two) = (dial(&house, Some(&seven)).await, dial(&house, Some(&eight)).await);
    assert!(ask(&mut one).await.starts_with("http/1.1 200"));
    assert!(ask(&mut two).await.starts_with("http/1.1 200"));
    ca.revoke(&[7], false);
    house.edge.refresh(&house.config);
    assert!(ask(&mut one).await.starts_with("http/1.1 421"), "revoked meanwhile");
    assert!(ask(&mut two).await.starts_with("http/1.1 200"), "the other one never notices");
}

#[test]
fn a_session_from_before_a_certificate_was_asked_for_is_not_resumed() {
    let origin = Origin::start();
    let ca = Ca::new("clients");
    let badge = ca.badge(7);
    let mut house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let session = ca.dir.path().join("session");
    let visit = |house: &House, how: &str, with: &str| {
        let script = format!(
            "printf 'GET /x HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n' | \
             timeout 20 openssl s_client -connect {} -servername a.example -tls1_3 -quiet \
             {how} {} {with} 2>&1",
            house.https,
            session.display()
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(visit(&house, "-sess_out", "").contains("HTTP/1.1 200"));
    assert!(visit(&house, "-sess_in", "").contains("HTTP/1.1 200"));
    assert_eq!(house.edge.stats().handshakes.resumed, 1);
    house.config.sites[0].clients =
        Some(ClientCertificates { required: true, ca: ca.path(), crl: None, crl_url: None });
    house.edge.publish(&house.config);
    let answer = visit(&house, "-sess_in", "");
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    let with = format!("-cert {} -key {}", badge.cert.display(), badge.key.display());
    assert!(visit(&house, "-sess_in", &with).contains("HTTP/1.1 200"));
    assert_eq!(house.edge.stats().handshakes.resumed, 1, "each connection shows it anew");
}
