//! `kind = "haproxy"`.

use super::super::super::finding::Findings;
use super::super::super::key_path::KeyPath;
use super::super::super::raw_target::RawTarget;
use super::super::super::target::HaproxyTarget;
use super::{mode, path, somebody};

pub(super) fn check(
    raw: &RawTarget,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<HaproxyTarget> {
    let mut one = |text: Option<&String>, word: &str, why: &str, hint: &str| {
        let key = at.key(word);
        if findings.is_spoilt(&key) {
            return None;
        }
        let Some(text) = text else {
            findings.error(&key, why).expected("an absolute path").hint(hint);
            return None;
        };
        Some(path(text, &key, findings))
    };
    let socket = one(
        raw.haproxy.socket.as_ref(),
        "socket",
        "HAProxy is not told without its socket",
        "socket = \"/run/haproxy/admin.sock\"",
    );
    let file = one(
        raw.haproxy.file.as_ref(),
        "file",
        "HAProxy would not have it any more when it starts again",
        "file = \"/etc/haproxy/site.pem\", as `crt` of its configuration names it",
    );
    let owner = somebody(raw.files.owner.as_ref(), &at.key("owner"), findings);
    let group = somebody(raw.files.group.as_ref(), &at.key("group"), findings);
    let mode = mode(raw.files.mode.as_ref(), &at.key("mode"), findings);
    Some(HaproxyTarget { socket: socket?, file: file?, owner, group, mode })
}
