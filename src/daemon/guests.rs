//! Onboarded names, between the socket, the store and the desk that takes them in.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::view;
use crate::admin::wire::Renewal;
use crate::admin::wire::guests::GuestView;
use crate::admin::wire::guests::Guests;
use crate::admin::wire::guests::OnboardOrder;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::config::Config;
use crate::edge::Edge;
use crate::onboarding::Desk;
use crate::onboarding::Means;
use crate::onboarding::Refusal;
use crate::onboarding::Survey;
use crate::scheduler::OffboardError;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
use crate::store::StoreError;

/// Serves those that were onboarded before, and begins to hear of others.
pub(super) fn begin(
    (store, scheduler, edge): (&Store, &SchedulerHandle, &Arc<Edge>),
    survey: &Arc<Survey>,
    (clock, tasks): (&SharedClock, &TaskSet),
    stop: &CancellationToken,
) -> Arc<Desk> {
    let means = Means {
        clock: Arc::clone(clock),
        store: store.clone(),
        scheduler: scheduler.clone(),
        edge: Arc::clone(edge),
        survey: Arc::clone(survey),
        tasks: tasks.clone(),
    };
    Desk::begin(means, stop)
}

/// What names are held to under the configuration in force.
pub(super) fn survey(configs: &watch::Receiver<Arc<Config>>) -> Arc<Survey> {
    Arc::new(Survey::new(configs.clone()))
}

impl Residence {
    /// Onboards a name, and says which certificate is ordered.
    pub(super) async fn take_guest(
        &self,
        order: OnboardOrder,
        caller: Caller,
    ) -> Result<Renewal, HouseError> {
        let orders = self.orders()?;
        // Read before the order is given, so that nothing that comes of it is missed.
        let after = *self.store()?.journal_head().borrow();
        let taken = orders.guests.onboard(&order.name, order.origin, &caller.told).await;
        let (name, id) = taken.map_err(|refusal| match refusal {
            Refusal::Store(_) => unavailable(&refusal),
            other => refused(format!("{} is not onboarded: {other}", order.name)),
        })?;
        let record = orders.scheduler.certificate(id).await.map_err(|error| unavailable(&error))?;
        let record = record.ok_or_else(|| refused(format!("{name} was just offboarded")))?;
        Ok(Renewal { certificate: view::certificate(&record, self.clock.now()), after })
    }

    /// Offboards a name.
    pub(super) async fn turn_guest_out(
        &self,
        name: &str,
        bar: bool,
        caller: Caller,
    ) -> Result<(), HouseError> {
        let turned = self.orders()?.guests.offboard(name, bar, &caller.told).await;
        turned.map_err(|error| match error {
            OffboardError::NotFound(_) => refused(error.to_string()),
            OffboardError::Store(_) => unavailable(&error),
        })
    }

    /// At most `limit` onboarded names behind `after`.
    pub(super) async fn guests(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Guests, HouseError> {
        let store = self.store()?;
        let failed = |error: StoreError| unavailable(&error);
        let page = store.guests(after, limit.saturating_add(1)).await.map_err(failed)?;
        let more = page.len() > limit;
        let mut names = Vec::with_capacity(page.len());
        for (name, guest) in page.into_iter().take(limit) {
            let record = store.certificate(guest.certificate).await.map_err(failed)?;
            let certificate = record.map(|record| view::certificate(&record, self.clock.now()));
            names.push(GuestView {
                name,
                origin: guest.origin,
                since: guest.since.into(),
                by_hand: guest.by_hand,
                barred: guest.barred,
                certificate,
            });
        }
        let next = names.last().filter(|_| more).map(|last| last.name.clone());
        let total = store.count_guests().await.map_err(failed)?;
        let on = self.config.borrow().onboarding.is_some();
        Ok(Guests { names, next, total, on })
    }
}
