//! The internal CA before two verifiers: rustls's, and `openssl verify`.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::ManualClock;
use keyward::base::SystemClock;
use keyward::base::Timestamp;
use keyward::cert::chain::Chain;
use keyward::cert::failure::FailureKind;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::CertificateAuthority as _;
use keyward::cert::ports::Issued;
use keyward::cert::ports::Job;
use keyward::cert::ports::Shelf;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::issuer::InternalCa;
use keyward::issuer::InternalOptions;

use crate::doubles::MemoryBook;
use crate::doubles::Steps;
use crate::doubles::Vault;
use crate::rig::verify;

struct House {
    clock: Arc<ManualClock>,
    book: Arc<MemoryBook>,
    vault: Arc<Vault>,
}

impl House {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self { clock, book: Arc::default(), vault: Arc::default() }
    }

    fn ca(&self) -> InternalCa {
        InternalCa::new(InternalOptions {
            clock: Arc::clone(&self.clock) as _,
            book: Arc::clone(&self.book) as _,
            keys: Arc::clone(&self.vault) as _,
            signing: Arc::clone(&self.vault) as _,
            machine: Some("nas".to_owned()),
        })
    }

    fn job(&self, names: &[&str], key: KeyAlgorithm) -> Job {
        let names = names.iter().map(|name| Identifier::parse(name).unwrap()).collect();
        let key = self.vault.make(key, KeyUsage::Tls);
        let spec =
            Specification::new(names, IssuerName::Internal, key.algorithm, None, Role::Bridge);
        Job {
            spec,
            key: key.into(),
            order: None,
            resumed: false,
            taken: Vec::new(),
            replaces: None,
            attempt: 0,
            before: None,
            challenge: None,
            preferred_chain: None,
        }
    }

    async fn obtain(&self, ca: &InternalCa, job: &Job) -> Issued {
        ca.obtain(job.clone(), &Steps::default()).await.unwrap()
    }
}

const NAMES: [&str; 5] = ["localhost", "nas.internal", "*.nas.internal", "10.1.2.3", "fd00::1"];

#[tokio::test]
async fn its_chain_is_accepted_by_rustls_and_by_openssl() {
    let house = House::new();
    let ca = house.ca();
    for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384] {
        let job = house.job(&NAMES, algorithm);
        let issued = house.obtain(&ca, &job).await;
        let leaf = issued.chain.leaf().unwrap();
        assert_eq!((leaf.key, &leaf.names[..]), (job.key.id(), job.spec.names()));
        assert_eq!(leaf.validity.life(), Duration::from_secs(7 * 24 * 3600 + 3600));
        assert!(leaf.serial.len() >= 30, "{}", leaf.serial);
        assert!(leaf.ari_id.is_some(), "there is an authority key identifier");
        let root = ca.root().await.unwrap();
        verify(&root.to_pem(), &issued, job.spec.names());
        openssl_accepts(&root, &issued);
    }
    let root = ca.root().await.unwrap();
    let issued = house.obtain(&ca, &house.job(&["nas.internal"], KeyAlgorithm::P256)).await;
    assert_eq!(path_length(&root.certificates()[0]), None);
    assert_eq!(path_length(&issued.chain.certificates()[1]), Some(0));
    let root = root.leaf().unwrap();
    assert_eq!(root.issuer, "CN=keyward internal CA nas");
}

/// How many intermediates may stand below this CA certificate.
fn path_length(der: &[u8]) -> Option<u32> {
    use x509_parser::prelude::FromDer as _;
    let (_, certificate) = x509_parser::prelude::X509Certificate::from_der(der).unwrap();
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    constraints.value.path_len_constraint
}

fn openssl_accepts(root: &Chain, issued: &Issued) {
    let dir = tempfile::tempdir().unwrap();
    let [leaf, intermediate] = issued.chain.certificates() else { panic!("two certificates") };
    let write = |name: &str, der: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, Chain::from_der(vec![der.to_vec()]).unwrap().to_pem()).unwrap();
        path
    };
    let root = write("root.pem", &root.certificates()[0]);
    let intermediate = write("intermediate.pem", intermediate);
    let leaf = write("leaf.pem", leaf);
    let verify = |checks: &[&str], with_intermediate: bool| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver"]).args(checks);
        command.arg("-no-CApath").arg("-CAfile").arg(&root);
        if with_intermediate {
            command.arg("-untrusted").arg(&intermediate);
        }
        command.arg(&leaf).output().expect("openssl is installed")
    };
    for checks in [
        ["-verify_hostname", "localhost"],
        ["-verify_hostname", "a.nas.internal"],
        ["-verify_ip", "10.1.2.3"],
        ["-verify_ip", "fd00::1"],
    ] {
        let output = verify(&checks, true);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!verify(&["-verify_hostname", "other.internal"], true).status.success());
    assert!(!verify(&[], false).status.success());
}

#[tokio::test]
async fn the_root_stays_over_restarts_and_the_intermediate_changes_at_half_of_its_life() {
    let house = House::new();
    let ca = house.ca();
    let root = ca.root().await.unwrap();
    let job = house.job(&["nas.internal"], KeyAlgorithm::P256);
    let first = house.obtain(&ca, &job).await;
    let again = house.ca();
    assert_eq!(again.root().await.unwrap(), root);
    let second = house.obtain(&again, &job).await;
    assert_eq!(first.chain.certificates()[1], second.chain.certificates()[1]);
    assert_ne!(first.chain.leaf().unwrap().serial, second.chain.leaf().unwrap().serial);

    let day = Duration::from_secs(24 * 3600);
    house.clock.advance(day * 184);
    for ca in [&ca, &house.ca()] {
        let third = house.obtain(ca, &job).await;
        assert_ne!(first.chain.certificates()[1], third.chain.certificates()[1]);
        assert_eq!(ca.root().await.unwrap(), root);
    }
    // Nine years and some on, a new intermediate would outlive the root: a new root.
    house.clock.advance(day * 365 * 9);
    assert_ne!(ca.root().await.unwrap(), root);
}

#[tokio::test]
async fn a_clock_that_wakes_up_in_1970_changes_no_root() {
    let house = House::new();
    let now = house.clock.now();
    let root = house.ca().root().await.unwrap();
    let ca = house.ca();
    let job = house.job(&["nas.internal"], KeyAlgorithm::P256);
    house.clock.set(Timestamp::from_unix(60));
    let first = house.obtain(&ca, &job).await;
    let second = house.obtain(&ca, &job).await;
    assert_eq!(first.chain.certificates()[1], second.chain.certificates()[1]);
    house.clock.set(now);
    let third = house.obtain(&ca, &job).await;
    verify(&root.to_pem(), &third, job.spec.names());
    assert_eq!(ca.root().await.unwrap(), root);
}

#[tokio::test]
async fn eight_first_uses_at_once_make_one_root() {
    let house = House::new();
    let ca = house.ca();
    let roots = futures_util::future::join_all((0..8).map(|_| ca.root())).await;
    let first = roots[0].clone().unwrap();
    assert!(roots.into_iter().all(|root| root.unwrap() == first));
}

#[tokio::test]
async fn a_stored_authority_that_cannot_be_read_is_not_replaced() {
    let house = House::new();
    let ca = house.ca();
    ca.root().await.unwrap();
    let name = house.book.0.lock().unwrap().keys().next().unwrap().clone();
    assert_eq!(name.0, Shelf::InternalCa);
    for bad in [vec![], vec![1, 2, 3], vec![9, 0, 0]] {
        house.book.0.lock().unwrap().insert(name.clone(), bad.clone());
        let failure = house.ca().root().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Store);
        assert_eq!(house.book.0.lock().unwrap().get(&name), Some(&bad));
    }
}
