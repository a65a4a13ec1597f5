//! The stream against a client of rustls, on whatever kernel this runs: bytes are the same, and a
//! kernel that refuses costs nothing.

use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::edge::meter::Meter;

/// Sends `len` octets to a client and gets them back, and says what became of the connection.
async fn echo(len: usize, offered: Suites) -> Arc<Counters> {
    let provider = crate::base::tls::provider();
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let there = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = "a.example".try_into().unwrap();
        let mut tls = TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap();
        let mut body = vec![0; len];
        tls.read_exact(&mut body).await.unwrap();
        tls.write_all(&body).await.unwrap();
        tls.shutdown().await.unwrap();
        // Not without a farewell.
        assert_eq!(tls.read(&mut [0]).await.unwrap(), 0);
    };
    let counters = Arc::<Counters>::default();
    let here = async {
        let (socket, _) = listener.accept().await.unwrap();
        let measured = Measured::new(socket, Meter::default());
        let mut tls = TlsAcceptor::from(Arc::new(server)).accept(measured).await.unwrap();
        tls.get_mut().0.held.shaken();
        let mut stream = BulkStream::new(Box::new(tls), offered, Arc::clone(&counters));
        let body: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        stream.write_all(&body).await.unwrap();
        stream.flush().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert!(back == body, "another body");
        stream.shutdown().await.unwrap();
    };
    tokio::join!(there, here);
    counters
}

#[tokio::test]
async fn a_connection_goes_over_once_it_is_bulk_or_stays_where_the_kernel_refuses() {
    let known = ktls::probe();
    let counters = echo(3 << 20, Suites::everything()).await;
    let went = (counters.kernel_tls.get(), counters.kernel_tls_refused.get());
    assert_eq!(went, if known.is_ok_and(Suites::all) { (1, 0) } else { (0, 1) });
}

#[tokio::test]
async fn what_is_small_or_not_offered_is_never_tried() {
    for (len, offered) in [(1000, Suites::everything()), (1 << 20, Suites::default())] {
        let counters = echo(len, offered).await;
        assert_eq!((counters.kernel_tls.get(), counters.kernel_tls_refused.get()), (0, 0));
    }
}
