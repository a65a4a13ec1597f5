//! The changes of a record that an attempt and its surroundings bring about, each with the
//! journal entries that tell of it. Pure: whoever calls stores both in one transaction.

use std::time::Duration;

use super::budget::Novelty;
use super::caring;
use super::giving_way;
use super::giving_way::Verdict;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::care::Care;
use crate::cert::care::Hosting;
use crate::cert::choice::Choice;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyId;
use crate::cert::ladder;
use crate::cert::lifecycle::Event;
use crate::cert::lifecycle::FIRST;
use crate::cert::lifecycle::InFlight;
use crate::cert::lifecycle::Phase;
use crate::cert::ports::RenewalAdvice;
use crate::cert::record::Certificate;
use crate::cert::record::Installed;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;

/// A record as it should become, and what to tell about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The record, with the revision it was read at.
    pub record: Certificate,
    /// For the journal.
    pub entries: Vec<Entry>,
}

/// Takes a lease on a record whose time has come, and says how many attempts failed before;
/// `None` when it may not be leased.
pub fn lease(record: &Certificate, now: Timestamp) -> Option<(Change, u32)> {
    let deadline = now.plus(bounds::ORDER_LEASE);
    // An attempt that is at work elsewhere is not ended here: only a tick may do that.
    if matches!(record.phase, Phase::Ordering { .. }) {
        return None;
    }
    let (phase, _) = record.phase.clone().step(Event::Tick, now);
    let (phase, _) = phase.step(Event::Leased { deadline }, now);
    let Phase::Ordering { attempt, ref in_flight, .. } = phase else { return None };
    let (kind, message) = match in_flight {
        Some(InFlight { order: Some(_), .. }) => {
            (EntryKind::OrderResumed, format!("asking the order at {} again", record.issuer()))
        }
        _ => (EntryKind::Ordering, format!("ordering from {}", record.issuer())),
    };
    // A look at what is known to be in vain is nothing to tell.
    let watched = record.phase.failure().is_some_and(|failure| failure.kind.is_watched());
    let told = (!watched).then(|| entry(&record.spec, now, kind, Level::Info, message));
    let mut changed = Certificate { phase: phase.clone(), ..record.clone() };
    if attempt == 0 && in_flight.is_none() && record.care.choice.asked.is_none() {
        // Whoever gave none at the last renewal may give one at this.
        changed.care.choice.begin_anew();
    }
    Some((Change { record: changed, entries: told.into_iter().collect() }, attempt))
}

/// The job's key is stored in this very transaction.
pub fn key_stored(record: &Certificate, key: KeyId, now: Timestamp) -> Change {
    quiet(record, Event::KeyStored(key), now)
}

/// The key of this issuance was worn out since it was stored.
pub fn key_dropped(record: &Certificate, now: Timestamp) -> Change {
    quiet(record, Event::KeyDropped, now)
}

/// The entry that goes with the wish for a new key.
pub fn key_unwanted(record: &Certificate, who: &str, now: Timestamp) -> Entry {
    let message = format!("{who} wants another key, from the next renewal on");
    entry(&record.spec, now, EntryKind::Requested, Level::Info, message)
}

/// The CA opened an order, which is `novelty` to it.
pub fn order_opened(record: &Certificate, url: &str, novelty: Novelty, now: Timestamp) -> Change {
    let message = format!("{} opened an order{}", record.issuer(), novelty.in_words());
    let told = entry(&record.spec, now, EntryKind::OrderOpened, Level::Info, message);
    let mut change = quiet(record, Event::OrderOpened(url.to_owned()), now);
    change.entries.push(told);
    change
}

/// The stored order is of no use any more.
pub fn order_lost(record: &Certificate, now: Timestamp) -> Change {
    quiet(record, Event::OrderLost, now)
}

/// The order failed with these proofs; the attempt goes on by other challenges. The entry is one
/// of a failure, so that a budget that is rebuilt from the journal counts it.
pub fn challenge_failed(record: &Certificate, failures: &[Failure], now: Timestamp) -> Change {
    let mut change = order_lost(record, now);
    if let Some((first, others)) = failures.split_first() {
        let more = match others.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let message = format!("{first}{more}; going on with another challenge");
        let (kind, level) = (EntryKind::Failed, Level::Warning);
        change.entries.push(entry(&record.spec, now, kind, level, message));
    }
    change
}

/// The certificate arrived: chain, key, phase and journal change together (invariant 4).
///
/// `None` when the record is not being ordered any more: the site left, or the lease lapsed; and when
/// the key is that of a certificate whose revocation somebody wants since the attempt began.
pub fn install(
    record: &Certificate,
    installed: Installed,
    advice: Option<RenewalAdvice>,
    draw: u32,
    now: Timestamp,
) -> Option<Change> {
    let Phase::Ordering { .. } = record.phase else { return None };
    if caring::forbids(record, installed.key) {
        return None;
    }
    let event = Event::Installed {
        validity: installed.validity,
        window: advice.and_then(|advice| advice.window),
        recheck_at: advice.map(|advice| advice.recheck_at),
        draw,
    };
    let (phase, _) = record.phase.clone().step(event, now);
    let renewal = match &phase {
        Phase::Holding { renew_at, .. } => format!(", to be renewed at {renew_at}"),
        _ => String::new(),
    };
    let message = format!(
        "installed serial {} from {}, valid until {}{renewal}",
        installed.serial,
        record.issuer(),
        installed.validity.not_after,
    );
    let entries = vec![entry(&record.spec, now, EntryKind::Installed, Level::Info, message)];
    let mut record = Certificate { phase, installed: Some(installed), ..record.clone() };
    let (issuer, first) = (record.issuer().clone(), record.first_issuer().clone());
    record.care.choice.settle(&issuer, &first);
    Some(Change { record, entries })
}

/// The attempt failed as the one before did, and nobody had asked for another.
pub fn fail_again(
    record: &Certificate,
    failure: &Failure,
    list: &[IssuerName],
    draw: u32,
    now: Timestamp,
) -> Change {
    let mut change = fail(record, failure, list, draw, now);
    change.entries.retain(|one| !matches!(one.kind, EntryKind::Failed | EntryKind::Astray));
    change
}

/// The attempt failed at one of `list`, the CAs in order of preference.
pub fn fail(
    record: &Certificate,
    failure: &Failure,
    list: &[IssuerName],
    draw: u32,
    now: Timestamp,
) -> Change {
    if failure.kind == FailureKind::Unlike {
        // What follows is what follows any that was brought: its owner is told, or it is taken over.
        let event = Event::Failed { failure: failure.clone(), draw };
        let (phase, _) = record.phase.clone().step(event, now);
        let (phase, _) = phase.step(Event::Changed, now);
        return caring::ended(&Certificate { phase, ..record.clone() }, &failure.to_string(), now);
    }
    let mut change = failed(record, failure, draw, now);
    let mut choice = record.care.choice.clone();
    let whose = (record.issuer(), list);
    let installed = record.installed.as_ref().map(|one| one.validity);
    let installed = installed.filter(|validity| validity.contains(now));
    let failures = match record.phase {
        Phase::Ordering { attempt, .. } => attempt.saturating_add(1),
        _ => 1,
    };
    let wait = hurried(now.plus(ladder::wait(failures, draw)), record.installed.as_ref(), now);
    match giving_way::judge(&mut choice, failure, whose, installed, wait.since(now), now) {
        Verdict::Stay => change.record.care.choice = choice,
        Verdict::GiveUp => {
            // Whatever one of them said last: no other is left to be waited for.
            let failure = failure.clone().with_remedy(Remedy::Intervene);
            change = failed(record, &failure, draw, now);
            choice.begin_anew();
            change.record.care.choice = choice;
        }
        Verdict::Leave { to, at, forgiven } => {
            divert(record, &mut change, (to, at, forgiven), (choice, failure), now);
        }
    }
    change
}

/// The next attempt of a certificate that failed is made at another CA; `change` is what came of the
/// failure alone.
fn divert(
    record: &Certificate,
    change: &mut Change,
    (to, until, forgiven): (IssuerName, Timestamp, u32),
    (mut choice, failure): (Choice, &Failure),
    now: Timestamp,
) {
    let Phase::Ordering { attempt, .. } = record.phase else { return };
    let attempt = attempt.saturating_add(1).saturating_sub(forgiven);
    let event = Event::Diverted { attempt, until, failure: failure.clone() };
    let (phase, _) = record.phase.clone().step(event, now);
    change.record.phase = phase;
    let first = record.first_issuer();
    let issuer = record.issuer();
    let told = if to == *issuer {
        format!("{issuer} gives none: {failure}; it is asked again at {until}")
    } else {
        format!(
            "{issuer} gives none: {failure}; {to} is asked at {until}, and {first} first again at the next renewal"
        )
    };
    choice.asked = (to != *first).then_some(to);
    change.record.care.choice = choice;
    change.entries = vec![
        entry(&record.spec, now, EntryKind::Failed, Level::Warning, failure.to_string()),
        entry(&record.spec, now, EntryKind::IssuerLeft, Level::Warning, told),
    ];
}

fn failed(record: &Certificate, failure: &Failure, draw: u32, now: Timestamp) -> Change {
    let mut phase = record.phase.clone();
    // What the CA sent for this order is wrong, or the order is gone: asking it again would
    // bring the same.
    if matches!(failure.kind, FailureKind::OrderLost | FailureKind::BadCertificate) {
        (phase, _) = phase.step(Event::OrderLost, now);
    }
    let (phase, _) = phase.step(Event::Failed { failure: failure.clone(), draw }, now);
    let phase = hurry(phase, record.installed.as_ref(), now);
    let told = match &phase {
        Phase::Waiting { until, attempt, .. } => {
            let message = format!("attempt {attempt} failed: {failure}; next at {until}");
            let astray = failure.kind == FailureKind::Astray;
            let kind = if astray { EntryKind::Astray } else { EntryKind::Failed };
            Some((kind, Level::Warning, message))
        }
        Phase::Halted { .. } => {
            let message = format!("halted: {failure}; {}", failure.kind.hint());
            Some((EntryKind::Halted, Level::Error, message))
        }
        _ => None,
    };
    let entries = told
        .into_iter()
        .map(|(kind, level, message)| entry(&record.spec, now, kind, level, message))
        .collect();
    let mut record = Certificate { phase, ..record.clone() };
    if failure.kind == FailureKind::AlreadyReplaced {
        // Every further order that names it would be refused. Forgotten in the record and not in
        // the phase, so that neither another failure nor a crash brings it back.
        if let Some(installed) = &mut record.installed {
            installed.ari_id = None;
        }
    }
    Change { record, entries }
}

/// A wait of the ladder, shortened as far as the certificate cannot wait. A moment the CA named stands.
fn hurry(phase: Phase, installed: Option<&Installed>, now: Timestamp) -> Phase {
    match phase {
        Phase::Waiting { attempt, until, failure, in_flight }
            if failure.remedy == Remedy::Retry =>
        {
            let until = hurried(until, installed, now);
            Phase::Waiting { attempt, until, failure, in_flight }
        }
        other => other,
    }
}

/// `until`, or when an eighth of what is left of the certificate is over: a day between attempts is too
/// long for one that lasts six. The ladder stands once the certificate has run out: more attempts than
/// that would exhaust the CA's patience with a name that cannot be proven.
fn hurried(until: Timestamp, installed: Option<&Installed>, now: Timestamp) -> Timestamp {
    let left = installed.map_or(Duration::ZERO, |one| one.validity.not_after.since(now));
    if left.is_zero() { until } else { until.min(now.plus((left / 8).max(LEAST_HURRY))) }
}

/// However little is left: two attempts an hour stay below what a CA admits of failures.
const LEAST_HURRY: Duration = Duration::from_secs(1800);

/// The CA was asked for its renewal window; `recheck_at` is when to ask again, if ever.
pub fn window_checked(
    record: &Certificate,
    advice: Option<RenewalAdvice>,
    recheck_at: Option<Timestamp>,
    draw: u32,
    now: Timestamp,
) -> Option<Change> {
    let installed = record.installed.as_ref()?;
    let window = advice.and_then(|advice| advice.window);
    let event = Event::WindowChecked { validity: installed.validity, window, recheck_at, draw };
    let mut change = quiet(record, event, now);
    if let (Phase::Holding { window: old, .. }, Phase::Holding { window: new, renew_at, .. }) =
        (&record.phase, &change.record.phase)
        && old != new
    {
        let message = format!(
            "{} wants the renewal between {} and {}; planned for {renew_at}",
            record.issued_by(),
            new.start(),
            new.end(),
        );
        let told = entry(&record.spec, now, EntryKind::WindowMoved, Level::Info, message);
        change.entries.push(told);
    }
    Some(change)
}

/// A certificate was brought from elsewhere, with its key: whatever was being done before, it is
/// held from now on. Chain, key, phase and journal change together (invariant 4).
pub fn brought(
    record: &Certificate,
    spec: &Specification,
    installed: Installed,
    who: &str,
    draw: u32,
    now: Timestamp,
) -> Change {
    let validity = installed.validity;
    let event = Event::Installed { validity, window: None, recheck_at: None, draw };
    // The life of what was brought begins anew.
    let (phase, _) = FIRST.step(Event::Leased { deadline: now }, now);
    let (phase, _) = phase.step(event, now);
    let place = match &record.installed {
        Some(former) => format!(" in the place of serial {}", former.serial),
        None => String::new(),
    };
    let message = format!(
        "{who} brought serial {}, valid until {}{place}",
        installed.serial, validity.not_after,
    );
    let entries = vec![entry(spec, now, EntryKind::Imported, Level::Info, message)];
    let installed = Some(installed);
    // Its owner sees to it again; that it is hosted stays.
    let hosting = record.care.hosting.clone();
    let source = record.care.source.clone().filter(|_| hosting.accept().is_some());
    let care = Care { hosting, source, ..Care::default() };
    let record =
        Certificate { spec: spec.clone(), installed, phase, revision: record.revision, care };
    Change { record, entries }
}

/// The usual moment of renewal has come for a certificate that was brought: only its owner can
/// bring another.
pub fn remind(record: &Certificate, now: Timestamp) -> Option<Change> {
    let (change, _) = lease(record, now)?;
    let detail = match &record.installed {
        Some(installed) => {
            format!("it was imported and runs out at {}", installed.validity.not_after)
        }
        None => "it was imported and is not there any more".to_owned(),
    };
    let failure = match &record.care.hosting {
        Hosting::Ended { difference, .. } => Failure::new(FailureKind::Unlike, difference.clone()),
        _ => Failure::new(FailureKind::Imported, detail),
    };
    // Nobody is asked for anything, so nothing is told of an attempt.
    Some(failed(&change.record, &failure, 0, now))
}

/// The entry that goes with an imported certificate when its owner takes it away.
pub fn forgotten(record: &Certificate, who: &str, now: Timestamp) -> Entry {
    let message = format!("{who} had it deleted, with its key");
    entry(&record.spec, now, EntryKind::Deleted, Level::Info, message)
}

/// Somebody asked for a renewal now.
pub fn request(record: &Certificate, now: Timestamp) -> Change {
    let message = "a renewal was asked for".to_owned();
    let told = entry(&record.spec, now, EntryKind::Requested, Level::Info, message);
    let mut change = quiet(record, Event::Requested, now);
    change.entries.push(told);
    change
}

/// The configuration that failed was changed.
pub fn changed(record: &Certificate, now: Timestamp) -> Change {
    let mut record = record.clone();
    if record.care.choice.asked.is_some() && !matches!(record.phase, Phase::Ordering { .. }) {
        // The list may be another one, and so may be what its first one was left for.
        record.care.choice.begin_anew();
        (record.phase, _) = record.phase.step(Event::Abandoned, now);
    }
    quiet(&record, Event::Changed, now)
}

/// The daemon started.
pub fn restarted(record: &Certificate, now: Timestamp) -> Change {
    quiet(record, Event::Restarted, now)
}

/// Time passed.
pub fn tick(record: &Certificate, now: Timestamp) -> Change {
    let mut change = quiet(record, Event::Tick, now);
    if let (Phase::Ordering { .. }, Phase::Waiting { failure, .. }) =
        (&record.phase, &change.record.phase)
    {
        let (kind, level) = (EntryKind::Failed, Level::Warning);
        let told = entry(&record.spec, now, kind, level, failure.to_string());
        change.entries.push(told);
    }
    change
}

/// A certificate that is wanted and was not before.
pub fn added(spec: Specification, now: Timestamp) -> Change {
    let message = match spec.role {
        Role::Primary => format!("wanted, from {}", spec.issuer),
        Role::Bridge => "wanted, to answer until the site has a certificate".to_owned(),
        Role::Imported => "brought from elsewhere".to_owned(),
        Role::Onboarded => format!("its name leads here; wanted, from {}", spec.issuer),
        Role::Issued(_) => format!("a client asked for it; ordered from {}", spec.issuer),
    };
    let entries = vec![entry(&spec, now, EntryKind::Added, Level::Info, message)];
    Change { record: Certificate::wanted(spec), entries }
}

/// No site wants it any more.
pub fn removed(record: &Certificate, keep_until: Timestamp, now: Timestamp) -> Change {
    let message = format!("no site wants it any more; kept until {keep_until}");
    let told = entry(&record.spec, now, EntryKind::Retired, Level::Info, message);
    let mut change = quiet(record, Event::Removed { keep_until }, now);
    change.entries.push(told);
    change
}

/// A site wants it again.
pub fn returned(record: &Certificate, draw: u32, now: Timestamp) -> Change {
    let installed = record.installed.as_ref().map(|installed| installed.validity);
    let message = "wanted again".to_owned();
    let told = entry(&record.spec, now, EntryKind::Added, Level::Info, message);
    let mut change = quiet(record, Event::Returned { installed, draw }, now);
    change.entries.push(told);
    change
}

/// The entry that goes with the deletion of a record.
pub fn deleted(record: &Certificate, now: Timestamp) -> Entry {
    let message = "deleted, with its keys".to_owned();
    entry(&record.spec, now, EntryKind::Deleted, Level::Info, message)
}

fn quiet(record: &Certificate, event: Event, now: Timestamp) -> Change {
    let (phase, _) = record.phase.clone().step(event, now);
    Change { record: Certificate { phase, ..record.clone() }, entries: Vec::new() }
}

pub(super) fn entry(
    spec: &Specification,
    at: Timestamp,
    kind: EntryKind,
    level: Level,
    message: String,
) -> Entry {
    Entry {
        seq: 0,
        at,
        kind,
        level,
        certificate: Some(spec.id()),
        name: spec.names().first().map(ToString::to_string),
        message,
    }
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
