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
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was being done when the problem came: `unauthorized` means the account in one case and
/// the proof in the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum During {
    /// A request of ours.
    Request,
    /// The CA's check of a challenge.
    Challenge,
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
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
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
