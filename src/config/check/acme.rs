//! `[acme]`: the CA, the account, the challenges.

use url::Url;

use super::super::ca::{Acme, Eab};
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::raw_ca::{RawAcme, RawEab};
use super::super::suggest;
use super::{edge, files, keeping, limits, quoted, quoted_url};
use crate::cert::challenge::ChallengeType;

pub(super) const CHALLENGES: [(&str, ChallengeType); 4] = [
    ("tls-alpn-01", ChallengeType::TlsAlpn01),
    ("http-01", ChallengeType::Http01),
    ("dns-01", ChallengeType::Dns01),
    ("dns-persist-01", ChallengeType::DnsPersist01),
];

/// What sites call the CA of `[acme]`.
pub(super) const NAME: &str = "acme";

/// `with_dns` says whether there is an account at a DNS provider.
pub(super) fn check(raw: &RawAcme, with_dns: bool, findings: &mut Findings) -> Acme {
    let at = KeyPath::dotted("acme");
    directory(&raw.directory, &at.key("directory"), findings);
    for (index, contact) in raw.contact.iter().enumerate() {
        self::contact(contact, &at.key("contact").index(index), findings);
    }
    let challenges = challenges(&raw.challenges, with_dns, &at.key("challenges"), findings);
    let name_servers =
        edge::addresses_of_servers(&raw.name_servers, &at.key("name_servers"), findings);
    let ca_root =
        raw.ca_root.as_deref().map(|path| files::existing(path, &at.key("ca_root"), findings));
    if let Some(name) = &raw.profile {
        profile(name, &at.key("profile"), findings);
    }
    preferred_chain(raw.preferred_chain.as_deref(), &at, findings);
    let eab = raw.eab.as_ref().and_then(|eab| self::eab(eab, &at.key("eab"), findings));
    Acme {
        name: NAME.to_owned(),
        directory: raw.directory.clone(),
        contact: raw.contact.clone(),
        accept_terms: raw.accept_terms,
        challenges,
        name_servers,
        ca_root,
        profile: raw.profile.clone(),
        preferred_chain: raw.preferred_chain.clone(),
        limits: limits::check(raw.limits.as_ref(), &raw.directory, &at, findings),
        eab,
        renewal_info: raw.renewal_info,
        take_over_left: keeping::left(raw.take_over_left, findings),
    }
}

/// Whether `directory` is one of Let's Encrypt's, whose rules are known.
pub(super) fn is_lets_encrypt(directory: &str) -> bool {
    let host = Url::parse(directory).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| host.ends_with(".api.letsencrypt.org"))
}

/// A profile's name, as in a directory's `meta.profiles`.
pub(super) fn profile(name: &str, key: &KeyPath, findings: &mut Findings) {
    if findings.is_spoilt(key) {
        return;
    }
    if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        findings
            .error(key, format!("the profile {} is no name of a profile", quoted(name)))
            .expected("a name that the CA lists in its directory, such as \"tlsserver\"")
            .hint("leave the key out for the CA's default");
    }
}

/// The common name of a root, as certificates have it.
pub(super) fn preferred_chain(name: Option<&str>, at: &KeyPath, findings: &mut Findings) {
    let key = at.key("preferred_chain");
    let Some(name) = name.filter(|_| !findings.is_spoilt(&key)) else { return };
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        findings
            .error(&key, format!("{} is no common name of a root", quoted(name)))
            .expected("the name as it stands in the root's certificate, such as \"ISRG Root X1\"")
            .hint("leave the key out for the CA's default chain");
    }
}

pub(super) fn directory(text: &str, key: &KeyPath, findings: &mut Findings) {
    if findings.is_spoilt(key) {
        return;
    }
    let problem = match Url::parse(text) {
        Err(error) => format!("the directory {} is no URL: {error}", quoted_url(text)),
        Ok(url) if url.scheme() != "https" => {
            format!("the directory {} is no https URL", quoted_url(text))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "the directory has a user name or password in it".to_owned()
        }
        Ok(url) if url.fragment().is_some() => {
            format!("the directory {} has a fragment", quoted_url(text))
        }
        Ok(_) => return,
    };
    let default = RawAcme::default().directory;
    findings
        .error(key, problem)
        .expected("the https URL of an ACME directory (RFC 8555, section 7.1.1)")
        .hint(format!("{default:?}"));
}

pub(super) fn contact(text: &str, key: &KeyPath, findings: &mut Findings) {
    if findings.is_spoilt(key) {
        return;
    }
    let address = text.strip_prefix("mailto:");
    // One plain address: RFC 8555, section 7.3, forbids further addresses and header fields.
    let plain = address.and_then(|address| address.split_once('@')).is_some_and(|(user, host)| {
        let odd = |c: char| !c.is_ascii_graphic() || matches!(c, ',' | '?' | '@' | '<' | '>');
        !user.is_empty() && host.contains('.') && !user.contains(odd) && !host.contains(odd)
    });
    if plain {
        return;
    }
    let looks_like_mail = address.is_none() && text.contains('@') && !text.contains(':');
    let finding = findings
        .error(key, format!("the contact {} is no mailto: address", quoted(text)))
        .expected("one address, such as \"mailto:ops@example.org\"");
    if looks_like_mail {
        finding.hint(format!("\"mailto:{}\"", text.trim().escape_default()));
    }
}

/// `with_dns` says whether there is an account at a DNS provider.
pub(super) fn challenges(
    raw: &[String],
    with_dns: bool,
    key: &KeyPath,
    findings: &mut Findings,
) -> Vec<ChallengeType> {
    let known = || CHALLENGES.iter().map(|(name, _)| *name);
    let listed = known().collect::<Vec<_>>().join(", ");
    if raw.is_empty() && !findings.is_spoilt(key) {
        findings
            .error(key, "the list of challenges is empty")
            .expected(format!("at least one of {listed}"))
            .hint("leave the key out for the first two");
    }
    let mut wanted = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let key = key.index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        match CHALLENGES.iter().find(|(name, _)| name == text) {
            Some((_, challenge)) if wanted.contains(challenge) => {
                findings
                    .error(&key, format!("the challenge {} stands twice", quoted(text)))
                    .expected("each challenge once, best first");
            }
            Some((_, challenge)) => wanted.push(*challenge),
            None => {
                let finding = findings
                    .error(&key, format!("the challenge {} is not known", quoted(text)))
                    .expected(format!("one of {listed}"));
                if let Some(meant) = suggest::nearest(text, known()) {
                    finding.hint(format!("{meant:?}"));
                }
            }
        }
    }
    let by_dns = raw.iter().position(|text| text == "dns-01");
    if let Some(number) = by_dns.filter(|_| !with_dns) {
        findings
            .error(&key.index(number), "dns-01 needs an account at a DNS provider")
            .expected("a [[dns]] table with `provider` and `zones`");
    }
    wanted
}

pub(super) fn eab(raw: &RawEab, at: &KeyPath, findings: &mut Findings) -> Option<Eab> {
    let kid = raw.kid.as_deref().unwrap_or_default();
    let key = at.key("kid");
    if !findings.is_spoilt(&key) && (kid.is_empty() || kid.chars().any(char::is_control)) {
        findings
            .error(&key, "external account binding has no key identifier")
            .expected("`kid`, as the CA gave it");
    }
    let key = at.key("hmac_key_file");
    let Some(path) = &raw.hmac_key_file else {
        if !findings.is_spoilt(&key) {
            findings
                .error(&key, "external account binding has no key")
                .expected("`hmac_key_file`, the path of a file with the base64url key of the CA");
        }
        return None;
    };
    let hmac_key_file = files::existing(path, &key, findings);
    Some(Eab { kid: kid.to_owned(), hmac_key_file })
}
