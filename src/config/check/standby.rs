//! `standby` and `preferred_chain` of a site: who keeps a second certificate ready, and up to which root
//! chains are to lead.
//!
//! Whether the CA can prove the names is checked with those of the site itself.

use super::super::ca::Acme;
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::suggest;
use super::issuers::{IMPORTED, INTERNAL, called};
use super::{acme, ca, quoted};
use crate::cert::identifier::Identifier;
use crate::cert::spec::IssuerName;

/// The CA that keeps a certificate ready beside those of `list`, the CAs of the site itself.
pub(super) fn check(
    said: Option<&str>,
    list: &[&IssuerName],
    (names, cas): (&[(Identifier, KeyPath)], &[Acme]),
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<IssuerName> {
    let key = &at.key("standby");
    let said = said.filter(|_| !findings.is_spoilt(key))?;
    if findings.is_spoilt(&at.key("issuer")) || findings.is_told(&at.key("issuer")) {
        return None;
    }
    match list.first() {
        Some(IssuerName::Imported) => {
            findings
                .error(key, "nothing is ordered for this site, so nothing stands by for it")
                .expected("a CA in `issuer`, and another one here")
                .hint("take it out, or issuer = \"acme\": what is imported is served all the same");
            return None;
        }
        Some(IssuerName::Internal) => {
            findings
                .error(key, "the internal CA is never out of reach, and needs no standby")
                .expected("a CA that speaks ACME in `issuer`, and another one here")
                .hint("take it out, or issuer = \"acme\" if the names are public");
            return None;
        }
        Some(IssuerName::Acme(_)) | None => {}
    }
    if [INTERNAL, IMPORTED].contains(&said) {
        findings
            .error(key, format!("{} keeps nothing ready that clients trust", quoted(said)))
            .expected(format!("another CA that speaks ACME: {}", others(list, cas)));
        return None;
    }
    let Some(meant) = called(said, cas) else {
        let finding = findings
            .error(key, format!("the standby {} is not known", quoted(said)))
            .expected(format!("another CA that speaks ACME: {}", others(list, cas)));
        if ca::DIRECTORIES.iter().any(|(name, _)| *name == said) {
            finding.hint(format!("a table [[ca]] with name = {said:?} and accept_terms = true"));
        } else if let Some(near) = suggest::nearest(said, cas.iter().map(|ca| ca.name.as_str())) {
            finding.hint(format!("{near:?}"));
        }
        return None;
    };
    let issuer = meant.issuer();
    match list.iter().position(|one| **one == issuer) {
        Some(0) => {
            findings
                .error(key, format!("the standby {} is the CA of the site itself", quoted(said)))
                .expected(format!("another one: {}", others(list, cas)))
                .hint("what one CA revokes or cannot renew, it cannot stand by for");
            None
        }
        Some(_) => {
            findings
                .error(key, format!("the standby {} is asked for the first one too", quoted(said)))
                .expected(format!("one that is not in `issuer`: {}", others(list, cas)))
                .hint(
                    "take it out of the list: a standby is there already when the first one fails",
                );
            None
        }
        None => {
            let private = meant.ca_root.is_some();
            for (name, key) in names.iter().filter(|(name, _)| name.is_internal() && !private) {
                if !findings.is_told(key) {
                    findings
                        .error(key, format!("no public CA signs {name}, as {said} would have to"))
                        .expected("public names where a public CA stands by")
                        .hint("take `standby` out, or ca_root at the CA if it is a private one");
                }
            }
            Some(issuer)
        }
    }
}

/// The CAs that may stand by, in words.
fn others(list: &[&IssuerName], cas: &[Acme]) -> String {
    let free = cas.iter().filter(|ca| !list.contains(&&ca.issuer()));
    let names: Vec<String> = free.map(|ca| format!("{:?}", ca.name)).collect();
    if names.is_empty() {
        "there is none yet, a table [[ca]] makes one".to_owned()
    } else {
        names.join(", ")
    }
}

/// The root up to which chains of `issuer`, the site's first CA, are to lead.
pub(super) fn chain(
    said: Option<&str>,
    issuer: &IssuerName,
    at: &KeyPath,
    findings: &mut Findings,
) {
    acme::preferred_chain(said, at, findings);
    let key = at.key("preferred_chain");
    let ordered = matches!(issuer, IssuerName::Acme(_));
    let told = findings.is_told(&key) || findings.is_told(&at.key("issuer"));
    if said.is_some() && !ordered && !told && !findings.is_spoilt(&at.key("issuer")) {
        findings
            .warning(&key, "no CA offers several chains to this site, so there is none to prefer")
            .hint("take it out, or issuer = \"acme\"");
    }
}
