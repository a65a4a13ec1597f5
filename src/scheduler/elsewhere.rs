//! The key of a certificate that a client asked for by a request of its own: it never was here, and what
//! follows the certificate is for the same.

use super::job::Workshop;
use super::transition;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::ports::JobKey;
use crate::cert::record::Certificate;
use crate::cert::request::ClientRequest;

/// The key in the `request` of a client, once the record says that it is ordered for.
///
/// # Errors
/// When the store refuses, or the record is not wanted any more.
pub(super) async fn key(
    shop: &Workshop,
    record: &Certificate,
    request: &[u8],
) -> Result<JobKey, Failure> {
    // It was read before it was stored, so this is damage.
    let request = ClientRequest::from_der(request).map_err(|error| {
        Failure::new(FailureKind::Store, format!("the stored request: {error}"))
    })?;
    let key = request.key();
    if record.phase.in_flight().is_some_and(|in_flight| in_flight.key == key) {
        return Ok(JobKey::Elsewhere(request));
    }
    let noted = shop.records.change(record.id(), None, |record| {
        let change = transition::key_stored(record, key, shop.now());
        change.record.phase.in_flight().is_some_and(|found| found.key == key).then_some(change)
    });
    match noted.await {
        Ok(Some(_)) => Ok(JobKey::Elsewhere(request)),
        Ok(None) => {
            let told = "the certificate is not wanted any more";
            Err(Failure::new(FailureKind::Lapsed, told))
        }
        Err(error) => {
            shop.records.note(&error);
            Err(error.failure())
        }
    }
}
