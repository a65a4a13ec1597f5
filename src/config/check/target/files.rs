//! `kind = "files"`, and the presets on top of it.

use std::path::PathBuf;

use super::super::super::finding::Findings;
use super::super::super::key_path::KeyPath;
use super::super::super::raw_target::{RawTarget, RawWords};
use super::super::super::target::{FileTarget, Reload, Signal};
use super::super::quoted;
use super::{mode, path, program, somebody};

pub(super) fn check(raw: &RawTarget, at: &KeyPath, findings: &mut Findings) -> Option<FileTarget> {
    let files = &raw.files;
    let dir = files.dir.as_deref().map(|text| path(text, &at.key("dir"), findings));
    let key = match &files.key {
        Some(RawWords::One(text)) => Some(text.as_str()),
        Some(RawWords::Several(_)) => {
            findings
                .error(&at.key("key"), "a list stands where the name of one file belongs")
                .expected("a text in double quotes");
            None
        }
        None => None,
    };
    let mut all = [
        ("chain", files.chain.as_deref()),
        ("key", key),
        ("combined", files.combined.as_deref()),
        ("pkcs12", files.pkcs12.as_deref()),
    ];
    let nothing = all.iter().all(|(_, text)| text.is_none_or(str::is_empty));
    if nothing && dir.is_some() {
        all = [
            ("chain", Some("fullchain.pem")),
            ("key", Some("privkey.pem")),
            ("combined", None),
            ("pkcs12", None),
        ];
    } else if nothing {
        if !["dir", "chain", "key"].iter().any(|key| findings.is_spoilt(&at.key(key))) {
            findings
                .error(at, "no file is written at this target")
                .expected("`dir`, or absolute paths as `chain` and `key`, or `combined`")
                .hint("dir = \"/etc/ssl/keyward/{name}\"");
        }
        return None;
    }
    let mut places = all.map(|(word, text)| {
        let text = text.filter(|text| !text.is_empty())?;
        place(text, dir.is_some(), &at.key(word), findings)
    });
    let [chain, key, combined, pkcs12] = &mut places;
    if key.is_some() && chain.is_none() && combined.is_none() && pkcs12.is_none() {
        findings
            .error(&at.key("key"), "the key is written, and no certificate")
            .expected("`chain` beside it");
    }
    let (chain, key, combined, pkcs12) = (chain.take(), key.take(), combined.take(), pkcs12.take());
    let owner = somebody(files.owner.as_ref(), &at.key("owner"), findings);
    let group = somebody(files.group.as_ref(), &at.key("group"), findings);
    let mode = mode(files.mode.as_ref(), &at.key("mode"), findings);
    let reload = reload(files.reload.as_ref(), &at.key("reload"), findings);
    Some(FileTarget { dir, chain, key, combined, pkcs12, owner, group, mode, reload })
}

/// A name in the directory, or an absolute path.
fn place(text: &str, dir: bool, key: &KeyPath, findings: &mut Findings) -> Option<PathBuf> {
    if findings.is_spoilt(key) {
        return None;
    }
    if text.starts_with('/') {
        return Some(path(text, key, findings));
    }
    if !dir {
        findings
            .error(key, format!("{} stands in no directory", quoted(text)))
            .expected("an absolute path, or `dir` beside it");
        return None;
    }
    let odd = |c: char| c == '/' || c.is_control() || matches!(c, '{' | '}');
    if text.starts_with('.') || text.contains(odd) || text.len() > 200 {
        findings
            .error(key, format!("{} is no name of a file in `dir`", quoted(text)))
            .expected("a plain name, such as \"fullchain.pem\", or an absolute path");
        return None;
    }
    Some(PathBuf::from(text))
}

fn reload(raw: Option<&RawWords>, key: &KeyPath, findings: &mut Findings) -> Option<Reload> {
    if findings.is_spoilt(key) {
        return None;
    }
    let text = match raw? {
        RawWords::Several(words) => return program(words, key, findings).map(Reload::Program),
        RawWords::One(text) => text,
    };
    if let Some(unit) = text.strip_prefix("unit:") {
        let plain = |c: char| c.is_ascii_alphanumeric() || "@._-:\\".contains(c);
        let kind = unit.rsplit_once('.').map_or("", |(_, kind)| kind);
        if unit.len() < 256
            && !unit.starts_with('-')
            && unit.chars().all(plain)
            && matches!(kind, "service" | "target" | "socket")
        {
            return Some(Reload::Unit(unit.to_owned()));
        }
    }
    if let Some((name, file)) = text.strip_prefix("signal:").and_then(|rest| rest.split_once(':')) {
        let known = Signal::ALL.into_iter().find(|(word, _)| *word == name);
        if let (Some((_, signal)), true) = (known, file.starts_with('/')) {
            return Some(Reload::Signal(signal, path(file, key, findings)));
        }
    }
    findings
        .error(key, format!("{} tells nobody", quoted(text)))
        .expected(
            "\"unit:NAME.service\", \"signal:HUP:/run/NAME.pid\" (or USR1, USR2), or a list: a \
             program and its arguments",
        )
        .hint("\"unit:nginx.service\"");
    None
}
