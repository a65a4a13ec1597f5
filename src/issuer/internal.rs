//! The CA of this machine: signs the names that no public CA signs, and bridges the moments
//! before a first public certificate arrives.
//!
//! A root for ten years, to be trusted by hand (`keyward trust`), and below it an intermediate
//! for a year that signs leaves for a week. Their keys are in the vault. There are no name
//! constraints: the bridge has to speak for public names too.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use super::csr::Recorder;
use super::csr::on_blocking_thread;
use crate::base::Timestamp;
use crate::base::tasks::SharedClock;
use crate::cert::care::Reason;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyUsage;
use crate::cert::ports::Book;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::Issued;
use crate::cert::ports::Job;
use crate::cert::ports::KeySource;
use crate::cert::ports::Progress;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::RenewalAdvice;
use crate::cert::ports::Revocation;
use crate::cert::ports::Shelf;
use crate::cert::record::Installed;
use crate::cert::spec::Specification;

mod authority;

use authority::Authority;
use authority::Member;
pub(super) use authority::reseal_authority;

/// Life of the root. It ends late because people have to replace it by hand.
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Life of the intermediate; it is replaced at half of it.
const INTERMEDIATE_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Life of a leaf. Short, because there is no revocation, and renewal costs nothing.
const LEAF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far a beginning lies back, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Under this name on its shelf.
const NAME: &str = "authority";

/// What the internal CA works with.
#[derive(Clone, Debug)]
pub struct InternalOptions {
    /// What time it is.
    pub clock: SharedClock,
    /// Where its certificates and sealed keys are kept.
    pub book: Arc<dyn Book>,
    /// Who makes its keys.
    pub keys: Arc<dyn KeySource>,
    /// Who signs with them.
    pub signing: Arc<dyn RemoteSigning>,
    /// The machine's name, which becomes part of the root's; a digest stands in for it.
    pub machine: Option<String>,
}

/// The CA of this machine. Made on first use.
pub struct InternalCa {
    options: InternalOptions,
    authority: ArcSwapOption<Authority>,
    /// One at a time reads, makes or replaces the authority.
    turn: Semaphore,
}

impl fmt::Debug for InternalCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InternalCa").finish_non_exhaustive()
    }
}

impl InternalCa {
    /// The internal CA; nothing is read or made before it is first used.
    pub fn new(options: InternalOptions) -> Self {
        Self { options, authority: ArcSwapOption::empty(), turn: Semaphore::new(1) }
    }

    /// The root certificate alone, made now if there is none yet.
    ///
    /// # Errors
    /// When the store or the vault does not answer.
    pub async fn root(&self) -> Result<Chain, Failure> {
        let authority = self.authority().await?;
        Chain::from_der(vec![authority.root.certificate.clone()]).map_err(|error| {
            Failure::new(FailureKind::Store, format!("the stored root is damaged: {error}"))
        })
    }

    /// Reads the authority from the book again before it is used next.
    pub fn reread(&self) {
        self.authority.store(None);
    }

    /// The authority in force, read, made or replaced as needed.
    ///
    /// Dropping the future leaves either the stored authority or none: it is stored in one piece
    /// before anything is signed with it.
    async fn authority(&self) -> Result<Arc<Authority>, Failure> {
        let now = self.options.clock.now();
        if let Some(authority) = self.authority.load_full().filter(|a| a.is_fresh(now)) {
            return Ok(authority);
        }
        let _turn = self
            .turn
            .acquire()
            .await
            .map_err(|_| Failure::new(FailureKind::Lapsed, "the internal CA is closed"))?;
        if let Some(authority) = self.authority.load_full().filter(|a| a.is_fresh(now)) {
            return Ok(authority);
        }
        let stored = self.options.book.get(Shelf::InternalCa, NAME).await?;
        let stored = stored.map(|bytes| Authority::from_bytes(&bytes)).transpose()?;
        let authority = match stored {
            Some(authority) if authority.is_fresh(now) => authority,
            Some(authority) if authority.root_outlives(now.plus(INTERMEDIATE_LIFE)) => {
                let intermediate = self.intermediate(&authority.root, now).await?;
                self.keep(Authority { root: authority.root, intermediate }).await?
            }
            _ => {
                let root = self.fresh_root(now).await?;
                let intermediate = self.intermediate(&root, now).await?;
                self.keep(Authority { root, intermediate }).await?
            }
        };
        let authority = Arc::new(authority);
        self.authority.store(Some(Arc::clone(&authority)));
        Ok(authority)
    }

    async fn keep(&self, authority: Authority) -> Result<Authority, Failure> {
        let bytes = authority.to_bytes()?;
        self.options.book.put(Shelf::InternalCa, NAME, bytes).await?;
        Ok(authority)
    }

    async fn fresh_root(&self, now: Timestamp) -> Result<Member, Failure> {
        let key = self.options.keys.generate(KeyAlgorithm::P256, KeyUsage::InternalCa).await?;
        let machine = match &self.options.machine {
            Some(machine) if !machine.is_empty() => machine.chars().take(40).collect(),
            _ => key.id.to_hex().chars().take(8).collect::<String>(),
        };
        let name = format!("keyward internal CA {machine}");
        let signing = Recorder::wrap(Arc::clone(&self.options.signing));
        on_blocking_thread(move || {
            Member::root(name, key, now.minus(BACKDATED), now.plus(ROOT_LIFE), &signing)
        })
        .await
    }

    async fn intermediate(&self, root: &Member, now: Timestamp) -> Result<Member, Failure> {
        let key = self.options.keys.generate(KeyAlgorithm::P256, KeyUsage::InternalCa).await?;
        let root = root.clone();
        let signing = Recorder::wrap(Arc::clone(&self.options.signing));
        on_blocking_thread(move || {
            root.intermediate(key, now.minus(BACKDATED), now.plus(INTERMEDIATE_LIFE), &signing)
        })
        .await
    }

    async fn issue(&self, job: Job) -> Result<Issued, Failure> {
        let authority = self.authority().await?;
        let now = self.options.clock.now();
        let signing = Recorder::wrap(Arc::clone(&self.options.signing));
        let chain = on_blocking_thread(move || {
            let leaf = authority.intermediate.leaf(
                job.spec.names(),
                &job.key,
                now.minus(BACKDATED),
                now.plus(LEAF_LIFE),
                &signing,
            )?;
            let chain = vec![leaf, authority.intermediate.certificate.clone()];
            Chain::from_der(chain)
                .map_err(|error| Failure::new(FailureKind::BadCertificate, error.to_string()))
        })
        .await?;
        Ok(Issued { chain, renewal: None })
    }
}

impl CertificateAuthority for InternalCa {
    /// Signs a leaf at once. There is no order, so `progress` is not called.
    fn obtain<'a>(
        &'a self,
        job: Job,
        _progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Issued, Failure>> {
        Box::pin(self.issue(job))
    }

    fn renewal_advice<'a>(
        &'a self,
        _spec: &'a Specification,
        _installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<RenewalAdvice>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    /// Nobody asks this CA for lists of what it revoked, so there are none. What it means here is that
    /// another certificate with another key is served, and the key of this one is deleted.
    fn revoke<'a>(
        &'a self,
        _leaf: &'a [u8],
        _reason: Reason,
    ) -> BoxFuture<'a, Result<Revocation, Failure>> {
        Box::pin(async { Ok(Revocation::Untold) })
    }
}
