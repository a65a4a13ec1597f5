//! `[onboarding]`: which names may come of themselves, and what is behind them.

use std::net::IpAddr;
use std::time::Duration;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Admin, Listen};
use super::super::onboarding::{Onboarding, fill};
use super::super::origin::{Address, Origin};
use super::super::private::why_not_private;
use super::super::quantity;
use super::super::raw::{RawOrigin, RawSite};
use super::super::raw_ca::RawIssuers;
use super::super::raw_onboarding::RawOnboarding;
use super::origin::WELCOME;
use super::site::General;
use super::{edge, origin, quoted, quoted_url, site};
use crate::base::bounds::onboarding::HOLD_MOST;
use crate::base::bounds::onboarding::LABELS_MOST;
use crate::base::bounds::onboarding::NAMES_MOST;
use crate::cert::identifier::{DnsName, Identifier};

/// A name that stands for any in a pattern.
const SAMPLE: &str = "shop.example.org";

pub(super) fn check(
    raw: &RawOnboarding,
    general: &General<'_>,
    findings: &mut Findings,
) -> Option<Onboarding> {
    let at = KeyPath::dotted("onboarding");
    let Some(target) = &raw.target else {
        nothing_without_target(raw, &at, findings);
        return None;
    };
    let target = name(target, &at.key("target"), findings);
    let spoilt = findings.is_spoilt(&at.key("origin"));
    if raw.origin.is_none() && !spoilt {
        findings
            .error(
                &at.key("origin"),
                "onboarded names have no origin, so there is nothing to serve",
            )
            .expected("`origin`, the server behind them")
            .hint("origin = \"http://127.0.0.1:8080\"");
    }
    let pattern = raw.origin.as_ref().and_then(|raw| pattern(raw, &at.key("origin"), findings));
    let names = |raw: &[String], key: &str, findings: &mut Findings| -> Vec<DnsName> {
        let key = at.key(key);
        let list = raw.iter().enumerate().filter(|(n, _)| !findings.is_spoilt(&key.index(*n)));
        let list: Vec<_> = list.collect();
        list.into_iter().filter_map(|(n, text)| name(text, &key.index(n), findings)).collect()
    };
    let suffixes = names(&raw.suffixes, "suffixes", findings);
    let denied = names(&raw.denied, "denied", findings);
    let addresses = addresses(&raw.addresses, &at.key("addresses"), findings);
    let number = |value: u64, most: u64, key: &str, findings: &mut Findings| {
        if value > most {
            findings
                .error(&at.key(key), format!("{value} is out of bounds"))
                .expected(format!("a number up to {most}"));
        }
        value.min(most)
    };
    let labels = number(raw.max_labels, LABELS_MOST, "max_labels", findings);
    let most = number(raw.max_names, NAMES_MOST, "max_names", findings);
    let per_domain = number(raw.per_domain, NAMES_MOST, "per_domain", findings);
    let per_network = number(raw.per_network, NAMES_MOST, "per_network", findings);
    if labels < 2 {
        findings
            .error(&at.key("max_labels"), "no name has so few labels that a CA signs")
            .expected("2 or more; shop.example.org has three");
    }
    if let Some(ask) = &raw.ask {
        askable(ask, &at.key("ask"), findings);
    }
    if matches!(&raw.issuer, Some(RawIssuers::One(word)) if word == "imported") {
        findings
            .error(&at.key("issuer"), "nobody imports certificates for names that nobody knows yet")
            .expected("\"acme\" or \"internal\"");
    }
    let hold = hold(&raw.hold, &at.key("hold"), findings);
    let servers = &at.key("name_servers");
    let name_servers = edge::addresses_of_servers(&raw.name_servers, servers, findings);
    let site = template(raw, pattern, general, &at, findings);
    let (Some(target), Some(pattern), Some(site)) = (target, pattern, site) else {
        // Something was complained of.
        return None;
    };
    Some(Onboarding {
        target,
        site,
        origin: pattern.to_owned(),
        suffixes,
        denied,
        addresses,
        labels: usize::try_from(labels).unwrap_or(usize::MAX),
        names: most,
        per_domain: u32::try_from(per_domain).unwrap_or(u32::MAX),
        per_network: u32::try_from(per_network).unwrap_or(u32::MAX),
        ask: raw.ask.clone(),
        hold,
        name_servers,
        around: (general.listen.clone(), general.admin.clone()),
    })
}

/// The server that `text` names.
///
/// # Errors
/// In words, why it names none.
pub(in super::super) fn server(text: &str, around: (&Listen, &Admin)) -> Result<Address, String> {
    origin::address(text, around.0, around.1).map_err(|refusal| refusal.problem)
}

/// Whoever says something of onboarding and not where names are to lead has forgotten that.
fn nothing_without_target(raw: &RawOnboarding, at: &KeyPath, findings: &mut Findings) {
    if findings.is_spoilt(&at.key("target")) {
        return;
    }
    let said = [
        ("origin", raw.origin.is_some()),
        ("suffixes", !raw.suffixes.is_empty()),
        ("denied", !raw.denied.is_empty()),
        ("addresses", !raw.addresses.is_empty()),
        ("ask", raw.ask.is_some()),
        ("name_servers", !raw.name_servers.is_empty()),
        ("issuer", raw.issuer.is_some()),
    ];
    if let Some((key, _)) = said.into_iter().find(|(_, said)| *said) {
        findings
            .error(&at.key(key), "no name is onboarded without `target`")
            .expected("`target`, the name of this machine to which CNAME records lead")
            .hint("target = \"edge.example.net\"");
    }
}

fn name(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<DnsName> {
    match Identifier::parse(text) {
        Ok(Identifier::Dns(name)) => Some(name),
        other => {
            let why = match other {
                Ok(Identifier::Wildcard(_)) => "a suffix has all names below it already".to_owned(),
                Ok(_) => "it is an address".to_owned(),
                Err(error) => error.to_string(),
            };
            findings
                .error(key, format!("{} is no name that others are below: {why}", quoted(text)))
                .expected("a host name, such as \"customers.example.org\"");
            None
        }
    }
}

/// Whether `text` is a pattern of origins: the client chooses what a placeholder stands for, so it may
/// be a part of the host or of a path, and never all of it.
fn pattern<'a>(raw: &'a RawOrigin, key: &KeyPath, findings: &mut Findings) -> Option<&'a str> {
    let text = match raw {
        RawOrigin::One(text) => text,
        RawOrigin::Several(_) => {
            findings
                .error(key, "onboarded names have several servers behind them")
                .expected("one: a name may get another by keyward onboard NAME --origin");
            return None;
        }
    };
    if !text.contains(['{', '}']) {
        return Some(text);
    }
    let rest = text.replace("{name}", "").replace("{label}", "");
    let (place, after) = match text.split_once("://") {
        Some((_, rest)) => rest.split_once(':').unwrap_or((rest, "")),
        None => (text.strip_prefix("unix:").unwrap_or_default(), ""),
    };
    let fixed = place.replace("{name}", "").replace("{label}", "");
    let wrong = if rest.contains(['{', '}']) {
        "has a placeholder that is not known"
    } else if after.contains('{') {
        "has a placeholder behind the host"
    } else if !fixed.contains(|c: char| c.is_ascii_alphanumeric()) {
        "leads wherever a client says"
    } else {
        return Some(text);
    };
    findings
        .error(key, format!("the origin {} {wrong}", quoted(text)))
        .expected(
            "{name} or {label}, the first part of it, as a part of the host or of a socket's path",
        )
        .hint("\"http://{label}.apps.internal:8080\"");
    None
}

fn addresses(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<IpAddr> {
    let mut addresses = Vec::with_capacity(raw.len());
    for (number, text) in raw.iter().enumerate() {
        let key = key.index(number);
        if findings.is_spoilt(&key) {
            continue;
        }
        match text.parse::<IpAddr>() {
            Ok(address) => addresses.push(address.to_canonical()),
            Err(_) => {
                findings
                    .error(&key, format!("{} is no address", quoted(text)))
                    .expected("an address by which the world reaches this machine")
                    .hint("\"192.0.2.7\"");
            }
        }
    }
    addresses
}

/// Who is asked learns every name that somebody tries, and may let in any: nobody on the way may be it.
fn askable(text: &str, key: &KeyPath, findings: &mut Findings) {
    let Some(wrong) = why_not_private(text, "asked") else { return };
    findings
        .error(key, format!("{} {wrong}", quoted_url(text)))
        .expected("a URL with https://, or with http:// on this machine")
        .hint("\"http://127.0.0.1:9000/may-i\"");
}

fn hold(text: &str, key: &KeyPath, findings: &mut Findings) -> Duration {
    match quantity::duration(text) {
        Ok(duration) if duration <= HOLD_MOST => duration,
        _ => {
            let most = HOLD_MOST.as_secs();
            findings
                .error(key, format!("{} is no time that a client waits", quoted(text)))
                .expected(format!("at most {most}s, such as \"10s\"; \"0s\" for not at all"));
            Duration::ZERO
        }
    }
}

/// A site under the name of the target, with what holds for every site.
fn template(
    raw: &RawOnboarding,
    pattern: Option<&str>,
    general: &General<'_>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<super::super::model::Site> {
    let raw = RawSite {
        names: raw.target.iter().cloned().collect(),
        // Without one there is something else to be found.
        origin: Some(RawOrigin::One(fill(pattern.unwrap_or(WELCOME), SAMPLE))),
        issuer: raw.issuer.clone(),
        ..RawSite::default()
    };
    let mut own = Findings::default();
    let sites = site::check_all(&[raw], general, &|_| 0, &mut own);
    for mut finding in own.all {
        let text = finding.key.to_string();
        let word = text.strip_prefix("site[0].").map(|rest| rest.split(['.', '[']).next());
        match word.flatten() {
            // It was looked at as such.
            Some("names") if findings.all.iter().any(|known| known.key == at.key("target")) => {
                continue;
            }
            Some("names") => finding.key = at.key("target"),
            Some(word) => finding.key = at.key(word),
            None if findings.all.iter().any(|known| known.key == finding.key) => continue,
            None => finding.hint = Some("that, or issuer = \"internal\" below [onboarding]".into()),
        }
        findings.all.push(finding);
    }
    let site = sites.into_iter().next()?;
    if matches!(site.origin, Origin::Servers(_)) {
        return Some(site);
    }
    if pattern.is_some() && !findings.all.iter().any(|finding| finding.key == at.key("origin")) {
        findings
            .error(&at.key("origin"), "onboarded names have the server of somebody behind them")
            .expected("a URL such as \"http://127.0.0.1:8080\"");
    }
    None
}
