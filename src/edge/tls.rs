//! The TLS configurations of the edge: one for each certificate, all from one mould.
//!
//! A configuration has exactly one certificate, chosen before the handshake by looking at the
//! ClientHello. Ticket keys are shared by all workers and all sites; each configuration binds its
//! tickets to its certificate, and rustls resumes a session only under the server name it was
//! made for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::server::ProducesTickets;
use rustls::server::ResolvesServerCert;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::time::Instant;

use super::compress;
use super::preset::Row;
use super::preset::TABLE;
use super::terms::Terms;
use super::tickets::BoundTickets;
use super::tickets::KeptSessions;
use super::tickets::Tickets;
use crate::base::Clock;
use crate::base::bounds::EARLY_DATA;
use crate::cert::spec::CertificateId;
use crate::config::Agreement;
use crate::os::ktls::Suites;

/// The protocol under which a CA looks for a challenge certificate (RFC 8737, section 6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// From this each site's configuration is made.
#[derive(Debug)]
pub(super) struct Mould {
    /// Every agreement there is, the default first; of that all certificates are cast.
    terms: Vec<Arc<Terms>>,
    tickets: Tickets,
    clock: Arc<dyn TimeProvider>,
    /// What the kernel takes over once it is bulk.
    pub(super) kernel: Suites,
}

impl Mould {
    /// Whether a client that brings `ticket` is likely to have been here before.
    pub(super) fn knows(&self, ticket: &[u8]) -> bool {
        self.tickets.know(ticket, Instant::now())
    }

    pub(super) fn new(
        clock: Arc<dyn Clock>,
        tickets: Tickets,
        kernel: Suites,
    ) -> Result<Self, rustls::Error> {
        let clock: Arc<dyn TimeProvider> = Arc::new(RustlsClock(clock));
        let terms = |row: &Row| Terms::new(*row, &clock, None, kernel.any()).map(Arc::new);
        let terms: Result<_, rustls::Error> = TABLE.iter().map(terms).collect();
        Ok(Self { terms: terms?, tickets, clock, kernel })
    }

    /// The terms of a site; those of the default for an agreement that there is none for.
    #[expect(clippy::indexing_slicing, reason = "there are as many as the table has rows")]
    pub(super) fn terms(&self, agreement: Agreement) -> &Arc<Terms> {
        let wanted = self.terms.iter().find(|terms| terms.row.is_for(agreement));
        debug_assert!(wanted.is_some(), "no row for {agreement:?}");
        wanted.unwrap_or(&self.terms[0])
    }

    /// The same for clients that `verifier` asks for certificates.
    pub(super) fn checked(
        &self,
        agreement: Agreement,
        verifier: &Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<Terms>, rustls::Error> {
        let row = self.terms(agreement).row;
        Terms::new(row, &self.clock, Some(verifier), self.kernel.any()).map(Arc::new)
    }

    /// Terms under which a service speaks `alpn` and no HTTP.
    pub(super) fn service(
        &self,
        agreement: Agreement,
        verifier: Option<&Arc<dyn ClientCertVerifier>>,
        alpn: &[String],
    ) -> Result<Arc<Terms>, rustls::Error> {
        let row = self.terms(agreement).row;
        let mut terms = Terms::new(row, &self.clock, verifier, self.kernel.any())?;
        terms.speak(alpn);
        Ok(Arc::new(terms))
    }

    /// What time it is.
    pub(super) fn now(&self) -> UnixTime {
        self.clock.current_time().unwrap_or_else(|| UnixTime::since_unix_epoch(Duration::ZERO))
    }

    /// The configuration that serves `key`, the one of certificate `id`, and nothing else.
    pub(super) fn cast(&self, id: CertificateId, key: Arc<CertifiedKey>) -> Arc<ServerConfig> {
        let mut config = self.terms(Agreement::default()).bare().clone();
        let tickets = BoundTickets::new(self.tickets.clone(), id);
        // Asked only where there are no tickets.
        config.session_storage = Arc::new(KeptSessions::beside(&tickets));
        config.ticketer = Arc::new(tickets);
        config.cert_resolver = Arc::new(Always(key));
        config.cert_compression_cache = Arc::new(compress::cache());
        Arc::new(config)
    }

    /// `cast`, which is one of this mould, under `terms` and as this client is to have it.
    pub(super) fn dress(
        &self,
        hello: &ClientHello<'_>,
        cast: Arc<ServerConfig>,
        terms: &Arc<Terms>,
    ) -> Arc<ServerConfig> {
        let native = self.terms.first().is_some_and(|default| Arc::ptr_eq(default, terms));
        terms.dress(hello, cast, native)
    }

    /// The same as `config`, which is one of this mould, for clients who may speak before the
    /// handshake is complete: rustls lets them only where sessions are kept, not given away as
    /// tickets.
    pub(super) fn early(config: &ServerConfig) -> Arc<ServerConfig> {
        let mut config = config.clone();
        config.ticketer = Arc::new(NoTickets);
        config.max_early_data_size = EARLY_DATA;
        // The answer goes out behind our Finished.
        config.send_half_rtt_data = true;
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

/// What rustls has by itself, and does not name.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
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
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::CertificateCompressionAlgorithm;
    use rustls::client::Resumption;
    use rustls::compress::{
        CertCompressor, CertDecompressor, CompressionFailed, CompressionLevel, DecompressionFailed,
    };
    use rustls::{ClientConfig, ClientConnection, ServerConnection};

    use super::*;

    /// The compressor of the house, counted.
    #[derive(Debug)]
    struct Counted(&'static dyn CertCompressor, AtomicUsize);

    impl CertCompressor for Counted {
        fn compress(
            &self,
            input: Vec<u8>,
            level: CompressionLevel,
        ) -> Result<Vec<u8>, CompressionFailed> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.compress(input, level)
        }

        fn algorithm(&self) -> CertificateCompressionAlgorithm {
            self.0.algorithm()
        }
    }

    #[derive(Debug)]
    struct Expand;

    impl CertDecompressor for Expand {
        fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
            let mut reader = brotli::Decompressor::new(input, 4096);
            reader.read_exact(output).map_err(|_| DecompressionFailed)
        }

        fn algorithm(&self) -> CertificateCompressionAlgorithm {
            CertificateCompressionAlgorithm::Brotli
        }
    }

    fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) {
        let name = "a.example".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    #[test]
    fn a_certificate_is_compressed_once_however_many_others_are_served() {
        let compressors: Vec<&'static Counted> = compress::compressors()
            .into_iter()
            .map(|one| &*Box::leak(Box::new(Counted(one, AtomicUsize::new(0)))))
            .collect();
        let mut mould =
            Mould::new(Arc::new(crate::base::SystemClock), Tickets::default(), Suites::default())
                .unwrap();
        let default = Arc::get_mut(&mut mould.terms[0]).unwrap();
        default.bare_mut().cert_compressors =
            compressors.iter().map(|one| *one as &'static dyn CertCompressor).collect();
        let mut roots = rustls::RootCertStore::empty();
        let casts: Vec<_> = (0..8)
            .map(|_| {
                let names =
                    (0..9).map(|i| format!("{}.example", ["a", "b"][i % 2])).collect::<Vec<_>>();
                let own = rcgen::generate_simple_self_signed(names).unwrap();
                roots.add(own.cert.der().clone()).unwrap();
                let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
                let key = mould.terms[0].provider().key_provider.load_private_key(key).unwrap();
                let key = CertifiedKey::new(vec![own.cert.der().clone()], key);
                mould.cast(CertificateId([0; 8]), Arc::new(key))
            })
            .collect();
        let mut client = ClientConfig::builder_with_provider(crate::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.cert_decompressors = vec![&Expand];
        client.resumption = Resumption::disabled();
        let client = Arc::new(client);
        for _round in 0..3 {
            casts.iter().for_each(|cast| shake(&client, cast));
        }
        let counts: Vec<_> = compressors.iter().map(|one| one.1.load(Ordering::SeqCst)).collect();
        assert_eq!(counts, [casts.len(), 0], "brotli, zlib");
    }
}
