//! Keys of a site or a route that ask something of requests. What a route leaves out is the site's.

use std::time::Duration;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::policy::{BasicAuth, Clients, ErrorPages, Maintenance, Policy, Rate, When};
use super::super::quantity;
use super::super::raw_policy::{RawBasicAuth, RawBasicAuthTable, RawPolicy};
use super::{files, networks, quoted, statics, tls};
use crate::base::bounds::policy::RATE_MOST;
use crate::base::users::{FileError, Users};

/// The policy that `raw` writes at `at`: of the route with this number on top of the site's, or the
/// site's own.
pub(super) fn check(
    raw: &RawPolicy,
    over: Option<(&Policy, usize)>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Policy {
    let nothing = Policy::default();
    let (site, route) = over.map_or((&nothing, None), |(site, route)| (site, Some(route)));
    Policy {
        clients: clients(raw, &site.clients, at, findings),
        auth: match &raw.basic_auth {
            Some(auth) => basic_auth(auth, &at.key("basic_auth"), findings),
            None => site.auth.clone(),
        },
        rate: rate(raw, site.rate, route, at, findings),
        max_body: match &raw.max_body {
            Some(text) => size(text, &at.key("max_body"), findings),
            None => site.max_body,
        },
        max_answer: match &raw.max_answer {
            Some(text) => size(text, &at.key("max_answer"), findings),
            None => site.max_answer,
        },
        pages: pages(raw, site, at, findings),
        maintenance: maintenance(raw, site, at, findings),
        compress: raw.compress.unwrap_or(site.compress),
    }
}

fn clients(raw: &RawPolicy, site: &Clients, at: &KeyPath, findings: &mut Findings) -> Clients {
    let mut list = |raw: Option<&Vec<String>>, name: &str, site: &[_]| match raw {
        Some(texts) => networks::clients(texts, &at.key(name), findings),
        None => site.to_vec(),
    };
    let clients = Clients {
        allow: list(raw.allow.as_ref(), "allow", &site.allow),
        deny: list(raw.deny.as_ref(), "deny", &site.deny),
    };
    let lost = clients.allow.iter().position(|allowed| {
        clients
            .deny
            .iter()
            .any(|denied| denied.prefix <= allowed.prefix && denied.contains(allowed.address))
    });
    if let (Some(index), Some(_)) = (lost, &raw.allow) {
        findings
            .warning(&at.key("allow").index(index), "nobody of this network gets in")
            .expected("a network that `deny` leaves something of")
            .hint("`deny` comes first, whatever `allow` says");
    }
    clients
}

fn basic_auth(raw: &RawBasicAuth, at: &KeyPath, findings: &mut Findings) -> Option<BasicAuth> {
    let raw = match raw {
        RawBasicAuth::Switch(false) => return None,
        RawBasicAuth::Switch(true) => &RawBasicAuthTable::default(),
        RawBasicAuth::Table(raw) => raw,
    };
    let realm = raw.realm.clone().unwrap_or_else(|| "restricted".to_owned());
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
    if realm.is_empty() || realm.len() > 200 || !realm.chars().all(plain) {
        findings
            .error(&at.key("realm"), format!("{} cannot be sent to a browser", quoted(&realm)))
            .expected("up to 200 characters of ASCII without quotes and backslashes");
    }
    let mut users = Users::default();
    for (index, line) in raw.users.iter().flatten().enumerate() {
        let key = at.key("users").index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        if let Err(error) = users.add(line) {
            findings
                .error(&key, error.to_string())
                .expected("\"name:$argon2id$...\", as `keyward hash-password NAME` prints it");
        }
    }
    let key = at.key("users_file");
    let before = findings.all.len();
    let file = raw.users_file.as_deref().map(|path| files::existing(path, &key, findings));
    if let Some(file) = file.as_ref().filter(|_| findings.all.len() == before) {
        match Users::read(file) {
            Ok(_) => {}
            Err(error @ FileError::Unreadable(_)) => {
                findings.warning(&key, error.to_string()).hint("check as root");
            }
            Err(error) => {
                findings
                    .error(&key, error.to_string())
                    .expected("a line for each user, as `keyward hash-password NAME` prints it");
            }
        }
    }
    if file.is_none() && raw.users.as_ref().is_none_or(Vec::is_empty) && !findings.is_spoilt(at) {
        findings
            .error(at, "there is nobody who could get in")
            .expected("`users`, or `users_file`")
            .hint("users = [\"...\"] with what `keyward hash-password NAME` prints");
    }
    Some(BasicAuth { realm, users, file, forward: raw.forward.unwrap_or(false) })
}

fn rate(
    raw: &RawPolicy,
    site: Option<Rate>,
    route: Option<usize>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<Rate> {
    let key = at.key("rate");
    let burst_key = at.key("burst");
    let burst = raw.burst.map(|burst| {
        if !(1..=RATE_MOST).contains(&burst) {
            findings
                .error(&burst_key, format!("{burst} is out of bounds"))
                .expected(format!("a number from 1 to {RATE_MOST}"));
        }
        u32::try_from(burst).unwrap_or(u32::MAX)
    });
    let Some(text) = raw.rate.as_deref() else {
        if burst.is_some() {
            findings
                .error(&burst_key, "there is a burst, and no rate beside it")
                .expected("`rate` and `burst` in one place")
                .hint("rate = \"10/s\"");
        }
        return site;
    };
    if text == "off" {
        return None;
    }
    let Some((count, interval)) = pace(text) else {
        if !findings.is_spoilt(&key) {
            findings
                .error(&key, format!("{} is no rate", quoted(text)))
                .expected("requests in a second, minute or hour, such as \"10/s\", or \"off\"");
        }
        return None;
    };
    Some(Rate { interval, burst: burst.unwrap_or(count), route })
}

/// `10/s`: how many, and how far apart in the long run.
fn pace(text: &str) -> Option<(u32, Duration)> {
    let (count, unit) = text.split_once('/')?;
    let per = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count = count.trim();
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u32 = count.parse().ok().filter(|_| digits)?;
    if count == 0 || u64::from(count) > RATE_MOST {
        return None;
    }
    Some((count, Duration::from_secs(per) / count))
}

/// A size, or `off` for as much as there is.
fn size(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<u64> {
    if text == "off" || findings.is_spoilt(key) {
        return None;
    }
    match quantity::size(text) {
        Ok(size) => Some(size),
        Err(_) => {
            findings.error(key, format!("{} is no size", quoted(text))).expected(
                "a whole number and one of B, KiB, MiB, GiB, such as \"10MiB\", or \"off\"",
            );
            None
        }
    }
}

const PAGES_FOR: [(&str, bool); 2] = [("own", false), ("all", true)];

fn pages(
    raw: &RawPolicy,
    site: &Policy,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<ErrorPages> {
    let key = at.key("error_pages_for");
    let whose = raw.error_pages_for.as_deref();
    let origins = whose.and_then(|text| tls::choice(text, &PAGES_FOR, "kind", &key, findings));
    let Some(text) = raw.error_pages.as_deref() else {
        if whose.is_some() {
            findings
                .error(&key, "there are no pages for errors")
                .expected("`error_pages` beside it, the path of a directory");
        }
        return site.pages.clone();
    };
    if text == "off" {
        return None;
    }
    let dir = statics::directory(text, &at.key("error_pages"), findings);
    Some(ErrorPages { dir, origins: origins.unwrap_or(false) })
}

fn maintenance(
    raw: &RawPolicy,
    site: &Policy,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<Maintenance> {
    let key = at.key("maintenance_allow");
    let allow = raw.maintenance_allow.as_ref().map(|list| networks::clients(list, &key, findings));
    let Some(text) = raw.maintenance.as_deref() else {
        if allow.is_some() {
            findings
                .error(&key, "nothing says when the site is being worked on")
                .expected("`maintenance` beside it");
        }
        return site.maintenance.clone();
    };
    let key = at.key("maintenance");
    let when = match text {
        "off" => return None,
        "on" => When::Now,
        path if path.starts_with('/') => When::File(files::absolute(path, &key, findings)),
        other => {
            if !findings.is_spoilt(&key) {
                findings
                    .error(&key, format!("{} does not say when", quoted(other)))
                    .expected("\"on\", \"off\", or the absolute path of a file: while it is there");
            }
            When::Now
        }
    };
    Some(Maintenance { when, allow: allow.unwrap_or_default() })
}
