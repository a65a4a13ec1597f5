//! What stands behind `keyward trust`: the internal CA's root into the system's trust store, and
//! out of it again.
//!
//! Knows three layouts: Debian and its kin, Fedora and its kin, and p11-kit's `trust` (Arch).
//! Stores of single programs (Firefox, Java) are left alone.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::base::disk;
use crate::cert::chain::Chain;

/// The file that holds the root in every layout.
const FILE: &str = "keyward-internal-ca.crt";

/// Runs the command that makes the system read its anchors again.
pub trait Runner: fmt::Debug {
    /// Runs `program` with `arguments` and waits for it.
    ///
    /// # Errors
    /// When it cannot be started, or ends with a status other than 0; the text says which.
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<()>;
}

/// Runs commands for real.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<()> {
        let output = std::process::Command::new(program)
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default().trim();
        Err(io::Error::other(format!("{}: {said}", output.status)))
    }
}

/// Why the root could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Only root may change the system's trust store.
    #[error("not allowed to change {}", path.display())]
    NotAllowed {
        /// The file or directory.
        path: PathBuf,
    },
    /// None of the known layouts was found.
    #[error("no known trust store below {}", root.display())]
    UnknownSystem {
        /// Where it was looked for.
        root: PathBuf,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The command that reads the anchors again did not succeed.
    #[error("{program}: {source}")]
    Command {
        /// The command.
        program: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl TrustError {
    /// Whether it would work for root; the command line then ends with status 77.
    pub const fn needs_root(&self) -> bool {
        matches!(self, Self::NotAllowed { .. })
    }
}

/// Where one family of systems keeps added roots.
struct Layout {
    /// Directory of anchors, below the root directory.
    anchors: &'static str,
    /// Makes the system read them.
    refresh: (&'static str, &'static [&'static str]),
    /// The same after one was removed.
    refresh_removed: (&'static str, &'static [&'static str]),
}

/// In the order in which they are looked for.
const LAYOUTS: [Layout; 3] = [
    Layout {
        anchors: "usr/local/share/ca-certificates",
        refresh: ("update-ca-certificates", &[]),
        refresh_removed: ("update-ca-certificates", &["--fresh"]),
    },
    Layout {
        anchors: "etc/pki/ca-trust/source/anchors",
        refresh: ("update-ca-trust", &["extract"]),
        refresh_removed: ("update-ca-trust", &["extract"]),
    },
    Layout {
        anchors: "etc/ca-certificates/trust-source/anchors",
        refresh: ("trust", &["extract-compat"]),
        refresh_removed: ("trust", &["extract-compat"]),
    },
];

/// Puts `root` into the trust store of the system below `system` (`/` but for tests) and returns
/// the file that was written. Doing it again changes nothing.
///
/// # Errors
/// [`TrustError`]; when the command fails the file stays, so that it can be run by hand.
pub fn install(system: &Path, root: &Chain, runner: &dyn Runner) -> Result<PathBuf, TrustError> {
    let layout = layout(system)?;
    let path = system.join(layout.anchors).join(FILE);
    disk::replace(&path, root.to_pem().as_bytes(), 0o644).map_err(|e| refused(&path, e))?;
    run(runner, layout.refresh)?;
    Ok(path)
}

/// Takes the root out again; `None` when it was not there.
///
/// # Errors
/// [`TrustError`].
pub fn uninstall(system: &Path, runner: &dyn Runner) -> Result<Option<PathBuf>, TrustError> {
    let layout = layout(system)?;
    let path = system.join(layout.anchors).join(FILE);
    match std::fs::remove_file(&path) {
        Ok(()) => {
            run(runner, layout.refresh_removed)?;
            Ok(Some(path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&path, error)),
    }
}

fn layout(system: &Path) -> Result<&'static Layout, TrustError> {
    LAYOUTS
        .iter()
        .find(|layout| system.join(layout.anchors).is_dir())
        .ok_or_else(|| TrustError::UnknownSystem { root: system.to_owned() })
}

fn refused(path: &Path, source: io::Error) -> TrustError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            TrustError::NotAllowed { path: path.to_owned() }
        }
        _ => TrustError::File { path: path.to_owned(), source },
    }
}

fn run(
    runner: &dyn Runner,
    (program, arguments): (&'static str, &'static [&'static str]),
) -> Result<(), TrustError> {
    runner.run(program, arguments).map_err(|source| TrustError::Command { program, source })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[derive(Debug, Default)]
    struct Noted(RefCell<Vec<String>>, bool);

    impl Runner for Noted {
        fn run(&self, program: &str, arguments: &[&str]) -> io::Result<()> {
            self.0.borrow_mut().push(format!("{program} {}", arguments.join(" ")));
            if self.1 { Err(io::Error::other("no")) } else { Ok(()) }
        }
    }

    fn root() -> Chain {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["root.internal".to_owned()]).unwrap();
        Chain::from_der(vec![params.self_signed(&key).unwrap().der().to_vec()]).unwrap()
    }

    #[test]
    fn every_known_system_gets_the_root_and_loses_it_again() {
        for layout in &LAYOUTS {
            let system = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(system.path().join(layout.anchors)).unwrap();
            let (root, runner) = (root(), Noted::default());
            let path = install(system.path(), &root, &runner).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), root.to_pem().as_bytes());
            install(system.path(), &root, &runner).unwrap();
            assert_eq!(uninstall(system.path(), &runner).unwrap(), Some(path.clone()));
            assert!(!path.exists());
            assert_eq!(uninstall(system.path(), &runner).unwrap(), None);
            let ran = runner.0.into_inner();
            assert_eq!(ran.len(), 3);
            assert!(ran.iter().all(|line| line.starts_with(layout.refresh.0)), "{ran:?}");
        }
    }

    #[test]
    fn an_unknown_system_and_a_failing_command_are_told_apart() {
        let system = tempfile::tempdir().unwrap();
        let runner = Noted::default();
        let unknown = install(system.path(), &root(), &runner).unwrap_err();
        assert!(matches!(unknown, TrustError::UnknownSystem { .. }) && !unknown.needs_root());
        std::fs::create_dir_all(system.path().join(LAYOUTS[0].anchors)).unwrap();
        let failing = install(system.path(), &root(), &Noted(RefCell::default(), true));
        assert_eq!(failing.unwrap_err().to_string(), "update-ca-certificates: no");
    }

    #[test]
    fn a_refusal_of_the_system_asks_for_root() {
        let path = Path::new("/etc/x");
        let denied = refused(path, io::ErrorKind::PermissionDenied.into());
        assert!(denied.needs_root());
        assert_eq!(denied.to_string(), "not allowed to change /etc/x");
        assert!(!refused(path, io::ErrorKind::StorageFull.into()).needs_root());
    }
}
