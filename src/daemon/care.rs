//! Hosting, revocation and explanations, between the socket and the scheduler.

use std::sync::Arc;

use super::house::Residence;
use super::house::unavailable;
use super::notices;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::Filter;
use crate::admin::HouseError;
use crate::admin::Place;
use crate::admin::Selector;
use crate::admin::find;
use crate::admin::view;
use crate::admin::why;
use crate::admin::wire::CertificateView;
use crate::admin::wire::care::HostedAll;
use crate::admin::wire::care::Refused;
use crate::admin::wire::care::Why;
use crate::cert::care::Accept;
use crate::cert::care::Reason;
use crate::cert::identifier::Identifier;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::scheduler;
use crate::scheduler::HostError;
use crate::scheduler::RevokeError;
use crate::store::Store;

/// Certificates that are looked at for one request to host all.
const AT_ONCE: usize = 250;

/// Entries of the journal that are looked through for one certificate, the newest ones.
const ENTRIES: u64 = 2000;

impl Residence {
    /// Has one certificate hosted.
    pub(super) async fn take_care(
        &self,
        selector: &Selector,
        accept: Accept,
        caller: Caller,
    ) -> Result<CertificateView, HouseError> {
        let record = self.meant(selector, &caller).await?;
        let source = scheduler::source(&self.config.borrow(), &record);
        let scheduler = &self.orders()?.scheduler;
        let hosted = scheduler.host(record.id(), accept, &source, &caller.told).await;
        let hosted = hosted.map_err(|error| not_hosted(selector, error))?;
        Ok(view::certificate(&hosted, self.clock.now()))
    }

    /// Has one certificate hosted no more.
    pub(super) async fn leave_alone(
        &self,
        selector: &Selector,
        caller: Caller,
    ) -> Result<CertificateView, HouseError> {
        let record = self.meant(selector, &caller).await?;
        if record.care.hosting.accept().is_none() {
            return Err(refused(format!("{selector} is not hosted")));
        }
        let config = Arc::clone(&self.config.borrow());
        let by_file = config.sites.iter().find(|site| {
            site.keeping.hosted && site.names.iter().any(|name| record.spec.names().contains(name))
        });
        if let Some(site) = by_file {
            return Err(refused(format!(
                "the configuration has {} hosted: take hosted = true out of its site",
                site.name()
            )));
        }
        let scheduler = &self.orders()?.scheduler;
        let changed = scheduler.unhost(record.id(), &caller.told).await;
        let changed = changed.map_err(|error| not_hosted(selector, error))?;
        Ok(view::certificate(&changed, self.clock.now()))
    }

    /// Has all certificates hosted that qualify, some at a time.
    pub(super) async fn take_care_of_all(
        &self,
        accept: Accept,
        after: Option<Place>,
        caller: Caller,
    ) -> Result<HostedAll, HouseError> {
        let (page, next) = self.page((after, AT_ONCE), &Filter::default(), &caller).await?;
        let scheduler = &self.orders()?.scheduler;
        let now = self.clock.now();
        let config = Arc::clone(&self.config.borrow());
        let mut all = HostedAll { next: next.map(|next| next.to_string()), ..HostedAll::default() };
        for record in page {
            // What only bridges or retires is nobody's certificate.
            if record.spec.role == Role::Bridge || matches!(record.phase, Phase::Retiring { .. }) {
                continue;
            }
            if record.care.hosting.accept().is_some_and(|agreed| agreed.or(accept) == agreed) {
                all.already += 1;
                continue;
            }
            let source = scheduler::source(&config, &record);
            match scheduler.host(record.id(), accept, &source, &caller.told).await {
                Ok(hosted) => all.hosted.push(view::certificate(&hosted, now)),
                Err(HostError::Store(error)) => return Err(unavailable(&error)),
                Err(error) => all.refused.push(Refused {
                    id: record.id().to_string(),
                    name: record.spec.names().first().map(ToString::to_string).unwrap_or_default(),
                    reason: error.to_string(),
                }),
            }
        }
        Ok(all)
    }

    /// Has what is served replaced, and then revoked.
    pub(super) async fn take_back(
        &self,
        selector: &Selector,
        reason: Reason,
        caller: Caller,
    ) -> Result<CertificateView, HouseError> {
        let id = self.chosen(selector, &caller).await?.id();
        let scheduler = &self.orders()?.scheduler;
        scheduler.revoke(id, reason, &caller.told).await.map_err(|error| match error {
            RevokeError::Store(error) => unavailable(&error),
            other => refused(format!("{selector} is not revoked: {other}")),
        })?;
        let record = scheduler.certificate(id).await.map_err(|error| unavailable(&error))?;
        let record = record.ok_or_else(|| refused(format!("certificate {id} was just deleted")))?;
        Ok(view::certificate(&record, self.clock.now()))
    }

    /// Why a certificate is as it is.
    pub(super) async fn explain(
        &self,
        selector: &Selector,
        caller: Caller,
    ) -> Result<Why, HouseError> {
        let record = self.meant(selector, &caller).await?;
        let (scheduler, now) = (&self.orders()?.scheduler, self.clock.now());
        let name = match (selector, record.spec.names().first()) {
            (Selector::Name(name, _), _) => Some(name),
            (Selector::Id(_), first) => first,
        };
        let shown = match name {
            Some(name) => {
                let all = scheduler.covering(name).await.map_err(|error| unavailable(&error))?;
                best(all, name, now)
            }
            None => None,
        };
        let store = self.store()?;
        let head = *store.journal_head().borrow();
        let mut after = head.saturating_sub(ENTRIES);
        let mut entries = Vec::new();
        loop {
            let more = store.journal(after, 500).await.map_err(|error| unavailable(&error))?;
            let Some(last) = more.last() else { break };
            after = last.seq;
            entries.extend(more.into_iter().filter(|entry| entry.certificate == Some(record.id())));
        }
        let entries: Vec<_> = entries.iter().map(view::entry).collect();
        let behind = scheduler.clock_behind();
        let (trouble, damage) = (Store::trouble(store), Store::damage(store));
        let hindrances = notices::hindrances(behind, trouble.as_deref(), damage.as_deref(), now);
        let beside = record.care.standby.as_ref().map(|standby| standby.beside);
        let other = beside.and_then(|id| scheduler.driven().into_iter().find(|one| one.id() == id));
        let around = (shown.as_deref(), other.as_deref());
        Ok(why::explain(&record, around, &entries, &hindrances, now))
    }

    /// The certificate that a name means to its owner: what is served for it, and by an id the one that
    /// has it.
    pub(super) async fn meant(
        &self,
        selector: &Selector,
        caller: &Caller,
    ) -> Result<Certificate, HouseError> {
        let candidates = self.candidates(selector, caller).await?;
        let Selector::Name(name, _) = selector else {
            return find(candidates.iter().map(Arc::as_ref), selector).cloned();
        };
        // A site that has no certificate of its own has an imported one, or a bridge only.
        let config = Arc::clone(&self.config.borrow());
        let brought = config
            .sites
            .iter()
            .any(|site| site.issuer == IssuerName::Imported && site.names.contains(name));
        let own = |one: &&Certificate| !brought || one.spec.role == Role::Imported;
        let all = candidates.iter().map(Arc::as_ref);
        match find(all.clone().filter(own), selector) {
            Err(HouseError::NotFound { .. }) => find(all, selector).cloned(),
            other => other.cloned(),
        }
    }
}

/// What clients are shown for `name`.
fn best(
    all: Vec<Arc<Certificate>>,
    name: &Identifier,
    now: crate::base::Timestamp,
) -> Option<Arc<Certificate>> {
    let ranked = all.into_iter().filter_map(|record| {
        let rank = record.shown()?.rank(&record.spec, name, now);
        Some((rank, record))
    });
    ranked.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, record)| record)
}

fn not_hosted(selector: &Selector, error: HostError) -> HouseError {
    match error {
        HostError::Store(error) => unavailable(&error),
        HostError::Unlike { difference } => {
            let agree = match difference.agreed_by() {
                Some(word) => format!("; if that will do: keyward host {selector} --accept {word}"),
                None => String::new(),
            };
            refused(format!("{selector} cannot be hosted: {difference}{agree}"))
        }
        other => refused(format!("{selector} cannot be hosted: {other}")),
    }
}
