//! `root` and `fallback`: a directory whose files are served.

use std::io;
use std::path::{Path, PathBuf};

use super::super::files::Files;
use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Site, State};
use super::super::origin::Origin;
use super::super::raw::RawOrigin;
use super::super::raw_policy::RawFiles;
use super::super::route::RouteTo;
use super::{files, quoted};

/// Where the service has directories of its own, or sees none (`ProtectHome=`, `PrivateTmp=`).
const UNSEEN: [&str; 6] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev"];

/// The files of a site or a route, if it has some.
pub(super) fn check(
    origin: Option<&RawOrigin>,
    raw: &RawFiles,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<Files> {
    let Some(text) = &raw.root else {
        if raw.fallback.is_some() {
            findings
                .error(&at.key("fallback"), "there is a fallback, and no files are served")
                .expected("`root` beside it");
        }
        return None;
    };
    let key = at.key("root");
    if origin.is_some() {
        findings
            .error(&key, "there is a directory, and an origin beside it")
            .expected("`root` or `origin`; a route may have the other");
    }
    let root = directory(text, &key, findings);
    if let Some(place) = UNSEEN.iter().find(|place| root.starts_with(place)) {
        findings
            .warning(&key, format!("the packaged service sees nothing of yours below {place}"))
            .hint("/srv, or BindReadOnlyPaths= in a drop-in of keyward.service");
    }
    let fallback = raw.fallback.as_deref().and_then(|text| {
        let key = at.key("fallback");
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
        };
        let text = text.trim_start_matches('/');
        if text.split('/').all(plain) {
            return Some(format!("/{text}"));
        }
        findings
            .error(&key, format!("{} is no file below `root`", quoted(text)))
            .expected("a path such as \"index.html\", of letters, digits and -_.~");
        None
    });
    Some(Files { root, fallback })
}

/// An absolute path of a directory that is there.
pub(super) fn directory(text: &str, key: &KeyPath, findings: &mut Findings) -> PathBuf {
    let before = findings.all.len();
    let path = files::absolute(text, key, findings);
    if findings.all.len() != before || findings.is_spoilt(key) {
        return path;
    }
    match std::fs::metadata(&path) {
        Ok(about) if about.is_dir() => {}
        Ok(_) => {
            findings
                .error(key, format!("{} is no directory", quoted(text)))
                .expected("the path of a directory");
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            findings
                .warning(key, format!("this user cannot see whether {} is there", quoted(text)))
                .hint("check as root");
        }
        Err(_) => {
            findings
                .error(key, format!("there is no directory {}", quoted(text)))
                .expected("the path of a directory that is there");
        }
    }
    path
}

/// What is served must not have keyward's own files in it.
pub(super) fn apart(
    sites: &[Site],
    state: &State,
    source: Option<&Path>,
    list: &KeyPath,
    findings: &mut Findings,
) {
    let own = [Some(state.dir.as_path()), source.and_then(Path::parent)];
    let mut look = |origin: &Origin, at: &KeyPath| {
        let Origin::Files(files) = origin else { return };
        let inside = |own: &&Path| own.starts_with(&files.root) || files.root.starts_with(own);
        let named = own.iter().flatten().filter(|own| own.is_absolute());
        if let Some(own) = named.copied().find(|own| inside(own)) {
            let own = own.display();
            findings
                .error(&at.key("root"), format!("keyward's own files lie there, in {own}"))
                .expected("a directory for what is served alone, such as \"/srv/www\"");
        }
    };
    for (number, site) in sites.iter().enumerate() {
        let at = list.index(number);
        look(&site.origin, &at);
        for (number, route) in site.routes.iter().enumerate() {
            if let RouteTo::Origin(origin) = &route.to {
                look(origin, &at.key("route").index(number));
            }
        }
    }
}
