//! What follows a certificate that is hosted: whether its successor may be what will come.

use std::sync::Arc;

use super::caring;
use super::job::Workshop;
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
