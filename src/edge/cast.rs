//! One certificate made ready for handshakes, and how it is told from others.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use rustls::ServerConfig;
use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use super::groups::speaks_tls13;
use super::tls::Mould;
use crate::cert::served::Served;

/// What a certificate made ready takes beside its chain and its key.
const CAST_FIXED: usize = 1536;

/// How often the chain is there once a client took it compressed: as it is, as the key of the
/// compressed form, and that form; and the latter two again for a second algorithm.
const CHAIN_COPIES: usize = 4;

/// The first octets of a digest of id, chain and sealed key: what is the same is made once, and what
/// was renewed or sealed anew is another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(super) struct Fingerprint([u8; 16]);

/// A certificate with a TLS configuration of its own.
pub(super) struct Cast {
    config: Arc<ServerConfig>,
    key: Arc<CertifiedKey>,
    weight: u64,
}

impl fmt::Debug for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cast(..)")
    }
}

impl Fingerprint {
    pub(super) fn of(served: &Served) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&served.id.0);
        for der in served.installed.chain.certificates() {
            // DER says how long it is.
            context.update(der);
        }
        context.update(&served.key.sealed.0);
        let mut print = [0; 16];
        for (to, from) in print.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(print)
    }
}

impl Cast {
    pub(super) fn new(mould: &Mould, served: &Served, key: Arc<CertifiedKey>) -> Self {
        let chain: usize = served.installed.chain.certificates().iter().map(Vec::len).sum();
        let handle = served.key.sealed.0.len() + served.key.spki.len();
        let weight = CHAIN_COPIES * chain + handle + CAST_FIXED;
        let config = mould.cast(served.id, Arc::clone(&key));
        Self { config, key, weight: weight as u64 }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Bytes of memory, at most.
    pub(super) const fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether the client can check signatures of this key, in a suite that it offers.
    pub(super) fn suits(&self, hello: &ClientHello<'_>, provider: &CryptoProvider) -> bool {
        let Some(signer) = self.key.key.choose_scheme(hello.signature_schemes()) else {
            return false;
        };
        speaks_tls13(hello, provider)
            || provider.cipher_suites.iter().any(|suite| match suite {
                // In TLS 1.2 the suite says what signs.
                SupportedCipherSuite::Tls12(suite) => {
                    suite.sign.contains(&signer.scheme())
                        && hello.cipher_suites().contains(&suite.common.suite)
                }
                SupportedCipherSuite::Tls13(_) => false,
            })
    }
}
