//! Two certificates of a site, between the socket and the scheduler.

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Selector;
use crate::admin::view;
use crate::admin::wire::CertificateView;
use crate::admin::wire::standby::SwitchedView;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::scheduler::SwitchError;

impl Residence {
    /// Has the other one of two certificates served, for each kind of key of the site.
    pub(super) async fn serve_other(
        &self,
        selector: &Selector,
        back: bool,
        caller: Caller,
    ) -> Result<SwitchedView, HouseError> {
        // A site may have one for each kind of key: they are switched together, so either means both.
        let meant: Vec<_> = match self.candidates(selector, &caller).await? {
            found if matches!(selector, Selector::Id(_)) => found,
            found => found.into_iter().filter(|one| one.care.standby.is_some()).collect(),
        };
        let meant = match meant.first() {
            Some(first) if meant.iter().all(|one| one.spec.names() == first.spec.names()) => {
                first.as_ref().clone()
            }
            _ => self.chosen(selector, &caller).await?,
        };
        let scheduler = &self.orders()?.scheduler;
        let wanted = |one: &Certificate| !matches!(one.phase, Phase::Retiring { .. });
        let mut all = scheduler.driven();
        all.retain(|one| one.spec.names() == meant.spec.names() && wanted(one));
        let ids: Vec<_> = all.iter().map(|one| one.id()).collect();
        let done =
            scheduler.switch(&ids, back, &caller.told).await.map_err(|error| match error {
                SwitchError::Store(error) => unavailable(&error),
                other => refused(format!("{selector} is served as before: {other}")),
            })?;
        let now = self.clock.now();
        let served = done.pairs.iter().map(|[first, second]| {
            let (shown, other) =
                if first.stands_back() { (second, first) } else { (first, second) };
            view::of_two(shown, Some(other.as_ref()), now)
        });
        Ok(SwitchedView { changed: done.changed, served: served.collect() })
    }

    /// A certificate as it is, with the other one beside it.
    pub(super) fn with_other(&self, record: &Certificate) -> CertificateView {
        let beside = record.care.standby.as_ref().map(|standby| standby.beside);
        let all =
            self.orders().ok().map(|orders| orders.scheduler.driven()).filter(|_| beside.is_some());
        let other = all.and_then(|all| all.into_iter().find(|one| Some(one.id()) == beside));
        view::of_two(record, other.as_deref(), self.clock.now())
    }
}
