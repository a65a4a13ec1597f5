//! Paths that the configuration names.

use std::io;
use std::path::{Path, PathBuf};

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::quoted;

/// A path that does not depend on the directory the daemon is started in.
pub(super) fn absolute(text: &str, key: &KeyPath, findings: &mut Findings) -> PathBuf {
    let path = Path::new(text);
    if findings.is_spoilt(key) {
        return path.to_owned();
    }
    if text.contains('\0') {
        findings.error(key, "the path has a NUL in it").expected("an absolute path");
    } else if !path.is_absolute() {
        let finding = findings.error(key, format!("the path {} is not absolute", quoted(text)));
        finding.expected("a path that begins with /, because the daemon is started anywhere");
    }
    path.to_owned()
}

/// An absolute path of a file that is there. Whether it may be read is not asked, because the
/// daemon is another user than whoever checks.
pub(super) fn existing(text: &str, key: &KeyPath, findings: &mut Findings) -> PathBuf {
    let path = absolute(text, key, findings);
    if !path.is_absolute() || text.contains('\0') || findings.is_spoilt(key) {
        return path;
    }
    match std::fs::metadata(&path) {
        Ok(about) if about.is_file() => {}
        Ok(_) => {
            findings
                .error(key, format!("{} is no regular file", quoted(text)))
                .expected("the path of a file");
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            findings
                .warning(key, format!("this user cannot see whether {} is there", quoted(text)))
                .hint("check as root");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings
                .error(key, format!("there is no file {}", quoted(text)))
                .expected("the path of a file that is there");
        }
        Err(error) => {
            findings
                .error(key, format!("the path {} cannot be followed: {error}", quoted(text)))
                .expected("the path of a file that is there");
        }
    }
    path
}
