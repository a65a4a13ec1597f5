//! Sites for which a certificate of a second CA stands by: which of the two is shown, and that it is good
//! whenever one of them is.

use keyward_years::base::Timestamp;
use keyward_years::cert::journal::EntryKind;
use keyward_years::cert::record::Certificate;
use keyward_years::cert::spec::Specification;
use keyward_years::scheduler::plan;
use keyward_years::scheduler::standby;

use crate::World;

impl World {
    /// Has the right one of two shown. Whether another one is shown, or will be.
    pub(crate) fn settle(&mut self, desired: &[Specification], now: Timestamp) -> bool {
        let wanted = desired.iter().map(Specification::id).collect();
        let changes = standby::settle(&self.config, &wanted, &self.all(), now);
        let settled = !changes.is_empty();
        for change in changes.into_iter().flatten() {
            let switched = change.entries.iter().filter(|e| e.kind == EntryKind::Switched).count();
            self.switched += u64::try_from(switched).unwrap();
            self.store(change);
        }
        settled
    }

    /// What must hold of two certificates of a site at every moment.
    pub(crate) fn look_at_standbys(&mut self) {
        let truly = Timestamp::from_unix(self.true_time);
        for site in self.config.sites.iter().filter(|site| site.standby.is_some()) {
            let all = plan::primaries(&self.config, site).zip(plan::standbys(&self.config, site));
            for (first, second) in all {
                let first = self.records.get(&first.id());
                let Some(second) = self.records.get(&second.id()) else {
                    assert!(
                        first.is_none_or(|first| !first.stands_back()),
                        "it stands by for nobody"
                    );
                    continue;
                };
                let first = first.unwrap();
                // Just added: nothing of it is there to be shown.
                if second.care.standby.is_none() {
                    assert!(second.installed.is_none(), "it is shown before somebody decided so");
                    continue;
                }
                assert!(first.stands_back() != second.stands_back(), "one of the two, always");
                let shown = if first.stands_back() { second } else { first };
                let any = first.is_good(truly) || second.is_good(truly);
                assert!(!any || shown.is_good(truly), "{}: the wrong one is shown", site.name());
                let valid =
                    shown.installed.as_ref().is_some_and(|one| one.validity.contains(truly));
                // Its owner put one out of use while no CA could be asked, and then the other ran out.
                let put_out = [first, second].into_iter().any(|one| {
                    let there = one.installed.as_ref();
                    there.is_some_and(|one| one.validity.contains(truly)) && !one.is_good(truly)
                });
                assert!(
                    valid || put_out || !self.ready.contains(site.name()),
                    "{} has nothing valid at {truly}\n{}{}",
                    site.name(),
                    self.last_words(first.id()),
                    self.last_words(second.id()),
                );
                if valid && first.installed.is_some() && second.installed.is_some() {
                    self.ready.insert(site.name().clone());
                }
            }
        }
    }

    /// Whether one of two that are kept side by side.
    pub(crate) fn is_one_of_two(&self, record: &Certificate) -> bool {
        plan::site_of(&self.config, &record.spec).is_some_and(|site| site.standby.is_some())
    }
}
