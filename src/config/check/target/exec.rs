//! `kind = "exec"`.

use super::super::super::finding::Findings;
use super::super::super::key_path::KeyPath;
use super::super::super::raw_target::RawTarget;
use super::super::super::target::ExecTarget;
use super::super::files;
use super::{program, somebody};

pub(super) fn check(raw: &RawTarget, at: &KeyPath, findings: &mut Findings) -> Option<ExecTarget> {
    let command = program(&raw.exec.command, &at.key("command"), findings);
    let user = somebody(raw.exec.user.as_ref(), &at.key("user"), findings);
    let list = at.key("paths");
    let paths = raw.exec.paths.iter().enumerate();
    let paths =
        paths.map(|(number, text)| files::absolute(text, &list.index(number), findings)).collect();
    Some(ExecTarget { command: command?, user, paths })
}
