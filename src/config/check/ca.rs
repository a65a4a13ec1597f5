//! `[[ca]]`: the CAs beside the one of `[acme]`.
//!
//! What they have in common with that one is checked there.

use super::super::ca::Acme;
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::raw_ca::RawCa;
use super::{acme, files, limits, quoted};

/// Names that need no directory, and the one that is meant.
pub(super) const DIRECTORIES: [(&str, &str); 4] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
];

/// Names that mean something else.
const TAKEN: [&str; 3] = [acme::NAME, "internal", "imported"];

/// The CAs of the file; `first` is the one of `[acme]`, whose contacts and challenges are theirs where
/// they say nothing.
pub(super) fn check_all(
    raw: &[RawCa],
    first: &Acme,
    with_dns: bool,
    findings: &mut Findings,
) -> Vec<Acme> {
    let list = KeyPath::dotted("ca");
    let mut all: Vec<Acme> = Vec::with_capacity(raw.len());
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        let name = name(raw, &all, &at, findings);
        let directory = directory(raw, &name, &at, findings);
        let mut known = std::iter::once(first).chain(&all);
        if let Some(other) = known.find(|ca| ca.directory == directory && !directory.is_empty()) {
            findings
                .error(
                    &at.key("directory"),
                    format!("the CA {:?} has this directory too", other.name),
                )
                .expected("each directory once: a certificate is told by it who issues it");
        }
        for (index, contact) in raw.contact.iter().enumerate() {
            acme::contact(contact, &at.key("contact").index(index), findings);
        }
        let challenges = if raw.challenges.is_empty() {
            first.challenges.clone()
        } else {
            acme::challenges(&raw.challenges, with_dns, &at.key("challenges"), findings)
        };
        let ca_root =
            raw.ca_root.as_deref().map(|path| files::existing(path, &at.key("ca_root"), findings));
        if let Some(name) = &raw.profile {
            acme::profile(name, &at.key("profile"), findings);
        }
        acme::preferred_chain(raw.preferred_chain.as_deref(), &at, findings);
        let contact = if raw.contact.is_empty() { &first.contact } else { &raw.contact };
        let limits = limits::check(raw.limits.as_ref(), &directory, &at, findings);
        all.push(Acme {
            limits,
            name,
            directory,
            contact: contact.clone(),
            accept_terms: raw.accept_terms,
            challenges,
            name_servers: first.name_servers.clone(),
            ca_root,
            profile: raw.profile.clone(),
            preferred_chain: raw.preferred_chain.clone(),
            eab: raw.eab.as_ref().and_then(|eab| acme::eab(eab, &at.key("eab"), findings)),
            renewal_info: raw.renewal_info,
            take_over_left: first.take_over_left,
        });
    }
    all
}

fn name(raw: &RawCa, all: &[Acme], at: &KeyPath, findings: &mut Findings) -> String {
    let key = at.key("name");
    let name = raw.name.clone().unwrap_or_default();
    if findings.is_spoilt(&key) {
        return name;
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        findings
            .error(&key, "a CA has no name by which sites could call it")
            .expected("lower-case letters, digits and hyphens, such as \"zerossl\"");
    } else if TAKEN.contains(&name.as_str()) {
        findings
            .error(&key, format!("the name {} means something else", quoted(&name)))
            .expected("another name; \"acme\" is the CA of [acme]");
    } else if all.iter().any(|ca| ca.name == name) {
        findings
            .error(&key, format!("there are two CAs of the name {}", quoted(&name)))
            .expected("a name for each");
    }
    name
}

fn directory(raw: &RawCa, name: &str, at: &KeyPath, findings: &mut Findings) -> String {
    let key = at.key("directory");
    let well_known = DIRECTORIES.iter().find(|(known, _)| *known == name);
    match (&raw.directory, well_known) {
        (Some(directory), _) => {
            acme::directory(directory, &key, findings);
            directory.clone()
        }
        (None, Some((_, directory))) => (*directory).to_owned(),
        (None, None) => {
            if !findings.is_spoilt(&key) {
                let known = DIRECTORIES.map(|(name, _)| name).join(", ");
                findings
                    .error(&key, format!("the CA {} has no directory", quoted(name)))
                    .expected(format!("the https URL of its directory; known by name are {known}"));
            }
            String::new()
        }
    }
}
