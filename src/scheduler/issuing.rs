//! The changes of a certificate that a client asked for: ordered, asked for again, given up, left to run
//! out, and put out of use. Pure: whoever calls stores them, and the store keeps the books by them.

use super::caring;
use super::transition::Change;
use super::transition::entry;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::care::Accept;
use crate::cert::care::Care;
use crate::cert::care::Hosting;
use crate::cert::care::Reason;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::issue::Claim;
use crate::cert::issue::Issue;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::lifecycle::Event;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;

/// A client asks for a certificate, for the first time.
pub(super) fn ordered(spec: Specification, issue: Issue, hosted: bool, who: &str) -> Change {
    let now = issue.since;
    let message = format!("{who} asks for it, as {}; ordered from {}", issue.class, spec.issuer);
    let entries = vec![entry(&spec, now, EntryKind::IssueOrdered, Level::Info, message)];
    let hosting = if hosted {
        Hosting::Hosted { since: now, accept: Accept::default() }
    } else {
        Hosting::Not
    };
    let source = Some(spec.issuer.clone());
    let care = Care { issue: Some(issue), hosting, source, ..Care::default() };
    Change { record: Certificate { care, ..Certificate::wanted(spec) }, entries }
}

/// It asks for the same again, whose order had ended; `None` where that goes on or came to something.
pub(super) fn again(record: &Certificate, issue: &Issue, who: &str) -> Option<Change> {
    if record.claim() != Some(Claim::Refunded) {
        return None;
    }
    let now = issue.since;
    let (phase, _) = record.phase.clone().step(Event::Requested, now);
    let mut changed = Certificate { phase, ..record.clone() };
    changed.care.issue = Some(issue.clone());
    let message = format!("{who} asks for it again; ordered from {}", record.issuer());
    let entries = vec![entry(&record.spec, now, EntryKind::IssueOrdered, Level::Info, message)];
    Some(Change { record: changed, entries })
}

/// The time of an order that came to nothing is over; `None` before that.
pub(super) fn given_up(record: &Certificate, now: Timestamp) -> Option<Change> {
    let issue = record.care.issue.as_ref()?;
    // What is at work ends by itself, and is judged then.
    let at_work = matches!(record.phase, Phase::Ordering { .. });
    if record.claim() != Some(Claim::Reserved) || at_work || issue.give_up > now {
        return None;
    }
    let failure = match record.phase.failure() {
        Some(failure) => failure.clone(),
        None => Failure::new(FailureKind::Lapsed, "it was not issued in time"),
    };
    Some(end(record.clone(), &failure, now))
}

/// What came of an attempt: where the next one would begin when the order is over, it is over now.
pub(super) fn judged(change: Change, now: Timestamp) -> Change {
    let record = &change.record;
    let ends = record.care.issue.as_ref().map(|issue| issue.give_up);
    match (&record.phase, ends) {
        (Phase::Waiting { until, failure, .. }, Some(ends))
            if record.claim() == Some(Claim::Reserved) && *until >= ends =>
        {
            let failure = failure.clone();
            let Change { record, mut entries } = change;
            let ended = end(record, &failure, now);
            // Nothing follows of what the attempt said would.
            entries.retain(|one| one.kind == EntryKind::IssuerLeft);
            entries.extend(ended.entries);
            Change { record: ended.record, entries }
        }
        _ => change,
    }
}

fn end(record: Certificate, failure: &Failure, now: Timestamp) -> Change {
    let failure = failure.clone().with_remedy(Remedy::Intervene);
    let message = format!("halted: not issued in time: {failure}; what was reserved is given back");
    let entries = vec![entry(&record.spec, now, EntryKind::Halted, Level::Error, message)];
    let mut record = Certificate { phase: Phase::Halted { failure, since: now }, ..record };
    record.care.choice.begin_anew();
    Change { record, entries }
}

/// Whether something follows what is issued now: else nobody need be asked when.
pub(super) const fn is_followed(record: &Certificate) -> bool {
    let elsewhere = matches!(record.spec.role, Role::Issued(_));
    !elsewhere || record.care.hosting.accept().is_some()
}

/// What is noted about one whose moment has come, in the place of an attempt.
pub(super) fn passed(record: &Certificate, now: Timestamp) -> Option<Change> {
    let followed = record.is_renewed_here() || !matches!(record.spec.role, Role::Issued(_));
    if followed { given_up(record, now) } else { left(record, now) }
}

/// The usual moment of renewal has come for one that nobody has hosted.
fn left(record: &Certificate, now: Timestamp) -> Option<Change> {
    let end = record.installed.as_ref()?.validity.not_after;
    let keep_until = end.max(now).plus(bounds::RETIREMENT);
    let (phase, _) = record.phase.clone().step(Event::Removed { keep_until }, now);
    let message = format!(
        "it is not hosted: it runs out at {end} and is deleted at {keep_until}; to have it renewed: \
         keyward host {}",
        record.id()
    );
    let told = entry(&record.spec, now, EntryKind::Retired, Level::Info, message);
    Some(Change { record: Certificate { phase, ..record.clone() }, entries: vec![told] })
}

/// Its owner has it hosted after all, before it ran out.
pub(super) fn kept(record: &Certificate, now: Timestamp) -> Phase {
    match (&record.spec.role, &record.installed, &record.phase) {
        (Role::Issued(_), Some(installed), Phase::Retiring { .. })
            if record.care.revoking.is_none()
                && !record.care.is_revoked(&installed.serial)
                && installed.validity.contains(now) =>
        {
            let event = Event::Returned { installed: Some(installed.validity), draw: u32::MAX / 2 };
            record.phase.clone().step(event, now).0
        }
        _ => record.phase.clone(),
    }
}

/// Its owner wants it no more: its CA is told that it is revoked, and nothing follows it. `None` when
/// nothing is installed.
pub(super) fn put_out_of_use(
    record: &Certificate,
    reason: Reason,
    who: &str,
    now: Timestamp,
) -> Option<Change> {
    let end = record.installed.as_ref()?.validity.not_after;
    let mut change = caring::wanted_revoked(record, reason, who, now)?;
    let keep_until = end.max(now).plus(bounds::RETIREMENT);
    change.record.care.hosting = Hosting::Not;
    (change.record.phase, _) = record.phase.clone().step(Event::Removed { keep_until }, now);
    let serial = record.installed.as_ref().map_or("", |installed| installed.serial.as_str());
    let message = format!("{who} wants serial {serial} revoked ({reason}); nothing follows it");
    for told in &mut change.entries {
        told.message.clone_from(&message);
    }
    Some(change)
}

/// A client cancels an order that came to nothing yet.
pub(super) fn withdrawn(record: &Certificate, who: &str, now: Timestamp) -> Entry {
    let message = format!("{who} withdrew the order; what was reserved is given back");
    entry(&record.spec, now, EntryKind::IssueWithdrawn, Level::Info, message)
}
