//! Who issues what a site serves: the CAs that it names, and whether each can and may do it.
//!
//! The CAs themselves are checked where they stand, in `acme` and `ca`.

use super::super::ca::Acme;
use super::super::dns::{DnsAccount, proof_name};
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::Site;
use super::super::raw_ca::RawIssuers;
use super::super::suggest;
use super::{acme, ca, quoted};
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;
use crate::cert::spec::IssuerName;

pub(super) const INTERNAL: &str = "internal";
pub(super) const IMPORTED: &str = "imported";

/// Who issues, and who is asked in its place: as the site says, else by its names.
pub(super) fn check(
    said: Option<&RawIssuers>,
    names: &[(Identifier, KeyPath)],
    cas: &[Acme],
    at: &KeyPath,
    findings: &mut Findings,
) -> (IssuerName, Vec<IssuerName>) {
    let key = at.key("issuer");
    let texts = match said {
        None => return (by_names(names, cas, findings), Vec::new()),
        Some(RawIssuers::One(text)) => return (one(text, names, cas, &key, findings), Vec::new()),
        Some(RawIssuers::Several(texts)) => texts,
    };
    let mut list: Vec<IssuerName> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let key = key.index(number);
        if findings.is_spoilt(&key) {
            continue;
        }
        let follows = number == 0 && text == IMPORTED;
        if texts.len() > 1 && [INTERNAL, IMPORTED].contains(&text.as_str()) && !follows {
            let expected = if text == IMPORTED {
                "this word before the CAs whose certificate follows an imported one, or alone"
            } else {
                "CAs that speak ACME in a list, or this word alone"
            };
            findings
                .error(&key, format!("the issuer {} stands in a list", quoted(text)))
                .expected(expected)
                .hint(format!("issuer = {text:?}, or take it out: until a CA answers, the internal one bridges the time"));
            continue;
        }
        let found = one(text, names, cas, &key, findings);
        if list.contains(&found) {
            findings
                .error(&key, format!("the issuer {} stands twice", quoted(text)))
                .expected("each CA once, the preferred one first");
            continue;
        }
        list.push(found);
    }
    if texts.is_empty() && !findings.is_spoilt(&key) {
        findings
            .error(&key, "the list of issuers is empty")
            .expected("a CA, or several in order of preference")
            .hint("leave the key out for the CA of [acme]");
    }
    let mut list = list.into_iter();
    // The stand-in of which nothing further is asked.
    let first = list.next().unwrap_or(IssuerName::Internal);
    (first, list.collect())
}

/// The issuer that a word means.
fn one(
    said: &str,
    names: &[(Identifier, KeyPath)],
    cas: &[Acme],
    key: &KeyPath,
    findings: &mut Findings,
) -> IssuerName {
    match said {
        INTERNAL => return IssuerName::Internal,
        IMPORTED => return IssuerName::Imported,
        _ => {}
    }
    let Some(ca) = called(said, cas) else {
        let known: Vec<&str> = cas.iter().map(|ca| ca.name.as_str()).collect();
        let listed: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
        let finding = findings
            .error(key, format!("the issuer {} is not known", quoted(said)))
            .expected(format!("\"internal\", \"imported\", or a CA: {}", listed.join(", ")));
        if ca::DIRECTORIES.iter().any(|(name, _)| *name == said) {
            finding.hint(format!("a table [[ca]] with name = {said:?} and accept_terms = true"));
        } else if let Some(meant) =
            suggest::nearest(said, known.into_iter().chain([INTERNAL, IMPORTED]))
        {
            finding.hint(format!("{meant:?}"));
        }
        return IssuerName::Internal;
    };
    // A directory with a root of its own is a private CA, which may sign any name.
    if ca.ca_root.is_none() {
        for (name, key) in names.iter().filter(|(name, _)| name.is_internal()) {
            findings
                .error(key, format!("no public CA signs {name}"))
                .expected(format!("a public name with issuer {said:?}"))
                .hint("issuer = \"internal\", or ca_root at the CA if it is a private one");
        }
    }
    ca.issuer()
}

/// The CA that a word means.
pub(super) fn called<'a>(said: &str, cas: &'a [Acme]) -> Option<&'a Acme> {
    let well_known = |ca: &&Acme| ca::DIRECTORIES.contains(&(said, ca.directory.as_str()));
    cas.iter().find(|ca| ca.name == said).or_else(|| cas.iter().find(well_known))
}

/// Where the site does not say.
fn by_names(names: &[(Identifier, KeyPath)], cas: &[Acme], findings: &mut Findings) -> IssuerName {
    let internal: Vec<_> = names.iter().filter(|(name, _)| name.is_internal()).collect();
    if internal.len() == names.len() && !names.is_empty() {
        return IssuerName::Internal;
    }
    if let Some((name, key)) = internal.first() {
        findings
            .error(key, format!("no public CA signs {name}, and other names are public"))
            .expected("names of one kind in a site")
            .hint("a second [[site]] with the same origin, or issuer = \"internal\"");
    }
    cas.first().map_or(IssuerName::Internal, Acme::issuer)
}

/// Whether some challenge proves each name: the one that is asked for, or those of the CA and the
/// one by DNS where there is an account for it.
pub(super) fn provable(
    names: &[(Identifier, KeyPath)],
    only: Option<ChallengeType>,
    (ca, dns): (&Acme, &[DnsAccount]),
    findings: &mut Findings,
) {
    let listed = only.map_or_else(|| ca.challenges.clone(), |only| vec![only]);
    if listed.is_empty() {
        return;
    }
    for (name, key) in names {
        let plain = |challenge: &ChallengeType| *challenge != ChallengeType::Dns01;
        if listed.iter().filter(|challenge| plain(challenge)).any(|c| c.can_prove(name)) {
            continue;
        }
        let may = only.is_none_or(|only| only == ChallengeType::Dns01);
        if may && !dns.is_empty() && ChallengeType::Dns01.can_prove(name) {
            in_a_zone(name, key, dns, findings);
            continue;
        }
        if findings.is_told(key) {
            continue;
        }
        let challenges: Vec<String> = listed.iter().map(ToString::to_string).collect();
        let challenges = challenges.join(" or ");
        findings
            .error(key, format!("{challenges} cannot prove {name} to a public CA"))
            .expected("plain names, or a [[dns]] account: a wildcard is proven by DNS only, an address never")
            .hint("list the names one by one, or issuer = \"internal\"");
    }
}

/// Where no zone has the name, an alias has to lead into one, which only the DNS knows.
fn in_a_zone(name: &Identifier, key: &KeyPath, dns: &[DnsAccount], findings: &mut Findings) {
    let proof = proof_name(&name.to_string());
    if dns.iter().any(|account| account.zone_of(&proof).is_some()) || findings.is_told(key) {
        return;
    }
    let zones: Vec<&str> =
        dns.iter().flat_map(|account| &account.zones).map(String::as_str).take(5).collect();
    findings
        .warning(key, format!("{name} is in no zone of a [[dns]] account"))
        .expected(format!("a CNAME record at {proof} into one of them: {}", zones.join(", ")));
}

/// Let's Encrypt signs addresses under its profile `shortlived` only.
pub(super) fn short_lived(
    profile: Option<&str>,
    names: &[(Identifier, KeyPath)],
    ca: &Acme,
    findings: &mut Findings,
) {
    if profile == Some("shortlived") || !acme::is_lets_encrypt(&ca.directory) {
        return;
    }
    for (name, key) in names {
        if matches!(name, Identifier::Ip(_)) && !name.is_internal() {
            findings
                .warning(key, format!("Let's Encrypt signs {name} under one profile only"))
                .hint("profile = \"shortlived\"");
        }
    }
}

/// A public CA issues to nobody who has not accepted its terms.
pub(super) fn terms(sites: &[Site], cas: &[Acme], list: &KeyPath, findings: &mut Findings) {
    for (number, site) in sites.iter().enumerate().filter(|(_, site)| !site.names.is_empty()) {
        for issuer in site.all_issuers() {
            unaccepted(issuer, site.name(), &list.index(number), cas, findings);
        }
    }
}

/// The same for one name.
pub(super) fn unaccepted(
    issuer: &IssuerName,
    name: &Identifier,
    at: &KeyPath,
    cas: &[Acme],
    findings: &mut Findings,
) {
    let Some(place) = cas.iter().position(|ca| ca.issuer() == *issuer && !ca.accept_terms) else {
        return;
    };
    let table = match place.checked_sub(1) {
        None => KeyPath::dotted("acme"),
        Some(number) => KeyPath::dotted("ca").index(number),
    };
    let key = table.key("accept_terms");
    // Said once is enough.
    if findings.is_spoilt(&key) || findings.is_told(&key) {
        return;
    }
    let below = if place == 0 { "[acme]".to_owned() } else { table.in_words() };
    findings
        .error(&key, format!("the terms of {issuer} are not accepted, which issues {name}"))
        .expected(format!("accept_terms = true below {below}, once you have read them"))
        .hint(format!("that, or issuer = \"internal\" in {}", at.in_words()));
}
