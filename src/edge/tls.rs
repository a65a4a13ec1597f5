//! The TLS configurations of the edge: one for each certificate, all from one mould.
//!
//! A configuration has exactly one certificate, chosen before the handshake by looking at the
//! ClientHello. Tickets are shared by all workers and all sites: rustls resumes a session only
//! under the server name it was made for.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::base::Clock;

/// The protocol under which a CA looks for a challenge certificate (RFC 8737, section 6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// From this each site's configuration is made.
#[derive(Clone, Debug)]
pub(super) struct Mould(ServerConfig);

impl Mould {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Result<Self, rustls::Error> {
        let provider = crate::base::tls::provider();
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(RustlsClock(clock)))
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nothing));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // One suffices: a client that used it up gets a new one with its next connection.
        config.send_tls13_tickets = 1;
        Ok(Self(config))
    }

    /// The configuration that serves `key` and nothing else.
    pub(super) fn cast(&self, key: Arc<CertifiedKey>) -> Arc<ServerConfig> {
        let mut config = self.0.clone();
        config.cert_resolver = Arc::new(Always(key));
        Arc::new(config)
    }
}

/// A configuration that answers one challenge under [`ACME_TLS`].
pub(super) fn challenge_config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = crate::base::tls::provider();
    let key = provider.key_provider.load_private_key(key)?;
    // Not `with_single_cert`: it refuses a certificate with a critical extension unknown to it.
    let always = Always(Arc::new(CertifiedKey::new(vec![certificate], key)));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(always));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

struct Always(Arc<CertifiedKey>);

impl fmt::Debug for Always {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Always(..)")
    }
}

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// rustls asks the house's clock, for the age of tickets.
#[derive(Debug)]
struct RustlsClock(Arc<dyn Clock>);

impl TimeProvider for RustlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.now().as_unix();
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}
