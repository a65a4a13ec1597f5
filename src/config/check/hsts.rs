//! `hsts` of a site: Strict-Transport-Security (RFC 6797).

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::Hsts;
use super::super::raw::{RawHsts, RawHstsTable};
use crate::cert::spec::IssuerName;

/// Two years in seconds: what Mozilla's guidelines ask for at least.
pub(in super::super) const TWO_YEARS: u64 = 63_072_000;

/// One year in seconds: the least that browsers' preload lists take.
const ONE_YEAR: u64 = 31_536_000;

/// By default on for sites of a public CA, without sub-domains, of which the site cannot know
/// whether they have HTTPS.
///
/// Off by default with the internal CA: a browser that does not trust its root shows a warning
/// that one can pass, but after it once saw this header on that host, from whatever server on
/// whatever port, it shuts the door. For `localhost` that would hit every other project on the
/// machine.
pub(super) fn check(
    raw: Option<&RawHsts>,
    issuer: &IssuerName,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<Hsts> {
    let default = Hsts { max_age: TWO_YEARS, include_subdomains: false, preload: false };
    match raw {
        None => (*issuer != IssuerName::Internal).then_some(default),
        Some(RawHsts::Switch(false)) => None,
        Some(RawHsts::Switch(true)) => {
            internal(issuer, key, findings);
            Some(default)
        }
        Some(RawHsts::Table(table)) => {
            internal(issuer, key, findings);
            if table.preload {
                preload(table, key, findings);
            }
            Some(Hsts {
                max_age: table.max_age,
                include_subdomains: table.include_subdomains,
                preload: table.preload,
            })
        }
    }
}

fn internal(issuer: &IssuerName, key: &KeyPath, findings: &mut Findings) {
    if *issuer == IssuerName::Internal {
        findings
            .warning(
                key,
                "browsers without the internal root shut out a host whose HSTS they have seen",
            )
            .hint("leave hsts out for sites of the internal CA");
    }
}

fn preload(table: &RawHstsTable, key: &KeyPath, findings: &mut Findings) {
    if !table.include_subdomains {
        findings
            .error(&key.key("preload"), "preload lists take no site without its sub-domains")
            .expected("include_subdomains = true beside preload = true")
            .hint("leave preload out, unless every sub-domain has HTTPS for ever");
    }
    if table.max_age < ONE_YEAR {
        findings
            .error(
                &key.key("max_age"),
                format!("preload lists take no max_age of {} seconds", table.max_age),
            )
            .expected(format!("at least {ONE_YEAR}, which is a year"));
    }
}
