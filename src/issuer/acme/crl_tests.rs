//! Lists of every kind, on a server of the test's own.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertificateRevocationListParams;
use rcgen::CrlDistributionPoint;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyIdMethod;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::RevokedCertParams;
use rcgen::SerialNumber;

use super::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

struct Ca {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        long(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// A leaf with this serial number whose list lies at `url`, and its issuer.
    fn chain(&self, serial: u64, url: &str) -> Chain {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        long(&mut params);
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.to_owned()] }];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Chain::from_der(vec![leaf, self.der.clone()]).unwrap()
    }

    /// A list with this serial number in it, good until so many days from now.
    fn list(&self, serial: u64, days: u64) -> Vec<u8> {
        let moment = |unix: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix);
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: moment(NOW.as_unix() - 100),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: moment(NOW.as_unix() - 50),
            next_update: moment(NOW.as_unix() - 10 + days * 86_400),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

/// Gives `params` ten years around now.
fn long(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
}

/// Answers one request with `body` behind this status line, and gives the URL.
fn serve(status: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _read = stream.read(&mut request).unwrap();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        // Whoever has seen enough closes.
        let _written = stream.write_all(&[head.as_bytes(), &body].concat());
    });
    format!("http://{address}/list.crl")
}

async fn asked(ca: &Ca, serial: u64, status: &'static str, list: Vec<u8>) -> Result<bool, String> {
    let chain = ca.chain(serial, &serve(status, list));
    let found = is_revoked(&chain, None, NOW).await.map_err(|failure| failure.to_string())?;
    Ok(found.unwrap())
}

#[tokio::test]
async fn a_list_of_the_issuer_tells_who_is_revoked() {
    let ca = Ca::new("one");
    assert_eq!(asked(&ca, 7, "200 OK", ca.list(7, 1)).await, Ok(true));
    assert_eq!(asked(&ca, 8, "200 OK", ca.list(7, 1)).await, Ok(false));
}

#[tokio::test]
async fn a_list_that_others_signed_or_that_is_old_or_none_or_endless_is_not_believed() {
    let (ca, other, alike) = (Ca::new("one"), Ca::new("two"), Ca::new("one"));
    for list in [other.list(7, 1), alike.list(7, 1), ca.list(7, 0), b"no list".to_vec(), Vec::new()]
    {
        let told = asked(&ca, 7, "200 OK", list).await.unwrap_err();
        assert!(told.contains("not believed"), "{told}");
    }
    let mut broken = ca.list(7, 1);
    *broken.last_mut().unwrap() ^= 1;
    assert!(asked(&ca, 7, "200 OK", broken).await.is_err());
    let told = asked(&ca, 7, "503 Busy", ca.list(7, 1)).await.unwrap_err();
    assert!(told.contains("503"), "{told}");
    let endless = vec![0; usize::try_from(REVOCATION_LIST).unwrap() + 1];
    let told = asked(&ca, 7, "200 OK", endless).await.unwrap_err();
    assert!(told.contains("longer than"), "{told}");
}

#[tokio::test]
async fn a_list_over_https_comes_only_from_a_server_that_the_ca_vouches_for() {
    let (ca, dir) = (Ca::new("one"), tempfile::tempdir().unwrap());
    let (root, other) = (dir.path().join("root.pem"), dir.path().join("other.pem"));
    for (path, ca) in [(&root, &ca), (&other, &Ca::new("one"))] {
        std::fs::write(path, Chain::from_der(vec![ca.der.clone()]).unwrap().to_pem()).unwrap();
    }
    let asked = async |trusted| {
        let chain = ca.chain(7, &serve_tls(&ca, ca.list(7, 1)));
        is_revoked(&chain, Some(trusted), NOW).await
    };
    assert_eq!(asked(&root).await.unwrap(), Some(true));
    assert_eq!(asked(&other).await.unwrap_err().kind, FailureKind::Unreachable);
}

/// As [`serve`] over TLS, under a certificate of `ca`.
fn serve_tls(ca: &Ca, body: Vec<u8>) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    long(&mut params);
    let leaf = params.signed_by(&key, &ca.issuer).unwrap().der().clone();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key.into())
        .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let mut request = [0; 1024];
        // One that does not believe us says no more.
        if stream.read(&mut request).is_ok() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _written = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    format!("https://{address}/list.crl")
}

#[tokio::test]
async fn a_leaf_that_names_no_list_or_one_elsewhere_is_not_asked_about() {
    let ca = Ca::new("one");
    for url in ["ldap://127.0.0.1/list", "ftp://127.0.0.1/list"] {
        assert_eq!(is_revoked(&ca.chain(7, url), None, NOW).await.unwrap(), None, "{url}");
    }
}
