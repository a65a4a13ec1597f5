//! What is seen of servers that behave, in each version of TLS, and at several addresses.
#![expect(clippy::disallowed_methods, reason = "a test has no set of tasks")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::ServerName;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::base::tls::provider;
use crate::config::ProbeProtocol;

const AMPLE: Duration = Duration::from_secs(60);

/// A certificate and its key.
struct Pair {
    der: rustls_pki_types::CertificateDer<'static>,
    key: rcgen::KeyPair,
}

fn pair() -> Pair {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["a.example".to_owned(), "127.0.0.1".to_owned()];
    let der =
        rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone();
    Pair { der, key }
}

/// Shows a certificate whether the key is its or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for Shows {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        (hello.server_name() == Some("a.example")).then(|| Arc::clone(&self.0))
    }
}

struct Server {
    version: &'static SupportedProtocolVersion,
    /// Whether clients have to show a certificate.
    asks: bool,
}

impl Server {
    async fn on(self, at: SocketAddr, shown: &Pair, key: &Pair) -> SocketAddr {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .unwrap();
        let builder = if self.asks {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(shown.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let private = PrivateKeyDer::try_from(key.key.serialize_der()).unwrap();
        let signer = provider().key_provider.load_private_key(private).unwrap();
        let certified = CertifiedKey::new(vec![shown.der.clone()], signer);
        let config = builder.with_cert_resolver(Arc::new(Shows(Arc::new(certified))));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(stream).await.map(|_| ()) });
            }
        });
        at
    }
}

const THIRTEEN: &SupportedProtocolVersion = &rustls::version::TLS13;
const TWELVE: &SupportedProtocolVersion = &rustls::version::TLS12;

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn look(at: SocketAddr, name: &str) -> Result<Seen, ProbeError> {
    let place = Probe { protocol: ProbeProtocol::Tls, host: at.ip().to_string(), port: at.port() };
    probe(&place, &ServerName::try_from(name).unwrap().to_owned(), AMPLE).await
}

/// A server that wants a certificate of the client has shown its own by then.
#[tokio::test]
async fn the_leaf_is_seen_in_each_version_whatever_is_asked_of_the_client() {
    let shown = pair();
    for (version, word) in [(THIRTEEN, "TLS 1.3"), (TWELVE, "TLS 1.2")] {
        for asks in [false, true] {
            let at = Server { version, asks }.on(any(), &shown, &shown).await;
            let seen = look(at, "a.example").await.unwrap();
            assert_eq!(seen.leaf, fingerprint(&shown.der), "{word} {asks}");
            assert_eq!(seen.names, ["a.example", "127.0.0.1"]);
            assert_eq!((seen.chain_len, seen.proven), (1, true), "{word} {asks}");
            assert_eq!((seen.at, seen.key.as_str()), (vec![at], "ECDSA P-256"));
            // One that breaks off at once leaves the version unsaid.
            assert!(seen.protocol == word || asks, "{word}: {}", seen.protocol);
        }
    }
}

#[tokio::test]
async fn the_name_is_asked_for() {
    let shown = pair();
    let at = Server { version: THIRTEEN, asks: false }.on(any(), &shown, &shown).await;
    let error = look(at, "b.example").await.unwrap_err();
    assert!(matches!(error, ProbeError::Handshake { .. }), "{error:?}");
}

/// Anybody can show the certificate that is looked for: it is public.
#[tokio::test]
async fn a_certificate_without_its_key_is_not_seen() {
    let (shown, other) = (pair(), pair());
    for version in [THIRTEEN, TWELVE] {
        let at = Server { version, asks: false }.on(any(), &shown, &other).await;
        let error = look(at, "a.example").await.unwrap_err();
        assert!(matches!(error, ProbeError::Unproven { .. }), "{error:?}");
    }
}

/// Of a name with several addresses.
fn seen(at: u8, leaf: u8) -> (SocketAddr, Result<Seen, ProbeError>) {
    let at = SocketAddr::from(([127, 0, 0, at], 1));
    let seen = Seen {
        leaf: [leaf; 32],
        serial: format!("{leaf:02x}"),
        not_before: crate::base::Timestamp::from_unix(0),
        not_after: crate::base::Timestamp::from_unix(1),
        names: Vec::new(),
        issuer: String::new(),
        key: String::new(),
        protocol: "TLS 1.3",
        chain_len: 1,
        proven: true,
        at: vec![at],
        silent: Vec::new(),
        passed_over: 0,
    };
    (at, Ok(seen))
}

fn failed(at: u8, silent: bool) -> (SocketAddr, Result<Seen, ProbeError>) {
    let at = SocketAddr::from(([127, 0, 0, at], 1));
    let error = if silent {
        ProbeError::Unreachable { at, reason: "refused".to_owned() }
    } else {
        ProbeError::Closed { at, missing: "the greeting" }
    };
    (at, Err(error))
}

#[test]
fn all_addresses_that_answer_must_show_the_same() {
    let all = together([seen(1, 7), failed(2, true), seen(3, 7)].into_iter()).unwrap();
    let at = |n| SocketAddr::from(([127, 0, 0, n], 1));
    assert_eq!((all.at, all.silent.len()), (vec![at(1), at(3)], 1));
    let error = together([seen(1, 7), seen(2, 8), seen(3, 7), seen(4, 8)].into_iter()).unwrap_err();
    // Whichever of them is looked for, it is the other one that is told of.
    for (wanted, beside) in [(7, 8), (8, 7), (9, 7)] {
        assert_eq!(error.shown_beside(&[wanted; 32]), Some([beside; 32]));
    }
    assert_eq!(
        error.to_string(),
        "127.0.0.1:1, 127.0.0.3:1 shows the certificate with serial 07, 127.0.0.2:1, 127.0.0.4:1 \
         the one with serial 08"
    );
    for looks in [vec![seen(1, 7), failed(2, false)], vec![failed(2, false), seen(1, 7)]] {
        let error = together(looks.into_iter()).unwrap_err();
        assert_eq!(error.shown_beside(&[7; 32]), None);
        assert!(error.to_string().contains("but 127.0.0.2:1 closed"), "{error}");
    }
    let error = together([failed(1, true), failed(2, false)].into_iter()).unwrap_err();
    assert!(matches!(error, ProbeError::Closed { .. }), "{error}");
    let error = together([failed(1, true), failed(2, true)].into_iter()).unwrap_err();
    assert!(matches!(error, ProbeError::Unreachable { .. }), "{error}");
}

/// A name with two addresses, each with a server of its own.
#[tokio::test]
async fn each_address_of_a_name_is_looked_at() {
    let (one, two) = (pair(), pair());
    let at = Server { version: THIRTEEN, asks: false }.on(any(), &one, &one).await;
    let second = SocketAddr::from(([127, 0, 0, 2], at.port()));
    let name = ServerName::try_from("a.example").unwrap();
    let look = Look {
        protocol: ProbeProtocol::Tls,
        name,
        kind: None,
        within: AMPLE,
        until: Instant::now() + AMPLE,
    };
    let alone = all_at(vec![second, at], look.clone()).await.unwrap();
    assert_eq!(alone.at, [at]);
    assert_eq!(alone.silent.len(), 1, "{alone:?}");
    Server { version: THIRTEEN, asks: false }.on(second, &two, &two).await;
    let error = all_at(vec![second, at], look.clone()).await.unwrap_err();
    assert!(matches!(error, ProbeError::Differs { .. }), "{error:?}");
    let many = (0..ADDRESSES + 3).map(|_| at).collect();
    let seen = all_at(many, look).await.unwrap();
    assert_eq!((seen.at.len(), seen.passed_over), (ADDRESSES, 3));
}
