//! Handshakes through everything there is: clients at sockets, the edge, and a vault that signs. They
//! ask it together when they come together, and find the stack that they need.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::print_stdout,
    reason = "a test ends at its first surprise, and prints its figure"
)]
#![allow(dead_code, reason = "a test uses a part of the kit")]

#[path = "kit/house.rs"]
mod house;
#[path = "kit/load.rs"]
mod load;
#[path = "kit/memory.rs"]
mod memory;
mod vault_common;

use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::bounds::gate::FIBRE_STACK;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::config;
use keyward::vault::Vault;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::NamedGroup;
use rustls::SupportedProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::TLS12;
use rustls::version::TLS13;
use vault_common::House as VaultHouse;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An edge of one worker whose sites have their keys in a vault.
struct Served {
    edge: house::House,
    vault: Vault,
    _vault: VaultHouse,
}

impl Served {
    fn open(sites: Vec<config::Site>) -> Self {
        Self::sharing(sites, 100)
    }

    /// Handshakes may take so much of the worker's time.
    fn sharing(sites: Vec<config::Site>, share: u8) -> Self {
        let home = VaultHouse::new();
        let vault = home.vault(1);
        let ca = memory::MemoryCa::new();
        let certificates = sites
            .iter()
            .map(|site| {
                let names: Vec<_> = site.names.iter().map(ToString::to_string).collect();
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                let key = vault.generate_blocking(site.key, KeyUsage::Tls).unwrap();
                ca.issue_to(&names, &vault.csr_signer(&key).unwrap(), key, DAY)
            })
            .collect();
        let mut limits = house::limits();
        (limits.workers, limits.network_share, limits.handshake_share) = (1, 100, share);
        let signers = Arc::new(vault.clone());
        let edge = house::House::signed_by(signers, ca, sites, limits, certificates);
        Self { edge, vault, _vault: home }
    }

    fn client(&self, config: &Arc<ClientConfig>, name: &'static str) -> Client {
        Client::new(config, self.edge.https, name)
    }
}

/// A client that does one thing at a time.
struct Client {
    session: ClientConnection,
    socket: TcpStream,
}

impl Client {
    fn new(config: &Arc<ClientConfig>, to: SocketAddr, name: &'static str) -> Self {
        let session = ClientConnection::new(Arc::clone(config), name.try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(to).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { session, socket }
    }

    fn says_hello(&mut self) {
        self.session.write_tls(&mut self.socket).unwrap();
        self.socket.flush().unwrap();
    }

    /// The rest of the handshake, and an octet of the answer to a request, so that the server is
    /// seen to be content.
    fn finish(self) {
        self.try_finish().unwrap();
    }

    fn try_finish(mut self) -> std::io::Result<()> {
        while self.session.is_handshaking() {
            self.session.complete_io(&mut self.socket)?;
        }
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.socket);
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
        std::io::Read::read_exact(&mut stream, &mut [0; 1])
    }
}

#[test]
fn clients_that_come_at_once_are_signed_for_together() {
    const CLIENTS: usize = 33;
    let served = Served::open(vec![house::site(&["a.example"], nowhere())]);
    // Each comes for the first time.
    let mut config = (*load::client_config(&served.edge.ca.root(), &[b"http/1.1"])).clone();
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let figures = || served.vault.ping().unwrap();
    // One after the other, none has anybody to ask with.
    for _ in 0..3 {
        let mut client = served.client(&config, "a.example");
        client.says_hello();
        client.finish();
    }
    let alone = figures();
    assert_eq!((alone.signatures, alone.together), (3, 0));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| served.client(&config, "a.example")).collect();
    // While the vault stands still, so does the worker that has asked it first; so the others are
    // all there when it goes on.
    let stopped = vault_common::Stopped::new(served.vault.status().pid);
    clients.iter_mut().for_each(Client::says_hello);
    vault_common::pause(Duration::from_millis(200));
    drop(stopped);
    clients.into_iter().for_each(Client::finish);
    let figures = figures();
    assert_eq!(figures.signatures, alone.signatures + u64::try_from(CLIENTS).unwrap());
    // The first ask, one or a few, before the rest has come.
    assert!(figures.together >= 24, "{figures:?}");
}

#[test]
fn the_time_that_a_signature_takes_counts_against_a_flood() {
    // A twentieth of a second is used up by six steps that took ten milliseconds, or longer.
    let served = Served::sharing(vec![house::site(&["a.example"], nowhere())], 5);
    let mut config = (*load::client_config(&served.edge.ca.root(), &[b"http/1.1"])).clone();
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let away = || served.edge.edge.stats().turned_away;
    for _ in 0..20 {
        let mut client = served.client(&config, "a.example");
        let stopped = vault_common::Stopped::new(served.vault.status().pid);
        client.says_hello();
        vault_common::pause(Duration::from_millis(15));
        drop(stopped);
        if client.try_finish().is_err() {
            break;
        }
    }
    let away = away();
    assert_eq!(away.busy + away.handshakes, 1, "{away:?}");
}

/// An origin that nobody answers for: the edge says so, which is an answer.
fn nowhere() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

/// A CA for clients three steps deep, its root in a file, and a client's certificate with all of them.
fn badge(dir: &Path) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
    std::fs::write(dir.join("ca.pem"), root.pem()).unwrap();
    let mut chain = Vec::new();
    let mut above = root;
    for name in ["first", "second", "third"] {
        let next = CertifiedIssuer::signed_by(authority(name), key(), &above).unwrap();
        chain.insert(0, next.der().clone());
        above = next;
    }
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    chain.insert(0, params.signed_by(&own, &above).unwrap().der().clone());
    (chain, PrivateKeyDer::try_from(own.serialize_der()).unwrap())
}

fn config(
    served: &Served,
    version: &'static SupportedProtocolVersion,
    group: NamedGroup,
    badge: &(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> Arc<ClientConfig> {
    let mut wanted = (*keyward::base::tls::provider()).clone();
    wanted.kx_groups.retain(|one| one.name() == group);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(served.edge.ca.root()).unwrap();
    let (chain, key) = badge;
    let config = ClientConfig::builder_with_provider(Arc::new(wanted))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.clone(), key.clone_key())
        .unwrap();
    Arc::new(config)
}

/// How many octets of each fibre's stack in this process were ever used. One is known by its size, and
/// by the one page below that nobody may touch.
fn stacks() -> Vec<usize> {
    const PAGE: usize = 4096;
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let (mut found, mut guard_ends, mut inside) = (Vec::new(), None, false);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap(), words.next().unwrap_or_default());
        if let Some((start, end)) = first.split_once('-') {
            let (start, end) = (number(start), number(end));
            let fits = second == "rw-p" && end - start == FIBRE_STACK;
            inside = fits && guard_ends == Some(start);
            guard_ends = (second == "---p" && end - start == PAGE).then_some(end);
        } else if inside && first == "Rss:" {
            found.push(second.parse::<usize>().unwrap() * 1024);
        }
    }
    found
}

#[test]
fn handshakes_of_all_kinds_find_room_on_their_stacks() {
    let dir = tempfile::tempdir().unwrap();
    let badge = badge(dir.path());
    let site = |name: &'static str, key, asks: bool| {
        let mut site = house::site(&[name], nowhere());
        site.key = key;
        site.clients = asks.then(|| config::ClientCertificates {
            required: true,
            ca: dir.path().join("ca.pem"),
            crl: None,
            crl_url: None,
        });
        site
    };
    let names = ["p256.example", "p384.example", "rsa.example"];
    let kinds = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048];
    let sites = names.into_iter().zip(kinds).map(|(name, key)| site(name, key, true));
    let served = Served::open(sites.collect());
    let mut deepest = 0;
    for (version, group) in [
        (&TLS13, NamedGroup::X25519MLKEM768),
        (&TLS13, NamedGroup::X25519),
        (&TLS13, NamedGroup::secp384r1),
        (&TLS12, NamedGroup::secp256r1),
        (&TLS12, NamedGroup::X25519),
    ] {
        let config = config(&served, version, group, &badge);
        for name in names {
            // The second resumes the session of the first.
            for _ in 0..2 {
                let mut client = served.client(&config, name);
                client.says_hello();
                client.finish();
            }
            let used = stacks().into_iter().max().expect("a stack with its guard");
            if used > deepest {
                println!("{:?}, {group:?}, {name}: {} KiB", version.version, used / 1024);
                deepest = used;
            }
        }
    }
    assert!(deepest <= FIBRE_STACK / 3, "{} KiB", deepest / 1024);
}
