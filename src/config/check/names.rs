//! `names` of a site: each a name, each in one place only.

use std::collections::HashMap;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::quoted;
use crate::base::bounds;
use crate::cert::identifier::{Identifier, IdentifierError};

/// Where each name was first seen: number of the site from 0, and line.
pub(super) type Seen = HashMap<Identifier, (usize, usize)>;

/// The names of the site at `at`, with their keys.
pub(super) fn check(
    raw: &[String],
    (number, line): (usize, usize),
    at: &KeyPath,
    seen: &mut Seen,
    findings: &mut Findings,
) -> Vec<(Identifier, KeyPath)> {
    let key = at.key("names");
    if findings.is_spoilt(&key) || findings.is_spoilt(at) {
        return Vec::new();
    }
    if raw.is_empty() {
        findings
            .error(&key, "the site has no names")
            .expected("`names`, a list of the names it is served under")
            .hint("names = [\"example.org\"]");
    }
    if raw.len() > bounds::NAMES_PER_CERTIFICATE {
        findings
            .error(&key, format!("the site has {} names", raw.len()))
            .expected(format!("at most {} in one certificate", bounds::NAMES_PER_CERTIFICATE))
            .hint("split the site into several with the same origin");
    }
    let mut names: Vec<(Identifier, KeyPath)> = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let key = key.index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        let name = match Identifier::parse(text) {
            Ok(name) => name,
            Err(error) => {
                let finding = findings
                    .error(&key, format!("{} is no name: {error}", quoted(text)))
                    .expected("a host name, a wildcard such as \"*.example.org\", or an address");
                if error == IdentifierError::SingleLabel {
                    finding.hint(format!("\"{}.internal\"", text.trim()));
                } else if let Some(hint) = host_within(text) {
                    finding.hint(format!("{hint:?}"));
                }
                continue;
            }
        };
        match seen.get(&name) {
            Some((other, _)) if *other == number => {
                findings
                    .error(&key, format!("the name {} stands twice", both(text, &name)))
                    .expected("each name once");
            }
            Some((_, other)) => {
                let place = if *other == 0 { String::new() } else { format!(" on line {other}") };
                findings
                    .error(&key, format!("the name {} belongs to two sites", both(text, &name)))
                    .expected(format!("each name in one site; the other begins{place}"))
                    .hint("remove the name from one of the two");
            }
            None => {
                seen.insert(name.clone(), (number, line));
            }
        }
        names.push((name, key));
    }
    names
}

/// The name, with its normal form where that differs from what was written.
pub(super) fn both(text: &str, name: &Identifier) -> String {
    let normal = name.to_string();
    if normal == text { format!("{text:?}") } else { format!("{} ({normal})", quoted(text)) }
}

/// The host of something that looks like a URL, or like host and port.
fn host_within(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (host != text).then(|| Identifier::parse(host).ok()).flatten().map(|name| name.to_string())
}
