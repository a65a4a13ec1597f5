//! A CA and signers that live in memory, for tests of rooms that only need certificates.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::base::Clock;
use keyward::base::SystemClock;
use keyward::cert::chain::Chain;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::{KeyAlgorithm, KeyHandle, KeyId, KeyUsage, SealedKey};
use keyward::cert::ports::{Catalog, Signers};
use keyward::cert::record::Installed;
use keyward::cert::served::Served;
use keyward::cert::spec::{IssuerName, Role, Specification};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A CA whose keys, and those of its leaves, are in this process.
pub struct MemoryCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub signers: Arc<MemorySigners>,
    serials: AtomicUsize,
}

/// A catalog in memory.
#[derive(Debug, Default)]
pub struct Shelf {
    certificates: Mutex<Vec<Arc<Served>>>,
    /// How often it was asked.
    pub asked: AtomicUsize,
}

impl Catalog for Shelf {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let all = self.certificates.lock().unwrap();
        Ok(all.iter().filter(|served| served.spec.covers(host)).map(Arc::clone).collect())
    }
}

impl Shelf {
    /// One that holds these.
    pub fn of(certificates: Vec<Arc<Served>>) -> Arc<Self> {
        Arc::new(Self { certificates: Mutex::new(certificates), asked: AtomicUsize::new(0) })
    }

    /// Holds these from now on; the names for which that makes a difference.
    pub fn put(&self, certificates: Vec<Arc<Served>>) -> Vec<Identifier> {
        let mut all = self.certificates.lock().unwrap();
        let former = std::mem::replace(&mut *all, certificates);
        let gone = former.iter().filter(|one| !all.contains(one));
        let new = all.iter().filter(|one| !former.contains(one));
        gone.chain(new).flat_map(|served| served.spec.names()).cloned().collect()
    }
}

/// Signs with keys in memory.
#[derive(Default)]
pub struct MemorySigners {
    keys: Mutex<HashMap<KeyId, Vec<u8>>>,
    /// How often a certificate was made ready.
    pub asked: AtomicUsize,
    /// Signatures made.
    pub signed: Arc<AtomicUsize>,
    /// Worker threads that were bound.
    pub bound: AtomicUsize,
}

impl std::fmt::Debug for MemorySigners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemorySigners")
    }
}

impl Signers for MemorySigners {
    fn certified_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap();
        let der = keys.get(&key.id).ok_or("no such key")?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.clone()));
        let provider = keyward::base::tls::provider();
        let signing = provider.key_provider.load_private_key(der).map_err(|e| e.to_string())?;
        let counted = Counted { key: signing, signed: Arc::clone(&self.signed) };
        Ok(Arc::new(CertifiedKey::new(chain.to_rustls(), Arc::new(counted))))
    }

    fn client_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.certified_key(chain, key)
    }

    fn bind_worker(&self, _: usize, _: Option<usize>) {
        self.bound.fetch_add(1, Ordering::SeqCst);
    }
}

/// A key whose signatures are counted.
#[derive(Debug)]
struct Counted {
    key: Arc<dyn SigningKey>,
    signed: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountedSigner {
    signer: Box<dyn Signer>,
    signed: Arc<AtomicUsize>,
}

impl SigningKey for Counted {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.key.choose_scheme(offered)?;
        Some(Box::new(CountedSigner { signer, signed: Arc::clone(&self.signed) }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl Signer for CountedSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        self.signer.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

impl MemoryCa {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "kit root");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, signers: Arc::default(), serials: AtomicUsize::new(1) }
    }

    /// The root as DER.
    pub fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The root as a PEM file that stays for the life of the test process.
    pub fn root_file(&self) -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = dir.join(format!("root-{}-{number}.pem", std::process::id()));
        std::fs::write(&path, self.issuer.pem()).unwrap();
        path
    }

    /// An installed certificate for `names` with a key of its own.
    pub fn issue(&self, names: &[&str]) -> Arc<Served> {
        self.issue_for(names, KeyAlgorithm::P256, Duration::from_secs(90 * 24 * 3600))
    }

    /// The same with a key of this kind, good for as long from now on as its record says.
    pub fn issue_for(&self, names: &[&str], kind: KeyAlgorithm, life: Duration) -> Arc<Served> {
        let pkcs8 = keyward::vault::keys::generate(kind).unwrap();
        let key = KeyPair::try_from(pkcs8.as_slice()).unwrap();
        let spki = key.subject_public_key_info();
        let id = KeyId::of_spki(&spki);
        self.signers.keys.lock().unwrap().insert(id, pkcs8.to_vec());
        let handle = KeyHandle {
            id,
            algorithm: kind,
            usage: KeyUsage::Tls,
            spki: spki.into(),
            sealed: SealedKey(Arc::from(&b"sealed"[..])),
        };
        self.issue_to(names, &key, handle, life)
    }

    /// The same for a key that is kept elsewhere.
    pub fn issue_to(
        &self,
        names: &[&str],
        key: &impl PublicKeyData,
        handle: KeyHandle,
        life: Duration,
    ) -> Arc<Served> {
        let names: Vec<Identifier> = names.iter().map(|n| Identifier::parse(n).unwrap()).collect();
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        let serial = self.serials.fetch_add(1, Ordering::SeqCst) as u64;
        params.serial_number = Some(rcgen::SerialNumber::from(serial + 0x1000));
        let leaf = params.signed_by(key, &self.issuer).unwrap();
        let now = SystemClock.now();
        let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();
        let mut installed = Installed::read(chain, now).unwrap();
        installed.validity.not_after = now.plus(life);
        let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
        let spec = Specification::new(names, issuer, handle.algorithm, None, Role::Primary);
        Arc::new(Served { id: spec.id(), spec, installed, key: handle })
    }
}
