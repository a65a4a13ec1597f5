//! A Pebble, the doubles, and an issuer between them.

use std::sync::Arc;
use std::time::Duration;

use keyward::base::SystemClock;
use keyward::cert::challenge::ChallengeType;
use keyward::cert::failure::Failure;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::CertificateAuthority as _;
use keyward::cert::ports::Issued;
use keyward::cert::ports::Job;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::config::Acme;
use keyward::issuer::AcmeIssuer;
use keyward::issuer::AcmeOptions;

use crate::doubles::MemoryBook;
use crate::doubles::Steps;
use crate::doubles::Vault;
use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::solver::TestSolver;

pub(crate) struct Rig {
    pub(crate) pebble: Pebble,
    pub(crate) solver: Arc<TestSolver>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) book: Arc<MemoryBook>,
    pub(crate) config: Acme,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A rig whose Pebble is not as usual.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let solver = Arc::new(TestSolver::start());
        let mut settings = Settings::new(solver.http_port, solver.tls_port);
        change(&mut settings);
        let pebble = Pebble::start(settings);
        let config = Acme {
            name: "acme".to_owned(),
            directory: pebble.directory(),
            contact: vec!["mailto:ops@shop.example".to_owned()],
            accept_terms: true,
            challenges: vec![ChallengeType::TlsAlpn01, ChallengeType::Http01],
            name_servers: vec![],
            ca_root: Some(pebble.ca_root()),
            profile: None,
            eab: None,
            preferred_chain: None,
            limits: keyward::cert::limits::Limits::default(),
            renewal_info: true,
            take_over_left: 25,
        };
        Self { pebble, solver, vault: Arc::default(), book: Arc::default(), config }
    }

    /// An issuer as a freshly started daemon has it.
    pub(crate) fn issuer(&self) -> AcmeIssuer {
        AcmeIssuer::new(AcmeOptions {
            config: self.config.clone(),
            clock: Arc::new(SystemClock),
            book: Arc::clone(&self.book) as _,
            accounts: Arc::clone(&self.vault) as _,
            signing: Arc::clone(&self.vault) as _,
            solver: Arc::clone(&self.solver) as _,
            dns: None,
            has_http: true,
            has_tls: true,
        })
    }

    pub(crate) fn key(&self) -> KeyHandle {
        self.vault.make(KeyAlgorithm::P256, KeyUsage::Tls)
    }

    pub(crate) fn job(&self, names: &[&str]) -> Job {
        let key = self.key();
        let names = names.iter().map(|name| Identifier::parse(name).unwrap()).collect();
        let issuer = IssuerName::Acme(self.config.directory.clone());
        let profile = self.config.profile.clone();
        let spec = Specification::new(names, issuer, key.algorithm, profile, Role::Primary);
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
}

/// Runs one job on a fresh issuer, within the lease.
pub(crate) async fn obtain(rig: &Rig, job: &Job, steps: &Steps) -> Result<Issued, Failure> {
    obtain_by(&rig.issuer(), job, steps).await
}

/// Runs one job, within the lease.
pub(crate) async fn obtain_by(
    issuer: &AcmeIssuer,
    job: &Job,
    steps: &Steps,
) -> Result<Issued, Failure> {
    tokio::time::timeout(Duration::from_secs(120), issuer.obtain(job.clone(), steps))
        .await
        .expect("an order ends within two minutes")
}

/// Checks by hand what the issuer promises about a certificate, and that a client that trusts
/// Pebble's root accepts the chain for `names`.
pub(crate) fn assert_good(rig: &Rig, job: &Job, issued: &Issued) {
    let leaf = issued.chain.leaf().unwrap();
    assert_eq!(leaf.names, job.spec.names());
    assert_eq!(leaf.key, job.key.id());
    verify(&rig.pebble.root(), issued, job.spec.names());
}

/// Verifies the chain with rustls's verifier, for each of `names`.
pub(crate) fn verify(root: &str, issued: &Issued, names: &[Identifier]) {
    use rustls::client::danger::ServerCertVerifier as _;
    let mut roots = rustls::RootCertStore::empty();
    let root = keyward::cert::chain::Chain::from_pem(root.as_bytes()).unwrap();
    for der in root.to_rustls() {
        roots.add(der).unwrap();
    }
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        keyward::base::tls::provider(),
    )
    .build()
    .unwrap();
    let chain = issued.chain.to_rustls();
    let (leaf, others) = chain.split_first().unwrap();
    for name in names {
        let name = name.to_string().replace('*', "any");
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let now = rustls::pki_types::UnixTime::now();
        verifier.verify_server_cert(leaf, others, &name, &[], now).unwrap();
    }
}
