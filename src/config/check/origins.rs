//! `origin` and `[site.origins]`: the servers behind a site, and how they are asked.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;
use rustls_pki_types::ServerName;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Admin, Listen};
use super::super::origin::{
    Address, Asking, Health, Origin, OriginHttp, OriginTls, Server, Servers,
};
use super::super::raw::{RawOrigin, RawOrigins};
use super::super::raw_policy::RawFiles;
use super::origin::{WELCOME, server};
use super::tcp::PROXY;
use super::{edge, files, health, quoted, statics, tls as choices};
use crate::base::bounds::origins::ORIGIN_SERVERS;
use crate::base::trust;
use crate::base::trust::TrustError;
use crate::cert::identifier::Identifier;

/// What stands before a weight, behind the address.
pub(super) const WEIGHT: &str = " weight=";

/// Longer names of cookies are in the way of everybody.
const COOKIE_NAME: usize = 64;

const WEIGHTS: RangeInclusive<u32> = 1..=1000;

const HTTP: [(&str, OriginHttp); 3] =
    [("auto", OriginHttp::Auto), ("1.1", OriginHttp::One), ("2", OriginHttp::Two)];

pub(super) fn check(
    (raw, files): (Option<&RawOrigin>, &RawFiles),
    how: &RawOrigins,
    around: (&Listen, &Admin),
    site: &KeyPath,
    findings: &mut Findings,
) -> Origin {
    let key = &site.key("origin");
    let asking = asking(how, &site.key("origins"), findings);
    if let Some(files) = statics::check(raw, files, site, findings) {
        return Origin::Files(files);
    }
    let texts = match raw {
        None => {
            if !findings.is_spoilt(key) {
                findings
                    .error(key, "the site has no origin, so there is nothing to serve")
                    .expected("`origin`, the server behind the site, or `root`, a directory")
                    .hint("origin = \"http://127.0.0.1:8080\"");
            }
            return Origin::Welcome;
        }
        Some(RawOrigin::One(text)) => std::slice::from_ref(text),
        Some(RawOrigin::Several(texts)) => texts,
    };
    if let [only] = texts
        && only == WELCOME
    {
        return Origin::Welcome;
    }
    if texts.is_empty() || texts.len() > ORIGIN_SERVERS {
        findings
            .error(key, format!("there are {} origins", texts.len()))
            .expected(format!("one, or a list of at most {ORIGIN_SERVERS}"));
        return Origin::Welcome;
    }
    let mut list: Vec<Server> = Vec::with_capacity(texts.len());
    for (number, text) in texts.iter().enumerate() {
        let at = match raw {
            Some(RawOrigin::Several(_)) => key.index(number),
            _ => key.clone(),
        };
        if findings.is_spoilt(&at) {
            continue;
        }
        if text == WELCOME {
            findings
                .error(&at, "the built-in page stands among servers")
                .expected("servers that all do the same, or the page alone");
            continue;
        }
        let (address, weight) = match text.split_once(WEIGHT) {
            None => (text.as_str(), 1),
            Some((address, weight)) => (address, self::weight(weight, &at, findings)),
        };
        let Some(address) = server(address, around, &at, findings) else { continue };
        if list.iter().any(|known| known.address == address) {
            findings
                .error(&at, format!("the origin {} stands twice", quoted(&address.to_string())))
                .expected("each server once, with a weight if it is to have more than others")
                .hint(format!("\"{address}{WEIGHT}2\""));
            continue;
        }
        list.push(Server { address, weight });
    }
    // Without one, something was complained of.
    if list.is_empty() {
        return Origin::Welcome;
    }
    if asking.http == OriginHttp::One
        && let Some(server) = list.iter().find(|s| matches!(s.address, Address::H2c(_)))
    {
        let address = quoted(&server.address.to_string());
        findings
            .error(
                &site.key("origins").key("http"),
                format!("the origin {address} speaks HTTP/2 and is to be asked in HTTP/1.1"),
            )
            .expected("http = \"auto\", or http:// before that origin");
    }
    let secure = list.iter().any(|server| matches!(server.address, Address::Https(_)));
    let tls = tls(how, secure, &site.key("origins"), findings);
    let health = how
        .health
        .as_ref()
        .map(|raw| health::check(raw, &site.key("origins").key("health"), findings));
    let sticky = sticky(how, &site.key("origins").key("sticky"), &list, findings);
    Origin::Servers(Servers { list, asking, tls, health, sticky })
}

/// The name of a cookie (RFC 6265, section 4.1.1).
fn sticky(
    how: &RawOrigins,
    at: &KeyPath,
    list: &[Server],
    findings: &mut Findings,
) -> Option<String> {
    let name = how.sticky.as_deref()?;
    if name.len() > COOKIE_NAME || HeaderName::from_bytes(name.as_bytes()).is_err() {
        findings
            .error(at, format!("{} is no name of a cookie", quoted(name)))
            .expected(format!("letters, digits, - and _, {COOKIE_NAME} at most"))
            .hint("\"server\"");
    } else if list.len() == 1 {
        findings.warning(at, "with one origin there is nothing to choose");
    }
    Some(name.to_owned())
}

/// How servers of routes are asked, where the site itself has files.
pub(super) fn how(
    raw: &RawOrigins,
    site: &KeyPath,
    findings: &mut Findings,
) -> (Asking, OriginTls, Option<Health>) {
    let at = site.key("origins");
    let health = raw.health.as_ref();
    let health = health.map(|raw| health::check(raw, &at.key("health"), findings));
    // What is wrong with the first was told with the files.
    (asking(raw, &at, &mut Findings::default()), tls(raw, true, &at, findings), health)
}

pub(super) fn weight(text: &str, at: &KeyPath, findings: &mut Findings) -> u32 {
    let weight = text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
    if weight.is_none() {
        findings
            .error(at, format!("{} is no weight of an origin", quoted(text)))
            .expected(format!("a number from {} to {}", WEIGHTS.start(), WEIGHTS.end()))
            .hint("leave a server out that is to get nothing");
    }
    weight.unwrap_or(1)
}

fn asking(raw: &RawOrigins, at: &KeyPath, findings: &mut Findings) -> Asking {
    let mut number =
        |value: u64, name: &str, bounds: RangeInclusive<u32>| {
            let number = u32::try_from(value).ok().filter(|number| bounds.contains(number));
            if number.is_none() {
                findings
                    .error(&at.key(name), format!("{value} is out of bounds"))
                    .expected(format!("a number from {} to {}", bounds.start(), bounds.end()));
            }
            number.unwrap_or_default()
        };
    let max_requests = number(raw.max_requests, "max_requests", 0..=1_000_000);
    let retries = number(raw.retries, "retries", 0..=100);
    let eject_after = number(raw.eject_after, "eject_after", 0..=1000);
    let http = choices::choice(&raw.http, &HTTP, "version of HTTP", &at.key("http"), findings)
        .unwrap_or_default();
    let slow_start = raw
        .slow_start
        .as_deref()
        .map_or(Duration::ZERO, |text| edge::span(text, &at.key("slow_start"), findings));
    let proxy = choices::choice(&raw.proxy, &PROXY, "version", &at.key("proxy"), findings);
    Asking {
        max_requests,
        retries: u8::try_from(retries).unwrap_or(100),
        eject_after,
        eject_for: edge::span(&raw.eject_for, &at.key("eject_for"), findings),
        eject_on_errors: raw.eject_on_errors,
        http,
        slow_start,
        proxy: proxy.flatten(),
    }
}

/// When those that speak TLS are believed.
fn tls(raw: &RawOrigins, secure: bool, at: &KeyPath, findings: &mut Findings) -> OriginTls {
    let said = [
        ("tls_ca", raw.tls_ca.is_some()),
        ("tls_name", raw.tls_name.is_some()),
        ("tls_verify", !raw.tls_verify),
        ("tls_certificate", raw.tls_certificate.is_some()),
    ];
    if let Some((name, _)) = said.into_iter().find(|(_, said)| *said && !secure) {
        findings
            .warning(&at.key(name), "no origin of the site speaks TLS")
            .hint("https:// before an origin that does");
    }
    if !raw.tls_verify {
        if raw.tls_ca.is_some() {
            findings
                .error(
                    &at.key("tls_ca"),
                    "there are CAs to believe, and no certificate is looked at",
                )
                .expected("tls_ca without tls_verify = false");
        } else if secure {
            findings
                .warning(&at.key("tls_verify"), "whoever is on the way to an origin can be it")
                .hint("tls_ca with the CA of the origin, or its certificate if that is no CA's");
        }
    }
    let ca = raw.tls_ca.as_deref().map(|ca| {
        let (key, before) = (at.key("tls_ca"), findings.all.len());
        let ca = files::existing(ca, &key, findings);
        // What was complained of already is not opened.
        if findings.all.len() == before
            && let Err(error) = trust::checked(Some(&ca))
        {
            if let TrustError::Unreadable { .. } = error {
                // Whoever checks may be another user than the daemon.
                findings.warning(&key, error.to_string()).hint("check as root");
            } else {
                findings.error(&key, error.to_string()).expected("certificates of CAs in PEM");
            }
        }
        ca
    });
    if let Some(name) = &raw.tls_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        findings
            .error(&at.key("tls_name"), format!("{} is no name of a server", quoted(name)))
            .expected("the name or the address in the certificate of the origin, without a port");
    }
    let certificate = raw.tls_certificate.as_deref().and_then(|name| {
        let parsed = Identifier::parse(name);
        parsed
            .map_err(|error| {
                let what = format!("{} is no name of a certificate: {error}", quoted(name));
                findings
                    .error(&at.key("tls_certificate"), what)
                    .expected("a name in a certificate that keyward has, imported or ordered")
                    .hint("`keyward list` tells their names");
            })
            .ok()
            .map(Box::new)
    });
    let name = raw.tls_name.as_deref().map(Into::into);
    OriginTls { ca, name, verify: raw.tls_verify, certificate }
}
