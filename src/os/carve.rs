//! A wall with a hole in it the other way round: everything stays usable but a few places.
//!
//! Landlock allows what is listed, so the list is of all that lies beside those places. What is made
//! there later is not on it. Deliberately absent: any restriction of the network.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use landlock::ABI;
use landlock::Access;
use landlock::AccessFs;
use landlock::CompatLevel;
use landlock::Compatible;
use landlock::Ruleset;
use landlock::RulesetAttr;
use landlock::RulesetCreatedAttr;
use landlock::RulesetError;
use landlock::path_beneath_rules;

/// The restrictions that are asked for.
const HANDLED: ABI = ABI::V5;

/// Takes `closed` and all beneath it out of the reach of the calling thread and all that it starts,
/// for good. A kernel without Landlock takes nothing away.
///
/// # Errors
/// When a kernel that has Landlock refuses a rule.
pub fn leave_out(closed: &[PathBuf]) -> io::Result<()> {
    // The kernel goes by where a path leads to.
    let closed: Vec<PathBuf> = closed.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut open = Vec::new();
    beside(Path::new("/"), &closed, &mut open);
    restrict(&open).map_err(io::Error::other)
}

/// Has the calling thread, and all that it starts, write in these places and in `/dev` alone, for good.
/// Whatever it could read and run before, it can.
///
/// # Errors
/// When a kernel that has Landlock refuses a rule.
pub fn write_in(places: &[PathBuf]) -> io::Result<()> {
    let read = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
    let raise = || -> Result<(), RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(HANDLED))?
            .create()?
            .add_rules(path_beneath_rules(["/"], read))?
            .add_rules(path_beneath_rules(places, AccessFs::from_all(HANDLED)))?
            .add_rules(path_beneath_rules(["/dev"], AccessFs::from_all(HANDLED)))?
            .restrict_self()?;
        Ok(())
    };
    raise().map_err(io::Error::other)
}

fn restrict(open: &[PathBuf]) -> Result<(), RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(HANDLED))?
        .create()?
        .add_rules(path_beneath_rules(open, AccessFs::from_all(HANDLED)))?
        .restrict_self()?;
    Ok(())
}

/// What lies in `place` and is neither closed nor on the way there.
fn beside(place: &Path, closed: &[PathBuf], open: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // Another way into what is listed or closed under its own name.
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link || closed.contains(&path) {
            continue;
        }
        if closed.iter().any(|closed| closed.starts_with(&path)) {
            beside(&path, closed, open);
        } else {
            open.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_in_the_named_places_is_anything_written() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for part in ["open", "other"] {
            std::fs::create_dir(dir.join(part)).unwrap();
            std::fs::write(dir.join(part).join("file"), "text").unwrap();
        }
        // For this thread alone.
        std::thread::spawn(move || {
            write_in(&[dir.join("open"), dir.join("never-made")]).unwrap();
            std::fs::write(dir.join("open/file"), "more").unwrap();
            std::fs::remove_file(dir.join("open/file")).unwrap();
            std::fs::write("/dev/null", "text").unwrap();
            assert_eq!(std::fs::read(dir.join("other/file")).unwrap(), b"text");
            for error in [
                std::fs::write(dir.join("other/file"), "more").unwrap_err(),
                std::fs::write(dir.join("other/new"), "more").unwrap_err(),
                std::fs::remove_file(dir.join("other/file")).unwrap_err(),
                std::fs::write(dir.join("new"), "more").unwrap_err(),
            ] {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            }
            assert!(std::process::Command::new("sh").args(["-c", ":"]).status().unwrap().success());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn only_the_closed_places_are_out_of_reach_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for part in ["state/vault", "etc"] {
            std::fs::create_dir_all(dir.join(part)).unwrap();
        }
        for file in ["state/vault/key", "etc/token", "etc/master"] {
            std::fs::write(dir.join(file), "text").unwrap();
        }
        std::os::unix::fs::symlink(dir.join("state"), dir.join("link")).unwrap();
        let closed = [dir.join("state"), dir.join("etc/master"), dir.join("never-made")];
        // For this thread alone.
        std::thread::spawn(move || {
            leave_out(&closed).unwrap();
            let denied = |path: &str| {
                let error = std::fs::read(dir.join(path)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{path}");
            };
            for path in ["state/vault/key", "link/vault/key", "etc/master"] {
                denied(path);
            }
            assert_eq!(std::fs::read(dir.join("etc/token")).unwrap(), b"text");
            std::fs::write(dir.join("etc/token"), "more").unwrap();
            assert!(std::process::Command::new("sh").args(["-c", ":"]).status().unwrap().success());
        })
        .join()
        .unwrap();
    }
}
