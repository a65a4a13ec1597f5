//! Which of two certificates of a site is shown, where one of another CA stands by: pure.
//!
//! One stands back from the moment it is wanted, so that nothing of it is ever shown before somebody
//! decides so, and the decision is stored with both in one transaction. When it is made is decided in
//! `standing`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::giving_way;
use super::plan;
use super::transition::Change;
use super::transition::entry;
use crate::base::Timestamp;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Specification;
use crate::cert::standby::Cause;
use crate::cert::standby::Standby;
use crate::config::Config;
use crate::config::Site;

/// The certificate of the preferred CA, and the one that stands by, for each kind of key of `site`.
pub(super) fn pairs(
    config: &Config,
    site: &Site,
) -> impl Iterator<Item = (Specification, Specification)> {
    plan::primaries(config, site).zip(plan::standbys(config, site))
}

/// Whether the certificate that stands by `first` is to be ordered: once there is something to stand by
/// for, or once it is sure that the preferred CA gives none for reasons of its own.
pub(super) fn is_wanted(first: Option<&Certificate>) -> bool {
    let Some(first) = first else { return false };
    let failed = first.phase.failure().is_some_and(giving_way::crosses);
    first.installed.is_some() || failed
}

/// The changes at `now` by which of each pair one is shown and the other one not, each of them to be
/// stored as one. `desired` are the certificates that the configuration asks for.
pub fn settle(
    config: &Config,
    desired: &BTreeSet<CertificateId>,
    records: &[Arc<Certificate>],
    now: Timestamp,
) -> Vec<Vec<Change>> {
    let with = config.sites.iter().filter(|site| site.standby.is_some());
    let pairs: Vec<_> = with.flat_map(|site| pairs(config, site)).collect();
    let mut changes = Vec::new();
    let mut paired = BTreeSet::new();
    if !pairs.is_empty() {
        let known: BTreeMap<_, _> = records.iter().map(|record| (record.id(), record)).collect();
        for (first, second) in pairs {
            let (first, second) = (known.get(&first.id()), known.get(&second.id()));
            if let (Some(first), Some(second)) = (first, second) {
                paired.extend([first.id(), second.id()]);
                let change = if are_paired(first, second) {
                    turn(first, second, now)
                } else {
                    Some(pair(first, second, now))
                };
                changes.extend(change.map(Vec::from));
            }
        }
    }
    for record in records {
        let id = record.id();
        // One that goes is shown no more than before; one that stays is alone from now on.
        if record.care.standby.is_some() && !paired.contains(&id) && desired.contains(&id) {
            changes.push(vec![alone(record)]);
        }
    }
    changes
}

/// Whether the records of both say the same.
fn are_paired(first: &Certificate, second: &Certificate) -> bool {
    let (Some(one), Some(two)) = (&first.care.standby, &second.care.standby) else { return false };
    one.beside == second.id()
        && two.beside == first.id()
        && one.first
        && !two.first
        && one.back != two.back
}

/// The one of the preferred CA is shown, and the other one until there is one.
fn pair(first: &Certificate, second: &Certificate, now: Timestamp) -> [Change; 2] {
    let other = !first.is_good(now) && second.is_good(now);
    let cause = if other { Cause::Missing } else { Cause::Preferred };
    let [mut front, mut back] = place(first, second, !other, &cause, now);
    if other && first.shown().is_some() {
        front.entries.push(told(second, first, &cause, now));
    } else if second.shown().is_some() {
        back.entries.push(told(first, second, &cause, now));
    }
    [front, back]
}

/// Has the other one of two shown at `now`, where that is better for clients.
pub(super) fn turn(
    first: &Certificate,
    second: &Certificate,
    now: Timestamp,
) -> Option<[Change; 2]> {
    let (front, back) = if first.stands_back() { (second, first) } else { (first, second) };
    let cause = better(front, back, now)?;
    let to_first = first.stands_back();
    let [mut one, two] = place(first, second, to_first, &cause, now);
    one.entries.push(told(back, front, &cause, now));
    Some([one, two])
}

/// Why `back` is to be shown in the place of `front`; `None` where it is not.
fn better(front: &Certificate, back: &Certificate, now: Timestamp) -> Option<Cause> {
    if !back.is_good(now) {
        return None;
    }
    let waits = front.care.standby.as_ref().is_some_and(|one| one.cause == Cause::Missing);
    let validity = match &front.installed {
        None => return Some(Cause::Missing),
        Some(_) if waits => return Some(Cause::Preferred),
        Some(installed) => installed.validity,
    };
    if !validity.contains(now) {
        return Some(Cause::Expired);
    }
    if !front.is_good(now) {
        return Some(Cause::Revoked);
    }
    let failing = front.phase.failure().is_some();
    let longer = back.installed.as_ref().is_some_and(|b| b.validity.not_after > validity.not_after);
    (failing && longer && now >= validity.last_call()).then_some(Cause::Expiring)
}

/// Has `first` shown or `second`, as somebody asked for.
pub(super) fn switched(
    first: &Certificate,
    second: &Certificate,
    to_first: bool,
    who: &str,
    now: Timestamp,
) -> [Change; 2] {
    let cause = Cause::Asked(who.to_owned());
    let [mut one, two] = place(first, second, to_first, &cause, now);
    let (front, back) = if to_first { (first, second) } else { (second, first) };
    one.entries.push(told(front, back, &cause, now));
    [one, two]
}

fn place(
    first: &Certificate,
    second: &Certificate,
    to_first: bool,
    cause: &Cause,
    now: Timestamp,
) -> [Change; 2] {
    let stand = |record: &Certificate, beside: CertificateId, first: bool| {
        let mut record = record.clone();
        let (back, cause) = (first != to_first, cause.clone());
        record.care.standby = Some(Standby { beside, first, back, since: now, cause });
        Change { record, entries: Vec::new() }
    };
    [stand(first, second.id(), true), stand(second, first.id(), false)]
}

/// The entry that goes with a switch, about the one that is shown from now on.
fn told(
    front: &Certificate,
    back: &Certificate,
    cause: &Cause,
    now: Timestamp,
) -> crate::cert::journal::Entry {
    let level = match cause {
        Cause::Preferred | Cause::Asked(_) => Level::Info,
        Cause::Missing | Cause::Revoked | Cause::Expired | Cause::Expiring => Level::Warning,
    };
    let serial = |record: &Certificate| match &record.installed {
        Some(installed) => format!("serial {}", installed.serial),
        None => "nothing".to_owned(),
    };
    let message = format!(
        "{} from {} is served in the place of {} from {}, which stands by: {cause}",
        serial(front),
        front.issued_by(),
        serial(back),
        back.issued_by(),
    );
    entry(&front.spec, now, EntryKind::Switched, level, message)
}

/// It is the only one of its site from now on.
fn alone(record: &Certificate) -> Change {
    let mut record = record.clone();
    record.care.standby = None;
    Change { record, entries: Vec::new() }
}

/// When time alone may have the other one shown, in the place of this one.
pub(super) fn wakes(record: &Certificate) -> impl Iterator<Item = Timestamp> {
    let retiring = matches!(record.phase, Phase::Retiring { .. });
    let in_front = record.care.standby.as_ref().is_some_and(|one| !one.back) && !retiring;
    let validity = record.installed.as_ref().map(|installed| installed.validity);
    let moments = validity.filter(|_| in_front).map(|validity| {
        let second = std::time::Duration::from_secs(1);
        [validity.last_call(), validity.not_after.plus(second)]
    });
    moments.into_iter().flatten()
}

#[cfg(test)]
#[path = "standby_tests.rs"]
mod tests;
