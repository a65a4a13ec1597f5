//! Revocation: another certificate with another key is ordered and served first, and then the CA is
//! told that the former one counts no more.
//!
//! What is to be revoked stands in the record from the first moment, so that a kill in between costs
//! a question at most: to a CA that has revoked it already, it is asked again.

use super::caring;
use super::handle::SchedulerHandle;
use super::issuing;
use super::job::Workshop;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::care::Reason;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::lifecycle::Phase;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;
use crate::store::StoreError;

/// Why a certificate is not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is no such certificate.
    #[error("there is no certificate {0}")]
    NotFound(CertificateId),
    /// Nothing is there that could be revoked.
    #[error("it is not issued yet, so there is nothing to revoke")]
    NotIssued,
    /// Another one is on its way already.
    #[error("serial {serial} is being revoked already")]
    AtWork {
        /// Its serial number.
        serial: String,
    },
    /// It was brought from elsewhere.
    #[error("it was imported: have it revoked where it was issued, and import its successor")]
    Imported,
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SchedulerHandle {
    /// Has what is installed replaced under another key, and revoked when the replacement is served.
    /// That this is wanted is durable when it returns. `who` wants it, in words for the journal.
    ///
    /// # Errors
    /// [`RevokeError`].
    pub async fn revoke(
        &self,
        id: CertificateId,
        reason: Reason,
        who: &str,
    ) -> Result<(), RevokeError> {
        let shop = &self.shop;
        let record = shop.records.find(id).await?.ok_or(RevokeError::NotFound(id))?;
        if record.spec.role == Role::Imported {
            return Err(RevokeError::Imported);
        }
        if let Some(revoking) = &record.care.revoking {
            return Err(RevokeError::AtWork { serial: revoking.serial.clone() });
        }
        let installed = record.installed.as_ref().ok_or(RevokeError::NotIssued)?;
        // First, so that no attempt that begins from now on keeps the key.
        let mut keys = vec![installed.key];
        keys.extend(record.phase.in_flight().map(|in_flight| in_flight.key));
        shop.records.store().wear_out(keys, Vec::new()).await?;
        let now = shop.now();
        let wanted = |record: &_| match issuing::is_followed(record) {
            true => caring::wanted_revoked(record, reason, who, now),
            false => issuing::put_out_of_use(record, reason, who, now),
        };
        let noted = shop.change_two(id, wanted).await?;
        noted.ok_or(RevokeError::NotIssued)?;
        crash::point("revocation-noted");
        shop.trusted.store(true, std::sync::atomic::Ordering::Relaxed);
        self.wake();
        Ok(())
    }
}

/// Tells the CA of one certificate that counts no more, and stores its answer.
///
/// # Errors
/// Only when the store refuses.
pub(super) async fn run(shop: &Workshop, id: CertificateId) -> Result<(), StoreError> {
    let Some(record) = shop.records.find(id).await? else { return Ok(()) };
    let Some(revoking) = &record.care.revoking else { return Ok(()) };
    // Its successor is in the copy that a restart serves from, or nobody wants it.
    if !matches!(record.phase, Phase::Retiring { .. }) {
        shop.publisher.caught_up().await;
    }
    let told = match (shop.authorities)(record.revoked_by()) {
        None => {
            let detail = format!("{} is not configured", record.revoked_by());
            Err(Failure::new(FailureKind::Account, detail))
        }
        Some(authority) => {
            let question = authority.revoke(&revoking.leaf, revoking.reason);
            tokio::time::timeout(bounds::CHECK_DEADLINE, question).await.unwrap_or_else(|_| {
                Err(Failure::new(FailureKind::Unreachable, "no answer in time"))
            })
        }
    };
    crash::point("revocation-told");
    let (serial, now, draw) = (&revoking.serial, shop.now(), shop.jitter.draw());
    let stored = match &told {
        Ok(outcome) => {
            tracing::info!(cert = %id, serial, "a certificate is revoked");
            shop.records.change(id, None, |r| caring::revoked(r, serial, *outcome, now)).await
        }
        Err(failure) => {
            tracing::warn!(cert = %id, serial, reason = %failure, "a certificate is not revoked yet");
            let failed = |r: &_| caring::not_revoked(r, serial, failure, draw, now);
            shop.records.change(id, None, failed).await
        }
    };
    match stored {
        // Deleted meanwhile: its time was over.
        Err(StoreError::NotFound { .. }) => Ok(()),
        other => other.map(drop),
    }
}
