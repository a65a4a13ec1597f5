//! Why a certificate is as it is, in plain words: pure, given the record, what else there is for its
//! name, and the newest entries about it.

use super::view;
use super::wire::EntryView;
use super::wire::Moment;
use super::wire::care::Trouble;
use super::wire::care::Why;
use crate::base::Timestamp;
use crate::cert::care::Hosting;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::Role;

/// Kinds of entries that tell of trouble.
const TROUBLE: [&str; 5] = ["failed", "astray", "halted", "hosting-ended", "revocation-failed"];

/// Steps that are told, at most, the newest ones.
const STEPS: usize = 12;

/// Explains `record`. `shown` is what clients are shown for its first name; `entries` are those about
/// it, oldest first; `hindrances` keep the house from ordering anything; `other` is the other one of its
/// site, where there are two.
pub fn explain(
    record: &Certificate,
    (shown, other): (Option<&Certificate>, Option<&Certificate>),
    entries: &[EntryView],
    hindrances: &[String],
    now: Timestamp,
) -> Why {
    let last = entries.iter().rev().find(|entry| TROUBLE.contains(&entry.kind.as_str()));
    let failure = record.phase.failure().map(view::failure);
    let installed_after = |entry: &EntryView| {
        let newer = entries.iter().filter(|other| other.seq > entry.seq);
        newer.into_iter().any(|other| matches!(other.kind.as_str(), "installed" | "imported"))
    };
    let problem = match (&failure, last) {
        (Some(failure), last) => Some(Trouble {
            at: last.map(|entry| entry.at),
            message: failure.detail.clone(),
            failure: Some(failure.clone()),
            over: false,
        }),
        (None, Some(entry)) => Some(Trouble {
            at: Some(entry.at),
            message: entry.message.clone(),
            failure: None,
            over: installed_after(entry),
        }),
        (None, None) => None,
    };
    let steps = entries.len().saturating_sub(STEPS);
    let checked = entries.iter().skip(steps).map(|e| format!("{} {}: {}", e.at, e.kind, e.message));
    let wake = record.phase.wake_at(now).filter(|_| hindrances.is_empty());
    Why {
        served: served(record, shown, now),
        doing: doing(record, hindrances, now),
        change: change(record, problem.as_ref(), hindrances),
        issuers: issuers(record),
        standby: standby(record, other, now),
        problem,
        checked: checked.collect(),
        next: wake.map(Moment),
        certificate: view::of_two(record, other, now),
    }
}

fn served(record: &Certificate, shown: Option<&Certificate>, now: Timestamp) -> String {
    let Some((one, installed)) = shown.and_then(|one| Some((one, one.installed.as_ref()?))) else {
        return "nothing: there is no certificate for it yet".to_owned();
    };
    let what = if one.id() == record.id() {
        "this one".to_owned()
    } else {
        let role = match one.spec.role {
            Role::Bridge => "a bridge, which browsers do not trust",
            Role::Imported => "an imported one",
            Role::Onboarded => "the one of the onboarded name",
            Role::Issued(_) => "one that was issued for a client",
            Role::Primary if record.stands_back() => "the one that it stands by for",
            Role::Primary => "another one",
        };
        format!("{role} (id {})", one.id())
    };
    let end = installed.validity.not_after;
    let valid = if installed.validity.contains(now) {
        format!("valid until {end}, {} % left", installed.validity.percent_left(now))
    } else {
        format!("NOT VALID, it ran out at {end}")
    };
    let revoked = if one.care.is_revoked(&installed.serial) { ", REVOKED" } else { "" };
    format!("{what}, serial {}, {valid}{revoked}", installed.serial)
}

fn doing(record: &Certificate, hindrances: &[String], now: Timestamp) -> String {
    if let Some(first) = hindrances.first() {
        return format!("nothing is ordered: {first}");
    }
    let issuer = record.issuer();
    if let Some(revoking) = &record.care.revoking {
        return format!(
            "serial {} is being revoked ({}): {}",
            revoking.serial,
            revoking.reason,
            match &revoking.detail {
                Some(detail) => format!("the CA did not take it ({detail}), asked again"),
                None => "another one is ordered and served first".to_owned(),
            }
        );
    }
    match &record.phase {
        Phase::Due { .. } => format!("it is about to be ordered from {issuer}"),
        Phase::Ordering { .. } => format!("it is being ordered from {issuer} right now"),
        Phase::Holding { renew_at, .. } => match record.care.take_over {
            Some(_) => format!("a free one is ordered from {issuer} at {renew_at}, in its place"),
            None if !record.is_renewed_here() => {
                format!("nothing until {renew_at}; then its owner has to import its successor")
            }
            None => format!("nothing is needed now; it is renewed at {renew_at}"),
        },
        Phase::Waiting { attempt, until, .. } => {
            format!("attempt {attempt} failed; the next one begins at {}", (*until).max(now))
        }
        Phase::Halted { since, .. } => format!("nothing since {since}: it waits for you"),
        Phase::Retiring { until } => {
            format!("nothing: no site wants it any more, and it is deleted at {until}")
        }
    }
}

/// Which CAs gave none, and when the preferred one is asked again; nothing where none was left.
fn issuers(record: &Certificate) -> Vec<String> {
    let choice = &record.care.choice;
    let mut told: Vec<String> = choice
        .left
        .iter()
        .map(|left| format!("{} was left at {}: {}", left.issuer, left.at, left.detail))
        .collect();
    let first = record.first_issuer();
    match (&choice.asked, &choice.issued, &record.phase) {
        (Some(asked), _, _) => {
            told.push(format!("{asked} is asked now; {first} is asked first at the next renewal"));
        }
        (None, Some(issued), Phase::Holding { renew_at, .. }) => told.push(format!(
            "{issued} issued what is served, in the place of {first}, which is asked first again at \
             {renew_at}"
        )),
        (None, Some(issued), _) => {
            told.push(format!("{issued} issued what is served, in the place of {first}"));
        }
        (None, None, _) => {}
    }
    told
}

/// Which one stands by and since when, and whether it could be served.
fn standby(record: &Certificate, other: Option<&Certificate>, now: Timestamp) -> Vec<String> {
    let Some(standby) = &record.care.standby else { return Vec::new() };
    let name = record.spec.names().first().map(ToString::to_string).unwrap_or_default();
    let (since, cause) = (standby.since, &standby.cause);
    let mut told = vec![if standby.back {
        format!("this one stands by and is not served since {since}: {cause}")
    } else {
        format!("this one is served since {since}: {cause}")
    }];
    let Some(other) = other else { return told };
    let (id, issuer) = (other.id(), other.issued_by());
    let state = match &other.installed {
        None => "is not issued yet".to_owned(),
        Some(installed) if other.is_good(now) => {
            let until = installed.validity.not_after;
            format!("has serial {}, good until {until}", installed.serial)
        }
        Some(installed) => format!(
            "has serial {}, which cannot be served: it is {}",
            installed.serial,
            view::condition(other, now)
        ),
    };
    let role = if standby.back { "is served" } else { "stands by" };
    told.push(format!("the one of {issuer} (id {id}) {role}: it {state}"));
    if !standby.back && other.is_good(now) {
        let back = if standby.first { "" } else { " --back" };
        told.push(format!("to have it served: keyward switch {name}{back}"));
    }
    told
}

fn change(record: &Certificate, problem: Option<&Trouble>, hindrances: &[String]) -> Vec<String> {
    let mut change: Vec<String> = hindrances.to_vec();
    if let Some(failure) = problem.and_then(|problem| problem.failure.as_ref()) {
        change.push(failure.hint.clone());
        if let (Some(subject), "challenge-failed" | "connection" | "dns") =
            (&failure.subject, failure.kind.as_str())
        {
            change.push(format!(
                "from elsewhere, try: dig {subject} A {subject} AAAA, and curl -v http://{subject}/"
            ));
        }
    }
    if let Hosting::Ended { difference, .. } = &record.care.hosting {
        change.push(format!(
            "it is not hosted any more, because {difference}: keyward host it with --accept, or \
             import its successor"
        ));
    }
    if matches!(record.phase, Phase::Halted { .. }) && record.is_renewed_here() {
        // The name means the one that is shown.
        let name = match record.spec.names().first() {
            Some(name) if !record.stands_back() => name.to_string(),
            _ => record.id().to_string(),
        };
        change.push(format!("when that is done: keyward renew {name} --wait"));
    }
    change
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
