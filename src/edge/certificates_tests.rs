//! How certificates are found, kept and forgotten.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustls::server::{Accepted, Acceptor};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::base::ManualClock;
use crate::cert::chain::Chain;
use crate::cert::key::{KeyHandle, KeyId, KeyUsage, SealedKey};
use crate::cert::record::Installed;
use crate::cert::spec::{IssuerName, Role, Specification};
use crate::config::Agreement;
use crate::edge::tickets::Tickets;
use crate::os::ktls::Suites;

const START: Timestamp = Timestamp::from_unix(1_800_000_000);

/// Certificates, keys and time, all in the hands of the test.
#[derive(Debug)]
struct World {
    shown: Mutex<Result<Vec<Arc<Served>>, String>>,
    asked: AtomicUsize,
    keys: Mutex<HashMap<KeyId, Vec<u8>>>,
    made: AtomicUsize,
    clock: Arc<ManualClock>,
    /// Shown as soon as the catalog was asked, before its answer is used.
    meanwhile: Mutex<Option<Vec<Arc<Served>>>>,
    certificates: std::sync::OnceLock<Certificates>,
}

#[derive(Debug)]
struct InWorld(std::sync::Weak<World>);

impl Catalog for InWorld {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        let world = self.0.upgrade().unwrap();
        world.asked.fetch_add(1, Ordering::SeqCst);
        let shown = world.shown.lock().unwrap().clone();
        let found = shown?.into_iter().filter(|served| served.spec.covers(host)).collect();
        if let Some(next) = world.meanwhile.lock().unwrap().take() {
            world.show(next);
        }
        Ok(found)
    }
}

impl Signers for InWorld {
    fn certified_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        let world = self.0.upgrade().unwrap();
        world.made.fetch_add(1, Ordering::SeqCst);
        let keys = world.keys.lock().unwrap();
        let der = keys.get(&key.id).ok_or("the vault has no such key")?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.clone()));
        let provider = crate::base::tls::provider();
        let key = provider.key_provider.load_private_key(der).map_err(|e| e.to_string())?;
        Ok(Arc::new(CertifiedKey::new(chain.to_rustls(), key)))
    }

    fn client_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.certified_key(chain, key)
    }

    fn bind_worker(&self, _: usize, _: Option<usize>) {}
}

impl World {
    fn new(choices: u64, casts: u64) -> Arc<Self> {
        let clock = Arc::new(ManualClock::new(START));
        Arc::new_cyclic(|world| Self {
            shown: Mutex::new(Ok(Vec::new())),
            asked: AtomicUsize::new(0),
            keys: Mutex::default(),
            made: AtomicUsize::new(0),
            clock: Arc::clone(&clock),
            meanwhile: Mutex::default(),
            certificates: {
                let (catalog, signers) = (InWorld(world.clone()), InWorld(world.clone()));
                let clock: Arc<dyn Clock> = clock;
                let mould =
                    Mould::new(Arc::clone(&clock), Tickets::default(), Suites::default()).unwrap();
                let (catalog, signers) = (Arc::new(catalog), Arc::new(signers));
                Certificates::with_room(catalog, signers, clock, mould, choices, casts).into()
            },
        })
    }

    fn certificates(&self) -> &Certificates {
        self.certificates.get().unwrap()
    }

    /// A certificate with this serial number, good from `from` to `to` seconds after the start.
    fn issue(&self, name: &str, serial: u64, from: u64, to: u64) -> Arc<Served> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from(0x1000 + serial));
        let leaf = params.self_signed(&key).unwrap();
        let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();
        let mut installed = Installed::read(chain, START).unwrap();
        installed.validity.not_before = START.plus(Duration::from_secs(from));
        installed.validity.not_after = START.plus(Duration::from_secs(to));
        let spki: Arc<[u8]> = rcgen::PublicKeyData::subject_public_key_info(&key).into();
        let handle = KeyHandle {
            id: KeyId::of_spki(&spki),
            algorithm: KeyAlgorithm::P256,
            usage: KeyUsage::Tls,
            spki,
            sealed: SealedKey(Arc::from(&b"sealed"[..])),
        };
        self.keys.lock().unwrap().insert(handle.id, key.serialize_der());
        let names = vec![Identifier::parse(name).unwrap()];
        // The profile tells two certificates for one name apart.
        let (issuer, profile) = (IssuerName::Acme("https://ca.example/dir".to_owned()), serial);
        let profile = Some(profile.to_string());
        let spec = Specification::new(names, issuer, KeyAlgorithm::P256, profile, Role::Primary);
        Arc::new(Served { id: spec.id(), spec, installed, key: handle })
    }

    /// Puts these, and no others, into the catalog, and says what changed.
    fn show(&self, certificates: Vec<Arc<Served>>) {
        let next = certificates.clone();
        let former = std::mem::replace(&mut *self.shown.lock().unwrap(), Ok(next));
        let former = former.unwrap_or_default();
        let gone = former.iter().filter(|one| !certificates.contains(one));
        let new = certificates.iter().filter(|one| !former.contains(one));
        let names: Vec<_> = gone.chain(new).flat_map(|s| s.spec.names()).cloned().collect();
        self.certificates().forget(&names);
    }

    /// The serial number of the certificate that a client is shown.
    fn find(&self, host: &str) -> Option<String> {
        let (accepted, counters) = (hello(), Counters::default());
        let mould = &self.certificates().mould;
        let config = self.certificates().find(
            host,
            mould.terms(Agreement::default()),
            &accepted.client_hello(),
            &counters,
        )?;
        let key = config.cert_resolver.resolve(accepted.client_hello()).unwrap();
        let leaf = Chain::from_der(vec![key.cert.first().unwrap().to_vec()]).unwrap();
        Some(leaf.leaf().unwrap().serial)
    }

    /// How often the catalog and the signers were asked.
    fn counts(&self) -> (usize, usize) {
        (self.asked.load(Ordering::SeqCst), self.made.load(Ordering::SeqCst))
    }
}

fn hello() -> Accepted {
    let config = ClientConfig::builder_with_provider(crate::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "a.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut wire.as_slice()).unwrap();
    acceptor.accept().unwrap().unwrap()
}

fn serial(number: u64) -> Option<String> {
    Some(format!("{:x}", 0x1000 + number))
}

const ROOM: u64 = 1024 * 1024;

#[test]
fn nothing_is_made_ready_before_it_is_asked_for_and_then_once() {
    let world = World::new(ROOM, ROOM);
    world.show((1..50).map(|n| world.issue(&format!("n{n}.example"), n, 0, 900)).collect());
    assert_eq!(world.counts(), (0, 0));
    for _ in 0..3 {
        assert_eq!(world.find("n7.example"), serial(7));
    }
    assert_eq!(world.counts(), (1, 1));
    assert_eq!(world.find("n50.example"), None);
}

#[test]
fn a_change_touches_its_names_and_no_others() {
    let world = World::new(ROOM, ROOM);
    let others: Vec<_> =
        (1..20).map(|n| world.issue(&format!("n{n}.example"), n, 0, 900)).collect();
    let with = |one: Arc<Served>| [others.clone(), vec![one]].concat();
    world.show(with(world.issue("*.example", 100, 0, 900)));
    assert_eq!(world.find("n1.example"), serial(1));
    assert_eq!(world.find("other.example"), serial(100));
    assert_eq!(world.find("sub.other.example"), None);
    let before = world.counts();
    world.show([others.clone(), vec![world.issue("x.example", 101, 0, 900)]].concat());
    assert_eq!(world.find("other.example"), None, "the wildcard is gone");
    assert_eq!(world.find("x.example"), serial(101));
    let renewed = [others.clone(), vec![world.issue("x.example", 102, 0, 950)]].concat();
    let middle = world.counts();
    world.show(renewed);
    assert_eq!(world.find("x.example"), serial(102), "at the next handshake");
    assert_eq!(world.counts(), (middle.0 + 1, middle.1 + 1));
    assert_eq!(world.find("sub.other.example"), None);
    assert_eq!(world.counts().0, middle.0 + 1, "nothing was said about that name");
    assert!(middle.0 > before.0);
}

/// Whoever reads the catalog while it changes must not keep what it said before.
#[test]
fn what_changed_while_it_was_read_is_not_kept() {
    let world = World::new(ROOM, ROOM);
    world.show(vec![world.issue("a.example", 1, 0, 900)]);
    *world.meanwhile.lock().unwrap() = Some(vec![world.issue("a.example", 2, 0, 900)]);
    assert_eq!(world.find("a.example"), serial(1), "asked before the change");
    assert_eq!(world.find("a.example"), serial(2));
}

#[test]
fn another_certificate_becomes_the_best_at_its_moment_and_not_later() {
    let world = World::new(ROOM, ROOM);
    world.show(vec![world.issue("a.example", 1, 0, 100), world.issue("a.example", 2, 50, 200)]);
    assert_eq!(world.find("a.example"), serial(1));
    for (second, expected) in [(49, 1), (50, 2), (100, 2), (300, 2), (10, 1), (0, 1)] {
        world.clock.set(START.plus(Duration::from_secs(second)));
        assert_eq!(world.find("a.example"), serial(expected), "at {second} s");
    }
}

#[test]
fn a_name_without_a_certificate_is_asked_for_again_after_a_moment() {
    let world = World::new(ROOM, ROOM);
    assert_eq!(world.find("a.example"), None);
    assert_eq!(world.find("a.example"), None);
    assert_eq!(world.counts().0, 1);
    world.clock.set(START.plus(CHOICE_LIFE_EMPTY));
    assert_eq!(world.find("a.example"), None);
    assert_eq!(world.counts().0, 2);
    world.show(vec![world.issue("a.example", 1, 0, 900)]);
    assert_eq!(world.find("a.example"), serial(1), "news are seen at once");
    // No certificate can be for these, so nobody is asked.
    for odd in ["a_b.example", "intranet", "", "*", "x..y"] {
        assert_eq!(world.find(odd), None, "{odd:?}");
    }
    assert_eq!(world.counts().0, 3);
}

#[test]
fn invariant_1_what_was_found_is_served_while_the_catalog_cannot_be_read() {
    let world = World::new(ROOM, ROOM);
    world.show(vec![world.issue("a.example", 1, 0, 900_000)]);
    assert_eq!(world.find("a.example"), serial(1));
    *world.shown.lock().unwrap() = Err("bad checksum".to_owned());
    for hours in 1..4 {
        world.clock.set(START.plus(Duration::from_secs(hours * 3600)));
        assert_eq!(world.find("a.example"), serial(1));
        assert_eq!(world.find("a.example"), serial(1));
        assert_eq!(world.counts().0, 1 + usize::try_from(hours).unwrap(), "asked once in a while");
    }
    assert_eq!(world.find("b.example"), None);
}

#[test]
fn one_that_the_vault_cannot_use_is_passed_over_for_the_next_best() {
    let world = World::new(ROOM, ROOM);
    let (good, bad) = (world.issue("a.example", 1, 0, 500), world.issue("a.example", 2, 0, 900));
    world.keys.lock().unwrap().remove(&bad.key.id);
    world.show(vec![good, bad]);
    assert_eq!(world.find("a.example"), serial(1));
}

#[test]
fn what_is_kept_stays_within_its_bytes_and_a_scan_pushes_nothing_out() {
    let (choices, casts) = (32 * 1024, 256 * 1024);
    let world = World::new(choices, casts);
    let scanned = 300;
    let all = (1..=scanned).map(|n| world.issue(&format!("n{n}.example"), n, 0, 900)).collect();
    world.show(all);
    for _ in 0..5 {
        assert_eq!(world.find("n1.example"), serial(1));
    }
    for n in 2..=scanned {
        assert_eq!(world.find(&format!("n{n}.example")), serial(n));
    }
    let made = world.counts().1;
    assert_eq!(world.find("n1.example"), serial(1));
    assert_eq!(world.counts().1, made, "what is in use was pushed out");
    let kept = world.certificates();
    assert!(kept.choices.weight() <= choices, "{}", kept.choices.weight());
    assert!(kept.casts.weight() <= casts, "{}", kept.casts.weight());
    assert!(kept.casts.len() > 20, "{}", kept.casts.len());
}
