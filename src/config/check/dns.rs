//! `[[dns]]`: each zone in one account, and of each account what its provider wants to know.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::super::dns::{DnsAccount, Setting};
use super::super::dns_providers::{ACME_DNS, EXEC, Field, PROVIDERS, RFC2136};
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::quantity;
use super::super::raw_dns::RawDns;
use super::super::suggest;
use super::{files, quoted};
use crate::base::bounds;
use crate::cert::identifier::Identifier;

/// What a secret is called with behind its name: in a file, or a credential of systemd.
const PLACES: [&str; 2] = ["_file", "_credential"];

pub(super) fn check_all(raw: &[RawDns], findings: &mut Findings) -> Vec<DnsAccount> {
    let list = KeyPath::dotted("dns");
    let mut accounts: Vec<DnsAccount> = Vec::with_capacity(raw.len());
    let mut seen = HashMap::new();
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        if findings.is_spoilt(&at) {
            continue;
        }
        let zones = zones(raw, &at, &mut seen, findings);
        let Some((provider, fields)) = provider(raw.provider.as_deref(), &at, findings) else {
            continue;
        };
        let name = raw.name.clone().unwrap_or_else(|| provider.to_owned());
        if accounts.iter().any(|other| other.name == name) {
            findings
                .error(&at.key("name"), format!("two accounts are called {}", quoted(&name)))
                .expected("each name once; without one an account is called as its provider")
                .hint("name = \"another\"");
        }
        let settings = settings(raw, provider, fields, &at, findings);
        exact(provider, &settings, &at.key("with"), findings);
        accounts.push(DnsAccount {
            name,
            provider,
            zones,
            settings,
            servers: servers(&raw.servers, &at.key("servers"), findings),
            propagation: propagation(&raw.propagation, &at.key("propagation"), findings),
            ttl: ttl(raw.ttl, &at.key("ttl"), findings),
        });
    }
    accounts
}

fn provider(
    said: Option<&str>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<(&'static str, &'static [Field])> {
    let key = at.key("provider");
    if findings.is_spoilt(&key) {
        return None;
    }
    let known = || PROVIDERS.iter().map(|(name, _)| *name);
    let listed = known().collect::<Vec<_>>().join(", ");
    let Some(said) = said else {
        findings
            .error(&key, "the account names no provider")
            .expected(format!("`provider`, one of {listed}"));
        return None;
    };
    let found = PROVIDERS.iter().find(|(name, _)| *name == said);
    if found.is_none() {
        let finding = findings
            .error(&key, format!("the DNS provider {} is not known", quoted(said)))
            .expected(format!("one of {listed}"));
        match suggest::nearest(said, known()) {
            Some(meant) => finding.hint(format!("{meant:?}")),
            None => finding.hint("\"exec\" with a program of yours, or \"acme-dns\""),
        };
    }
    found.map(|(name, fields)| (*name, *fields))
}

fn zones(
    raw: &RawDns,
    at: &KeyPath,
    seen: &mut HashMap<String, ()>,
    findings: &mut Findings,
) -> Vec<String> {
    let key = at.key("zones");
    if raw.zones.is_empty() && !findings.is_spoilt(&key) {
        findings
            .error(&key, "the account has no zones")
            .expected("`zones`, a list of the zones that it may change")
            .hint("zones = [\"example.org\"]");
    }
    let mut zones = Vec::new();
    for (index, text) in raw.zones.iter().enumerate() {
        let key = key.index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        let Some(zone) = zone(text) else {
            findings
                .error(&key, format!("{} is no name of a zone", quoted(text)))
                .expected("a domain, such as \"example.org\"");
            continue;
        };
        if seen.insert(zone.clone(), ()).is_some() {
            findings
                .error(&key, format!("the zone {zone} stands twice"))
                .expected("each zone once, in one account");
        }
        zones.push(zone);
    }
    zones
}

/// In normal form. Unlike the name of a host, it may have underscores.
fn zone(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Some(text);
    }
    match Identifier::parse(&text) {
        Ok(Identifier::Dns(name)) => Some(name.as_str().to_owned()),
        Ok(_) | Err(_) => None,
    }
}

fn settings(
    raw: &RawDns,
    provider: &str,
    fields: &[Field],
    at: &KeyPath,
    findings: &mut Findings,
) -> BTreeMap<&'static str, Setting> {
    let at = at.key("with");
    let mut settings = BTreeMap::new();
    if findings.is_spoilt(&at) {
        return settings;
    }
    for (name, value) in &raw.with {
        let key = at.key(name);
        let Some((field, setting)) = setting(name, value, fields, &key, findings) else {
            continue;
        };
        if settings.insert(field, setting).is_some() {
            findings
                .error(&key, format!("{field} is said twice"))
                .expected("a file or a credential, not both");
        }
    }
    for field in fields.iter().filter(|field| field.needed) {
        let forms = forms(field);
        let spoilt = forms.iter().any(|form| findings.is_spoilt(&at.key(form)));
        if !settings.contains_key(field.name) && !spoilt {
            let [form, ..] = forms.as_slice() else { continue };
            findings
                .error(&at, format!("{provider} needs {}", forms.join(" or ")))
                .expected(format!("of {provider}: {}", described(fields)))
                .hint(format!("with = {{ {form} = \"...\" }}"));
        }
    }
    settings
}

/// The field that is meant, and its value.
fn setting(
    name: &str,
    value: &str,
    fields: &[Field],
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<(&'static str, Setting)> {
    if let Some(field) = fields.iter().find(|field| !field.secret && field.name == name) {
        if value.is_empty() || value.chars().any(char::is_control) {
            findings
                .error(key, format!("{name} is empty, or has a control character in it"))
                .expected("what the provider calls it, in one line");
        }
        return Some((field.name, Setting::Text(value.to_owned())));
    }
    if let Some(field) = fields.iter().find(|field| field.secret && field.name == name) {
        findings
            .error(
                key,
                format!("{} is a secret, which has no place in the configuration", field.name),
            )
            .at_name()
            .expected("the path of a file that holds it, or the name of a systemd credential")
            .hint(format!("{name}_file = \"/etc/keyward/{name}\""));
        return Some((field.name, Setting::Credential(String::new())));
    }
    for place in PLACES {
        let secret = |field: &&Field| field.secret && name.strip_suffix(place) == Some(field.name);
        let Some(field) = fields.iter().find(secret) else { continue };
        if place == "_credential" {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if value.is_empty() || !value.chars().all(plain) || value.starts_with('.') {
                findings
                    .error(key, format!("{} is no name of a credential", quoted(value)))
                    .expected("the name in LoadCredential= or LoadCredentialEncrypted=");
            }
            return Some((field.name, Setting::Credential(value.to_owned())));
        }
        let path = files::existing(value, key, findings);
        private(&path, key, findings);
        return Some((field.name, Setting::File(path)));
    }
    let known: Vec<String> = fields.iter().flat_map(forms).collect();
    let finding = findings
        .error(key, format!("the key {} is not known here", quoted(name)))
        .at_name()
        .expected(described(fields));
    if let Some(meant) = suggest::nearest(name, known.iter().map(String::as_str)) {
        finding.hint(meant.to_owned());
    }
    None
}

/// How a field is written.
fn forms(field: &Field) -> Vec<String> {
    if field.secret {
        PLACES.iter().map(|place| format!("{}{place}", field.name)).collect()
    } else {
        vec![field.name.to_owned()]
    }
}

/// Everything that may be said, in words.
fn described(fields: &[Field]) -> String {
    let words = fields.iter().map(|field| {
        let form = forms(field).join(" or ");
        if field.needed { form } else { format!("[{form}]") }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A secret is nobody else's.
fn private(path: &Path, key: &KeyPath, findings: &mut Findings) {
    let Ok(about) = std::fs::metadata(path) else { return };
    if about.is_file() && about.permissions().mode() & 0o007 != 0 {
        findings
            .error(key, "everybody on this machine can read or change the file of the secret")
            .expected("a file of mode 0400, 0440, 0600 or 0640")
            .hint(format!("chmod o= {}", path.display()));
    }
}

/// What is known of the values of providers that keyward speaks to itself.
fn exact(
    provider: &str,
    settings: &BTreeMap<&'static str, Setting>,
    at: &KeyPath,
    findings: &mut Findings,
) {
    let text = |name: &str| match settings.get(name) {
        Some(Setting::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    match provider {
        RFC2136 => {
            if let Some(server) = text("server")
                && server.parse::<SocketAddr>().is_err()
            {
                findings
                    .error(
                        &at.key("server"),
                        format!("{} is no address with a port", quoted(server)),
                    )
                    .expected("the address of the primary server, such as \"192.0.2.53:53\"");
            }
            let algorithm = text("algorithm").unwrap_or("hmac-sha256");
            if !bounds::dns::TSIG_ALGORITHMS.contains(&algorithm) {
                findings
                    .error(
                        &at.key("algorithm"),
                        format!("{} is no algorithm of TSIG", quoted(algorithm)),
                    )
                    .expected(format!("one of {}", bounds::dns::TSIG_ALGORITHMS.join(", ")));
            }
        }
        EXEC => {
            if let Some(program) = text("program") {
                files::existing(program, &at.key("program"), findings);
            }
            let mode = text("mode").unwrap_or("default");
            if !["default", "raw"].contains(&mode) {
                findings
                    .error(&at.key("mode"), format!("{} is no mode of a program", quoted(mode)))
                    .expected("\"default\" (record and value) or \"raw\" (name, token, key authorization)");
            }
        }
        ACME_DNS => {
            let Some(server) = text("server") else { return };
            if url::Url::parse(server).is_err() || !server.starts_with("http") {
                findings
                    .error(&at.key("server"), format!("{} is no URL", super::quoted_url(server)))
                    .expected("the URL of the server, such as \"https://auth.acme-dns.io\"");
            }
        }
        _ => {}
    }
}

fn servers(raw: &[String], at: &KeyPath, findings: &mut Findings) -> Vec<SocketAddr> {
    super::edge::addresses_of_servers(raw, at, findings)
}

fn propagation(text: &str, key: &KeyPath, findings: &mut Findings) -> Duration {
    match quantity::duration(text) {
        Ok(duration) if duration <= bounds::dns::PROPAGATION_MOST => duration,
        Ok(_) | Err(_) if findings.is_spoilt(key) => Duration::ZERO,
        Ok(_) | Err(_) => {
            findings
                .error(key, format!("{} is no time for records to spread", quoted(text)))
                .expected("a duration of at most 3m, such as \"2m\"; \"0s\" does not look")
                .hint("\"2m\"");
            Duration::ZERO
        }
    }
}

fn ttl(value: u64, key: &KeyPath, findings: &mut Findings) -> u32 {
    match u32::try_from(value) {
        Ok(ttl @ 1..=86_400) => ttl,
        _ => {
            findings
                .error(key, format!("{value} is out of bounds"))
                .expected("a number of seconds from 1 to 86400");
            60
        }
    }
}
