//! Imported certificates whose moment has come: found by the store, some at a time, and told to
//! their owners.
//!
//! Nobody holds them in memory, so that a million of them cost the scheduler nothing until then.

use std::collections::BTreeSet;

use super::job::Workshop;
use super::plan;
use super::plan::Step;
use super::transition;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::spec::CertificateId;
use crate::store::StoreError;

/// Wakes them.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Those whose moment has come and which nothing came of: their records cannot be read, for
    /// instance. They must not stand in the way of others.
    stuck: BTreeSet<CertificateId>,
    /// When the next one's moment comes.
    pub(super) next: Option<Timestamp>,
}

impl Alarm {
    /// Wakes some of those whose moment has come at `now`. Whether there may be more at once.
    ///
    /// # Errors
    /// [`StoreError`]; what was not changed is found again.
    pub(super) async fn ring(
        &mut self,
        shop: &Workshop,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let records = &shop.records;
        let limit = bounds::WOKEN_AT_ONCE + self.stuck.len();
        let (due, next) = records.store().due(now, limit).await?;
        let more = next.is_some_and(|next| next <= now);
        self.next = next.filter(|next| *next > now);
        self.stuck.retain(|id| due.contains(id));
        let (mut reminders, mut acted) = (Vec::new(), false);
        for id in due {
            if self.stuck.contains(&id) {
                continue;
            }
            let record = match records.find(id).await {
                Err(error) if error.is_disk() => return Err(error),
                Err(error) => {
                    tracing::error!(cert = %id, %error, "an imported certificate cannot be read");
                    None
                }
                Ok(found) => found,
            };
            let step = record.as_ref().and_then(|record| plan::woken(record, now));
            match (step, record) {
                (Some(Step::Remind(_)), Some(record)) => {
                    reminders.extend(transition::remind(&record, now));
                }
                (Some(Step::Lapse(_)), _) => {
                    records.change(id, None, |r| Some(transition::tick(r, now))).await?;
                    acted = true;
                }
                (Some(Step::Delete(_)), Some(record)) => {
                    records.remove(id, transition::deleted(&record, now)).await?;
                    shop.publisher.withdraw(&record.spec, record.revision.saturating_add(1));
                    acted = true;
                }
                _ => drop(self.stuck.insert(id)),
            }
        }
        if !reminders.is_empty() {
            acted = true;
            match records.change_all(reminders).await {
                // Brought again, or forgotten, in this very moment: the next look sees that.
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(acted || more)
    }
}
