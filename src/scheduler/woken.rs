//! Imported and onboarded certificates whose moment has come: found by the store, some at a time, and told to
//! their owners, or succeeded where the house sees to them.
//!
//! Nobody holds them in memory, so that a million of them cost the scheduler nothing until then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::issuing;
use super::job::Workshop;
use super::plan;
use super::plan::Step;
use super::plan::Work;
use super::take_over;
use super::transition;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::config::Config;
use crate::store::StoreError;

/// Wakes them.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Those whose moment has come and which nothing came of: their records cannot be read, for
    /// instance. They must not stand in the way of others.
    stuck: BTreeSet<CertificateId>,
    /// Those that the house sees to, and what is to be begun for each.
    due: Vec<(Arc<Certificate>, Work)>,
    /// Whether attempts of a former run were looked for.
    resumed: bool,
    /// When the next one's moment comes.
    pub(super) next: Option<Timestamp>,
}

impl Alarm {
    /// What is to be begun, orders before questions; it is asked for again until it has begun.
    pub(super) fn due(&self) -> impl Iterator<Item = &(Arc<Certificate>, Work)> {
        let all =
            |question| self.due.iter().filter(move |(_, work)| (*work == Work::Check) == question);
        all(false).chain(all(true))
    }

    /// Wakes some of those whose moment has come at `now`. Whether there may be more at once.
    ///
    /// # Errors
    /// [`StoreError`]; what was not changed is found again.
    pub(super) async fn ring(
        &mut self,
        shop: &Workshop,
        config: &Config,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let records = &shop.records;
        if !self.resumed {
            resume(shop, now).await?;
            self.resumed = true;
        }
        let limit = bounds::WOKEN_AT_ONCE + self.stuck.len();
        let packs = shop.keep_books(config, now).await?;
        let (due, next) = records.store().due(now, limit).await?;
        let more = next.is_some_and(|next| next <= now);
        self.next = next.filter(|next| *next > now).into_iter().chain(packs).min();
        self.stuck.retain(|id| due.contains(id));
        self.due.clear();
        let (mut changes, mut acted) = (Vec::new(), false);
        for id in due {
            if self.stuck.contains(&id) {
                continue;
            }
            // Enough for whoever has room for more; the rest comes when it is their turn.
            if self.due.len() >= bounds::allowance::DUE_AT_ONCE {
                break;
            }
            let record = match records.find(id).await {
                Err(error) if error.is_disk() => return Err(error),
                Err(error) => {
                    tracing::error!(cert = %id, %error, "an imported certificate cannot be read");
                    None
                }
                Ok(found) => found,
            };
            if let Some(record) = &record
                && record.revocation_due().is_some_and(|at| at <= now)
            {
                self.due.push((Arc::clone(record), Work::Revoke));
                continue;
            }
            if let Some(record) = record.as_ref().filter(|one| one.order_ended().is_some()) {
                records.remove(id, transition::deleted(record, now)).await?;
                acted = true;
                continue;
            }
            let step = record.as_ref().and_then(|record| plan::woken(record, now));
            match (step, record) {
                (Some(Step::Remind(_) | Step::Order(_)), Some(record)) => {
                    let noted = issuing::passed(&record, now);
                    match noted.or_else(|| take_over::succeeded(&record, config, now)) {
                        Some(change) => changes.push(change),
                        None => {
                            let work = plan::work_of(&record);
                            self.due.push((record, work));
                        }
                    }
                }
                (Some(Step::Check(_)), Some(record)) => {
                    self.due.push((record, Work::Check));
                }
                (Some(Step::Lapse(_)), _) => {
                    let lapsed = |r: &_| Some(issuing::judged(transition::tick(r, now), now));
                    records.change(id, None, lapsed).await?;
                    acted = true;
                }
                (Some(Step::Delete(_)), Some(record)) => {
                    records.remove(id, transition::deleted(&record, now)).await?;
                    if record.shown().is_some() {
                        let revision = record.revision.saturating_add(1);
                        shop.publisher.withdraw(&record.spec, revision);
                    }
                    acted = true;
                }
                _ => drop(self.stuck.insert(id)),
            }
        }
        if !changes.is_empty() {
            acted = true;
            match records.change_all(changes).await {
                // Brought again, or forgotten, in this very moment: the next look sees that.
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        // What waits for room is looked at again when an attempt ends, and what stands behind it then.
        Ok(acted || (more && self.due.is_empty()))
    }
}

/// Takes up attempts of a former run, instead of waiting until their leases lapse.
async fn resume(shop: &Workshop, now: Timestamp) -> Result<(), StoreError> {
    let until = now.plus(bounds::ORDER_LEASE);
    let (soon, _) = shop.records.store().due(until, bounds::WOKEN_AT_ONCE).await?;
    for id in soon {
        let Some(record) = shop.records.find(id).await? else { continue };
        if matches!(record.phase, Phase::Ordering { .. }) {
            let restarted = |r: &_| Some(transition::restarted(r, now));
            shop.records.change(id, None, restarted).await?;
        }
    }
    Ok(())
}
