//! Hosting, as owners ask for it: a certificate that is there is renewed with the same specification
//! from then on, whoever issued it.

use std::collections::HashMap;
use std::sync::Arc;

use super::caring;
use super::handle::SchedulerHandle;
use super::issuing;
use super::job::Workshop;
use super::succession;
use super::take_over;
use crate::base::Timestamp;
use crate::cert::care::Accept;
use crate::cert::care::Hosting;
use crate::cert::chain::ChainError;
use crate::cert::lifecycle::Phase;
use crate::cert::likeness::Difference;
use crate::cert::likeness::Likeness;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::config::Config;
use crate::store::StoreError;

/// Why a certificate is not hosted.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such certificate.
    #[error("there is no certificate {0}")]
    NotFound(CertificateId),
    /// Nothing is there yet whose like could follow.
    #[error("it is not issued yet (it is {state}): only what is issued can be hosted")]
    NotIssued {
        /// Where it stands.
        state: &'static str,
    },
    /// It is not good now.
    #[error("it is not valid now: only a valid certificate can be hosted")]
    NotValid,
    /// No site wants it any more.
    #[error("it is being retired: no site in the configuration wants it")]
    Retiring,
    /// It only keeps the port answering.
    #[error("it is a bridge, which goes when the certificate of its site is there")]
    Bridge,
    /// What would follow is another kind of certificate.
    #[error("{difference}")]
    Unlike {
        /// How.
        difference: Difference,
    },
    /// What is there cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SchedulerHandle {
    /// Has a certificate hosted. One that was brought is succeeded by `source`. `who` wants it, in
    /// words for the journal.
    ///
    /// # Errors
    /// [`HostError`]; nothing was changed then.
    pub async fn host(
        &self,
        id: CertificateId,
        accept: Accept,
        source: &IssuerName,
        who: &str,
    ) -> Result<Arc<Certificate>, HostError> {
        let shop = &self.shop;
        let record = shop.records.find(id).await?.ok_or(HostError::NotFound(id))?;
        let now = shop.now();
        if record.spec.role == Role::Bridge {
            return Err(HostError::Bridge);
        }
        if matches!(issuing::kept(&record, now), Phase::Retiring { .. }) {
            return Err(HostError::Retiring);
        }
        let Some(installed) = &record.installed else {
            let state = match record.phase {
                Phase::Ordering { .. } => "ordered",
                Phase::Waiting { .. } | Phase::Halted { .. } => "failed",
                Phase::Due { .. } | Phase::Holding { .. } | Phase::Retiring { .. } => "wanted",
            };
            return Err(HostError::NotIssued { state });
        };
        if !installed.validity.contains(now) {
            return Err(HostError::NotValid);
        }
        if record.spec.role == Role::Imported {
            let present = Likeness::of(&installed.chain)?;
            let agreed = record.care.hosting.accept().unwrap_or_default().or(accept);
            let driven = shop.records.driven();
            if let Some(difference) = succession::foreseen(&driven, &present, source, agreed) {
                return Err(HostError::Unlike { difference });
            }
        }
        let hosted = shop.records.change(id, None, |record| {
            record.installed.as_ref()?;
            let mut change = caring::hosted(record, accept, source, who, now);
            if matches!(record.phase, Phase::Retiring { .. }) {
                change.record.phase = issuing::kept(record, now);
            }
            Some(change)
        });
        let hosted = hosted.await?.ok_or(HostError::NotIssued { state: "wanted" })?;
        self.wake();
        Ok(hosted)
    }

    /// Has a certificate hosted no more. One that was brought is treated as any other of those from
    /// then on, one of a site is renewed as any other.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn unhost(
        &self,
        id: CertificateId,
        who: &str,
    ) -> Result<Arc<Certificate>, HostError> {
        let now = self.shop.now();
        let changed = self.shop.records.change(id, None, |r| Some(caring::unhosted(r, who, now)));
        match changed.await {
            Err(StoreError::NotFound { id }) => Err(HostError::NotFound(id)),
            Err(error) => Err(error.into()),
            Ok(changed) => {
                self.wake();
                changed.ok_or(HostError::NotFound(id))
            }
        }
    }
}

/// The sites of the file whose certificates are hosted, as they were last seen to.
#[derive(Debug, Default)]
pub(super) struct HostedSites {
    seen: Option<Arc<Config>>,
}

impl Workshop {
    /// Has certificates hosted of which the file says so: those of sites as soon as they are issued,
    /// and imported ones when the file changes.
    pub(super) async fn host_sites(
        &self,
        config: &Arc<Config>,
        hosted: &mut HostedSites,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let fresh = !hosted.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, config));
        let sites: HashMap<_, _> = config
            .sites
            .iter()
            .filter(|site| site.keeping.hosted)
            .map(|site| (site.name(), site.keeping.accept))
            .collect();
        if sites.is_empty() {
            hosted.seen = Some(Arc::clone(config));
            return Ok(());
        }
        let mut found = Vec::new();
        for record in self.records.driven() {
            let named = record.spec.names().iter().find_map(|name| sites.get(name));
            if let (Some(accept), Role::Primary) = (named, record.spec.role) {
                found.push((record, *accept));
            }
        }
        if fresh {
            for (name, accept) in &sites {
                for served in self.publisher.brought(name) {
                    let record = self.records.find(served.id).await?;
                    found.extend(record.map(|record| (record, *accept)));
                }
            }
        }
        for (record, accept) in found {
            let asked = record.care.hosting == Hosting::Not
                || (fresh
                    && record
                        .care
                        .hosting
                        .accept()
                        .is_some_and(|agreed| agreed.or(accept) != agreed));
            let issued = record.installed.as_ref().is_some_and(|one| one.validity.contains(now));
            if !asked || !issued || matches!(record.phase, Phase::Retiring { .. }) {
                continue;
            }
            let source = take_over::source(config, &record);
            let hosted = |r: &_| Some(caring::hosted(r, accept, &source, "the configuration", now));
            self.records.change(record.id(), None, hosted).await?;
        }
        hosted.seen = Some(Arc::clone(config));
        Ok(())
    }
}
