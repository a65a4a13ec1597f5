//! Certificates of onboarded names: wanted from the moment at which the name is taken in, gone with
//! it.
//!
//! Nobody holds them in memory; the store wakes them, as it does imported ones. Which names are
//! taken in is decided elsewhere.

use std::sync::atomic::Ordering;

use super::handle::SchedulerHandle;
use super::plan;
use super::transition::entry;
use crate::cert::guest::Guest;
use crate::cert::identifier::DnsName;
use crate::cert::identifier::Identifier;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::config::Config;
use crate::config::Onboarding;
use crate::store::StoreError;

/// Why a name is not offboarded.
#[derive(Debug, thiserror::Error)]
pub enum OffboardError {
    /// It was not onboarded.
    #[error("{0} is not onboarded")]
    NotFound(String),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SchedulerHandle {
    /// Whether a certificate is shown to handshakes.
    pub fn shows(&self, id: CertificateId) -> bool {
        self.shop.publisher.shows(id)
    }

    /// Takes a name in, for `who` in words for the journal; that it is wanted is durable when this
    /// returns, and its certificate is ordered from then on. Returns the certificate, and whether the
    /// name was not there before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn onboard(
        &self,
        config: &Config,
        onboarding: &Onboarding,
        name: &DnsName,
        origin: Option<String>,
        (who, by_hand): (&str, bool),
    ) -> Result<(CertificateId, bool), StoreError> {
        let shop = &self.shop;
        let spec = plan::onboarded(config, &onboarding.site, Identifier::Dns(name.clone()));
        let mut record = Certificate::wanted(spec);
        record.care.source = Some(record.spec.issuer.clone());
        let (id, since) = (record.id(), shop.now());
        let guest = Guest { certificate: id, origin, since, by_hand, barred: false };
        let message =
            format!("{who} has it onboarded; a certificate is ordered from {}", record.issuer());
        let entries = vec![entry(&record.spec, since, EntryKind::Onboarded, Level::Info, message)];
        let taken = shop.records.store().take_in(name, guest, record, entries).await;
        let taken = taken.inspect_err(|error| shop.records.note(error))?;
        if by_hand {
            shop.trusted.store(true, Ordering::Relaxed);
        }
        self.wake();
        Ok((id, taken))
    }

    /// Deletes the certificate of an onboarded name, which is not served any more when this returns,
    /// and the name itself, unless it is to be barred from coming back.
    ///
    /// # Errors
    /// [`OffboardError`].
    pub async fn offboard(
        &self,
        name: &DnsName,
        bar: bool,
        who: &str,
    ) -> Result<(), OffboardError> {
        let shop = &self.shop;
        let unknown = || OffboardError::NotFound(name.to_string());
        let guest = shop.records.store().guest(name).await?.ok_or_else(unknown)?;
        let known = shop.records.find(guest.certificate).await?;
        let told = known.map(|record| {
            let message = format!("{who} has it offboarded; its certificate and keys are deleted");
            entry(&record.spec, shop.now(), EntryKind::Offboarded, Level::Info, message)
        });
        let barred = bar.then(|| Guest { since: shop.now(), barred: true, ..guest });
        let gone = shop.records.store().turn_out(name, barred, told.into_iter().collect()).await;
        let gone = gone.inspect_err(|error| shop.records.note(error))?.ok_or_else(unknown)?;
        if let Some(record) = gone {
            shop.publisher.withdraw(&record.spec, record.revision.saturating_add(1));
        }
        self.wake();
        Ok(())
    }
}
