//! `keyward trust`: the root of this machine's own CA, printed or put into the machine's trust
//! store.
//!
//! The trust store is the distribution's: a directory for additional roots and a program that
//! makes them known. Browsers with a store of their own are told about on the way.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::args_trust::Trust;
use super::connect::Client;
use super::out::Out;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::NOT_ALLOWED;
use super::report::Report;
use crate::base::disk;

/// Name of our file in the trust store.
const FILE: &str = "keyward-internal-ca.crt";

/// The trust stores that we know: directory, and program with its arguments.
const STORES: &[(&str, &[&str])] = &[
    ("/usr/local/share/ca-certificates", &["update-ca-certificates"]),
    ("/etc/pki/ca-trust/source/anchors", &["update-ca-trust", "extract"]),
    ("/etc/ca-certificates/trust-source/anchors", &["update-ca-trust"]),
    ("/etc/pki/trust/anchors", &["update-ca-certificates"]),
];

/// `keyward trust`
pub(super) fn trust(
    client: &dyn Fn() -> Result<Client, Report>,
    what: &Trust,
    out: &mut Out,
) -> Result<u8, Report> {
    if what.uninstall {
        let store = Store::known(Path::new("/"), STORES)?;
        let message = if store.remove()? { "is not trusted any more" } else { "was not trusted" };
        out.line(format_args!("the root of this machine's own CA {message}"))?;
        return Ok(DONE);
    }
    let answer = client()?.get("/trust/root")?;
    // Whatever answers there, only certificates get into a trust store.
    let root = answer.0.as_ref();
    if !only_certificates(root) {
        return Err(Report::new(FAULT, "what the daemon sent is no certificate in PEM"));
    }
    if !what.install {
        out.bytes(root)?;
        return Ok(DONE);
    }
    let store = Store::known(Path::new("/"), STORES)?;
    store.add(root)?;
    out.line(format_args!("the root is trusted by this machine: {}", store.file().display()))?;
    out.line("  Firefox has a trust store of its own: import the same file there")?;
    Ok(DONE)
}

/// Whether `pem` has at least one certificate and no section of another kind.
fn only_certificates(pem: &[u8]) -> bool {
    let sections = memchr::memmem::find_iter(pem, b"-----BEGIN ").count();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    sections > 0 && certificates.is_ok_and(|certificates| certificates.len() == sections)
}

/// One trust store.
#[derive(Debug)]
struct Store {
    dir: PathBuf,
    update: &'static [&'static str],
}

impl Store {
    /// The first of `stores` that is there below `top`.
    fn known(
        top: &Path,
        stores: &[(&'static str, &'static [&'static str])],
    ) -> Result<Self, Report> {
        for (dir, update) in stores {
            let dir = top.join(dir.trim_start_matches('/'));
            if dir.is_dir() {
                return Ok(Self { dir, update });
            }
        }
        Err(Report::new(FAILED, "this machine has no trust store that keyward knows")
            .hint("keyward trust --print > root.pem, and import that file"))
    }

    fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn add(&self, pem: &[u8]) -> Result<(), Report> {
        disk::replace(&self.file(), pem, 0o644).map_err(|error| self.refused(&error))?;
        self.make_known()
    }

    /// Whether something was there to be removed.
    fn remove(&self) -> Result<bool, Report> {
        match std::fs::remove_file(self.file()) {
            Ok(()) => self.make_known().map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn make_known(&self) -> Result<(), Report> {
        let Some((program, arguments)) = self.update.split_first() else { return Ok(()) };
        let broken = |why: String| {
            Report::new(FAILED, format!("{program} {why}"))
                .hint(format!("run {} by hand", self.update.join(" ")))
        };
        match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let mut report = broken(format!("ended with {}", output.status));
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                report.causes = words.lines().take(5).map(str::to_owned).collect();
                Err(report)
            }
            Err(error) => Err(broken(format!("cannot be run: {error}"))),
        }
    }

    fn refused(&self, error: &std::io::Error) -> Report {
        let what = format!("cannot change {}: {error}", self.file().display());
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Report::new(NOT_ALLOWED, what).hint("run it as root")
            }
            _ => Report::new(FAILED, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_put_into_the_first_store_there_is_and_taken_out_again() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("b/c")).unwrap();
        let stores: &[(&str, &[&str])] = &[("/a", &["false"]), ("/b/c", &["true"])];
        let store = Store::known(top.path(), stores).unwrap();
        assert_eq!(store.file(), top.path().join("b/c").join(FILE));
        store.add(b"one").unwrap();
        store.add(b"two").unwrap();
        assert_eq!(std::fs::read(store.file()).unwrap(), b"two");
        assert_eq!(store.remove(), Ok(true));
        assert_eq!(store.remove(), Ok(false));
    }

    #[test]
    fn nothing_but_certificates_gets_into_a_store() {
        let section = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        let (root, key) = (section("CERTIFICATE"), section("PRIVATE KEY"));
        assert!(only_certificates(root.as_bytes()));
        for bad in ["", "<html>", &key, &format!("{root}{key}"), "-----BEGIN CERTIFICATE-----\n"] {
            assert!(!only_certificates(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_store_that_cannot_be_made_known_says_what_to_run() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("a")).unwrap();
        let store = Store::known(top.path(), &[("/a", &["false"])]).unwrap();
        let report = store.add(b"one").unwrap_err();
        assert_eq!((report.status, report.hint.as_deref()), (FAILED, Some("run false by hand")));
        assert!(Store::known(top.path(), &[("/none", &["true"])]).is_err());
    }
}
