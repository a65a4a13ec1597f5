//! `[[site]]`: what is served under which names, and who issues its certificate.

use std::path::Path;

use super::super::ca::Acme;
use super::super::dns::DnsAccount;
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Admin, Hsts, Listen, Site};
use super::super::origin::{Asking, Origin, OriginTls};
use super::super::raw::{RawKeys, RawSite};
use super::super::raw_ca::RawIssuers;
use super::super::suggest;
use super::names::Seen;
use super::{
    acme, clients, hsts, issuers, keeping, names, origins, policy, quoted, route, standby, tls,
};
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;

const KEYS: [(&str, KeyAlgorithm); 3] = [
    ("p256", KeyAlgorithm::P256),
    ("p384", KeyAlgorithm::P384),
    ("rsa2048", KeyAlgorithm::Rsa2048),
];

/// What sites are held against, or take from outside.
pub(super) struct General<'a> {
    /// The CAs that speak ACME, that of `[acme]` first.
    pub(super) cas: &'a [Acme],
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
    pub(super) issuer: Option<&'a RawIssuers>,
    pub(super) standby: Option<&'a str>,
    pub(super) preferred_chain: Option<&'a str>,
    pub(super) challenge: Option<ChallengeType>,
    pub(super) profile: Option<&'a str>,
    pub(super) key: &'a RawKeys,
}

/// What a certificate is to be.
pub(super) struct Ordered {
    /// Who issues it, the first of them by preference; never empty.
    pub(super) issuer: IssuerName,
    pub(super) further: Vec<IssuerName>,
    pub(super) standby: Option<IssuerName>,
    pub(super) preferred_chain: Option<String>,
    pub(super) key: KeyAlgorithm,
    pub(super) second_key: Option<KeyAlgorithm>,
}

/// Who issues a certificate for `names`, and its kind of key with that of the second one.
pub(super) fn wanted(
    raw: Wanted<'_>,
    names: &[(Identifier, KeyPath)],
    general: &General<'_>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Ordered {
    let (issuer, further) = issuers::check(raw.issuer, names, general.cas, at, findings);
    let list: Vec<&IssuerName> = std::iter::once(&issuer).chain(&further).collect();
    let standby = standby::check(raw.standby, &list, (names, general.cas), at, findings);
    standby::chain(raw.preferred_chain, &issuer, at, findings);
    for (number, issuer) in list.into_iter().chain(&standby).enumerate() {
        let Some(ca) = general.cas.iter().find(|ca| ca.issuer() == *issuer) else { continue };
        issuers::provable(names, raw.challenge, (ca, general.dns), findings);
        // A profile is a word of the first CA.
        let profile = raw.profile.filter(|_| number == 0).or(ca.profile.as_deref());
        issuers::short_lived(profile, names, ca, findings);
    }
    if let Some(name) = raw.profile {
        acme::profile(name, &at.key("profile"), findings);
    }
    let (key, second_key) = keys(raw.key, &at.key("key"), findings);
    let preferred_chain = raw.preferred_chain.map(str::to_owned);
    Ordered { issuer, further, standby, preferred_chain, key, second_key }
}

pub(super) fn check_all(
    raw: &[RawSite],
    general: &General<'_>,
    line: &dyn Fn(&KeyPath) -> usize,
    findings: &mut Findings,
) -> Vec<Site> {
    let &General { cas, dns: _, listen, admin, hsts: general_hsts, agreement, lists } = general;
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
            issuer: raw.issuer.as_ref(),
            standby: raw.beside.standby.as_deref(),
            preferred_chain: raw.beside.preferred_chain.as_deref(),
            challenge,
            profile: raw.profile.as_deref(),
            key: &raw.key,
        };
        let own = wanted(own, &names, general, &at, findings);
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
        let whose = (&own.issuer, names.as_slice());
        let hsts = hsts::check(raw.hsts.as_ref(), general_hsts, whose, &at.key("hsts"), findings);
        let policy = policy::check(&raw.policy, None, &at, findings);
        let around = (listen, admin, &policy);
        let routes = route::check(&raw.route, around, &like, &at, findings);
        sites.push(Site {
            names: names.into_iter().map(|(name, _)| name).collect(),
            origin,
            issuer: own.issuer,
            further: own.further,
            standby: own.standby,
            preferred_chain: own.preferred_chain,
            challenge,
            key: own.key,
            second_key: own.second_key,
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
    issuers::terms(&sites, cas, &list, findings);
    hsts::below(&sites, &list, findings);
    sites
}

/// The one challenge that a site is to be proven by.
fn challenge(said: Option<&str>, key: &KeyPath, findings: &mut Findings) -> Option<ChallengeType> {
    tls::choice(said?, &acme::CHALLENGES, "challenge", key, findings)
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
