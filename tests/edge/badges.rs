//! Origins that ask who keyward is, and the certificate that they are shown.

use std::net::SocketAddr;
use std::sync::Arc;

use keyward::cert::identifier::Identifier;
use keyward::config;
use keyward::config::{Address, Origin as Behind, OriginTls};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::house::{House, limits, site};
use crate::memory::MemoryCa;
use crate::secure::Ca;

/// A server that lets in whom `clients` has signed for, and answers with the serial number.
async fn guarded(
    ca: &Ca,
    clients: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(clients.clone()).unwrap();
    let provider = keyward::base::tls::provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (chain, key) = ca.pem("127.0.0.1");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
                let chain = keyward::cert::chain::Chain::from_der(vec![leaf]).unwrap();
                let serial = chain.leaf().unwrap().serial;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(octet) = stream.read_u8().await else { return };
                    head.push(octet);
                }
                let length = serial.len();
                // The next request comes on another connection.
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{serial}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn behind(ca: &Ca, address: SocketAddr, certificate: Option<&str>) -> config::Site {
    let mut site = site(&["a.example"], address);
    let https = Address::Https(address.to_string().parse().unwrap());
    let Behind::Servers(mut servers) = Behind::several([https]) else { panic!("no server") };
    let certificate = certificate.map(|name| Box::new(Identifier::parse(name).unwrap()));
    servers.tls = OriginTls { ca: Some(ca.file()), certificate, ..OriginTls::default() };
    site.origin = Behind::Servers(servers);
    site
}

async fn ask(house: &House) -> String {
    let get = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answer = house.raw("a.example", get).await;
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned();
    if status == "200" { body } else { status }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_with_the_name_is_shown_and_a_renewed_one_by_the_next_connection() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (ca, clients) = (Ca::new(), MemoryCa::new());
        let address = guarded(&ca, &clients.root(), version).await;
        let (own, first, second) = (
            clients.issue(&["a.example"]),
            clients.issue(&["proxy.example"]),
            clients.issue(&["proxy.example"]),
        );
        let sites = vec![behind(&ca, address, Some("proxy.example"))];
        let certificates = vec![Arc::clone(&own), Arc::clone(&first)];
        let house = House::with(clients, sites, limits(), certificates);
        for _ in 0..2 {
            assert_eq!(ask(&house).await, first.installed.serial, "{version:?}");
        }
        house.show(vec![Arc::clone(&own), Arc::clone(&second)]);
        assert_eq!(ask(&house).await, second.installed.serial, "{version:?}");
        // Gone, it is shown no more, not even by a session that remembers it.
        house.show(vec![Arc::clone(&own)]);
        assert_eq!(ask(&house).await, "502", "{version:?}");
        house.show(vec![own, first.clone()]);
        assert_eq!(ask(&house).await, first.installed.serial, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_asks_refuses_whoever_shows_nothing() {
    let (ca, clients) = (Ca::new(), MemoryCa::new());
    let address = guarded(&ca, &clients.root(), &rustls::version::TLS13).await;
    let own = clients.issue(&["a.example"]);
    let house = House::with(clients, vec![behind(&ca, address, None)], limits(), vec![own]);
    assert_eq!(ask(&house).await, "502");
    assert_eq!(ask(&house).await, "502", "the certificate of the site is not shown unasked");
}
