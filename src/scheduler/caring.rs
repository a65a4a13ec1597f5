//! The changes that hosting, take-over and revocation make to a record, each with the journal
//! entries that tell of it. Pure: whoever calls stores both in one transaction.

use crate::base::Timestamp;
use crate::cert::care::Accept;
use crate::cert::care::Hosting;
use crate::cert::care::Reason;
use crate::cert::care::Revoked;
use crate::cert::care::Revoking;
use crate::cert::care::TakeOver;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyId;
use crate::cert::ladder;
use crate::cert::lifecycle::Event;
use crate::cert::lifecycle::Phase;
use crate::cert::ports::Revocation;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;

use super::transition::Change;
use super::transition::entry;

/// Its owner has it hosted. One that was brought is succeeded by `source` from now on.
pub fn hosted(
    record: &Certificate,
    accept: Accept,
    source: &IssuerName,
    who: &str,
    now: Timestamp,
) -> Change {
    let mut changed = record.clone();
    let accept = match record.care.hosting {
        Hosting::Hosted { accept: agreed, .. } => agreed.or(accept),
        Hosting::Not | Hosting::Ended { .. } => accept,
    };
    changed.care.hosting = Hosting::Hosted { since: now, accept };
    if record.spec.role == Role::Imported {
        changed.care.source = Some(source.clone());
        changed.phase = go_on(&record.phase, now);
    }
    let agreed = match accept.words().as_slice() {
        [] => String::new(),
        words => format!(", and agreed to {}", words.join(" and ")),
    };
    let message = format!("{who} has it hosted{agreed}");
    let entries = vec![entry(&record.spec, now, EntryKind::Hosted, Level::Info, message)];
    Change { record: changed, entries }
}

/// What waited for its owner, or for time to pass after a failure, may begin at once.
fn go_on(phase: &Phase, now: Timestamp) -> Phase {
    match phase.failure().map(|failure| failure.kind) {
        Some(FailureKind::Imported | FailureKind::Unlike) => {
            phase.clone().step(Event::Changed, now).0
        }
        _ => phase.clone(),
    }
}

/// Its owner does not have it hosted any more.
pub(super) fn unhosted(record: &Certificate, who: &str, now: Timestamp) -> Change {
    let mut changed = record.clone();
    changed.care.hosting = Hosting::Not;
    let message = format!("{who} has it hosted no more");
    let entries = vec![entry(&record.spec, now, EntryKind::Unhosted, Level::Info, message)];
    Change { record: changed, entries }
}

/// Its successor would be another kind of certificate.
pub fn ended(record: &Certificate, difference: &str, now: Timestamp) -> Change {
    let mut changed = record.clone();
    changed.care.hosting = Hosting::Ended { since: now, difference: difference.to_owned() };
    let message = format!("not hosted any more: {difference}");
    let entries = vec![entry(&record.spec, now, EntryKind::HostingEnded, Level::Error, message)];
    Change { record: changed, entries }
}

/// One that was brought runs out, and a free one from `source` is ordered at the moment `at`.
pub(super) fn announced(
    record: &Certificate,
    source: &IssuerName,
    at: Timestamp,
    now: Timestamp,
) -> Change {
    let mut changed = record.clone();
    changed.care.take_over = Some(TakeOver { announced: now, at });
    changed.care.source = Some(source.clone());
    if let Some(installed) = &record.installed {
        let event = Event::Deferred { until: at, validity: installed.validity };
        (changed.phase, _) = record.phase.clone().step(event, now);
    }
    let end = match &record.installed {
        Some(installed) => {
            format!("it was imported and runs out at {}", installed.validity.not_after)
        }
        None => "it was imported and is not there any more".to_owned(),
    };
    let message = format!(
        "{end}: from {at} on a free one is ordered from {source} and served in its place; to have it \
         otherwise, import its successor, or set take_over = false for its site"
    );
    let entries = vec![entry(&record.spec, now, EntryKind::TakeOver, Level::Warning, message)];
    Change { record: changed, entries }
}

/// The announced take-over is forbidden since.
pub(super) fn withdrawn(record: &Certificate, now: Timestamp) -> Change {
    let mut changed = record.clone();
    changed.care.take_over = None;
    let message = "no free one takes its place: the configuration forbids it now".to_owned();
    let entries = vec![entry(&record.spec, now, EntryKind::TakeOver, Level::Warning, message)];
    Change { record: changed, entries }
}

/// Somebody wants what is installed revoked: another one is ordered at once, and the CA is told when
/// that is served. `None` when nothing is installed.
pub fn wanted_revoked(
    record: &Certificate,
    reason: Reason,
    who: &str,
    now: Timestamp,
) -> Option<Change> {
    let installed = record.installed.as_ref()?;
    let mut changed = record.clone();
    changed.care.revoking = Some(Revoking {
        serial: installed.serial.clone(),
        leaf: installed.chain.certificates().first()?.clone(),
        reason,
        asked: now,
        attempt: 0,
        next: now,
        detail: None,
    });
    changed.care.choice.revoker = record.care.choice.issued.clone();
    (changed.phase, _) = record.phase.clone().step(Event::Requested, now);
    let message = format!(
        "{who} wants serial {} revoked ({reason}): another one is ordered, and the CA is told when \
         it is served",
        installed.serial
    );
    let entries =
        vec![entry(&record.spec, now, EntryKind::RevocationWanted, Level::Warning, message)];
    Some(Change { record: changed, entries })
}

/// Whether a successor under `key` would be as compromised as what is being revoked: an attempt that
/// keeps the key may have begun before somebody wanted that.
pub(super) fn forbids(record: &Certificate, key: KeyId) -> bool {
    let (Some(revoking), Some(installed)) = (&record.care.revoking, &record.installed) else {
        return false;
    };
    installed.serial == revoking.serial && installed.key == key
}

/// The CA took the revocation of the serial number `serial`.
pub fn revoked(
    record: &Certificate,
    serial: &str,
    outcome: Revocation,
    now: Timestamp,
) -> Option<Change> {
    let revoking = record.care.revoking.as_ref().filter(|one| one.serial == serial)?;
    let reason = revoking.reason;
    let mut changed = record.clone();
    changed.care.revoking = None;
    changed.care.revoked =
        Some(Revoked { serial: serial.to_owned(), at: now, reason: Some(reason) });
    let message = match outcome {
        Revocation::Told => format!("{} revoked serial {serial} ({reason})", record.revoked_by()),
        Revocation::Already => {
            format!("{} had revoked serial {serial} before", record.revoked_by())
        }
        Revocation::Untold => format!(
            "serial {serial} is out of use ({reason}), with its key; the {} CA has no list that would \
             tell others",
            record.revoked_by()
        ),
    };
    let entries = vec![entry(&record.spec, now, EntryKind::Revoked, Level::Info, message)];
    Some(Change { record: changed, entries })
}

/// The CA says of what is installed that it is revoked, which nobody here asked for: another one is
/// ordered at once.
pub fn seen_revoked(record: &Certificate, serial: &str, now: Timestamp) -> Option<Change> {
    record.installed.as_ref().filter(|one| one.serial == serial)?;
    if record.care.is_revoked(serial) {
        return None;
    }
    let mut changed = record.clone();
    changed.care.revoked = Some(Revoked { serial: serial.to_owned(), at: now, reason: None });
    (changed.phase, _) = record.phase.clone().step(Event::Requested, now);
    let message = format!(
        "{} has revoked serial {serial}, as its list says: another one is ordered",
        record.issued_by()
    );
    let entries = vec![entry(&record.spec, now, EntryKind::Revoked, Level::Warning, message)];
    Some(Change { record: changed, entries })
}

/// The CA did not take it.
pub fn not_revoked(
    record: &Certificate,
    serial: &str,
    failure: &Failure,
    draw: u32,
    now: Timestamp,
) -> Option<Change> {
    let mut changed = record.clone();
    let revoking = changed.care.revoking.as_mut().filter(|one| one.serial == serial)?;
    revoking.attempt = revoking.attempt.saturating_add(1);
    revoking.next = now.plus(ladder::wait(revoking.attempt, draw));
    revoking.detail = Some(failure.to_string());
    let message =
        format!("serial {serial} is not revoked: {failure}; asked again at {}", revoking.next);
    let entries =
        vec![entry(&record.spec, now, EntryKind::RevocationFailed, Level::Warning, message)];
    Some(Change { record: changed, entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::chain::Chain;
    use crate::cert::identifier::Identifier;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::record::Installed;
    use crate::cert::spec::Specification;
    use crate::cert::validity::RenewalWindow;
    use crate::cert::validity::Validity;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn record(role: Role) -> Certificate {
        let names = vec![Identifier::parse("a.example").unwrap()];
        let issuer = if role == Role::Imported { IssuerName::Imported } else { ca() };
        let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, role);
        let day = |days: u64| NOW.plus(std::time::Duration::from_secs(days * 86_400));
        let window = RenewalWindow::new(day(5), day(6)).unwrap();
        let chain: Chain = serde_json::from_str("[[48]]").unwrap();
        let validity = Validity { not_before: NOW, not_after: day(90) };
        let (key, serial) = (KeyId([0; 32]), "0a".to_owned());
        Certificate {
            installed: Some(Installed { chain, key, validity, serial, ari_id: None, at: NOW }),
            phase: Phase::Holding { renew_at: day(5), window, recheck_at: None },
            ..Certificate::wanted(spec)
        }
    }

    fn ca() -> IssuerName {
        IssuerName::Acme("https://ca.example/dir".to_owned())
    }

    #[test]
    fn a_revocation_waits_until_something_else_is_served_or_nobody_wants_it() {
        let record = record(Role::Primary);
        let change = wanted_revoked(&record, Reason::KeyCompromise, "root", NOW).unwrap();
        assert!(matches!(change.record.phase, Phase::Due { .. }));
        assert_eq!(change.record.revocation_due(), None, "it is still served");
        let mut replaced = change.record.clone();
        replaced.installed.as_mut().unwrap().serial = "0b".to_owned();
        assert_eq!(replaced.revocation_due(), Some(NOW));
        let mut retired = change.record;
        retired.phase = Phase::Retiring { until: NOW };
        assert_eq!(retired.revocation_due(), Some(NOW));
        // What the CA refuses is asked again, later and later, and done once.
        let failure = Failure::new(FailureKind::CaFault, "503");
        let again = not_revoked(&replaced, "0a", &failure, 0, NOW).unwrap().record;
        let first = again.revocation_due().unwrap();
        assert!(first > NOW);
        let again = not_revoked(&again, "0a", &failure, 0, NOW).unwrap().record;
        assert!(again.revocation_due().unwrap() > first);
        assert!(revoked(&again, "0b", Revocation::Told, NOW).is_none(), "of another");
        let done = revoked(&again, "0a", Revocation::Told, NOW).unwrap().record;
        assert_eq!((done.revocation_due(), done.care.is_revoked("0a")), (None, true));
        assert!(revoked(&done, "0a", Revocation::Told, NOW).is_none());
    }

    #[test]
    fn an_announcement_moves_the_moment_and_a_host_ends_the_waiting_for_the_owner() {
        let at = NOW.plus(std::time::Duration::from_secs(9 * 86_400));
        let announced = announced(&record(Role::Imported), &ca(), at, NOW).record;
        assert_eq!(announced.phase.wake_at(NOW), Some(at));
        assert_eq!((announced.is_renewed_here(), announced.issuer()), (true, &ca()));
        assert_eq!(announced.id(), record(Role::Imported).id(), "it keeps its identity");
        assert_eq!(announced.order(None).issuer, ca());
        let mut halted = record(Role::Imported);
        let failure = Failure::new(FailureKind::Imported, "runs out");
        halted.phase = Phase::Halted { failure, since: NOW };
        let hosted = hosted(&halted, Accept::default(), &ca(), "root", NOW).record;
        assert!(matches!(hosted.phase, Phase::Due { .. }));
        let unlike = ended(&hosted, "its level would be DV, and is OV", NOW).record;
        assert!(!unlike.is_renewed_here());
    }
}
