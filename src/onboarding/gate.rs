//! A look at each onboarded name before its certificate is ordered or renewed: whether it leads here,
//! and whether the configuration still lets it.
//!
//! One that does not is not forgotten: it is looked at again on the retry ladder, which ends at once a
//! day, and no CA is asked meanwhile. Everything else passes through.

use std::sync::Arc;

use super::policy;
use super::policy::Refusal;
use super::survey::Survey;
use crate::cert::care::Reason;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::DnsName;
use crate::cert::identifier::Identifier;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::Issued;
use crate::cert::ports::Job;
use crate::cert::ports::Progress;
use crate::cert::ports::RenewalAdvice;
use crate::cert::ports::Revocation;
use crate::cert::record::Installed;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::scheduler::Authorities;
use crate::store::Store;

/// The same authorities, none of which is asked for an onboarded name that leads elsewhere.
pub fn guarded(authorities: Authorities, survey: Arc<Survey>, store: Store) -> Authorities {
    Arc::new(move |name| {
        let inner = authorities(name)?;
        let (survey, store) = (Arc::clone(&survey), store.clone());
        Some(Arc::new(Gate { inner, survey, store }) as Arc<dyn CertificateAuthority>)
    })
}

#[derive(Debug)]
struct Gate {
    inner: Arc<dyn CertificateAuthority>,
    survey: Arc<Survey>,
    store: Store,
}

impl Gate {
    async fn admits(&self, name: &DnsName) -> Result<(), Refusal> {
        let (config, taken) = self.survey.present();
        let plan = config.onboarding.as_ref().ok_or(Refusal::Off)?;
        let known = self.store.guest(name).await;
        let known = known.map_err(|error| Refusal::Store(error.to_string()))?;
        let by_hand = known.is_some_and(|guest| guest.by_hand);
        policy::admits(&config, plan, &taken, name, by_hand)?;
        self.survey.leads(plan, name).await
    }
}

impl CertificateAuthority for Gate {
    fn obtain<'a>(
        &'a self,
        job: Job,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Issued, Failure>> {
        Box::pin(async move {
            let guest = match (job.spec.role, job.spec.names()) {
                (Role::Onboarded, [Identifier::Dns(name)]) => Some(name.clone()),
                _ => None,
            };
            if let Some(name) = guest
                && let Err(refusal) = self.admits(&name).await
            {
                let told = Failure::new(FailureKind::Elsewhere, refusal.to_string());
                return Err(told.about(Identifier::Dns(name)));
            }
            let guest = job.spec.role == Role::Onboarded;
            self.inner.obtain(job, progress).await.map_err(|failure| match failure.remedy {
                // Nobody looks after each of very many names: it is tried again, once a day at last.
                Remedy::Intervene if guest => failure.with_remedy(Remedy::Retry),
                _ => failure,
            })
        })
    }

    fn renewal_advice<'a>(
        &'a self,
        spec: &'a Specification,
        installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<RenewalAdvice>, Failure>> {
        self.inner.renewal_advice(spec, installed)
    }

    fn is_revoked<'a>(
        &'a self,
        installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<bool>, Failure>> {
        self.inner.is_revoked(installed)
    }

    fn revoke<'a>(
        &'a self,
        leaf: &'a [u8],
        reason: Reason,
    ) -> BoxFuture<'a, Result<Revocation, Failure>> {
        self.inner.revoke(leaf, reason)
    }
}
