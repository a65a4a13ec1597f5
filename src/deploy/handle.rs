//! The public face of the loop: what it needs, and what others may ask of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desired::All;
use super::desired::Key;
use super::reconcile;
use super::world::World;
use crate::base::Jitter;
use crate::base::bounds::deployment::ORDERS;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::TargetName;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::config::Config;

/// What the loop works with.
#[derive(Clone)]
pub struct Means {
    /// The rest of the house.
    pub world: Arc<dyn World>,
    /// The configuration in force.
    pub configs: watch::Receiver<Arc<Config>>,
    /// The number of the newest entry of the journal.
    pub head: watch::Receiver<u64>,
    /// The wall clock.
    pub clock: SharedClock,
    /// Draws for waits.
    pub jitter: Arc<Jitter>,
}

/// The running loop, as others see it. Clones are the same one.
#[derive(Clone)]
pub struct Deployer {
    orders: mpsc::Sender<Order>,
    shown: Arc<Mutex<Shown>>,
}

/// That a certificate is to be at a target, as somebody asks for it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where.
    pub target: TargetName,
    /// Which.
    pub record: Arc<Certificate>,
    /// What it is called by whoever asks.
    pub called: String,
    /// Who asks, in words for the journal.
    pub told: String,
}

/// Why something was not done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DeployError {
    /// It makes no sense now.
    #[error("{0}")]
    Refused(String),
    /// A part of the house is not there.
    #[error("{0}")]
    Unavailable(String),
}

/// What the loop shows of itself.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) all: All,
    /// What the file wants and nobody has.
    pub(super) unmet: Vec<(TargetName, String)>,
}

pub(super) type Answer = oneshot::Sender<Result<Deployment, DeployError>>;

pub(super) enum Order {
    Deploy(Wish, Answer),
    Undeploy(Key, String, Answer),
    Look(Key, Answer),
}

impl Deployer {
    /// Takes up the deployments that were kept, and begins to work.
    pub fn begin(means: Means, tasks: &TaskSet, stop: &CancellationToken) -> Self {
        let (orders, heard) = mpsc::channel(ORDERS);
        let shown = Arc::<Mutex<Shown>>::default();
        reconcile::begin(means, Arc::clone(&shown), heard, tasks, stop);
        Self { orders, shown }
    }

    /// All deployments, by target and certificate.
    pub fn all(&self) -> Vec<Deployment> {
        lock(&self.shown).all.values().cloned().collect()
    }

    /// What the file wants to be at a target, and what no certificate is called.
    pub fn unmet(&self) -> Vec<(TargetName, String)> {
        lock(&self.shown).unmet.clone()
    }

    /// Brings a certificate to a target, from now on and at every renewal; does not wait.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn deploy(&self, wish: Wish) -> Result<Deployment, DeployError> {
        self.ask(|answer| Order::Deploy(wish, answer)).await
    }

    /// Brings it there no more, for `told`. What is there stays there.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn undeploy(
        &self,
        target: TargetName,
        certificate: CertificateId,
        told: String,
    ) -> Result<Deployment, DeployError> {
        self.ask(|answer| Order::Undeploy((target, certificate), told, answer)).await
    }

    /// Looks what is shown, and says what came of it.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn look(
        &self,
        target: TargetName,
        certificate: CertificateId,
    ) -> Result<Deployment, DeployError> {
        self.ask(|answer| Order::Look((target, certificate), answer)).await
    }

    async fn ask(&self, order: impl FnOnce(Answer) -> Order) -> Result<Deployment, DeployError> {
        let ending = || DeployError::Unavailable("the daemon is ending".to_owned());
        let (answer, outcome) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| ending())?;
        outcome.await.map_err(|_| ending())?
    }
}

pub(super) fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
