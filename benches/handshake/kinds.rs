//! The kinds of handshakes, and a site and its clients for each.

use std::sync::Arc;
use std::sync::Mutex;

use keyward::base::tls::provider;
use keyward::cert::chain::Chain;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::cert::ports::TicketSeal;
use keyward::vault::Vault;
use keyward::vault::ticket::TicketKey;
use rustls::ClientConfig;
use rustls::NamedGroup;
use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::client::ClientSessionStore;
use rustls::client::Resumption;
use rustls::client::Tls12ClientSessionValue;
use rustls::client::Tls12Resumption;
use rustls::client::Tls13ClientSessionValue;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS12;
use rustls::version::TLS13;

/// What tickets are bound to.
const CONTEXT: [u8; 32] = [3; 32];

/// One kind of handshake.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    version: &'static SupportedProtocolVersion,
    key: KeyAlgorithm,
    /// What clients exchange keys with.
    group: NamedGroup,
    /// Whether all but the first handshake resume a session.
    pub(crate) resumed: bool,
}

const fn full(
    name: &'static str,
    version: &'static SupportedProtocolVersion,
    key: KeyAlgorithm,
    group: NamedGroup,
) -> Kind {
    Kind { name, version, key, group, resumed: false }
}

const fn resumed(name: &'static str, version: &'static SupportedProtocolVersion) -> Kind {
    Kind { name, version, key: KeyAlgorithm::P256, group: NamedGroup::X25519, resumed: true }
}

/// All of them.
pub(crate) const KINDS: [Kind; 9] = [
    full("TLS 1.3, P-256, X25519", &TLS13, KeyAlgorithm::P256, NamedGroup::X25519),
    full("TLS 1.3, P-256, X25519MLKEM768", &TLS13, KeyAlgorithm::P256, NamedGroup::X25519MLKEM768),
    full("TLS 1.3, P-384, X25519", &TLS13, KeyAlgorithm::P384, NamedGroup::X25519),
    full("TLS 1.3, RSA-2048, X25519", &TLS13, KeyAlgorithm::Rsa2048, NamedGroup::X25519),
    full(
        "TLS 1.3, RSA-2048, X25519MLKEM768",
        &TLS13,
        KeyAlgorithm::Rsa2048,
        NamedGroup::X25519MLKEM768,
    ),
    full("TLS 1.2, P-256, X25519", &TLS12, KeyAlgorithm::P256, NamedGroup::X25519),
    full("TLS 1.2, RSA-2048, X25519", &TLS12, KeyAlgorithm::Rsa2048, NamedGroup::X25519),
    resumed("TLS 1.3, resumed, X25519", &TLS13),
    resumed("TLS 1.2, resumed", &TLS12),
];

/// Where the secret is that a handshake needs: the private key, or the key of the tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Process,
    Vault,
}

/// A site that shakes hands in one way, and its clients.
pub(crate) struct Site {
    pub(crate) place: Place,
    pub(crate) resumed: bool,
    /// The version has something to send after the handshake.
    pub(crate) server: Arc<ServerConfig>,
    client: ClientConfig,
}

impl Site {
    /// One whose certificate is of a CA of its own.
    pub(crate) fn new(kind: &Kind, place: Place, vault: &Vault) -> Self {
        let ca = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signer = vault.csr_signer(&ca).unwrap();
        let issuer = rcgen::CertifiedIssuer::self_signed(params, signer).unwrap();
        let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
        // Which key signs makes no difference to a session that is resumed.
        let certified = if place == Place::Vault && !kind.resumed {
            let key = vault.generate_blocking(kind.key, KeyUsage::Tls).unwrap();
            let leaf = params.signed_by(&vault.csr_signer(&key).unwrap(), &issuer).unwrap();
            let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();
            vault.certified_key(&chain, &key).unwrap()
        } else {
            let pkcs8 = keyward::vault::keys::generate(kind.key).unwrap();
            let key = rcgen::KeyPair::try_from(pkcs8.as_slice()).unwrap();
            let leaf = params.signed_by(&key, &issuer).unwrap();
            let der = PrivateKeyDer::try_from(pkcs8.to_vec()).unwrap();
            let key = fastest(kind.key).key_provider.load_private_key(der).unwrap();
            Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key))
        };
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[kind.version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        server.send_tls13_tickets = 1;
        // In TLS 1.2 the edge gives tickets only where the vault seals them.
        if kind.resumed || kind.version == &TLS13 {
            server.ticketer = if kind.resumed && place == Place::Vault {
                Arc::new(Strict(vault.clone()))
            } else {
                let key = TicketKey::new([1; 16], &[2; 32]);
                Arc::new(Fast { key })
            };
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let mut wanted = (*provider()).clone();
        wanted.kx_groups.retain(|group| group.name() == kind.group);
        let mut client = ClientConfig::builder_with_provider(Arc::new(wanted))
            .with_protocol_versions(&[kind.version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Self { place, resumed: kind.resumed, server: Arc::new(server), client }
    }

    /// The clients of one worker: they have sessions of their own if they resume any.
    pub(crate) fn clients(&self) -> Arc<ClientConfig> {
        let mut client = self.client.clone();
        if self.resumed {
            client.resumption = Resumption::store(Arc::new(Sessions::default()))
                .tls12_resumption(Tls12Resumption::SessionIdOrTickets);
        }
        Arc::new(client)
    }
}

/// The faster library for each kind of key, as in the vault.
fn fastest(algorithm: KeyAlgorithm) -> CryptoProvider {
    match algorithm {
        KeyAlgorithm::P384 => rustls::crypto::aws_lc_rs::default_provider(),
        KeyAlgorithm::P256 | KeyAlgorithm::Rsa2048 => rustls::crypto::ring::default_provider(),
    }
}

/// Tickets as in the mode `fast`.
struct Fast {
    key: TicketKey,
}

/// Tickets as in the mode `strict`.
struct Strict(Vault);

impl std::fmt::Debug for Fast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fast")
    }
}

impl std::fmt::Debug for Strict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Strict")
    }
}

impl ProducesTickets for Fast {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.key.seal(&CONTEXT, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.key.open(&CONTEXT, cipher)
    }
}

impl ProducesTickets for Strict {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.seal(&CONTEXT, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.open(&CONTEXT, cipher)
    }
}

/// The sessions of one worker's clients: each ticket of TLS 1.3 is used once, the session of TLS
/// 1.2 by all.
#[derive(Debug, Default)]
struct Sessions {
    tickets: Mutex<Vec<Tls13ClientSessionValue>>,
    session: Mutex<Option<Tls12ClientSessionValue>>,
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.session.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.session.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.session.lock().unwrap() = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tickets.lock().unwrap().push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets.lock().unwrap().pop()
    }
}
