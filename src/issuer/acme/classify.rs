//! What a CA says when it refuses, turned into a [`Failure`] that names the remedy.
//!
//! Problem types are those of RFC 8555, section 6.7, RFC 9773, section 7.4, and the profiles
//! draft. Text of a CA is data from outside: cleaned and cut before anybody shows it.

use std::time::Duration;

use http::StatusCode;
use instant_acme::Error;
use instant_acme::Problem;

use super::client::BAD_NONCE;
use super::client::CaError;
use super::client::Refusal;
use super::retry_after::RetryAfter;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;

/// The longest wait that is taken from a CA: Let's Encrypt's slowest bucket fills in a week.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was being done when the problem came: `unauthorized` means the account in one case and
/// the proof in the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum During {
    /// A request of ours.
    Request,
    /// The CA's check of a challenge.
    Challenge,
}

/// The type of the CA's problem, if it named one.
pub(super) fn problem_type(error: &Error) -> Option<&str> {
    let problem = match error {
        Error::Api(problem) => Some(problem),
        Error::Other(inner) => match inner.downcast_ref::<CaError>() {
            Some(CaError::Refused(refusal)) => refusal.problem.as_ref(),
            _ => None,
        },
        _ => None,
    };
    problem?.r#type.as_deref()
}

/// The failure behind an error of instant-acme, met in a request of ours.
pub(super) fn request(error: &Error, now: Timestamp) -> Failure {
    match error {
        Error::Api(problem) => self::problem(problem, During::Request),
        Error::Other(inner) => match inner.downcast_ref::<CaError>() {
            Some(error) => answer(error, now),
            None => fault(&inner.to_string()),
        },
        Error::Json(error) => fault(&format!("an answer of the CA does not parse: {error}")),
        Error::Timeout(_) => Failure::new(FailureKind::Lapsed, "the CA did not finish in time"),
        Error::Crypto | Error::KeyRejected => {
            Failure::new(FailureKind::Account, "the account key cannot be used")
        }
        Error::Unsupported(what) => {
            Failure::new(FailureKind::Refused, format!("the CA does not support {what}"))
        }
        other => fault(&other.to_string()),
    }
}

/// The failure behind an exchange that brought no answer.
pub(super) fn answer(error: &CaError, now: Timestamp) -> Failure {
    match error {
        CaError::Transport(_) | CaError::Deadline => {
            Failure::new(FailureKind::Unreachable, clean(&error.to_string()))
        }
        CaError::TooLarge => fault(&error.to_string()),
        CaError::Unsigned(why) => Failure::new(FailureKind::Vault, clean(why)),
        CaError::Refused(refusal) => self::refusal(refusal, now),
    }
}

fn fault(text: &str) -> Failure {
    Failure::new(FailureKind::CaFault, clean(text))
}

fn refusal(refusal: &Refusal, now: Timestamp) -> Failure {
    let typed = refusal.problem.as_ref().filter(|problem| problem.r#type.is_some());
    let mut failure = match typed {
        Some(problem) => self::problem(problem, During::Request),
        None => {
            let detail = refusal.problem.as_ref().and_then(|problem| problem.detail.as_deref());
            let text = format!("the CA answered {}", refusal.status);
            let text = detail.map_or_else(|| text.clone(), |detail| format!("{text}: {detail}"));
            Failure::new(kind_of_status(refusal.status), clean(&text))
        }
    };
    if failure.kind == FailureKind::Refused {
        // An unknown type under a telling status, such as 429 or 503.
        let kind = kind_of_status(refusal.status);
        if kind != FailureKind::Refused {
            failure.kind = kind;
            failure.remedy = kind.usual_remedy();
        }
    }
    if let (Remedy::Retry, Some(after)) = (failure.remedy, refusal.retry_after) {
        failure.remedy = Remedy::RetryAfter(moment(after, now));
    }
    failure
}

fn moment(after: RetryAfter, now: Timestamp) -> Timestamp {
    now.plus(after.delay(now).clamp(Duration::from_secs(1), LONGEST_WAIT))
}

fn kind_of_status(status: StatusCode) -> FailureKind {
    match status {
        StatusCode::TOO_MANY_REQUESTS => FailureKind::RateLimited,
        StatusCode::REQUEST_TIMEOUT => FailureKind::CaFault,
        status if status.is_server_error() => FailureKind::CaFault,
        _ => FailureKind::Refused,
    }
}

/// The failure a problem document stands for.
pub(super) fn problem(problem: &Problem, during: During) -> Failure {
    let first = problem.subproblems.first();
    let own = problem.r#type.as_deref().unwrap_or_default();
    // `compound` says only that the truth is in the parts.
    let name = match (short(own), first.and_then(|part| part.r#type.as_deref())) {
        ("compound", Some(inner)) => short(inner),
        (name, _) => name,
    };
    let kind = kind_of_type(name, during).unwrap_or_else(|| {
        let status = problem.status.and_then(|status| StatusCode::from_u16(status).ok());
        match (status, during) {
            (Some(status), During::Request) => kind_of_status(status),
            (None, During::Request) => FailureKind::Refused,
            (_, During::Challenge) => FailureKind::ChallengeFailed,
        }
    });
    let mut detail = problem.detail.clone().unwrap_or_default();
    if let Some(part) = first.and_then(|part| part.detail.as_deref()) {
        if !detail.is_empty() {
            detail.push_str(": ");
        }
        detail.push_str(part);
    }
    if detail.is_empty() {
        detail = if name.is_empty() { "no reason given".to_owned() } else { name.to_owned() };
    }
    let mut failure = Failure::new(kind, clean(&detail));
    failure.subject = problem.subproblems.iter().find_map(|part| {
        Identifier::parse(&part.identifier.as_ref()?.authorized(false).to_string()).ok()
    });
    failure
}

fn short(problem_type: &str) -> &str {
    problem_type.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(problem_type)
}

fn kind_of_type(name: &str, during: During) -> Option<FailureKind> {
    Some(match name {
        "accountDoesNotExist"
        | "externalAccountRequired"
        | "invalidContact"
        | "unsupportedContact"
        | "badSignatureAlgorithm" => FailureKind::Account,
        "unauthorized" => match during {
            During::Request => FailureKind::Account,
            During::Challenge => FailureKind::ChallengeFailed,
        },
        "incorrectResponse" => FailureKind::ChallengeFailed,
        "alreadyReplaced" => FailureKind::AlreadyReplaced,
        "alreadyRevoked"
        | "badCSR"
        | "badPublicKey"
        | "badRevocationReason"
        | "malformed"
        | "invalidProfile" => FailureKind::Refused,
        "badNonce" | "orderNotReady" | "serverInternal" => FailureKind::CaFault,
        "caa" => FailureKind::Caa,
        "connection" | "tls" => FailureKind::Connection,
        "dns" => FailureKind::Dns,
        "rateLimited" => FailureKind::RateLimited,
        "rejectedIdentifier" | "unsupportedIdentifier" => FailureKind::Rejected,
        "userActionRequired" => FailureKind::Terms,
        _ => return None,
    })
}

/// Whether an error may be what a challenge failed with, and no refusal of the request: the answer to a
/// client that is ready is the challenge as it is then (RFC 8555, section 7.5.1).
pub(super) fn is_judgement(error: &Error) -> bool {
    use FailureKind::{Caa, ChallengeFailed, Connection, Dns};
    matches!(error, Error::Api(judged)
        if matches!(problem(judged, During::Challenge).kind, ChallengeFailed | Connection | Dns | Caa))
}

/// The problem document behind an error, and the status it came with.
pub(super) fn document(error: &Error) -> Option<(&str, Option<StatusCode>)> {
    match error {
        Error::Api(problem) => {
            let status = problem.status.and_then(|status| StatusCode::from_u16(status).ok());
            Some((short(problem.r#type.as_deref().unwrap_or_default()), status))
        }
        Error::Other(inner) => match inner.downcast_ref::<CaError>()? {
            CaError::Refused(refusal) => {
                let name = refusal.problem.as_ref().and_then(|p| p.r#type.as_deref());
                Some((short(name.unwrap_or_default()), Some(refusal.status)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether the request was not processed because of its nonce.
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    document(error).is_some_and(|(name, _)| name == short(BAD_NONCE))
}

/// A text from outside in one line of bounded length, without control characters.
pub(super) fn clean(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || reorders(c)) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(bounds::FAILURE_TEXT) {
        Some((end, _)) => {
            line.truncate(end);
            line.push_str("...");
            line
        }
        None => line,
    }
}

/// Whether the character changes the order or the width of its neighbours unseen.
const fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    fn refused(status: u16, retry_after: Option<u64>, body: &str) -> Failure {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(RetryAfter::Seconds),
            problem: serde_json::from_str(body).ok(),
        };
        request(&Error::Other(Box::new(CaError::Refused(Box::new(refusal)))), NOW)
    }

    fn typed(name: &str) -> String {
        format!(r#"{{"type": "urn:ietf:params:acme:error:{name}", "detail": "because"}}"#)
    }

    #[test]
    fn every_problem_type_has_its_kind() {
        use FailureKind as K;
        for (name, kind) in [
            ("accountDoesNotExist", K::Account),
            ("alreadyReplaced", K::AlreadyReplaced),
            ("alreadyRevoked", K::Refused),
            ("badCSR", K::Refused),
            ("badNonce", K::CaFault),
            ("badPublicKey", K::Refused),
            ("badRevocationReason", K::Refused),
            ("badSignatureAlgorithm", K::Account),
            ("caa", K::Caa),
            ("connection", K::Connection),
            ("dns", K::Dns),
            ("externalAccountRequired", K::Account),
            ("incorrectResponse", K::ChallengeFailed),
            ("invalidContact", K::Account),
            ("invalidProfile", K::Refused),
            ("malformed", K::Refused),
            ("orderNotReady", K::CaFault),
            ("rateLimited", K::RateLimited),
            ("rejectedIdentifier", K::Rejected),
            ("serverInternal", K::CaFault),
            ("tls", K::Connection),
            ("unauthorized", K::Account),
            ("unsupportedContact", K::Account),
            ("unsupportedIdentifier", K::Rejected),
            ("userActionRequired", K::Terms),
            ("unheardOf", K::Refused),
        ] {
            let failure = refused(400, None, &typed(name));
            assert_eq!(failure.kind, kind, "{name}");
            assert_eq!(failure.remedy, kind.usual_remedy(), "{name}");
            assert_eq!(failure.detail, "because");
        }
        let proof: Problem = serde_json::from_str(&typed("unauthorized")).unwrap();
        assert_eq!(problem(&proof, During::Challenge).kind, K::ChallengeFailed);
        let unknown: Problem = serde_json::from_str(&typed("unheardOf")).unwrap();
        assert_eq!(problem(&unknown, During::Challenge).kind, K::ChallengeFailed);
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds_and_not_where_only_a_person_helps() {
        let after = |seconds: u64| {
            let failure = refused(429, Some(seconds), &typed("rateLimited"));
            assert_eq!(failure.kind, FailureKind::RateLimited);
            failure.remedy
        };
        let at = |seconds: u64| Remedy::RetryAfter(NOW.plus(Duration::from_secs(seconds)));
        assert_eq!(after(3600), at(3600));
        assert_eq!(after(0), at(1));
        assert_eq!(after(u64::MAX), at(7 * 24 * 3600));
        assert_eq!(refused(429, None, &typed("rateLimited")).remedy, Remedy::Retry);
        assert_eq!(refused(403, Some(9), &typed("caa")).remedy, at(9));
        let rejected = refused(403, Some(9), &typed("rejectedIdentifier"));
        assert_eq!(rejected.remedy, Remedy::Intervene);
    }

    #[test]
    fn without_a_document_the_status_speaks() {
        for (status, kind, remedy) in [
            (503, FailureKind::CaFault, Remedy::RetryAfter(NOW.plus(Duration::from_secs(30)))),
            (429, FailureKind::RateLimited, Remedy::RetryAfter(NOW.plus(Duration::from_secs(30)))),
            (404, FailureKind::Refused, Remedy::Intervene),
        ] {
            let failure = refused(status, Some(30), "<html>busy</html>");
            assert_eq!((failure.kind, failure.remedy), (kind, remedy), "{status}");
            assert!(failure.detail.contains(&status.to_string()), "{failure}");
        }
        // A type nobody knows under a status everybody knows.
        assert_eq!(refused(503, None, &typed("unheardOf")).kind, FailureKind::CaFault);
    }

    #[test]
    fn subproblems_name_the_subject_and_a_compound_takes_the_kind_of_its_part() {
        let body = r#"{"type": "urn:ietf:params:acme:error:compound", "detail": "some refused",
            "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no",
                             "identifier": {"type": "dns", "value": "b.example"}}]}"#;
        let failure = refused(403, None, body);
        assert_eq!(failure.kind, FailureKind::Caa);
        assert_eq!(failure.detail, "some refused: CAA says no");
        assert_eq!(failure.subject, Some(Identifier::parse("b.example").unwrap()));
    }

    #[test]
    fn text_from_outside_is_one_clean_line_of_bounded_length() {
        assert_eq!(clean("a\n\tb\u{1b}[31m  c\u{202e}d\u{0}"), "a b [31m c d");
        let long = clean(&"\u{e9}".repeat(10_000));
        assert_eq!(long.chars().count(), bounds::FAILURE_TEXT + 3);
        let body = r#"{"type": "urn:ietf:params:acme:error:dns", "detail": "x\u001b]0;y\u0007"}"#;
        assert_eq!(refused(400, None, body).detail, "x ]0;y");
    }

    #[test]
    fn errors_without_an_answer_are_told_apart() {
        let wrapped = |error: CaError| request(&Error::Other(Box::new(error)), NOW).kind;
        assert_eq!(wrapped(CaError::Deadline), FailureKind::Unreachable);
        assert_eq!(wrapped(CaError::Transport("gone".to_owned())), FailureKind::Unreachable);
        assert_eq!(wrapped(CaError::TooLarge), FailureKind::CaFault);
        assert_eq!(wrapped(CaError::Unsigned("gone".to_owned())), FailureKind::Vault);
        assert_eq!(request(&Error::Str("no order URL"), NOW).kind, FailureKind::CaFault);
        assert_eq!(request(&Error::KeyRejected, NOW).kind, FailureKind::Account);
    }
}
