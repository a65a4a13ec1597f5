//! When a free certificate takes the place of one that was brought and runs out, and what its owner
//! is told until then. Pure: who is due, the store finds, and `woken` asks it.

use std::time::Duration;

use super::caring;
use super::transition;
use super::transition::Change;
use crate::base::Timestamp;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::config::Config;

/// What is noted about one whose moment of renewal has come; `None` when its successor is to be ordered.
pub fn succeeded(record: &Certificate, config: &Config, now: Timestamp) -> Option<Change> {
    let ours = matches!(record.spec.role, Role::Onboarded | Role::Issued(_));
    if ours || record.care.hosting.accept().is_some() {
        return None;
    }
    let source = source(config, record);
    match (record.care.take_over, take_over_at(config, record)) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(caring::withdrawn(record, now)),
        (None, Some(at)) => Some(caring::announced(record, &source, at.max(now), now)),
        (None, None) => transition::remind(record, now),
    }
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
fn take_over_at(config: &Config, record: &Certificate) -> Option<Timestamp> {
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
