//! The scheduler's public face: what it needs, and what others may ask of it.

use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::budget::Novelty;
use super::driver;
use super::job::Workshop;
use super::publish::Audience;
use super::transition;
use crate::base::Jitter;
use crate::base::Timestamp;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::failure::Failure;
use crate::cert::identifier::Identifier;
use crate::cert::lifecycle::Phase;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::KeySource;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Specification;
use crate::config::Config;
use crate::store::Catalog;
use crate::store::Store;
use crate::store::StoreError;

/// Finds who issues under a name; `None` when nobody does.
pub type Authorities =
    Arc<dyn Fn(&IssuerName) -> Option<Arc<dyn CertificateAuthority>> + Send + Sync>;

/// What the scheduler works with.
#[derive(Clone)]
pub struct Parts {
    /// Where records are kept.
    pub store: Store,
    /// The second copy of what is served, where it is found by name.
    pub catalog: Arc<Catalog>,
    /// Who is told which names are served otherwise from now on.
    pub audience: Audience,
    /// The wall clock.
    pub clock: SharedClock,
    /// Draws for renewal moments and waits.
    pub jitter: Arc<Jitter>,
    /// Who issues.
    pub authorities: Authorities,
    /// Who makes keys.
    pub keys: Arc<dyn KeySource>,
    /// Where tasks run.
    pub tasks: TaskSet,
}

/// The scheduler; only a way to start it.
#[derive(Debug)]
pub struct Scheduler;

/// What others hold of the running scheduler. Clones are the same one.
#[derive(Clone)]
pub struct SchedulerHandle {
    pub(super) shop: Arc<Workshop>,
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) stopped: watch::Receiver<bool>,
    /// Whether it is to stand still, and whether it does.
    pub(super) hold: watch::Sender<bool>,
    pub(super) held: watch::Receiver<bool>,
}

/// Why a renewal cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// There is no such certificate.
    #[error("there is no certificate {0}")]
    NotFound(CertificateId),
    /// No site wants it any more.
    #[error("certificate {0} is being retired: no site in the configuration wants it")]
    Retiring(CertificateId),
    /// It was brought from elsewhere.
    #[error("certificate {0} was imported: import its successor instead")]
    Imported(CertificateId),
    /// A client asked for it, for use elsewhere, and does not have it renewed.
    #[error("certificate {0} is not hosted, so nothing follows it: keyward host {0}")]
    NotHosted(CertificateId),
    /// The store refused to note the request.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Scheduler {
    /// Takes up what the store holds and begins to work. What is installed is published before
    /// anybody on the network is asked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(
        parts: Parts,
        config: watch::Receiver<Arc<Config>>,
    ) -> Result<SchedulerHandle, StoreError> {
        let first = Arc::clone(&config.borrow());
        let handle = driver::start(parts, config).await?;
        // Known before anybody asks. A store that refuses here is asked again in the next turn.
        let now = handle.shop.now();
        if let Err(error) = handle.shop.keep_books(&first, now).await {
            handle.shop.records.note(&error);
        }
        Ok(handle)
    }
}

impl SchedulerHandle {
    /// Changes whenever something else is served.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.shop.publisher.watch()
    }

    /// Every record but the imported ones as it stands, by name.
    pub fn driven(&self) -> Vec<Arc<Certificate>> {
        self.shop.records.driven()
    }

    /// One record as it stands.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn certificate(
        &self,
        id: CertificateId,
    ) -> Result<Option<Arc<Certificate>>, StoreError> {
        self.shop.records.find(id).await
    }

    /// Every record that covers `name`, installed or not.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn covering(&self, name: &Identifier) -> Result<Vec<Arc<Certificate>>, StoreError> {
        let mut found = self.driven();
        found.retain(|record| record.spec.covers(name));
        found.extend(self.brought(name).await?);
        Ok(found)
    }

    /// Every imported record that covers `name`.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn brought(&self, name: &Identifier) -> Result<Vec<Arc<Certificate>>, StoreError> {
        let mut found = Vec::new();
        for served in self.shop.publisher.brought(name) {
            found.extend(self.certificate(served.id).await?);
        }
        Ok(found)
    }

    /// Asks for a renewal now; it has begun or is queued when this returns, and its end stands
    /// in the journal. Asking while an attempt runs changes nothing.
    ///
    /// # Errors
    /// [`RenewError`].
    pub async fn renew(&self, id: CertificateId) -> Result<(), RenewError> {
        let known = self.certificate(id).await?;
        if let Some(record) = known.as_ref().filter(|record| !record.is_renewed_here()) {
            let issued = record.care.issue.is_some();
            return Err(if issued { RenewError::NotHosted(id) } else { RenewError::Imported(id) });
        }
        let mut retiring = false;
        let now = self.shop.now();
        let noted = self.shop.records.change(id, None, |record| {
            retiring = matches!(record.phase, Phase::Retiring { .. });
            (!retiring).then(|| transition::request(record, now))
        });
        match noted.await {
            Ok(_) if retiring => Err(RenewError::Retiring(id)),
            Ok(_) => {
                self.shop.trusted.store(true, Ordering::Relaxed);
                if let Some(record) = known {
                    // A person vouches for it, and may have asked the CA to go on with the name.
                    self.shop.with_budget(|budget| budget.succeeded(&record.spec));
                }
                self.wake();
                Ok(())
            }
            Err(StoreError::NotFound { id }) => Err(RenewError::NotFound(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the CA would admit an order for `spec` now, by the limits it is known to have.
    ///
    /// # Errors
    /// A failure with the moment at which it would.
    pub fn admits(&self, spec: &Specification, novelty: Novelty) -> Result<(), Failure> {
        self.shop.admits(spec, novelty)
    }

    /// The newest moment in the store, while the clock is so far behind it that nothing is
    /// ordered.
    pub fn clock_behind(&self) -> Option<Timestamp> {
        *self.shop.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of the CAs' rate limits is used up, with the next slot, in plain words.
    pub fn budgets(&self) -> Vec<String> {
        let now = self.shop.now();
        self.shop.with_budget(|budget| budget.used_up(now))
    }

    /// Has the scheduler look at everything again, for instance after the clock was moved.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// As [`Self::stop`], until [`Self::go_on`]: what was dropped goes on when its lease has
    /// lapsed.
    pub async fn stand_still(&self) {
        self.hold.send_replace(true);
        self.wake();
        let mut held = self.held.clone();
        // An error means that the driver is gone: it begins nothing either.
        let _ignored = held.wait_for(|held| *held).await;
    }

    /// Goes on after [`Self::stand_still`].
    pub fn go_on(&self) {
        self.hold.send_replace(false);
    }

    /// Begins nothing more, gives running attempts [`crate::base::bounds::JOB_GRACE`], drops
    /// the rest, and returns when none is left. What was dropped goes on at the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut stopped = self.stopped.clone();
        // An error means that the driver is gone, which is what is waited for.
        let _ignored = stopped.wait_for(|stopped| *stopped).await;
    }
}

impl fmt::Debug for SchedulerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerHandle").finish_non_exhaustive()
    }
}
