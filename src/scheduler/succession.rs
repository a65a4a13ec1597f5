//! What follows a certificate that is hosted, or that was brought and runs out: whether its successor
//! may be what will come, and whether a free one may take its place.

use std::sync::Arc;
use std::time::Duration;

use super::caring;
use super::job::Workshop;
use crate::base::Timestamp;
use crate::cert::care::Accept;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::likeness::Difference;
use crate::cert::likeness::Level;
use crate::cert::likeness::Likeness;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::config::Config;

/// What there is, if its successor has to be like it, and that is possible as far as can be foreseen.
pub(super) fn like(
    shop: &Workshop,
    record: &Certificate,
    issuer: &IssuerName,
) -> Result<Option<Likeness>, Failure> {
    let (Some(accept), Some(installed)) = (record.care.hosting.accept(), &record.installed) else {
        return Ok(None);
    };
    let present = Likeness::of(&installed.chain)
        .map_err(|error| Failure::new(FailureKind::BadCertificate, error.to_string()))?;
    // A site is renewed whatever comes; for what was brought, no order is opened in vain.
    if record.spec.role == Role::Imported
        && let Some(difference) = foreseen(&shop.records.driven(), &present, issuer, accept)
    {
        return Err(Failure::new(FailureKind::Unlike, difference.to_string()));
    }
    Ok(Some(present))
}

/// The difference between what there is and what `issuer` would issue for the same names, as far as
/// that can be known: what it issued for others tells its name.
pub(super) fn foreseen(
    records: &[Arc<Certificate>],
    present: &Likeness,
    issuer: &IssuerName,
    accept: Accept,
) -> Option<Difference> {
    let of_it = records.iter().filter(|record| record.issued_by() == issuer);
    let newest = of_it.filter_map(|record| record.installed.as_ref()).max_by_key(|one| one.at);
    let brand = newest.and_then(|one| Likeness::of(&one.chain).ok()).map(|known| known.brand);
    // What is ordered vouches for the names and nothing else (RFC 8555).
    let coming = Likeness {
        names: present.names.clone(),
        level: Some(Level::Domain),
        brand: brand.unwrap_or_else(|| present.brand.clone()),
    };
    present.difference(&coming, accept)
}

/// The difference of what came, where there is one that nobody agreed to.
pub(super) fn difference(
    record: &Certificate,
    present: Option<&Likeness>,
    chain: &Chain,
) -> Option<Difference> {
    let (present, accept) = (present?, record.care.hosting.accept()?);
    present.difference(&Likeness::of(chain).ok()?, accept)
}

/// What came differs. One that was brought stays as it is; a site is not left without a certificate,
/// so that only its hosting ends.
pub(super) async fn end(
    shop: &Workshop,
    record: &Certificate,
    difference: &Difference,
) -> Result<(), Failure> {
    let told = difference.to_string();
    if record.spec.role == Role::Imported {
        return Err(Failure::new(FailureKind::Unlike, told));
    }
    let now = shop.now();
    let ended = |record: &_| Some(caring::ended(record, &told, now));
    let stored = shop.records.change(record.id(), None, ended).await;
    stored.map(drop).map_err(|error| {
        shop.records.note(&error);
        error.failure()
    })
}

/// Who is asked for what follows a certificate that was brought, in order of preference: those that its
/// site names, else the CA of `[acme]`. One that has to be followed by its like has one CA alone: what
/// another one issues would not be like it.
pub(super) fn successors(config: &Config, record: &Certificate) -> Vec<IssuerName> {
    let sites = config.sites.iter().filter(|site| site.issuer == IssuerName::Imported);
    let mut named = sites.filter(|site| !site.further.is_empty());
    let site = named.find(|site| site.names.iter().any(|name| record.spec.covers(name)));
    let mut list = site.map_or_else(|| vec![config.acme.issuer()], |site| site.further.clone());
    if record.care.hosting.accept().is_some_and(|accept| !accept.issuer) {
        list.truncate(1);
    }
    list
}

/// Who is asked first.
pub fn source(config: &Config, record: &Certificate) -> IssuerName {
    successors(config, record).into_iter().next().unwrap_or_else(|| config.acme.issuer())
}

/// When a free certificate takes the place of one that was brought; `None` where that is forbidden, or
/// could not be.
pub(super) fn take_over_at(config: &Config, record: &Certificate) -> Option<Timestamp> {
    let validity = record.installed.as_ref()?.validity;
    let left = u32::from(config.acme.take_over_left);
    let mut sites = config.sites.iter().filter(|site| site.issuer == IssuerName::Imported);
    let allowed = sites.any(|site| {
        site.keeping.take_over && site.names.iter().any(|name| record.spec.covers(name))
    });
    let names = record.spec.names();
    let ca = config.authority(&source(config, record)).unwrap_or(&config.acme);
    let provable = names.iter().all(|name| {
        ca.challenges.iter().any(|challenge| challenge.can_prove(name))
            && (!name.is_internal() || ca.ca_root.is_some())
    });
    let share: Duration = validity.life() / 100 * left;
    let at = validity.not_after.minus(share).min(validity.last_call());
    (left > 0 && allowed && provable).then_some(at)
}
