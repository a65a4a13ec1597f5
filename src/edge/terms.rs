//! What a site agrees on with its clients, as TLS configurations without a certificate.

use std::sync::Arc;

use rustls::CipherSuite;
use rustls::NamedGroup;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::SupportedKxGroup;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use super::compress;
use super::groups;
use super::preset::Row;

/// What is agreed on, for any number of sites.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) row: Row,
    /// With every group.
    whole: ServerConfig,
    /// With one group each: rustls has no other way to be told which to take.
    narrow: Vec<(NamedGroup, ServerConfig)>,
    /// Whether clients are asked for certificates. Their sessions are not resumed: a certificate may be
    /// revoked meanwhile, and a session from before it was asked for proves nothing.
    checked: bool,
}

impl Terms {
    /// For clients that `verifier` asks for certificates, if there is one; `kernel` says whether
    /// the kernel may be given the keys of connections.
    pub(super) fn new(
        row: Row,
        clock: &Arc<dyn TimeProvider>,
        verifier: Option<&Arc<dyn ClientCertVerifier>>,
        kernel: bool,
    ) -> Result<Self, rustls::Error> {
        let provider = row.of(&crate::base::tls::provider());
        let pour = |provider| {
            let mut config = pour(row, Arc::new(provider), clock, verifier)?;
            config.enable_secret_extraction = kernel;
            Ok::<_, rustls::Error>(config)
        };
        let whole = pour(provider.clone())?;
        let alone = |group: &&'static dyn SupportedKxGroup| {
            let provider = CryptoProvider { kx_groups: vec![*group], ..provider.clone() };
            Ok((group.name(), pour(provider)?))
        };
        let narrow: Result<_, rustls::Error> = provider.kx_groups.iter().map(alone).collect();
        Ok(Self { row, whole, narrow: narrow?, checked: verifier.is_some() })
    }

    /// Clients are held to these protocols, instead of HTTP; to none if there are none.
    pub(super) fn speak(&mut self, alpn: &[String]) {
        let narrow = self.narrow.iter_mut().map(|(_, config)| config);
        for config in narrow.chain([&mut self.whole]) {
            config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
        }
    }

    /// The cryptography of these terms.
    pub(super) fn provider(&self) -> &CryptoProvider {
        self.whole.crypto_provider()
    }

    /// A configuration without a certificate.
    pub(super) const fn bare(&self) -> &ServerConfig {
        &self.whole
    }

    #[cfg(test)]
    pub(super) const fn bare_mut(&mut self) -> &mut ServerConfig {
        &mut self.whole
    }

    /// The configuration for this client under the certificate of `cast`: `cast` itself if it is
    /// made of these terms, as `native` says, and nothing has to be steered. That is, with the one
    /// group that this client is to use although it named another one first, and with its own
    /// order of suites if it is slow at AES.
    pub(super) fn dress(
        &self,
        hello: &ClientHello<'_>,
        cast: Arc<ServerConfig>,
        native: bool,
    ) -> Arc<ServerConfig> {
        let group = groups::steer(hello, self.provider(), self.row.steer);
        let narrow = self.narrow.iter().find(|(name, _)| Some(*name) == group);
        let slow = slow_at_aes(hello.cipher_suites(), self.provider());
        let mut config = match narrow {
            Some((_, narrow)) => narrow.clone(),
            None if native && !slow => return cast,
            None => self.whole.clone(),
        };
        config.ignore_client_order = !slow;
        config.cert_resolver = Arc::clone(&cast.cert_resolver);
        config.cert_compression_cache = Arc::clone(&cast.cert_compression_cache);
        if !self.checked {
            // Of the same certificate, whatever the terms and the group.
            config.ticketer = Arc::clone(&cast.ticketer);
            config.session_storage = Arc::clone(&cast.session_storage);
        }
        Arc::new(config)
    }
}

/// Whether a client that offers these puts ChaCha20 before everything else that is known here, as
/// those do that have no instructions for AES.
fn slow_at_aes(offered: &[CipherSuite], provider: &CryptoProvider) -> bool {
    let known = |suite: &&CipherSuite| provider.cipher_suites.iter().any(|s| s.suite() == **suite);
    matches!(
        offered.iter().find(known),
        Some(
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    )
}

fn pour(
    row: Row,
    provider: Arc<CryptoProvider>,
    clock: &Arc<dyn TimeProvider>,
    verifier: Option<&Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_details(provider, Arc::clone(clock))
        .with_protocol_versions(row.versions)?
        .with_client_cert_verifier(
            verifier.map_or_else(WebPkiClientVerifier::no_client_auth, Arc::clone),
        )
        .with_cert_resolver(Arc::new(Nothing));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // See the head of `preset` for the order, and `slow_at_aes` for who has another.
    config.ignore_client_order = true;
    config.cert_compressors = compress::compressors();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // One suffices: a client that used it up gets a new one with its next connection.
    config.send_tls13_tickets = usize::from(verifier.is_none());
    Ok(config)
}

#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
