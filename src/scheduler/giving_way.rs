//! When a CA gives way to the next of a site's list, and to which. Pure.
//!
//! What fails because of the site itself - its DNS, its reachability, its proofs - would fail anywhere
//! else, and never crosses over: a name that cannot be proven must not use up the patience of two CAs.

use std::time::Duration;

use crate::base::Timestamp;
use crate::base::bounds::choice::LEAST_REST;
use crate::base::bounds::choice::PATIENCE_CAA;
use crate::base::bounds::choice::PATIENCE_FAILURES;
use crate::base::bounds::choice::PATIENCE_LIMIT;
use crate::base::bounds::choice::PATIENCE_LONGEST;
use crate::base::bounds::choice::PATIENCE_SHARE;
use crate::base::bounds::choice::REFUSAL_REST;
use crate::cert::choice::Choice;
use crate::cert::choice::Left;
use crate::cert::choice::Trouble;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::spec::IssuerName;
use crate::cert::validity::Validity;

/// What a failure means for the choice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The same CA is asked again, as its failure says.
    Stay,
    /// Another one is asked.
    Leave {
        /// Which.
        to: IssuerName,
        /// When.
        at: Timestamp,
        /// Failures that do not count on its ladder: those of the CA that is left.
        forgiven: u32,
    },
    /// Each of them waits for somebody.
    GiveUp,
}

/// Judges a `failure` of the CA `issuer`, one of `list` in order of preference, and notes it in `choice`.
/// `installed` is when the certificate that is there is good; `wait` is what the retry ladder has come to.
pub(super) fn judge(
    choice: &mut Choice,
    failure: &Failure,
    (issuer, list): (&IssuerName, &[IssuerName]),
    installed: Option<Validity>,
    wait: Duration,
    now: Timestamp,
) -> Verdict {
    if list.len() < 2 {
        return Verdict::Stay;
    }
    if !crosses(failure) {
        // It answered, so that what was wrong with it is over.
        choice.trouble = None;
        return Verdict::Stay;
    }
    let before = choice.trouble.unwrap_or(Trouble { since: now, failures: 0 });
    let trouble = Trouble { failures: before.failures.saturating_add(1), ..before };
    choice.trouble = Some(trouble);
    // Once each of them was left, they take turns.
    let again = choice.left.iter().any(|left| left.issuer == *issuer);
    // Nor does one have credit that did not give what is there: it may be gone for months.
    let credit = choice.issued.as_ref().is_none_or(|by| by == issuer);
    if !again && !is_enough(failure, trouble, installed.filter(|_| credit), now) {
        return Verdict::Stay;
    }
    choice.left.retain(|left| left.issuer != *issuer && list.contains(&left.issuer));
    choice.left.push(Left::because(issuer.clone(), failure, now));
    choice.trouble = None;
    let was_left =
        |candidate: &&IssuerName| choice.left.iter().any(|left| left.issuer == **candidate);
    if let Some(next) = list.iter().find(|candidate| !was_left(candidate)) {
        let forgiven = trouble.failures;
        return Verdict::Leave { to: next.clone(), at: now, forgiven };
    }
    if choice.left.iter().all(|left| left.again.is_none()) {
        return Verdict::GiveUp;
    }
    // The one whose moment is the earliest, and of those the one that rests the longest: each rests as the
    // ladder has it, or as it asked for itself. Whoever waits for somebody to act is asked all the same:
    // the others may be gone for months.
    let moment = |left: &Left| match left.again {
        Some(_) if left.is_free() => left.at.plus(wait),
        Some(again) => again,
        None => rested(left.at, installed),
    };
    let waiting = choice.left.iter().map(|left| (moment(left).max(now), left));
    match waiting.min_by_key(|(again, left)| (*again, left.at)) {
        Some((at, left)) => Verdict::Leave { to: left.issuer.clone(), at, forgiven: 0 },
        None => Verdict::GiveUp,
    }
}

/// When one that refused at `at` is asked again: after a day, or half of what the certificate still has.
fn rested(at: Timestamp, installed: Option<Validity>) -> Timestamp {
    let left = installed.map(|one| one.not_after.since(at)).filter(|left| !left.is_zero());
    let rest = left.map_or(REFUSAL_REST, |left| (left / 2).clamp(LEAST_REST, REFUSAL_REST));
    at.plus(rest)
}

/// Whether another CA may not have what is wrong here.
pub(super) fn crosses(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Unreachable
        | FailureKind::CaFault
        | FailureKind::Caa
        | FailureKind::CaaForbids
        | FailureKind::Rejected
        | FailureKind::Account
        | FailureKind::Terms
        | FailureKind::OrderLost
        | FailureKind::Refused
        | FailureKind::BadCertificate
        | FailureKind::Lapsed => true,
        // A limit of failures for one name is the name's own.
        FailureKind::RateLimited => {
            failure.subject.is_none() && !failure.detail.contains("failed authorizations")
        }
        FailureKind::ChallengeFailed
        | FailureKind::Dns
        | FailureKind::Connection
        | FailureKind::NoChallenge
        | FailureKind::AlreadyReplaced
        | FailureKind::Vault
        | FailureKind::Store
        | FailureKind::Imported
        | FailureKind::Unlike
        | FailureKind::Zone
        | FailureKind::Elsewhere
        | FailureKind::Astray
        | FailureKind::ProofLacks => false,
    }
}

/// Whether the patience with a CA is at its end. One whose certificate is good has time.
fn is_enough(
    failure: &Failure,
    trouble: Trouble,
    installed: Option<Validity>,
    now: Timestamp,
) -> bool {
    let left = installed.map_or(Duration::ZERO, |one| one.not_after.since(now));
    let patience = (left / PATIENCE_SHARE).min(PATIENCE_LONGEST);
    let waited = trouble.since.plus(patience) <= now;
    match (failure.remedy, failure.kind) {
        (Remedy::Intervene, _) => true,
        // It is certain, and the next one may be the one that the records name.
        (_, FailureKind::CaaForbids) => true,
        (_, FailureKind::Caa) => trouble.failures >= PATIENCE_CAA,
        (Remedy::RetryAfter(until), FailureKind::RateLimited) => {
            // Whoever has to wait longer than there is time for need not wait first.
            until > now.plus(patience.max(PATIENCE_LIMIT))
                || (waited && trouble.failures >= PATIENCE_FAILURES)
        }
        _ => waited && trouble.failures >= PATIENCE_FAILURES,
    }
}

#[cfg(test)]
#[path = "giving_way_tests.rs"]
mod tests;
