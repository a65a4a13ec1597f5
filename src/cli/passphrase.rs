//! Where the passphrase of a backup, or of a key that is brought, comes from: whoever sits at the
//! terminal, or a file. Never the command line or the environment, which others on the machine can
//! read.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::base::bounds::master::PASSPHRASE_LEAST;
use crate::base::bounds::master::PASSPHRASE_MOST;
use crate::base::bounds::master::PASSPHRASE_TRIES;
use crate::os::terminal;

/// Where it comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PassphraseSource {
    /// Asked for.
    Terminal,
    /// The only line of a file, which may be a pipe.
    File(PathBuf),
}

/// Why there is none. None of these quotes what was given.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseRefused {
    /// Nobody to ask.
    #[error("there is no terminal to ask for the passphrase at")]
    NoTerminal,
    /// The terminal went away, or the line was too long.
    #[error("nobody answered at the terminal: {0}")]
    Asking(io::Error),
    /// Too short, or not the same twice.
    #[error("no passphrase of at least {PASSPHRASE_LEAST} octets was typed twice")]
    NotTwice,
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file that others may read.
    #[error("{} has mode {mode:03o}: others than its owner may read the passphrase in it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file with something else in it.
    #[error("{}: expected a passphrase of {least} to {PASSPHRASE_MOST} octets on one line", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The shortest that is taken.
        least: usize,
    },
}

impl PassphraseRefused {
    /// What to try.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoTerminal | Self::Asking(_) => "--passphrase-file FILE",
            Self::NotTwice => "again, or a longer one",
            Self::Read { .. } | Self::Content { .. } => {
                "a file with the passphrase in its only line"
            }
            Self::Open { .. } => "chmod 600, or a pipe",
        }
    }
}

impl PassphraseSource {
    /// What the two options of a command line say; `None` when neither is given.
    pub(super) fn of(asked: bool, file: Option<&PathBuf>) -> Option<Self> {
        match file {
            Some(path) => Some(Self::File(path.clone())),
            None => asked.then_some(Self::Terminal),
        }
    }

    /// A passphrase to encrypt with; one that is typed is typed twice.
    ///
    /// # Errors
    /// [`PassphraseRefused`].
    pub(super) fn fresh(&self) -> Result<Zeroizing<Vec<u8>>, PassphraseRefused> {
        if let Self::File(path) = self {
            return read(path, PASSPHRASE_LEAST);
        }
        let mut complaint = "";
        for _ in 0..PASSPHRASE_TRIES {
            let first = ask(&format!("keyward: {complaint}a passphrase for this backup: "))?;
            if first.len() < PASSPHRASE_LEAST {
                complaint = "that was too short; ";
                continue;
            }
            if ask("keyward: the same again: ")? == first {
                return Ok(first);
            }
            complaint = "those were two; ";
        }
        Err(PassphraseRefused::NotTwice)
    }

    /// Has `open` try the passphrase of `what`; one that is typed may be wrong (`Ok(None)`) a few
    /// times.
    ///
    /// # Errors
    /// [`PassphraseRefused`], and what `open` says; `wrong` when it was wrong to the end.
    pub fn open_with<T, E: From<PassphraseRefused>>(
        &self,
        what: &str,
        mut open: impl FnMut(&[u8]) -> Result<Option<T>, E>,
        wrong: impl FnOnce() -> E,
    ) -> Result<T, E> {
        if let Self::File(path) = self {
            return open(&read(path, 1)?)?.ok_or_else(wrong);
        }
        let mut complaint = "";
        for _ in 0..PASSPHRASE_TRIES {
            let answer = ask(&format!("keyward: {complaint}the passphrase of {what}: "))?;
            if let Some(opened) = open(&answer)? {
                return Ok(opened);
            }
            complaint = "that was not it; ";
        }
        Err(wrong())
    }
}

fn ask(question: &str) -> Result<Zeroizing<Vec<u8>>, PassphraseRefused> {
    let answer = terminal::ask(question, PASSPHRASE_MOST).map_err(PassphraseRefused::Asking)?;
    answer.ok_or(PassphraseRefused::NoTerminal)
}

/// The only line of a file, which has `least` octets or more.
fn read(path: &Path, least: usize) -> Result<Zeroizing<Vec<u8>>, PassphraseRefused> {
    let failed = |source| PassphraseRefused::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let mode = found.mode() & 0o777;
    if found.is_file() && mode & 0o077 != 0 {
        return Err(PassphraseRefused::Open { path: path.to_owned(), mode });
    }
    // Has its room from the start: one that grows would leave copies behind.
    let room = PASSPHRASE_MOST + 2;
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    file.take(u64::try_from(room).unwrap_or(0)).read_to_end(&mut line).map_err(failed)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    let fits = (least..=PASSPHRASE_MOST).contains(&line.len()) && !line.contains(&b'\n');
    if fits { Ok(line) } else { Err(PassphraseRefused::Content { path: path.to_owned(), least }) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_holds_one_line_that_nobody_else_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let put = |content: &[u8], mode| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let source = PassphraseSource::File(path.clone());
        for content in ["correct horse", "correct horse\n", " correct horse "] {
            put(content.as_bytes(), 0o600);
            let fresh = source.fresh().unwrap();
            assert_eq!(fresh.as_slice(), content.trim_end_matches('\n').as_bytes());
        }
        let long = [b'x'; PASSPHRASE_MOST + 1];
        for content in
            [&b""[..], b"\n", b"too short", b"correct\nhorse\n", b"correct horse\n\n", &long]
        {
            put(content, 0o600);
            let refused = source.fresh().unwrap_err();
            assert!(matches!(refused, PassphraseRefused::Content { .. }), "{refused}");
        }
        put(b"correct horse\n", 0o640);
        let refused = source.fresh().unwrap_err();
        assert!(refused.to_string().contains("mode 640"), "{refused}");
        // One that others chose, as age lets them, may be short.
        put(b"short\n", 0o600);
        let told = |octets: &[u8]| Ok::<_, PassphraseRefused>((octets == b"short").then_some(7));
        let opened = source.open_with("the backup", told, || PassphraseRefused::NoTerminal);
        assert_eq!(opened.unwrap(), 7);
    }
}
