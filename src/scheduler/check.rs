//! One question to a CA for the renewal window of one certificate (RFC 9773, section 4), and a look at
//! its list of revoked ones, once a day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::caring;
use super::job::Workshop;
use super::transition;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::bounds::brought::REVOCATION_LOOK;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::ports::CertificateAuthority;
use crate::cert::record::Certificate;
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
    let Some(record) = shop.records.find(id).await? else { return Ok(()) };
    let Some(installed) = record.installed.as_ref() else { return Ok(()) };
    let authority = authority_of(shop, &record).filter(|_| renewal_info);
    let advice = match authority {
        None => Ok(None),
        Some(authority) => {
            let question = authority.renewal_advice(&record.spec, installed);
            tokio::time::timeout(bounds::CHECK_DEADLINE, question).await.unwrap_or_else(|_| {
                Err(Failure::new(FailureKind::Unreachable, "no answer in time"))
            })
        }
    };
    look_up(shop, &record, authority_of(shop, &record).as_deref()).await?;
    let now = shop.now();
    let (advice, recheck_at) = match advice {
        Ok(Some(advice)) => {
            // A moment that is not ahead would have us ask for ever.
            let soonest = now.plus(std::time::Duration::from_secs(60));
            (Some(advice), Some(advice.recheck_at.max(soonest)))
        }
        Ok(None) => {
            let list = installed.chain.revocation_list();
            (None, list.map(|_| now.plus(REVOCATION_LOOK)))
        }
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

fn authority_of(shop: &Workshop, record: &Certificate) -> Option<Arc<dyn CertificateAuthority>> {
    (shop.authorities)(record.issued_by())
}

/// Looks whether the CA has revoked what is installed. A list that cannot be had changes nothing.
async fn look_up(
    shop: &Workshop,
    record: &Certificate,
    authority: Option<&dyn CertificateAuthority>,
) -> Result<(), StoreError> {
    let (Some(authority), Some(installed)) = (authority, &record.installed) else { return Ok(()) };
    let (id, now) = (record.id(), shop.now());
    // What is known to be revoked is known, and what was looked at today is not looked at again.
    if record.care.is_revoked(&installed.serial) || !shop.looks.is_due(id, now) {
        return Ok(());
    }
    match authority.is_revoked(installed).await {
        Ok(Some(true)) => {
            tracing::warn!(cert = %id, serial = installed.serial, "the CA has revoked a certificate");
            // Whatever was the reason, the key is not used again.
            shop.records.store().wear_out(vec![installed.key], Vec::new()).await?;
            let seen = |r: &_| caring::seen_revoked(r, &installed.serial, now);
            shop.change_two(id, seen).await.map(drop)
        }
        Ok(_) => Ok(()),
        Err(failure) => {
            tracing::info!(cert = %id, reason = %failure, "a list of revoked ones is not available");
            Ok(())
        }
    }
}

/// When the lists of certificates were looked at last; forgotten with the process.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<BTreeMap<CertificateId, Timestamp>>);

impl Looks {
    /// Whether it is time for `id` again, and notes that it is looked at.
    fn is_due(&self, id: CertificateId, now: Timestamp) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone are not kept.
        looks.retain(|_, at| at.plus(REVOCATION_LOOK) > now);
        if looks.contains_key(&id) {
            return false;
        }
        looks.insert(id, now);
        true
    }
}
