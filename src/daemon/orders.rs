//! What exists only while the store can be written: who orders certificates, from whom, and who takes
//! names in.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorities::Authorities;
use super::authorities::Means;
use super::guests;
use crate::base::Jitter;
use crate::base::tasks::TaskSet;
use crate::cert::identifier::Identifier;
use crate::config::Config;
use crate::edge::Edge;
use crate::issuer::InternalCa;
use crate::issuer::InternalOptions;
use crate::onboarding::Desk;
use crate::onboarding::guarded;
use crate::scheduler::Parts;
use crate::scheduler::Scheduler;
use crate::scheduler::SchedulerHandle;
use crate::store::Catalog;
use crate::store::Store;
use crate::store::StoreError;
use crate::vault::Vault;

/// What exists only while the store can be written.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) internal: Arc<InternalCa>,
    pub(super) authorities: Arc<Authorities>,
    pub(super) scheduler: SchedulerHandle,
    pub(super) guests: Arc<Desk>,
}

/// Has what is ordered worked at, and hears of names that come of themselves.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn begin_orders(
    store: &Store,
    (catalog, edge): (&Arc<Catalog>, &Arc<Edge>),
    vault: &Vault,
    means: Means,
    (tasks, stop): (&TaskSet, &CancellationToken),
    configs: &watch::Receiver<Arc<Config>>,
) -> Result<Orders, StoreError> {
    let (clock, told) = (Arc::clone(&means.clock), Arc::clone(edge));
    let internal = Arc::new(InternalCa::new(InternalOptions {
        clock: Arc::clone(&clock),
        book: Arc::new(store.clone()),
        keys: Arc::new(vault.clone()),
        signing: Arc::new(vault.clone()),
        machine: machine_name(),
    }));
    let authorities = Arc::new(Authorities::new(means, configs.clone(), Arc::clone(&internal)));
    let (asked, survey) = (Arc::clone(&authorities), guests::survey(configs));
    let parts = Parts {
        store: store.clone(),
        catalog: Arc::clone(catalog),
        audience: Arc::new(move |names: &[Identifier]| told.changed(names)),
        clock: Arc::clone(&clock),
        jitter: Arc::new(Jitter::from_os()),
        authorities: guarded(
            Arc::new(move |name| asked.of(name)),
            Arc::clone(&survey),
            store.clone(),
        ),
        keys: Arc::new(vault.clone()),
        tasks: tasks.clone(),
    };
    let scheduler = Scheduler::start(parts, configs.clone()).await?;
    let parts = (store, &scheduler, edge);
    let guests = guests::begin(parts, &survey, (&clock, tasks), stop);
    Ok(Orders { internal, authorities, scheduler, guests })
}

/// The name of this machine, for the name of its CA.
pub(super) fn machine_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
