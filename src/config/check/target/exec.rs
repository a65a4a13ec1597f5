//! `kind = "exec"`.

use super::super::super::finding::Findings;
use super::super::super::key_path::KeyPath;
use super::super::super::raw_target::RawTarget;
use super::super::super::target::{ExecTarget, Hook};
use super::super::files;
use super::super::quoted;
use super::{program, somebody};

pub(super) fn check(raw: &RawTarget, at: &KeyPath, findings: &mut Findings) -> Option<ExecTarget> {
    let command = program(&raw.exec.command, &at.key("command"), findings);
    let user = somebody(raw.exec.user.as_ref(), &at.key("user"), findings);
    let list = at.key("paths");
    let paths = raw.exec.paths.iter().enumerate();
    let paths =
        paths.map(|(number, text)| files::absolute(text, &list.index(number), findings)).collect();
    let hook = hook(raw, at, findings);
    Some(ExecTarget { command: command?, user, paths, hook })
}

/// What the file of the command is, if it is no program.
fn hook(raw: &RawTarget, at: &KeyPath, findings: &mut Findings) -> Option<Hook> {
    let key = at.key("hook");
    let text = raw.exec.hook.as_deref().filter(|_| !findings.is_spoilt(&key))?;
    if text != Hook::ACME_SH {
        findings
            .error(&key, format!("hooks of {} are not known", quoted(text)))
            .expected("\"acme.sh\", or nothing where the command is a program");
        return None;
    }
    let mut words = raw.exec.command.iter();
    let file = words.next().map_or("", String::as_str);
    let name = file.rsplit('/').next().and_then(|name| name.strip_suffix(".sh"));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_some_and(|name| !name.is_empty() && name.chars().all(plain)) {
        findings
            .error(&at.key("command"), format!("{} is no file of a hook of acme.sh", quoted(file)))
            .expected("a file NAME.sh with a function NAME_deploy in it");
    }
    let is_setting = |text: &str| {
        let name = text.split_once('=').map_or("", |(name, _)| name);
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain)
    };
    if let Some(odd) = words.find(|text| !is_setting(text)) {
        findings
            .error(&at.key("command"), format!("{} is no setting of a hook", quoted(odd)))
            .expected("NAME=VALUE, such as \"DEPLOY_HAPROXY_RELOAD=true\"");
    }
    Some(Hook::AcmeSh)
}
