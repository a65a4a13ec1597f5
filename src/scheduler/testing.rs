//! Stand-ins for tests of this room: a configuration, a key source and a CA that can be told to
//! misbehave.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rcgen::PublicKeyData as _;

use crate::base::Timestamp;
use crate::base::tasks::SharedClock;
use crate::cert::care::Reason;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::key::SealedKey;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::Issued;
use crate::cert::ports::Job;
use crate::cert::ports::KeySource;
use crate::cert::ports::Progress;
use crate::cert::ports::RenewalAdvice;
use crate::cert::ports::Revocation;
use crate::cert::record::Installed;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Specification;
use crate::config;
use crate::config::Config;
use crate::config::Site;
use crate::store::Store;

/// A configuration with these sites.
pub(crate) fn config(sites: Vec<Site>) -> Config {
    let acme = "[acme]\ndirectory = 'https://ca.example/dir'\naccept_terms = true\n";
    let environment = std::iter::empty::<(String, String)>();
    let mut config = config::parse(acme, Path::new("test"), environment).unwrap().config;
    config.sites = sites;
    config
}

/// A site with these names.
pub(crate) fn site(names: &[&str], issuer: IssuerName) -> Site {
    Site {
        names: names.iter().map(|name| Identifier::parse(name).unwrap()).collect(),
        origin: config::Origin::Welcome,
        issuer,
        further: Vec::new(),
        standby: None,
        preferred_chain: None,
        key: KeyAlgorithm::P256,
        profile: None,
        hsts: None,
        redirect: true,
        default: false,
        preserve_host: true,
        second_key: None,
        reuse_key: false,
        early_data: false,
        access_log: true,
        tls_headers: false,
        challenge: None,
        policy: config::Policy::default(),
        routes: Vec::new(),
        tls: config::Agreement::default(),
        clients: None,
        exportable: false,
        keeping: config::Keeping::default(),
        line: 0,
    }
}

/// Makes keys and keeps them for the CA.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<HashMap<KeyId, Arc<rcgen::KeyPair>>>);

impl KeySource for Keys {
    fn generate(
        &self,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> BoxFuture<'_, Result<KeyHandle, Failure>> {
        Box::pin(async move {
            let pair = Arc::new(rcgen::KeyPair::generate().unwrap());
            let spki: Arc<[u8]> = Arc::from(pair.subject_public_key_info());
            let id = KeyId::of_spki(&spki);
            self.0.lock().unwrap().insert(id, pair);
            let sealed = SealedKey(Arc::from([1, 2, 3]));
            Ok(KeyHandle { id, algorithm, usage, spki, sealed })
        })
    }
}

/// What a CA does when it is asked.
pub(crate) type Behaviour = Arc<dyn Fn(&Job) -> Act + Send + Sync>;

/// One way of answering.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Issues.
    Issue,
    /// Opens an order, and then fails.
    Fail(Failure),
    /// Opens an order, and issues when it is told to.
    Hold(Arc<tokio::sync::Notify>),
    /// Opens an order, presents a challenge, and never comes to an end.
    Hang,
    /// Issues for a key that is not the job's.
    WrongKey,
    /// Issues for a name that is not the job's.
    WrongName,
    /// Refuses this proof, and issues by another challenge and another order.
    Refute(Failure),
    /// Panics after the order was opened.
    Panic,
}

/// What was asked of the CA.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) job: Job,
    /// Whether the key was in the store when the CA was asked.
    pub(crate) key_was_stored: bool,
}

/// A CA in this process.
pub(crate) struct FakeCa {
    pub(crate) keys: Arc<Keys>,
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) behaviour: Mutex<Behaviour>,
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// Challenges that are presented at the moment, and ever were.
    pub(crate) presented: Arc<Mutex<(usize, usize)>>,
    pub(crate) advice: Mutex<Option<RenewalAdvice>>,
    /// Serial numbers that it has revoked, with how often that was said.
    pub(crate) revoked: Mutex<BTreeMap<String, usize>>,
    pub(crate) days: u64,
}

impl std::fmt::Debug for FakeCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeCa")
    }
}

/// The guard of a presented challenge.
struct Presented(Arc<Mutex<(usize, usize)>>);

impl Presented {
    fn new(count: &Arc<Mutex<(usize, usize)>>) -> Self {
        let mut both = count.lock().unwrap();
        both.0 += 1;
        both.1 += 1;
        Self(Arc::clone(count))
    }
}

impl Drop for Presented {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

impl FakeCa {
    fn issue(&self, names: &[Identifier], pair: &rcgen::KeyPair) -> Chain {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let now = self.clock.now().as_unix();
        let moment = |seconds: u64| {
            let seconds = i64::try_from(seconds).unwrap();
            (std::time::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())).into()
        };
        params.not_before = moment(now);
        params.not_after = moment(now + self.days * 86_400);
        params.use_authority_key_identifier_extension = true;
        Chain::from_der(vec![params.self_signed(pair).unwrap().der().to_vec()]).unwrap()
    }
}

impl CertificateAuthority for FakeCa {
    fn obtain<'a>(
        &'a self,
        job: Job,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Issued, Failure>> {
        Box::pin(async move {
            let key_was_stored = self.store.key(job.key.id()).await.unwrap().is_some();
            self.asked.lock().unwrap().push(Asked { job: job.clone(), key_was_stored });
            let behaviour = Arc::clone(&self.behaviour.lock().unwrap());
            let act = behaviour(&job);
            if job.order.is_none() {
                let number = self.asked.lock().unwrap().len();
                progress.order_opened(&format!("https://ca.example/order/{number}")).await?;
            }
            let _challenge = Presented::new(&self.presented);
            let pair = Arc::clone(&self.keys.0.lock().unwrap()[&job.key.id()]);
            let renewal = *self.advice.lock().unwrap();
            let names = job.spec.names();
            match act {
                Act::Issue => Ok(Issued { chain: self.issue(names, &pair), renewal }),
                Act::Fail(failure) => Err(failure),
                Act::Refute(failure) => {
                    progress.challenge_failed(&[failure]).await?;
                    progress.order_opened("https://ca.example/order/other").await?;
                    Ok(Issued { chain: self.issue(names, &pair), renewal })
                }
                Act::Hold(until) => {
                    until.notified().await;
                    Ok(Issued { chain: self.issue(names, &pair), renewal })
                }
                Act::Hang => std::future::pending().await,
                Act::WrongKey => {
                    let other = rcgen::KeyPair::generate().unwrap();
                    Ok(Issued { chain: self.issue(names, &other), renewal })
                }
                Act::WrongName => {
                    let other = [Identifier::Ip(Ipv4Addr::LOCALHOST.into())];
                    Ok(Issued { chain: self.issue(&other, &pair), renewal })
                }
                Act::Panic => panic!("the fake CA panics as it was told to"),
            }
        })
    }

    fn renewal_advice<'a>(
        &'a self,
        _spec: &'a Specification,
        _installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<RenewalAdvice>, Failure>> {
        Box::pin(async move { Ok(*self.advice.lock().unwrap()) })
    }

    fn revoke<'a>(
        &'a self,
        leaf: &'a [u8],
        _reason: Reason,
    ) -> BoxFuture<'a, Result<Revocation, Failure>> {
        Box::pin(async {
            let serial = Chain::from_der(vec![leaf.to_vec()]).unwrap().leaf().unwrap().serial;
            *self.revoked.lock().unwrap().entry(serial).or_default() += 1;
            Ok(Revocation::Told)
        })
    }

    fn is_revoked<'a>(
        &'a self,
        installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<bool>, Failure>> {
        Box::pin(async { Ok(Some(self.revoked.lock().unwrap().contains_key(&installed.serial))) })
    }
}

/// The moment at which tests begin.
pub(crate) const START: Timestamp = Timestamp::from_unix(1_800_000_000);
