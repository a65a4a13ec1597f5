//! Many real certificates of one intermediate, with keys sealed under a daemon's master key, laid
//! into its store as imported ones are.

use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use keyward::base::Timestamp;
use keyward::cert::chain::Chain;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::cert::lifecycle::Phase;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::cert::validity::RenewalWindow;
use keyward::store::Store;
use keyward::vault::keys;
use keyward::vault::keys::OpenKey;
use keyward::vault::seal::Content;
use keyward::vault::seal::Sealer;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::PublicKeyData;

/// Records that are written in one transaction: it waits for the disk once.
const PORTION: usize = 5000;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) type Issuer = CertifiedIssuer<'static, KeyPair>;

type Portion = (Vec<Certificate>, Vec<KeyHandle>);

struct Public(Vec<u8>);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// With the key that is kept below `kept`.
pub(super) fn issuer(kept: Option<&Path>) -> Issuer {
    let key = match kept.map(|dir| dir.join("issuer.pem")) {
        Some(path) if path.exists() => {
            KeyPair::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
        }
        path => {
            let key = KeyPair::generate().unwrap();
            if let Some(path) = path {
                std::fs::write(path, key.serialize_pem()).unwrap();
            }
            key
        }
    };
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "A bench's intermediate");
    CertifiedIssuer::self_signed(params, key).unwrap()
}

pub(super) fn name(number: usize) -> String {
    format!("n{number}.bench.example")
}

/// Leaf and intermediate for this name and key.
pub(super) fn chain(number: usize, serial: u64, spki: &[u8], issuer: &Issuer) -> Chain {
    let mut params = CertificateParams::new(vec![name(number)]).unwrap();
    let at = |moment: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.as_unix())
    };
    params.not_before = at(now().minus(DAY));
    params.not_after = at(now().plus(DAY * 90));
    params.serial_number = Some(serial.into());
    // The point is what follows the fixed head of the subject public key info.
    let public = Public(spki[spki.len() - 65..].to_vec());
    let leaf = params.signed_by(&public, issuer).unwrap().der().to_vec();
    Chain::from_der(vec![leaf, issuer.der().to_vec()]).unwrap()
}

/// Lays `names` certificates into the store in `dir`, for so many keys in turn. All cores make
/// them, one portion each, while those before are written.
pub(super) fn fill(dir: &Path, names: usize, keys: usize, sealer: &Sealer, issuer: &Issuer) {
    let store = Store::open(dir).unwrap();
    let runtime = super::runtime();
    let write = |(records, keys): Portion| {
        runtime.block_on(store.add_all(records, keys, vec![])).unwrap();
    };
    // Those that share a key come after the one that brings it.
    let shared: Vec<_> = if keys < names {
        let own: Vec<_> = (0..keys).map(|_| key(sealer)).collect();
        let records = own.iter().enumerate().map(|(n, key)| record(n, key, issuer)).collect();
        write((records, own.clone()));
        own
    } else {
        Vec::new()
    };
    let next = AtomicUsize::new(shared.len());
    let make = || {
        let from = next.fetch_add(PORTION, Ordering::Relaxed);
        let mut fresh = Vec::new();
        let mut certificate = |n: usize| {
            if let Some(key) = n.checked_rem(shared.len()).and_then(|n| shared.get(n)) {
                return record(n, key, issuer);
            }
            let key = key(sealer);
            let record = record(n, &key, issuer);
            fresh.push(key);
            record
        };
        let records: Vec<_> = (from..names.min(from + PORTION)).map(&mut certificate).collect();
        (!records.is_empty()).then_some((records, fresh))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let (sender, portions) = mpsc::sync_channel(1);
        for _ in 0..cores {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(portion) = make() {
                    sender.send(portion).unwrap();
                }
            });
        }
        drop(sender);
        portions.into_iter().for_each(write);
    });
}

/// A key, sealed as the daemon's vault would.
fn key(sealer: &Sealer) -> KeyHandle {
    let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Tls);
    let pkcs8 = keys::generate(algorithm).unwrap();
    let (open, spki) = OpenKey::from_pkcs8(algorithm, usage, &pkcs8).unwrap();
    let content = Content::Key { usage, algorithm, id: open.id };
    let sealed = sealer.seal(content, &pkcs8).unwrap();
    KeyHandle { id: open.id, algorithm, usage, spki: spki.into(), sealed: SealedKey(sealed.into()) }
}

/// The certificate number `number`, as it is held after an import.
fn record(number: usize, key: &KeyHandle, issuer: &Issuer) -> Certificate {
    let installed = Installed::read(chain(number, number as u64, &key.spki, issuer), now());
    let installed = installed.unwrap();
    assert_eq!(installed.key, key.id);
    let names = vec![Identifier::parse(&name(number)).unwrap()];
    let spec =
        Specification::new(names, IssuerName::Imported, KeyAlgorithm::P256, None, Role::Imported);
    let renew_at = now().plus(DAY * 60);
    let window = RenewalWindow::new(renew_at, now().plus(DAY * 70)).unwrap();
    let phase = Phase::Holding { renew_at, window, recheck_at: None };
    Certificate { phase, installed: Some(installed), ..Certificate::wanted(spec) }
}

fn now() -> Timestamp {
    use keyward::base::Clock as _;
    keyward::base::SystemClock.now()
}
