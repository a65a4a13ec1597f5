//! `[[site]]`: what is served under which names, and who issues its certificate.

use std::path::Path;

use super::super::dns::{DnsAccount, proof_name};
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Acme, Admin, Hsts, Listen, Site};
use super::super::origin::{Asking, Origin, OriginTls};
use super::super::raw::{RawKeys, RawSite};
use super::super::suggest;
use super::names::Seen;
use super::{acme, clients, hsts, keeping, names, origins, policy, quoted, route, tls};
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;

const ISSUERS: [&str; 3] = ["acme", "internal", "imported"];

const KEYS: [(&str, KeyAlgorithm); 3] = [
    ("p256", KeyAlgorithm::P256),
    ("p384", KeyAlgorithm::P384),
    ("rsa2048", KeyAlgorithm::Rsa2048),
];

/// What sites are held against, or take from outside.
pub(super) struct General<'a> {
    pub(super) acme: &'a Acme,
    pub(super) dns: &'a [DnsAccount],
    pub(super) listen: &'a Listen,
    pub(super) admin: &'a Admin,
    pub(super) hsts: Option<Hsts>,
    pub(super) agreement: tls::General,
    /// Where lists of revoked certificates are kept that are fetched.
    pub(super) lists: &'a Path,
}

/// What a certificate is asked to be.
pub(super) struct Wanted<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) challenge: Option<ChallengeType>,
    pub(super) profile: Option<&'a str>,
    pub(super) key: &'a RawKeys,
}

/// Who issues a certificate for `names`, and its kind of key with that of the second one.
pub(super) fn wanted(
    raw: Wanted<'_>,
    names: &[(Identifier, KeyPath)],
    general: &General<'_>,
    at: &KeyPath,
    findings: &mut Findings,
) -> (IssuerName, (KeyAlgorithm, Option<KeyAlgorithm>)) {
    let acme = general.acme;
    let issuer = issuer(raw.issuer, names, acme, at, findings);
    if matches!(issuer, IssuerName::Acme(_)) {
        provable(names, raw.challenge, general, findings);
        short_lived(raw.profile, names, acme, findings);
    }
    if let Some(name) = raw.profile {
        acme::profile(name, &at.key("profile"), findings);
    }
    (issuer, keys(raw.key, &at.key("key"), findings))
}

pub(super) fn check_all(
    raw: &[RawSite],
    general: &General<'_>,
    line: &dyn Fn(&KeyPath) -> usize,
    findings: &mut Findings,
) -> Vec<Site> {
    let &General { acme, dns: _, listen, admin, hsts: general_hsts, agreement, lists } = general;
    let mut seen = Seen::new();
    let mut sites: Vec<Site> = Vec::with_capacity(raw.len());
    let mut default_line = None;
    let list = KeyPath::dotted("site");
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        let line = line(&at);
        let names = names::check(&raw.names, (number, line), &at, &mut seen, findings);
        let challenge = challenge(raw.challenge.as_deref(), &at.key("challenge"), findings);
        let own = Wanted {
            issuer: raw.issuer.as_deref(),
            challenge,
            profile: raw.profile.as_deref(),
            key: &raw.key,
        };
        let (issuer, (key, second_key)) = wanted(own, &names, general, &at, findings);
        if raw.default {
            if let Some(first) = default_line {
                findings
                    .error(&at.key("default"), "there are two default sites")
                    .expected(format!("one; the other begins on line {first}"))
                    .hint("default = false on one of the two");
            }
            default_line = default_line.or(Some(line));
        }
        let origin = if findings.is_spoilt(&at) {
            Origin::Welcome
        } else {
            let what = (raw.origin.as_ref(), &raw.files);
            origins::check(what, &raw.origins, (listen, admin), &at, findings)
        };
        let like = match &origin {
            Origin::Servers(servers) => {
                (servers.asking, servers.tls.clone(), servers.health.clone())
            }
            Origin::Files(_) => origins::how(&raw.origins, &at, findings),
            Origin::Welcome | Origin::Service => (Asking::default(), OriginTls::default(), None),
        };
        let whose = (&issuer, names.as_slice());
        let hsts = hsts::check(raw.hsts.as_ref(), general_hsts, whose, &at.key("hsts"), findings);
        let policy = policy::check(&raw.policy, None, &at, findings);
        let around = (listen, admin, &policy);
        let routes = route::check(&raw.route, around, &like, &at, findings);
        sites.push(Site {
            names: names.into_iter().map(|(name, _)| name).collect(),
            origin,
            issuer,
            challenge,
            key,
            second_key,
            reuse_key: raw.reuse_key,
            exportable: raw.exportable,
            keeping: keeping::check(&raw.keeping, &at, findings),
            profile: raw.profile.clone(),
            clients: clients::check((raw.tls.as_ref(), lists), raw.early_data, &at, findings),
            tls: tls::agreement(raw.tls.as_ref(), agreement, &at, findings),
            hsts,
            redirect: raw.redirect,
            default: raw.default,
            preserve_host: raw.preserve_host,
            early_data: raw.early_data,
            access_log: raw.access_log,
            tls_headers: raw.tls_headers,
            routes,
            policy,
            line,
        });
    }
    terms(&sites, acme, &list, findings);
    hsts::below(&sites, &list, findings);
    sites
}

/// Who issues: as the site says, else by its names.
fn issuer(
    said: Option<&str>,
    names: &[(Identifier, KeyPath)],
    acme: &Acme,
    at: &KeyPath,
    findings: &mut Findings,
) -> IssuerName {
    let public = IssuerName::Acme(acme.directory.clone());
    let internal: Vec<_> = names.iter().filter(|(name, _)| name.is_internal()).collect();
    match said {
        Some("internal") => IssuerName::Internal,
        Some("imported") => IssuerName::Imported,
        // A directory with a root of its own is a private CA, which may sign any name.
        Some("acme") if acme.ca_root.is_some() => public,
        Some("acme") => {
            for (name, key) in internal {
                findings
                    .error(key, format!("no public CA signs {name}"))
                    .expected("a public name with issuer \"acme\"")
                    .hint("issuer = \"internal\", or acme.ca_root for a private CA");
            }
            public
        }
        Some(other) => {
            let finding = findings
                .error(&at.key("issuer"), format!("the issuer {} is not known", quoted(other)))
                .expected("\"acme\", \"internal\" or \"imported\"");
            if let Some(meant) = suggest::nearest(other, ISSUERS) {
                finding.hint(format!("{meant:?}"));
            }
            // The stand-in of which nothing further is asked.
            IssuerName::Internal
        }
        None if internal.len() == names.len() && !names.is_empty() => IssuerName::Internal,
        None => {
            if let Some((name, key)) = internal.first() {
                findings
                    .error(key, format!("no public CA signs {name}, and other names are public"))
                    .expected("names of one kind in a site")
                    .hint("a second [[site]] with the same origin, or issuer = \"internal\"");
            }
            public
        }
    }
}

/// The one challenge that a site is to be proven by.
fn challenge(said: Option<&str>, key: &KeyPath, findings: &mut Findings) -> Option<ChallengeType> {
    tls::choice(said?, &acme::CHALLENGES, "challenge", key, findings)
}

/// Whether some challenge proves each name: the one that is asked for, or those of `[acme]` and the
/// one by DNS where there is an account for it.
fn provable(
    names: &[(Identifier, KeyPath)],
    only: Option<ChallengeType>,
    general: &General<'_>,
    findings: &mut Findings,
) {
    let listed = only.map_or_else(|| general.acme.challenges.clone(), |only| vec![only]);
    if listed.is_empty() {
        return;
    }
    for (name, key) in names {
        let plain = |challenge: &ChallengeType| *challenge != ChallengeType::Dns01;
        if listed.iter().filter(|challenge| plain(challenge)).any(|c| c.can_prove(name)) {
            continue;
        }
        let may = only.is_none_or(|only| only == ChallengeType::Dns01);
        if may && !general.dns.is_empty() && ChallengeType::Dns01.can_prove(name) {
            in_a_zone(name, key, general.dns, findings);
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
    if dns.iter().any(|account| account.zone_of(&proof).is_some()) {
        return;
    }
    let zones: Vec<&str> =
        dns.iter().flat_map(|account| &account.zones).map(String::as_str).take(5).collect();
    findings
        .warning(key, format!("{name} is in no zone of a [[dns]] account"))
        .expected(format!("a CNAME record at {proof} into one of them: {}", zones.join(", ")));
}

/// Let's Encrypt signs addresses under its profile `shortlived` only.
fn short_lived(
    own: Option<&str>,
    names: &[(Identifier, KeyPath)],
    acme: &Acme,
    findings: &mut Findings,
) {
    let profile = own.or(acme.profile.as_deref());
    if profile == Some("shortlived") || !acme::is_lets_encrypt(&acme.directory) {
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

/// The kind of key, and that of the second certificate if there is to be one.
fn keys(
    raw: &RawKeys,
    at: &KeyPath,
    findings: &mut Findings,
) -> (KeyAlgorithm, Option<KeyAlgorithm>) {
    let texts = match raw {
        RawKeys::One(text) => return (key(text, at, findings), None),
        RawKeys::Several(texts) => texts,
    };
    let several = texts.iter().enumerate();
    let keys: Vec<_> = several.map(|(n, text)| key(text, &at.index(n), findings)).collect();
    match *keys.as_slice() {
        [one] => (one, None),
        [one, other] if one.kind() != other.kind() => (one.min(other), Some(one.max(other))),
        _ => {
            // What is not known is told already.
            if texts.iter().all(|text| KEYS.iter().any(|(name, _)| name == text)) {
                findings
                    .error(at, "these kinds of keys do not go together")
                    .expected("one kind, or one of p256 and p384 and rsa2048")
                    .hint("key = [\"p256\", \"rsa2048\"]");
            }
            (KeyAlgorithm::default(), None)
        }
    }
}

fn key(text: &str, key: &KeyPath, findings: &mut Findings) -> KeyAlgorithm {
    if let Some((_, algorithm)) = KEYS.iter().find(|(name, _)| *name == text) {
        return *algorithm;
    }
    let finding = findings
        .error(key, format!("the kind of key {} is not known", quoted(text)))
        .expected("one of p256, p384, rsa2048");
    if let Some(meant) = suggest::nearest(text, KEYS.map(|(name, _)| name)) {
        finding.hint(format!("{meant:?}"));
    }
    KeyAlgorithm::default()
}

/// A public CA issues to nobody who has not accepted its terms.
fn terms(sites: &[Site], acme: &Acme, list: &KeyPath, findings: &mut Findings) {
    let ordering = sites
        .iter()
        .enumerate()
        .find(|(_, site)| matches!(site.issuer, IssuerName::Acme(_)) && !site.names.is_empty());
    let Some((number, site)) = ordering else { return };
    unaccepted(&site.issuer, site.name(), &list.index(number), acme, findings);
}

/// The same for one name.
pub(super) fn unaccepted(
    issuer: &IssuerName,
    name: &Identifier,
    at: &KeyPath,
    acme: &Acme,
    findings: &mut Findings,
) {
    let key = KeyPath::dotted("acme.accept_terms");
    // Said once is enough.
    if acme.accept_terms || findings.is_spoilt(&key) || findings.all.iter().any(|f| f.key == key) {
        return;
    }
    findings
        .error(&key, format!("the terms of {issuer} are not accepted, which issues {name}"))
        .expected("accept_terms = true below [acme], once you have read them")
        .hint(format!("that, or issuer = \"internal\" in {}", at.in_words()));
}
