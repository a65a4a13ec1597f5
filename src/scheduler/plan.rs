//! What should be, what is, and the steps from one to the other. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use super::standby;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::lifecycle::Effect;
use crate::cert::lifecycle::Event;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::config::Config;
use crate::config::Site;

/// One thing to be done now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// A new record.
    Add(Specification),
    /// A retiring record is wanted again.
    Return(CertificateId),
    /// A record is not wanted any more; its material is kept until then.
    Remove(CertificateId, Timestamp),
    /// A retired record's time is over.
    Delete(CertificateId),
    /// A lease lapsed without a job.
    Lapse(CertificateId),
    /// An attempt is to begin.
    Order(CertificateId),
    /// Its owner has to bring another.
    Remind(CertificateId),
    /// Its CA is to be told that a former one is revoked.
    Revoke(CertificateId),
    /// The CA is to be asked for its renewal window.
    Check(CertificateId),
}

/// What is at work on a certificate: at most one thing for each (invariant 2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// An attempt at a CA on the network.
    Order,
    /// An attempt at the CA of this machine.
    InternalOrder,
    /// A question for renewal information.
    Check,
    /// A revocation.
    Revoke,
}

/// The certificates at work.
pub type Busy = BTreeMap<CertificateId, Work>;

/// The specifications of a site's own certificates: one, and another where it has two kinds of keys.
pub fn primaries(config: &Config, site: &Site) -> impl Iterator<Item = Specification> {
    let keys = [Some(site.key), site.second_key].into_iter().flatten();
    // Where certificates are brought, none is ordered.
    keys.filter(|_| site.issuer != IssuerName::Imported).map(|key| primary(config, site, key))
}

fn primary(config: &Config, site: &Site, key: KeyAlgorithm) -> Specification {
    own(config, site, &site.issuer, key)
}

fn own(config: &Config, site: &Site, issuer: &IssuerName, key: KeyAlgorithm) -> Specification {
    let profile = config.profile(site, issuer);
    Specification::new(site.names.clone(), issuer.clone(), key, profile, Role::Primary)
}

/// The specifications of the certificates that stand by those, in their order; they would be the site's
/// own if it preferred that CA.
pub fn standbys(config: &Config, site: &Site) -> impl Iterator<Item = Specification> {
    let keys = [Some(site.key), site.second_key].into_iter().flatten();
    let of = |issuer| keys.map(move |key| own(config, site, issuer, key));
    site.standby.as_ref().map(of).into_iter().flatten()
}

/// The specification of the certificate of an onboarded name, under a site as they all are.
pub fn onboarded(config: &Config, site: &Site, name: Identifier) -> Specification {
    let spec = primary(config, site, site.key);
    Specification::new(vec![name], spec.issuer, spec.key, spec.profile, Role::Onboarded)
}

/// The site of whose own certificates one has this specification.
pub fn site_of<'a>(config: &'a Config, spec: &Specification) -> Option<&'a Site> {
    if spec.role == Role::Onboarded {
        return config.onboarding.as_ref().map(|onboarding| &onboarding.site);
    }
    // The names first: a digest for each of ten thousand sites takes its time.
    let mut named = config.sites.iter().filter(|site| spec.names().contains(site.name()));
    named.find(|site| {
        let mut all = primaries(config, site).chain(standbys(config, site));
        all.any(|own| own.id() == spec.id())
    })
}

/// Every certificate that should exist: one for each site and kind of key, and a bridge for each site that has
/// to wait for a public CA and has nothing valid to show meanwhile. `brought` finds what was
/// imported for a name; it is asked only where nothing of `records` will do.
pub fn desired(
    config: &Config,
    records: &[Arc<Certificate>],
    brought: impl Fn(&Identifier) -> Vec<Arc<Served>>,
    now: Timestamp,
) -> Vec<Specification> {
    // Looked up by name, because every site against every record is a square of ten thousand.
    let mut valid: HashMap<_, Vec<&Specification>> = HashMap::new();
    for record in records {
        let good = record.installed.as_ref().is_some_and(|i| i.validity.contains(now));
        if good && record.spec.role != Role::Bridge {
            for name in record.spec.names() {
                valid.entry(name.clone()).or_default().push(&record.spec);
            }
        }
    }
    let mut wanted = Vec::new();
    for site in &config.sites {
        let spec = primary(config, site, site.key);
        let imported = site.issuer == IssuerName::Imported;
        let candidates = spec.names().first().into_iter().flat_map(|name| {
            let exact = valid.get(name);
            let star = name.wildcard().and_then(|star| valid.get(&star));
            exact.into_iter().chain(star).flatten()
        });
        let covers = |found: &&Specification| site.names.iter().all(|name| found.covers(name));
        let is_good =
            |found: &Arc<Served>| found.installed.validity.contains(now) && covers(&&found.spec);
        let waits = (imported || matches!(spec.issuer, IssuerName::Acme(_)))
            && !candidates.into_iter().any(covers)
            && !spec.names().first().is_some_and(|name| brought(name).iter().any(is_good));
        if waits {
            let (names, issuer) = (site.names.clone(), IssuerName::Internal);
            wanted.push(Specification::new(names, issuer, site.key, None, Role::Bridge));
        }
        wanted.extend(primaries(config, site));
    }
    let with = config.sites.iter().filter(|site| site.standby.is_some());
    let pairs: Vec<_> = with.flat_map(|site| standby::pairs(config, site)).collect();
    if !pairs.is_empty() {
        let known: BTreeMap<_, _> = records.iter().map(|record| (record.id(), record)).collect();
        // One that is there stays, whatever becomes of the other.
        let is_wanted = |first: &Specification, second: &Specification| {
            let first = known.get(&first.id()).map(|record| record.as_ref());
            known.contains_key(&second.id()) || standby::is_wanted(first)
        };
        wanted.extend(pairs.into_iter().filter(|(a, b)| is_wanted(a, b)).map(|(_, b)| b));
    }
    wanted
}

/// The steps to be taken at `now` for `records`, which are those that the configuration asks for or
/// did, in their order: records first, then orders at the internal
/// CA, then the other orders with the most pressing first, then questions.
///
/// While `holding` is set no attempt begins and nobody is asked.
pub fn plan(
    desired: &[Specification],
    records: &[Arc<Certificate>],
    busy: &Busy,
    holding: bool,
    now: Timestamp,
) -> Vec<Step> {
    // Each name of a certificate is a digest: made once for each.
    let asked: Vec<_> = desired.iter().map(Specification::id).collect();
    let wanted: BTreeSet<_> = asked.iter().copied().collect();
    let held: Vec<_> = records.iter().map(|record| record.id()).collect();
    let known: BTreeSet<_> = held.iter().copied().collect();
    let mut steps = Vec::new();
    let mut added = BTreeSet::new();
    for (spec, id) in desired.iter().zip(asked) {
        if !known.contains(&id) && added.insert(id) {
            steps.push(Step::Add(spec.clone()));
        }
    }
    let (mut orders, mut checks) = (Vec::new(), Vec::new());
    let mut revocations = Vec::new();
    for (record, id) in records.iter().zip(held) {
        let retiring = matches!(record.phase, Phase::Retiring { .. });
        match (wanted.contains(&id), retiring) {
            (true, true) => steps.push(Step::Return(id)),
            (false, false) => steps.push(Step::Remove(id, now.plus(keep(record)))),
            _ if busy.contains_key(&id) => {}
            _ if record.revocation_due().is_some_and(|at| at <= now) => revocations.push(id),
            _ => match woken(record, now) {
                Some(Step::Order(_)) => orders.push(record),
                Some(Step::Check(_)) => checks.push(id),
                other => steps.extend(other),
            },
        }
    }
    if !holding {
        steps.extend(choose(orders, busy));
        let running = busy.values().filter(|work| **work == Work::Check).count();
        let room = bounds::CHECKS_AT_ONCE.saturating_sub(running);
        steps.extend(checks.into_iter().take(room).map(Step::Check));
        let running = busy.values().filter(|work| **work == Work::Revoke).count();
        let room = bounds::CHECKS_AT_ONCE.saturating_sub(running);
        steps.extend(revocations.into_iter().take(room).map(Step::Revoke));
    }
    steps
}

/// What time alone brings for one record at `now`, if its moment has come.
pub fn woken(record: &Certificate, now: Timestamp) -> Option<Step> {
    record.phase.wake_at(now).filter(|wake| *wake <= now)?;
    let id = record.id();
    let (phase, effects) = record.phase.clone().step(Event::Tick, now);
    match effects.first() {
        Some(Effect::Delete) => Some(Step::Delete(id)),
        Some(Effect::Order) if !record.is_renewed_here() => Some(Step::Remind(id)),
        Some(Effect::Order) => Some(Step::Order(id)),
        Some(Effect::CheckWindow) => Some(Step::Check(id)),
        None => (phase != record.phase).then_some(Step::Lapse(id)),
    }
}

/// The next moment after `now` at which time alone brings a step.
pub fn next_wake(records: &[Arc<Certificate>], now: Timestamp) -> Option<Timestamp> {
    let wakes = records.iter().filter_map(|record| record.phase.wake_at(now));
    let wakes = wakes.chain(records.iter().filter_map(|record| record.revocation_due()));
    let wakes = wakes.chain(records.iter().flat_map(|record| standby::wakes(record)));
    wakes.filter(|wake| *wake > now).min()
}

/// As many orders as there is room for.
fn choose(mut due: Vec<&Arc<Certificate>>, busy: &Busy) -> Vec<Step> {
    due.sort_by_key(|record| {
        let internal = record.spec.issuer == IssuerName::Internal;
        let expires = record.installed.as_ref().map(|installed| installed.validity.not_after);
        // `None` sorts first: a site without a certificate is the most pressing. What stands by has time.
        (Reverse(internal), record.stands_back(), expires, record.id())
    });
    let count = |wanted: Work| busy.values().filter(|work| **work == wanted).count();
    let mut internal = bounds::INTERNAL_ORDERS_AT_ONCE.saturating_sub(count(Work::InternalOrder));
    let mut others = bounds::ORDERS_AT_ONCE.saturating_sub(count(Work::Order));
    let mut steps = Vec::new();
    for record in due {
        let room = match work_of(record) {
            Work::InternalOrder => &mut internal,
            _ => &mut others,
        };
        if let Some(left) = room.checked_sub(1) {
            *room = left;
            steps.push(Step::Order(record.id()));
        }
    }
    steps
}

/// What an attempt for `record` counts as.
pub fn work_of(record: &Certificate) -> Work {
    match record.spec.issuer {
        IssuerName::Internal => Work::InternalOrder,
        IssuerName::Acme(_) | IssuerName::Imported => Work::Order,
    }
}

const fn keep(record: &Certificate) -> std::time::Duration {
    match record.spec.role {
        Role::Primary | Role::Imported | Role::Onboarded | Role::Issued(_) => bounds::RETIREMENT,
        Role::Bridge => bounds::BRIDGE_RETIREMENT,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
