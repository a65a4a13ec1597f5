//! Certificates that are brought from elsewhere: taken into the records and published, and taken
//! out again when their owner says so.
//!
//! Nothing here is ordered. When the usual moment of renewal comes, the record says that its
//! owner has to bring a successor.

use super::handle::SchedulerHandle;
use super::transition;
use crate::cert::key::KeyHandle;
use crate::cert::record::Certificate;
use crate::cert::record::Installed;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::store::StoreError;

/// How often a record that comes and goes meanwhile is tried again.
const TRIES: usize = 3;

/// Why a certificate is not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// There is no such certificate.
    #[error("there is no certificate {0}")]
    NotFound(CertificateId),
    /// The configuration asks for it.
    #[error("certificate {0} was not imported: it goes when its site leaves the configuration")]
    NotImported(CertificateId),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SchedulerHandle {
    /// Takes in a certificate that was brought, with its key, in one transaction: beside what is
    /// there, or in the place of the one that was brought for the same names before. It is
    /// published when this returns. `who` brought it, in words for the journal.
    ///
    /// Returns the one whose place it took.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then.
    pub async fn bring(
        &self,
        spec: Specification,
        key: KeyHandle,
        installed: Installed,
        who: &str,
    ) -> Result<Option<Installed>, StoreError> {
        let (id, shop) = (spec.id(), &self.shop);
        let draw = shop.jitter.draw();
        let (mut former, mut revision) = (None, 0);
        for _ in 0..TRIES {
            let now = shop.now();
            if shop.records.find(id).await?.is_none() {
                let record = Certificate::wanted(spec.clone());
                let change = transition::brought(&record, &spec, installed.clone(), who, draw, now);
                match shop.records.add_with_key(change, &key).await {
                    // Somebody else brought it in this very moment.
                    Err(StoreError::Exists { .. }) => continue,
                    other => other?,
                }
                break;
            }
            let changed = shop.records.change(id, Some(&key), |record| {
                former = record.installed.clone();
                let installed = installed.clone();
                Some(transition::brought(record, &spec, installed, who, draw, now))
            });
            match changed.await {
                // Somebody else has just had it forgotten.
                Err(StoreError::NotFound { .. }) => former = None,
                other => {
                    revision = other?.map_or(0, |record| record.revision);
                    break;
                }
            }
        }
        tracing::info!(
            cert = %id,
            name = spec.names().first().map(tracing::field::display),
            serial = installed.serial,
            not_after = %installed.validity.not_after,
            "a certificate was brought"
        );
        // The second copy follows; a crash before it does is made good at the next start.
        shop.publisher.put(Served { id, spec, installed, key }, revision).await?;
        self.wake();
        Ok(former)
    }

    /// Takes an imported certificate out again, with its key. It is not served any more when
    /// this returns.
    ///
    /// # Errors
    /// [`ForgetError`].
    pub async fn forget(&self, id: CertificateId, who: &str) -> Result<Certificate, ForgetError> {
        let shop = &self.shop;
        let record = shop.records.find(id).await?.ok_or(ForgetError::NotFound(id))?;
        if record.spec.role != Role::Imported {
            return Err(ForgetError::NotImported(id));
        }
        let told = transition::forgotten(&record, who, shop.now());
        match shop.records.remove(id, told).await {
            Err(StoreError::NotFound { id }) => return Err(ForgetError::NotFound(id)),
            other => other?,
        }
        shop.publisher.withdraw(&record.spec, record.revision.saturating_add(1));
        self.wake();
        Ok(record.as_ref().clone())
    }
}
