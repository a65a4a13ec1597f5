//! New keys because somebody wants them.
//!
//! The note lies with the key that is not to be used again, not with the certificate: whichever
//! renewal comes first heeds it, however often the house is killed in between, and it goes when
//! the key goes.

use std::sync::Arc;

use super::handle::RenewError;
use super::handle::SchedulerHandle;
use super::transition;
use crate::base::bounds;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::lifecycle::Phase;
use crate::cert::ports::Seals;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;
use crate::store::StoreError;

/// So many certificates are told of one by one; more would push everything else out of the
/// journal.
const TOLD_APART: usize = 32;

/// When a certificate gets its new key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// At its next renewal.
    NextRenewal,
    /// A renewal has begun or is queued.
    Now,
    /// An attempt that began before is at work, and may install the key it began with. The
    /// renewal after that makes a new one.
    AtWork,
}

impl SchedulerHandle {
    /// Publishes what is stored where something else is shown, such as a key that was sealed anew,
    /// and waits for the second copy. Returns how many certificates that were.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn publish_stored(&self) -> Result<usize, StoreError> {
        let (shop, mut corrected) = (&self.shop, 0);
        let mut after = None;
        loop {
            let page = shop.publisher.page(after, bounds::master::RESEAL_BATCH)?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            let mut publication = None;
            for id in page {
                let _turn = shop.showing.lock().await;
                let Some((stored, revision)) = shop.records.store().served(id).await? else {
                    continue;
                };
                if shop.publisher.shown(id).is_none_or(|shown| *shown != stored) {
                    publication = Some(shop.publisher.put(stored, revision).await?);
                    corrected += 1;
                }
            }
            // All of them in one transaction.
            if let Some(publication) = publication {
                shop.publisher.copied(publication).await;
            }
        }
        // What others publish meanwhile may wait for a pause to end; what the disk did not take after
        // that is not done.
        shop.publisher.caught_up().await;
        Ok(corrected + usize::from(!shop.publisher.is_flushed()))
    }

    /// Publishes what is stored for a certificate once more; whether there is something.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn publish_again(&self, id: CertificateId) -> Result<bool, StoreError> {
        let shop = &self.shop;
        let turn = shop.showing.lock().await;
        let Some((stored, revision)) = shop.records.store().served(id).await? else {
            return Ok(false);
        };
        let publication = shop.publisher.put(stored, revision).await?;
        drop(turn);
        shop.publisher.copied(publication).await;
        Ok(true)
    }

    /// Whether the second copy has everything that it should, and is not being made.
    pub fn is_copy_whole(&self) -> bool {
        self.shop.publisher.is_whole()
    }

    /// Publishes nothing from now on that `seals` knows as sealed under a former master key; to be
    /// called when the store has nothing of that kind any more. With `None` everything is
    /// published again.
    pub fn guard_copy(&self, seals: Option<Arc<dyn Seals>>) {
        self.shop.publisher.guard(seals);
    }

    /// Deletes the second copy before the present one, which a former master key seals.
    ///
    /// # Errors
    /// [`StoreError`] of the disk.
    pub fn forget_former_copy(&self) -> Result<(), StoreError> {
        self.shop.publisher.forget_former()
    }

    /// Notes that the next renewals of these certificates make new keys, whatever the
    /// configuration says; the note is durable when this returns. With `now` they are renewed at
    /// once. `who` wants it, in words for the journal.
    ///
    /// # Errors
    /// [`RenewError`] of the first certificate that cannot have a new key; nothing was noted then,
    /// unless it was the store that refused a renewal.
    pub async fn rotate_keys(
        &self,
        ids: &[CertificateId],
        now: bool,
        who: &str,
    ) -> Result<Vec<Turn>, RenewError> {
        let shop = &self.shop;
        let (mut keys, mut entries) = (Vec::new(), Vec::new());
        for id in ids {
            let record = shop.records.find(*id).await?.ok_or(RenewError::NotFound(*id))?;
            if record.spec.role == Role::Imported {
                return Err(RenewError::Imported(*id));
            }
            if matches!(record.phase, Phase::Retiring { .. }) {
                return Err(RenewError::Retiring(*id));
            }
            keys.extend(record.installed.as_ref().map(|installed| installed.key));
            keys.extend(record.phase.in_flight().map(|in_flight| in_flight.key));
            entries.push(transition::key_unwanted(&record, who, shop.now()));
        }
        if entries.len() > TOLD_APART {
            let told = format!("{who} wants other keys for {} certificates", entries.len());
            let kind = EntryKind::Requested;
            entries = vec![Entry::about_house(shop.now(), kind, Level::Info, told)];
        }
        shop.records.store().wear_out(keys, entries).await?;
        let mut turns = Vec::with_capacity(ids.len());
        for id in ids {
            // Looked at after the note is there: what begins from now on heeds it.
            let record = shop.records.find(*id).await?.ok_or(RenewError::NotFound(*id))?;
            turns.push(match record.phase {
                _ if !now => Turn::NextRenewal,
                Phase::Ordering { .. } => Turn::AtWork,
                _ => {
                    self.renew(*id).await?;
                    Turn::Now
                }
            });
        }
        Ok(turns)
    }
}
