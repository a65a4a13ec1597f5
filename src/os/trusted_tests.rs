//! Ways to bend a path, each refused, and the work that goes through a directory that was reached.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;

use super::*;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

#[test]
fn a_directory_that_everybody_can_write_is_refused_wherever_it_lies_on_the_way() {
    let (_dir, base) = place();
    std::fs::create_dir_all(base.join("open/inner")).unwrap();
    set_mode(&base.join("open"), 0o777);
    for path in ["open", "open/inner"] {
        let error = TrustedDir::open(&base.join(path)).unwrap_err();
        assert!(matches!(error, Untrusted::Everybody(_)), "{error}");
        assert!(error.to_string().contains("open: chmod o-w"), "{error}");
    }
    // Nothing is made there either.
    let error = TrustedDir::open_or_make(&base.join("open/new")).unwrap_err();
    assert!(matches!(error, Untrusted::Everybody(_)), "{error}");
    assert!(!base.join("open/new").exists());
    // One like /tmp is passed, and not written in.
    set_mode(&base.join("open"), 0o1777);
    TrustedDir::open(&base.join("open/inner")).unwrap();
    assert!(matches!(TrustedDir::open(&base.join("open")), Err(Untrusted::Everybody(_))));
    let error = TrustedDir::open(Path::new("etc")).unwrap_err();
    assert!(matches!(error, Untrusted::Relative(_)), "{error}");
}

#[test]
fn a_link_is_followed_only_out_of_a_directory_that_is_ones_own() {
    let (_dir, base) = place();
    for part in ["good/inner", "shared", "loop"] {
        std::fs::create_dir_all(base.join(part)).unwrap();
    }
    symlink("good", base.join("relative")).unwrap();
    symlink(base.join("good/inner"), base.join("absolute")).unwrap();
    symlink(base.join("good"), base.join("shared/link")).unwrap();
    symlink("one", base.join("loop/two")).unwrap();
    symlink("two", base.join("loop/one")).unwrap();
    let reached = TrustedDir::open(&base.join("relative/inner")).unwrap();
    assert_eq!(reached.path(), base.join("good/inner"));
    assert_eq!(TrustedDir::open(&base.join("absolute")).unwrap().path(), base.join("good/inner"));
    assert!(matches!(TrustedDir::open(&base.join("loop/one")), Err(Untrusted::Links(_))));
    assert_eq!(TrustedDir::open(&base.join("shared/link")).unwrap().path(), base.join("good"));
    set_mode(&base.join("shared"), 0o1777);
    let error = TrustedDir::open(&base.join("shared/link")).unwrap_err();
    assert!(matches!(error, Untrusted::Link(_)), "{error}");
    if nix::unistd::geteuid().is_root() {
        // Somebody else's directory, whatever its mode.
        set_mode(&base.join("shared"), 0o755);
        std::os::unix::fs::chown(base.join("shared"), Some(65534), Some(65534)).unwrap();
        let error = TrustedDir::open(&base.join("shared/link")).unwrap_err();
        assert!(matches!(error, Untrusted::Link(_)), "{error}");
        let theirs = TrustedDir::open(&base.join("shared")).unwrap();
        assert!(matches!(theirs.check_own(), Err(Untrusted::Shared(_))));
    }
    TrustedDir::open(&base.join("good")).unwrap().check_own().unwrap();
}

#[test]
fn what_is_missing_is_made_only_where_it_is_asked_for() {
    let (_dir, base) = place();
    let path = base.join("a/b");
    let error = TrustedDir::open(&path).unwrap_err();
    assert!(error.to_string().starts_with(&base.join("a").display().to_string()), "{error}");
    TrustedDir::open_or_make(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
    std::fs::write(base.join("file"), "").unwrap();
    assert!(TrustedDir::open_or_make(&base.join("file")).is_err());
    assert!(TrustedDir::open_or_make(&base.join("file/more")).is_err());
}

#[test]
fn a_file_is_written_whole_with_its_mode_and_no_link_is_followed() {
    let (_dir, base) = place();
    let directory = TrustedDir::open(&base).unwrap();
    let name = OsStr::new("key");
    std::fs::write(base.join("elsewhere"), "theirs").unwrap();
    symlink(base.join("elsewhere"), base.join("key")).unwrap();
    assert!(directory.read(name, 100).is_err());
    assert!(matches!(directory.entry(name).unwrap(), Entry::Link(_)));
    directory.write(name, b"ours", 0o640, (None, None)).unwrap();
    assert_eq!(std::fs::read(base.join("elsewhere")).unwrap(), b"theirs");
    assert_eq!(std::fs::metadata(base.join("key")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(**directory.read(name, 100).unwrap(), *b"ours");
    assert!(directory.read(name, 3).is_err());
    if nix::unistd::geteuid().is_root() {
        directory.write(name, b"ours", 0o600, (Some(65534), Some(65533))).unwrap();
        let stat = std::fs::metadata(base.join("key")).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (65534, 65533, 0o600));
    }
    assert!(matches!(directory.entry(OsStr::new("none")).unwrap(), Entry::Absent));
    assert!(matches!(
        TrustedDir::open(Path::new("/dev")).unwrap().entry(OsStr::new("null")).unwrap(),
        Entry::Other
    ));
}

#[test]
fn only_one_has_a_directory_and_what_was_made_in_it_goes_again() {
    let (_dir, base) = place();
    let directory = TrustedDir::open(&base).unwrap();
    let claimed = directory.claim().unwrap().unwrap();
    let other = TrustedDir::open(&base).unwrap();
    assert!(other.claim().unwrap().is_none());
    drop(claimed);
    assert!(other.claim().unwrap().is_some());
    let inner = directory.make(OsStr::new("v1"), 0o750).unwrap();
    inner.write(OsStr::new("a"), b"x", 0o600, (None, None)).unwrap();
    directory.link(OsStr::new("v1"), OsStr::new("new")).unwrap();
    directory.rename(OsStr::new("new"), OsStr::new("current")).unwrap();
    assert_eq!(std::fs::read(base.join("current/a")).unwrap(), b"x");
    let mut names = directory.names().unwrap();
    names.sort();
    assert_eq!(names, ["current", "v1"]);
    assert!(directory.remove_directory(OsStr::new("current")).is_err(), "a link is no directory");
    directory.remove_directory(OsStr::new("v1")).unwrap();
    directory.remove_directory(OsStr::new("v1")).unwrap();
    assert!(!base.join("v1").exists());
}
