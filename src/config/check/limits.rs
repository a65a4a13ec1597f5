//! `[acme.limits]` and `[ca.limits]`: what a CA admits, where that is not what it has published.

use std::time::Duration;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::quantity;
use super::super::raw_ca::RawLimits;
use super::quoted;
use crate::cert::limits::Limit;
use crate::cert::limits::Limits;
use crate::cert::spec::IssuerName;

/// The longest time that a limit may be of: orders further back are not counted.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Those of the CA with this directory, as it has published them unless something else is said.
pub(super) fn check(
    raw: Option<&RawLimits>,
    directory: &str,
    at: &KeyPath,
    findings: &mut Findings,
) -> Limits {
    let published = Limits::published(&IssuerName::Acme(directory.to_owned()));
    let Some(raw) = raw else { return published };
    let at = at.key("limits");
    let mut one = |text: &Option<String>, name: &str, published: Option<Limit>| match text {
        None => published,
        Some(text) => limit(text, &at.key(name), findings),
    };
    let orders = one(&raw.orders, "orders", published.orders);
    let per_domain = one(&raw.per_domain, "per_domain", published.per_domain);
    let same_set = one(&raw.same_names, "same_names", published.same_set);
    let failures = one(&raw.failures, "failures", published.failures);
    let in_a_row = match raw.failures_in_a_row {
        None => published.in_a_row,
        Some(0) => None,
        Some(row) => Some(u32::try_from(row).unwrap_or(u32::MAX)),
    };
    Limits { orders, per_domain, same_set, failures, in_a_row }
}

/// "300/3h", or "off".
fn limit(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<Limit> {
    if text == "off" || findings.is_spoilt(key) {
        return None;
    }
    let parsed = text.split_once('/').and_then(|(tokens, span)| {
        let tokens: u32 = tokens.trim().parse().ok().filter(|tokens| *tokens > 0)?;
        let span = quantity::duration(span.trim()).ok()?;
        // Whole seconds, and one for each token at the least, are what is counted in.
        let sound = span >= Duration::from_secs(1) && span <= LONGEST;
        sound.then_some(Limit { tokens, span })
    });
    if parsed.is_none() {
        findings
            .error(key, format!("{} is no limit", quoted(text)))
            .expected("so many in so long, up to 168h, such as \"300/3h\"; or \"off\"");
    }
    parsed
}
