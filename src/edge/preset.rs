//! The presets of `[tls]`, suite by suite: one table, and what is made of it.
//!
//! Sources: Mozilla's server-side TLS guidelines 6.0 of 2026-04-06 (intermediate for the default,
//! modern for "modern"); SSL Labs' rating guide 2009r, which caps at B without forward secrecy or
//! AEAD, and below A+ with TLS 1.1 or without TLS 1.3; RFC 9325, section 4.2; Apple's App Transport
//! Security, whose list holds all of these. rustls has nothing weaker: no CBC, no static RSA, no
//! finite-field groups, no TLS 1.1, no renegotiation. So "compatible" cannot reach further back
//! than the default; it only leaves out the one thing here that some devices on the way drop.
//!
//! The order is that of the house, unless a client puts ChaCha20 first. AES-128 comes before AES-256,
//! as the guidelines and browsers have it, while openssl and rustls offer it second: what hangs on
//! the suite is above all the hash, SHA-256 or SHA-384, in which a handshake derives and proves
//! everything. Processors that have instructions for the first have none for the second, and SHA-384
//! took a ninth of the time of a whole handshake of such a client.

use rustls::CipherSuite;
use rustls::NamedGroup;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

use crate::config::Agreement;
use crate::config::Preset;
use crate::config::TlsVersion;

/// TLS 1.3 (RFC 8446, section B.4), in the order of the guidelines.
const TLS13: &[CipherSuite] = &[
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// TLS 1.2 with ECDHE and AEAD, for ECDSA and for RSA certificates.
const TLS12: &[CipherSuite] = &[
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The groups of all presets, the best first.
const GROUPS: &[NamedGroup] =
    &[NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What one agreement comes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) preset: Preset,
    pub(super) min_version: TlsVersion,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
    suites: &'static [&'static [CipherSuite]],
    groups: &'static [NamedGroup],
    /// Whether a client that has the hybrid group and sent no share for it is asked for one, which
    /// takes a second hello of more than a kilobyte.
    pub(super) steer: bool,
}

/// Every agreement there is, the default first.
pub(super) const TABLE: [Row; 5] = [
    row(Preset::Default, TlsVersion::Tls12, true),
    row(Preset::Default, TlsVersion::Tls13, true),
    row(Preset::Modern, TlsVersion::Tls13, true),
    row(Preset::Compatible, TlsVersion::Tls12, false),
    row(Preset::Compatible, TlsVersion::Tls13, false),
];

const fn row(preset: Preset, min_version: TlsVersion, steer: bool) -> Row {
    let (versions, suites): (_, &[&[CipherSuite]]) = match min_version {
        TlsVersion::Tls12 => (BOTH, &[TLS13, TLS12]),
        TlsVersion::Tls13 => (NEWEST, &[TLS13]),
    };
    Row { preset, min_version, versions, suites, groups: GROUPS, steer }
}

impl Row {
    pub(super) fn is_for(&self, agreement: Agreement) -> bool {
        let Agreement { preset, min_version } = agreement;
        self.preset == preset && self.min_version == min_version
    }

    /// `house` with the suites and groups of this row alone, in its order.
    pub(super) fn of(&self, house: &CryptoProvider) -> CryptoProvider {
        let suites = self.suites.iter().copied().flatten();
        let suites = suites.filter_map(|wanted| {
            house.cipher_suites.iter().find(|suite| suite.suite() == *wanted).copied()
        });
        let groups = self.groups.iter().filter_map(|wanted| {
            house.kx_groups.iter().find(|group| group.name() == *wanted).copied()
        });
        CryptoProvider {
            cipher_suites: suites.collect(),
            kx_groups: groups.collect(),
            ..house.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing of the table is missing from the library, and nothing stands beside it.
    #[test]
    fn each_row_is_what_it_says_and_all_of_it_is_there() {
        let house = crate::base::tls::provider();
        for row in TABLE {
            let made = row.of(&house);
            let suites: Vec<_> = made.cipher_suites.iter().map(|suite| suite.suite()).collect();
            let groups: Vec<_> = made.kx_groups.iter().map(|group| group.name()).collect();
            assert_eq!(suites, row.suites.concat(), "{row:?}");
            assert_eq!(groups, row.groups, "{row:?}");
            let old = made.cipher_suites.iter().any(|suite| suite.tls13().is_none());
            assert_eq!(old, row.min_version == TlsVersion::Tls12, "{row:?}");
        }
        let default = TABLE[0];
        assert!(default.is_for(Agreement::default()));
        let all = default.of(&house);
        assert_eq!(all.cipher_suites.len(), house.cipher_suites.len());
        assert_eq!(all.kx_groups.len(), house.kx_groups.len());
    }
}
