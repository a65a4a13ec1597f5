//! Origins that speak TLS: whom keyward believes, and what it asks them for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use keyward::config;
use keyward::config::{Address, Origin as Behind, OriginTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::house::{House, limits, site};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// A CA of the origins' own.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

/// A server that answers each request with the name that it was asked for in the handshake.
struct Secret {
    address: SocketAddr,
    connections: Arc<Mutex<usize>>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        let path = self.dir.path().join("ca.pem");
        std::fs::write(&path, self.issuer.pem()).unwrap();
        path
    }

    /// A certificate for `name` and its key, as PEM.
    pub(crate) fn pem(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// For a server whose certificate is for `name`, and which speaks these protocols.
    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> tokio_rustls::TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config =
            rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }

    /// A server whose certificate is for `name`.
    async fn serve(&self, name: &str) -> Secret {
        let acceptor = self.acceptor(name, &[]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&connections);
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                let acceptor = acceptor.clone();
                tokio::task::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let asked = stream.get_ref().1.server_name().unwrap_or("nothing").to_owned();
                    let mut buffer = [0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let length = asked.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{asked}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Secret { address, connections }
    }
}

fn behind(authority: &str, tls: OriginTls) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let Behind::Servers(mut servers) =
        Behind::several([Address::Https(authority.parse().unwrap())])
    else {
        panic!("no server");
    };
    servers.tls = tls;
    site.origin = Behind::Servers(servers);
    site
}

fn one_worker() -> config::Edge {
    let mut one = limits();
    one.workers = 1;
    one
}

async fn ask(house: &House) -> String {
    house.raw("a.example", GET).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_origin_is_believed_by_its_ca_and_its_name() {
    let ca = Ca::new();
    let server = ca.serve("localhost").await;
    let authority = format!("localhost:{}", server.address.port());
    let own = || OriginTls { ca: Some(ca.file()), ..OriginTls::default() };
    let house = House::open(vec![behind(&authority, own())], one_worker());
    for _ in 0..2 {
        let answer = ask(&house).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("localhost"), "{answer}");
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);

    // Another CA, the system's, and another name.
    let (other, system) = (Ca::new(), OriginTls::default());
    let foreign = OriginTls { ca: Some(other.file()), ..OriginTls::default() };
    let misnamed = OriginTls { name: Some("other.example".into()), ..own() };
    for tls in [foreign, system, misnamed] {
        let house = House::open(vec![behind(&authority, tls.clone())], one_worker());
        let answer = ask(&house).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{tls:?}: {answer}");
    }
    // Unless nobody looks.
    let blind = OriginTls { verify: false, ..OriginTls::default() };
    let house = House::open(vec![behind(&authority, blind)], one_worker());
    assert!(ask(&house).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_origin_is_asked_for_the_name_that_was_chosen_and_by_address_for_none() {
    let ca = Ca::new();
    let server = ca.serve("backend.example").await;
    let authority = server.address.to_string();
    let named = OriginTls {
        ca: Some(ca.file()),
        name: Some("backend.example".into()),
        ..OriginTls::default()
    };
    let house = House::open(vec![behind(&authority, named)], one_worker());
    let answer = ask(&house).await;
    assert!(answer.ends_with("backend.example"), "{answer}");
    let server = ca.serve("127.0.0.1").await;
    let own = OriginTls { ca: Some(ca.file()), ..OriginTls::default() };
    let house = House::open(vec![behind(&server.address.to_string(), own)], one_worker());
    let answer = ask(&house).await;
    assert!(answer.ends_with("nothing"), "{answer}");
}

/// What was believed before is not believed for longer than the file says, and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_of_cas_that_changes_is_read_again() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = ca.serve("localhost").await;
    let authority = format!("localhost:{}", server.address.port());
    let file = other.file();
    let tls = OriginTls { ca: Some(file.clone()), ..OriginTls::default() };
    let house = House::open(vec![behind(&authority, tls)], one_worker());
    assert!(ask(&house).await.starts_with("HTTP/1.1 502 "));
    let both =
        std::fs::read_to_string(ca.file()).unwrap() + &std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, both).unwrap();
    house.edge.refresh(&house.config);
    assert!(ask(&house).await.starts_with("HTTP/1.1 200 "));
    // A connection that is there is not used any more either.
    std::fs::write(&file, other.issuer.pem()).unwrap();
    house.edge.refresh(&house.config);
    assert!(ask(&house).await.starts_with("HTTP/1.1 502 "));
    std::fs::remove_file(&file).unwrap();
    house.edge.refresh(&house.config);
    assert!(ask(&house).await.starts_with("HTTP/1.1 502 "));
}
