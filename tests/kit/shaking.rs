//! Handshakes without sockets and without a runtime: the server's side is polled by hand, so that a
//! test decides what is ready at the same time, and a benchmark measures nothing else.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use keyward::cert::chain::Chain;
use keyward::cert::key::{KeyAlgorithm, KeyUsage};
use keyward::cert::ports::Signers;
use keyward::vault::Vault;
use keyward::vault::together::together;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// One end of a connection in memory: nobody is woken, everybody is polled.
#[derive(Clone, Default)]
pub struct Wire(Rc<RefCell<(VecDeque<u8>, Vec<u8>)>>);

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (arrived, _) = &mut *self.0.borrow_mut();
        if arrived.is_empty() {
            return Poll::Pending;
        }
        let len = arrived.len().min(buffer.remaining());
        buffer.put_slice(&arrived.drain(..len).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().1.extend_from_slice(b);
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The two sides of a name with a certificate.
pub struct Site {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
}

impl Site {
    /// Its key in `vault`.
    pub fn new(vault: &Vault, algorithm: KeyAlgorithm) -> Self {
        let key = vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap();
        Self::with(vault, &vault.csr_signer(&key).unwrap(), |chain| {
            let chain = Chain::from_der(chain).unwrap();
            vault.certified_key(&chain, &key).unwrap()
        })
    }

    /// Its P-256 key in this process.
    pub fn in_process(vault: &Vault) -> Self {
        let pkcs8 = keyward::vault::keys::generate(KeyAlgorithm::P256).unwrap();
        let pair = rcgen::KeyPair::try_from(pkcs8.as_slice()).unwrap();
        Self::with(vault, &pair, |chain| {
            let der = PrivateKeyDer::try_from(pkcs8.to_vec()).unwrap();
            let provider = rustls::crypto::ring::default_provider();
            let key = provider.key_provider.load_private_key(der).unwrap();
            let chain = chain.into_iter().map(CertificateDer::from).collect();
            Arc::new(CertifiedKey::new(chain, key))
        })
    }

    fn with(
        vault: &Vault,
        key: &impl rcgen::SigningKey,
        certified: impl FnOnce(Vec<Vec<u8>>) -> Arc<CertifiedKey>,
    ) -> Self {
        let ca = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signer = vault.csr_signer(&ca).unwrap();
        let issuer = rcgen::CertifiedIssuer::self_signed(params, signer).unwrap();
        let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
        let leaf = params.signed_by(key, &issuer).unwrap();
        let certified = certified(vec![leaf.der().to_vec()]);
        let mut server = ServerConfig::builder_with_provider(keyward::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        server.send_tls13_tickets = 0;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(keyward::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        Self { server: Arc::new(server), client: Arc::new(client) }
    }
}

/// A handshake: the client's side, and the server's as a worker has it.
pub struct Handshake {
    pub client: ClientConnection,
    wire: Wire,
    server: Pin<Box<dyn Future<Output = io::Result<TlsStream<Wire>>>>>,
    pub done: Option<io::Result<()>>,
}

impl Handshake {
    /// Up to the client's first words; the server may stop for others to ask with it, or not.
    pub fn begin(site: &Site, may_stop: bool) -> Self {
        let name = "site.example".try_into().unwrap();
        let client = ClientConnection::new(Arc::clone(&site.client), name).unwrap();
        let wire = Wire::default();
        let server = TlsAcceptor::from(Arc::clone(&site.server)).accept(wire.clone());
        let server: Pin<Box<dyn Future<Output = _>>> =
            if may_stop { Box::pin(together(server)) } else { Box::pin(server) };
        let mut handshake = Self { client, wire, server, done: None };
        handshake.talk();
        handshake
    }

    /// Lets the client hear what there is, and answer.
    pub fn talk(&mut self) {
        let (arrived, sent) = &mut *self.wire.0.borrow_mut();
        let mut words = &sent[..];
        while !words.is_empty() {
            self.client.read_tls(&mut words).unwrap();
            self.client.process_new_packets().unwrap();
        }
        sent.clear();
        while self.client.wants_write() {
            self.client.write_tls(arrived).unwrap();
        }
    }

    /// Goes on with the server's side.
    pub fn poll(&mut self) {
        if self.done.is_none()
            && let Poll::Ready(done) =
                self.server.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.done = Some(done.map(drop));
        }
    }
}
