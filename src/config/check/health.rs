//! `[site.origins.health]`: how the servers of a site are asked whether they are well.

use std::ops::RangeInclusive;

use http::uri::Authority;
use http::uri::PathAndQuery;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::origin::Health;
use super::super::raw::RawHealth;
use super::{edge, quoted};

const STATUSES: RangeInclusive<u16> = 100..=599;
const COUNTS: RangeInclusive<u64> = 1..=100;

pub(super) fn check(raw: &RawHealth, at: &KeyPath, findings: &mut Findings) -> Health {
    let key = at.key("path");
    if !raw.path.starts_with('/') || raw.path.parse::<PathAndQuery>().is_err() {
        findings
            .error(&key, format!("{} is no path", quoted(&raw.path)))
            .expected("what the servers are asked for, such as \"/healthz\"");
    }
    let host = raw.host.as_deref().filter(|host| {
        let sound = host.parse::<Authority>().is_ok_and(|host| !host.as_str().contains('@'));
        if !sound {
            findings
                .error(&at.key("host"), format!("{} is no host", quoted(host)))
                .expected("a name that the servers know, with a port if need be");
        }
        sound
    });
    let mut count =
        |value: u64, name: &str| {
            if !COUNTS.contains(&value) {
                findings
                    .error(&at.key(name), format!("{value} is out of bounds"))
                    .expected(format!("a number from {} to {}", COUNTS.start(), COUNTS.end()));
            }
            u32::try_from(value).unwrap_or(1).max(1)
        };
    let (rise, fall) = (count(raw.rise, "rise"), count(raw.fall, "fall"));
    let interval = edge::span(&raw.interval, &at.key("interval"), findings);
    let timeout = edge::span(&raw.timeout, &at.key("timeout"), findings);
    if timeout > interval {
        findings
            .warning(&at.key("timeout"), "a check may take longer than the time to the next one")
            .hint("a timeout that is shorter than the interval");
    }
    let status = status(&raw.status, &at.key("status"), findings);
    let host = host.map(str::to_owned);
    Health { path: raw.path.clone(), interval, timeout, status, host, rise, fall }
}

/// `204`, or `200-399`.
fn status(text: &str, key: &KeyPath, findings: &mut Findings) -> RangeInclusive<u16> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|number| STATUSES.contains(number));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..=last,
        _ => {
            findings
                .error(key, format!("{} is no status of an answer", quoted(text)))
                .expected("a number, or the first and the last of several")
                .hint("\"200-399\"");
            200..=399
        }
    }
}
