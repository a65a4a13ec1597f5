//! Files that are whole or absent: written aside, synced, renamed, and the directory synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the file at `path` by `bytes` with permission bits `mode`.
///
/// A reader sees the old content or the new one, also after a crash. A failed sync is returned
/// and nothing is announced as done; the old file then still stands.
///
/// # Errors
/// Whatever the file system says; the temporary file is removed where that is possible.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_for(None, path, bytes, mode)
}

/// The same with the file given to a user and a group before it gets its name.
///
/// # Errors
/// As [`replace`].
pub fn replace_for(
    owner: Option<(u32, u32)>,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut aside_name = std::ffi::OsString::from(".");
    aside_name.push(name);
    aside_name.push(".new");
    let aside = parent.join(aside_name);
    let written = write_synced(owner, &aside, bytes, mode)
        .and_then(|()| std::fs::rename(&aside, path))
        .and_then(|()| sync_directory(parent));
    if written.is_err() {
        // The first error is the one worth reporting.
        let _ignored = std::fs::remove_file(&aside);
    }
    written
}

/// Makes the names in a directory durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write_synced(owner: Option<(u32, u32)>, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A left-over of a crash may have other permissions than the ones wanted now.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_file_has_the_new_content_and_mode_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, b"one", 0o600).unwrap();
        assert!(replace(&dir.path().join("absent/state"), b"two", 0o600).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
