//! One question to a CA for the renewal window of one certificate (RFC 9773, section 4).

use super::job::Workshop;
use super::transition;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::spec::CertificateId;
use crate::store::StoreError;

/// Asks, and stores the answer. Without an answer the window that stands is kept, and the CA is
/// asked again later; with `renewal_info` off nobody is asked, now or later.
///
/// # Errors
/// Only when the store refuses.
pub(super) async fn run(
    shop: &Workshop,
    id: CertificateId,
    renewal_info: bool,
) -> Result<(), StoreError> {
    let Some(record) = shop.records.get(id) else { return Ok(()) };
    let Some(installed) = record.installed.as_ref() else { return Ok(()) };
    let authority = (shop.authorities)(&record.spec.issuer).filter(|_| renewal_info);
    let advice = match authority {
        None => Ok(None),
        Some(authority) => {
            let question = authority.renewal_advice(&record.spec, installed);
            tokio::time::timeout(bounds::CHECK_DEADLINE, question).await.unwrap_or_else(|_| {
                Err(Failure::new(FailureKind::Unreachable, "no answer in time"))
            })
        }
    };
    let now = shop.now();
    let (advice, recheck_at) = match advice {
        Ok(Some(advice)) => {
            // A moment that is not ahead would have us ask for ever.
            let soonest = now.plus(std::time::Duration::from_secs(60));
            (Some(advice), Some(advice.recheck_at.max(soonest)))
        }
        Ok(None) => (None, None),
        Err(failure) => {
            tracing::info!(
                cert = %id,
                reason = %failure,
                "renewal information is not available, keeping the planned moment"
            );
            (None, Some(now.plus(bounds::CHECK_RETRY)))
        }
    };
    let draw = shop.jitter.draw();
    let serial = &installed.serial;
    let stored = shop.records.change(id, None, |record| {
        // The answer is about the certificate that was asked about, not its successor.
        let same = record.installed.as_ref().is_some_and(|i| i.serial == *serial);
        same.then(|| transition::window_checked(record, advice, recheck_at, draw, now)).flatten()
    });
    stored.await.map(|_record| ())
}
