//! `hsts`, of a site or below `[tls]` for all: Strict-Transport-Security (RFC 6797), and what of it
//! cannot be taken back.

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Hsts, Site};
use super::super::raw::{RawHsts, RawHstsTable};
use crate::cert::identifier::Identifier;
use crate::cert::spec::IssuerName;

/// Two years in seconds: what Mozilla's guidelines ask for at least.
pub(in super::super) const TWO_YEARS: u64 = 63_072_000;

/// One year in seconds: the least that browsers' preload lists take.
const ONE_YEAR: u64 = 31_536_000;

const DAY: u64 = 24 * 3600;

const DEFAULT: Hsts = Hsts { max_age: TWO_YEARS, include_subdomains: false, preload: false };

/// What sites have that say nothing of it themselves.
pub(super) fn general(raw: Option<&RawHsts>, findings: &mut Findings) -> Option<Hsts> {
    let key = KeyPath::dotted("tls.hsts");
    match raw {
        None | Some(RawHsts::Switch(true)) => Some(DEFAULT),
        Some(RawHsts::Switch(false)) => None,
        Some(RawHsts::Table(table)) => {
            let hsts = filled(table, DEFAULT);
            for_ever(table, hsts, "each site's names", &key, findings);
            Some(hsts)
        }
    }
}

/// By default as `general` for sites of a public CA; two years without sub-domains, of which the
/// site cannot know whether they have HTTPS, where that says nothing else.
///
/// Off by default with the internal CA: a browser that does not trust its root shows a warning
/// that one can pass, but after it once saw this header on that host, from whatever server on
/// whatever port, it shuts the door. For `localhost` that would hit every other project on the
/// machine.
pub(super) fn check(
    raw: Option<&RawHsts>,
    general: Option<Hsts>,
    (issuer, names): (&IssuerName, &[(Identifier, KeyPath)]),
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<Hsts> {
    let table = match raw {
        None => return general.filter(|_| *issuer != IssuerName::Internal),
        Some(RawHsts::Switch(false)) => return None,
        Some(RawHsts::Switch(true)) => &RawHstsTable::default(),
        Some(RawHsts::Table(table)) => table,
    };
    if *issuer == IssuerName::Internal {
        findings
            .warning(
                key,
                "browsers without the internal root shut out a host whose HSTS they have seen",
            )
            .hint("leave hsts out for sites of the internal CA");
    }
    let hsts = filled(table, general.unwrap_or(DEFAULT));
    let first = names.first().map_or_else(|| "this site".to_owned(), |(name, _)| name.to_string());
    for_ever(table, hsts, &first, key, findings);
    Some(hsts)
}

/// `table`, and where it is silent `rest`.
fn filled(table: &RawHstsTable, rest: Hsts) -> Hsts {
    Hsts {
        max_age: table.max_age.unwrap_or(rest.max_age),
        include_subdomains: table.include_subdomains.unwrap_or(rest.include_subdomains),
        preload: table.preload.unwrap_or(rest.preload),
    }
}

/// What cannot be undone, if `table` asks for it.
fn for_ever(table: &RawHstsTable, hsts: Hsts, names: &str, key: &KeyPath, findings: &mut Findings) {
    if hsts.preload {
        let at = key.key("preload");
        if !hsts.include_subdomains {
            findings
                .error(&at, "preload lists take no site without its sub-domains")
                .expected("include_subdomains = true beside preload = true")
                .hint("leave preload out, unless every sub-domain has HTTPS for ever");
        }
        if hsts.max_age < ONE_YEAR {
            findings
                .error(
                    &key.key("max_age"),
                    format!("preload lists take no max_age of {} seconds", hsts.max_age),
                )
                .expected(format!("at least {ONE_YEAR}, which is a year"));
        }
        if hsts.include_subdomains && hsts.max_age >= ONE_YEAR && table.preload == Some(true) {
            findings
                .warning(
                    &at,
                    format!(
                        "preload cannot be undone: whoever sends {names} to the preload list locks \
                         it and every name below it to HTTPS in browsers as they are shipped"
                    ),
                )
                .hint("leave preload out; a removal reaches browsers months later, if at all");
        }
    } else if table.include_subdomains == Some(true) && hsts.max_age > 0 {
        let days = hsts.max_age.div_ceil(DAY);
        findings
            .warning(
                &key.key("include_subdomains"),
                format!(
                    "every host below {names} needs HTTPS for {days} days from each visit: a \
                     browser that saw the header keeps to it when it is gone"
                ),
            )
            .hint("begin with max_age = 300; max_age = 0 takes it back, from browsers that return");
    }
}

/// Sites below others that speak for their sub-domains, and which that harms.
pub(super) fn below(sites: &[Site], list: &KeyPath, findings: &mut Findings) {
    let speaking = |site: &&Site| site.hsts.is_some_and(|h| h.include_subdomains && h.max_age > 0);
    for above in sites.iter().filter(speaking) {
        for (number, site) in sites.iter().enumerate() {
            let harm = match (&site.issuer, site.hsts) {
                (IssuerName::Internal, _) => {
                    "browsers without the internal root get no further there"
                }
                (_, None) => "it is held to HTTPS although hsts = false",
                _ => continue,
            };
            let lies_below =
                |name: &&Identifier| above.names.iter().any(|parent| is_below(name, parent));
            if let Some(name) = site.names.iter().find(lies_below) {
                let text = format!(
                    "{name} lies below {}, whose HSTS includes sub-domains: {harm}",
                    above.name()
                );
                findings
                    .warning(&list.index(number).key("names"), text)
                    .hint(format!("include_subdomains = false for {}", above.name()));
            }
        }
    }
}

/// Whether `name` is a sub-domain of a host that `parent` stands for (RFC 6797, section 8.2).
fn is_below(name: &Identifier, parent: &Identifier) -> bool {
    if matches!(name, Identifier::Ip(_)) {
        return false;
    }
    let name = name.to_string();
    let (wild, base) = match parent {
        Identifier::Dns(base) => (false, base),
        Identifier::Wildcard(base) => (true, base),
        Identifier::Ip(_) => return false,
    };
    let labels = name.strip_suffix(base.as_str()).and_then(|rest| rest.strip_suffix('.'));
    // A wildcard stands for names with one label more, and the header they send is for those below.
    labels.is_some_and(|labels| !labels.is_empty() && (!wild || labels.contains('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_domain_is_below_and_nothing_else_is() {
        let below = |name: &str, parent: &str| {
            is_below(&Identifier::parse(name).unwrap(), &Identifier::parse(parent).unwrap())
        };
        assert!(below("a.example.org", "example.org"));
        assert!(below("b.a.example.org", "*.example.org"));
        assert!(below("*.example.org", "example.org"), "which stands for names below it");
        assert!(!below("a.example.org", "*.example.org"), "that is the site itself");
        for (name, parent) in [
            ("example.org", "example.org"),
            ("example.org", "a.example.org"),
            ("myexample.org", "example.org"),
            ("127.0.0.1", "example.org"),
            ("a.example.org", "127.0.0.1"),
        ] {
            assert!(!below(name, parent), "{name} {parent}");
        }
    }
}
