//! `[[target]]` and `[deployment]`: where certificates go that others serve.
//!
//! Deliberately absent: whether the places are there, which whoever carries something finds out.

mod exec;
mod files;
mod haproxy;

use std::path::PathBuf;
use std::time::Duration;

use super::super::client::Client;
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::Site;
use super::super::quantity;
use super::super::raw_target::{RawDeployment, RawTarget};
use super::super::suggest;
use super::super::target::fill;
use super::super::target::{Deploying, Probe, ProbeProtocol, Target, TargetKind, TargetPreset};
use super::quoted;
use crate::base::bounds::deployment::DEADLINE_LEAST;
use crate::base::bounds::deployment::DEADLINE_MOST;
use crate::base::bounds::deployment::TOGETHER_MOST;
use crate::base::bounds::deployment::WATCH_LEAST;
use crate::base::bounds::deployment::WATCH_MOST;
use crate::cert::client::ClientName;
use crate::cert::deployment::TargetName;
use crate::cert::identifier::Identifier;

/// The words of kinds that are no presets.
const KINDS: [&str; 3] = ["files", "haproxy", "exec"];

/// The targets, in the order of the file; `sites` and `clients` are those that a target may name.
pub(super) fn check_all(
    raw: &[RawTarget],
    (sites, clients): (&[Site], &[Client]),
    line: &dyn Fn(&KeyPath) -> usize,
    findings: &mut Findings,
) -> Vec<Target> {
    let list = KeyPath::dotted("target");
    let mut all: Vec<Target> = Vec::with_capacity(raw.len());
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        let name = name(raw, &all, &at, findings);
        let preset = raw.kind.as_deref().and_then(TargetPreset::parse);
        let raw = &preset.map_or_else(|| raw.clone(), |preset| fill(preset, raw));
        let kind = kind(raw, preset, &at, findings);
        certificates(&raw.certificates, sites, &at.key("certificates"), findings);
        let clients = allowed(&raw.clients, clients, &at.key("clients"), findings);
        let probe = probe(raw, &at.key("probe"), findings);
        let sni = raw.sni.as_deref().and_then(|text| sni(text, &at.key("sni"), findings));
        let bounds = DEADLINE_LEAST..=DEADLINE_MOST;
        let deadline = duration(&raw.deadline, bounds, &at.key("deadline"), findings);
        let (Some(name), Some(kind)) = (name, kind) else { continue };
        all.push(Target {
            name,
            kind,
            preset,
            certificates: raw.certificates.clone(),
            clients,
            probe,
            sni,
            deadline,
            line: line(&at),
        });
    }
    all
}

pub(super) fn general(raw: &RawDeployment, findings: &mut Findings) -> Deploying {
    let at = KeyPath::dotted("deployment");
    let watch = duration(&raw.watch, WATCH_LEAST..=WATCH_MOST, &at.key("watch"), findings);
    if !(1..=TOGETHER_MOST).contains(&raw.together) {
        findings
            .error(&at.key("together"), format!("{} is out of bounds", raw.together))
            .expected(format!("at least 1 and at most {TOGETHER_MOST}"));
    }
    let together = usize::try_from(raw.together.clamp(1, TOGETHER_MOST)).unwrap_or(1);
    Deploying { watch, together }
}

fn name(
    raw: &RawTarget,
    all: &[Target],
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<TargetName> {
    let key = at.key("name");
    if findings.is_spoilt(&key) {
        return None;
    }
    let Some(text) = &raw.name else {
        findings
            .error(&key, "a target has no name by which commands could call it")
            .expected("a name, such as \"mail\"");
        return None;
    };
    let Ok(name) = TargetName::parse(text) else {
        findings.error(&key, format!("{} is no name of a target", quoted(text))).expected(
            "1 to 64 of a-z, 0-9, \".\", \"_\" and \"-\", of which the first is a letter or digit",
        );
        return None;
    };
    if all.iter().any(|target| target.name == name) {
        findings
            .error(&key, format!("there are two targets {name}"))
            .expected("a name for each: what is there is kept under it");
        return None;
    }
    Some(name)
}

fn kind(
    raw: &RawTarget,
    preset: Option<TargetPreset>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<TargetKind> {
    let key = at.key("kind");
    if findings.is_spoilt(&key) {
        return None;
    }
    let words = || KINDS.into_iter().chain(TargetPreset::ALL.into_iter().map(TargetPreset::word));
    let expected = || format!("one of {}", words().collect::<Vec<_>>().join(", "));
    let Some(word) = raw.kind.as_deref() else {
        findings.error(&key, "nothing says what is done at this target").expected(expected());
        return None;
    };
    let kind = match (word, preset) {
        ("files", _) | (_, Some(_)) => files::check(raw, at, findings).map(TargetKind::Files),
        ("haproxy", _) => haproxy::check(raw, at, findings).map(TargetKind::Haproxy),
        ("exec", _) => exec::check(raw, at, findings).map(TargetKind::Exec),
        _ => {
            let finding = findings.error(&key, format!("the kind {} is not known", quoted(word)));
            finding.expected(expected());
            if let Some(meant) = suggest::nearest(word, words()) {
                finding.hint(format!("{meant:?}"));
            }
            return None;
        }
    };
    only(word, raw, at, findings);
    kind
}

/// Complains of keys of other kinds.
fn only(word: &str, raw: &RawTarget, at: &KeyPath, findings: &mut Findings) {
    let (files, haproxy, exec) = (&raw.files, &raw.haproxy, &raw.exec);
    let of = |key: &'static str, said: bool, kinds: &'static [&str]| (key, said, kinds);
    for (key, said, kinds) in [
        of("dir", files.dir.is_some(), &["files"]),
        of("chain", files.chain.is_some(), &["files"]),
        of("key", files.key.is_some(), &["files"]),
        of("combined", files.combined.is_some(), &["files"]),
        of("pkcs12", files.pkcs12.is_some(), &["files"]),
        of("reload", files.reload.is_some(), &["files"]),
        of("owner", files.owner.is_some(), &["files", "haproxy"]),
        of("group", files.group.is_some(), &["files", "haproxy"]),
        of("mode", files.mode.is_some(), &["files", "haproxy"]),
        of("socket", haproxy.socket.is_some(), &["haproxy"]),
        of("file", haproxy.file.is_some(), &["haproxy"]),
        of("command", !exec.command.is_empty(), &["exec"]),
        of("user", exec.user.is_some(), &["exec"]),
        of("paths", !exec.paths.is_empty(), &["exec"]),
    ] {
        let here = if KINDS.contains(&word) { word } else { "files" };
        if said && !kinds.contains(&here) {
            findings
                .error(&at.key(key), format!("a target of the kind {word:?} has no `{key}`"))
                .expected(format!("it where kind = {:?}", kinds.join("\" or \"")));
        }
    }
}

/// A site of the file must have a key that may be handed out; what no site has may be onboarded or
/// issued, which the file does not know.
fn certificates(raw: &[String], sites: &[Site], list: &KeyPath, findings: &mut Findings) {
    for (number, text) in raw.iter().enumerate() {
        let key = list.index(number);
        if findings.is_spoilt(&key) {
            continue;
        }
        if raw.iter().take(number).any(|other| other == text) {
            findings
                .error(&key, format!("{} stands there twice", quoted(text)))
                .expected("each certificate once");
            continue;
        }
        let hex = text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if hex && (4..=16).contains(&text.len()) {
            continue;
        }
        let name = text.split_once('/').map_or(text.as_str(), |(name, _)| name);
        let Ok(name) = Identifier::parse(name) else {
            findings
                .error(&key, format!("{} names no certificate", quoted(text)))
                .expected("a name that it is for, or its id, as keyward show takes it");
            continue;
        };
        match sites.iter().find(|site| site.names.contains(&name)) {
            Some(site) if !site.exportable => {
                findings
                    .error(&key, format!("the key of {} may not be handed out", site.name()))
                    .expected("exportable = true with that site: its next key may be")
                    .hint(format!("see the [[site]] on line {}", site.line));
            }
            Some(_) => {}
            None => {
                findings
                    .warning(&key, format!("no site of the file has the name {}", name.text()))
                    .hint(
                        "right if the certificate is imported, onboarded or issued for a client: \
                           it is brought there when there is one",
                    );
            }
        }
    }
}

fn allowed(
    raw: &[String],
    clients: &[Client],
    list: &KeyPath,
    findings: &mut Findings,
) -> Vec<ClientName> {
    let mut all = Vec::with_capacity(raw.len());
    for (number, text) in raw.iter().enumerate() {
        let key = list.index(number);
        if findings.is_spoilt(&key) {
            continue;
        }
        match clients.iter().find(|client| client.name.as_str() == text) {
            Some(client) => all.push(client.name.clone()),
            None => {
                let finding = findings.error(&key, format!("there is no client {}", quoted(text)));
                finding.expected("the name of a [[client]]");
                let known = clients.iter().map(|client| client.name.as_str());
                if let Some(meant) = suggest::nearest(text, known) {
                    finding.hint(format!("{meant:?}"));
                }
            }
        }
    }
    all
}

fn probe(raw: &RawTarget, key: &KeyPath, findings: &mut Findings) -> Option<Probe> {
    if findings.is_spoilt(key) {
        return None;
    }
    let Some(text) = raw.probe.as_deref() else {
        // Without one nobody knows whether a target took anything, which must be meant.
        findings
            .error(key, "nothing says where this target shows its certificate")
            .expected("the protocol, host and port of it, or \"none\"")
            .hint("probe = \"https://www.example.org\"");
        return None;
    };
    if text == "none" {
        return None;
    }
    match Probe::parse(text) {
        Ok(probe) => Some(probe),
        Err(why) => {
            let words: Vec<_> = ProbeProtocol::ALL.iter().map(|(word, ..)| *word).collect();
            findings
                .error(key, format!("{} is no place to look: {why}", super::quoted_url(text)))
                .expected(format!(
                    "PROTOCOL://HOST:PORT with one of {}, or \"none\"",
                    words.join(", ")
                ))
                .hint("\"smtp://mail.example.org:25\"");
            None
        }
    }
}

fn sni(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<Identifier> {
    match Identifier::parse(text) {
        _ if findings.is_spoilt(key) => None,
        Ok(name @ (Identifier::Dns(_) | Identifier::Ip(_))) => Some(name),
        _ => {
            findings
                .error(key, format!("{} is no name that a client could ask for", quoted(text)))
                .expected("a host name, such as \"mail.example.org\"");
            None
        }
    }
}

fn duration(
    text: &str,
    bounds: std::ops::RangeInclusive<Duration>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Duration {
    match quantity::duration(text) {
        Ok(duration) if bounds.contains(&duration) => duration,
        _ => {
            let (least, most) = (bounds.start().as_secs(), bounds.end().as_secs());
            findings
                .error(key, format!("{} is out of bounds", quoted(text)))
                .expected(format!("from \"{least}s\" to \"{most}s\""));
            *bounds.start()
        }
    }
}

/// A program and its arguments.
fn program(words: &[String], key: &KeyPath, findings: &mut Findings) -> Option<Vec<String>> {
    if findings.is_spoilt(key) {
        return None;
    }
    let good = words.first().is_some_and(|first| first.starts_with('/'));
    if !good || words.iter().any(|word| word.contains('\0')) {
        findings
            .error(key, "this is no program that could be run")
            .expected("a list: the absolute path of a program, and its arguments")
            .hint("[\"/usr/local/bin/take\", \"--quietly\"]; there is no shell");
        return None;
    }
    Some(words.to_vec())
}

/// A user or a group, by name or number.
fn somebody(text: Option<&String>, key: &KeyPath, findings: &mut Findings) -> Option<String> {
    let text = text?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
    if (text.is_empty() || text.contains(odd)) && !findings.is_spoilt(key) {
        findings
            .error(key, format!("{} is nobody's name", quoted(text)))
            .expected("a name or a number on this machine");
    }
    Some(text.clone())
}

/// Permissions in octal digits; never such that all may read a key.
fn mode(text: Option<&String>, key: &KeyPath, findings: &mut Findings) -> Option<u32> {
    let text = text?;
    if findings.is_spoilt(key) {
        return None;
    }
    let octal = text.len() <= 5 && text.bytes().all(|octet| (b'0'..=b'7').contains(&octet));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && mode & !0o770 == 0);
    if mode.is_none_or(|mode| mode & 0o400 == 0) {
        findings
            .error(key, format!("{} are no permissions for a key", quoted(text)))
            .expected("\"0600\", \"0640\", or others that give nothing to everybody");
        return None;
    }
    mode
}

/// An absolute path, in which `{name}` may stand.
fn path(text: &str, key: &KeyPath, findings: &mut Findings) -> PathBuf {
    if !findings.is_spoilt(key) && text.replace("{name}", "").contains(['{', '}']) {
        findings
            .error(key, format!("{} has a placeholder that is not known", quoted(text)))
            .expected("{name} alone, the first name of the certificate");
    }
    super::files::absolute(text, key, findings)
}
