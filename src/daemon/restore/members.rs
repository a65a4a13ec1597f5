//! The files in a backup: the small ones kept in memory, the database read through.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use super::refused;
use crate::base::archive;
use crate::base::archive::ArchiveError;
use crate::base::bounds;
use crate::cli::members;
use crate::daemon::Failed;

/// The files that are kept in memory.
pub(super) struct Small {
    pub(super) config: Option<Vec<u8>>,
    /// The master key, encrypted.
    pub(super) master: Option<Vec<u8>>,
    /// What lies beside the passphrase that the master key comes from.
    pub(super) verifier: Option<Vec<u8>>,
}

/// The small files, and that there is a database.
pub(super) fn small_files(backup: &Path) -> Result<Small, Failed> {
    let (config, master, verifier, about) = <(Kept, Kept, Kept, Kept)>::default();
    let store = Rc::new(Cell::new(false));
    let saw = Rc::clone(&store);
    read(backup, |name| {
        let kept = match name {
            members::CONFIG => &config,
            members::MASTER => &master,
            members::VERIFIER => &verifier,
            members::ABOUT => &about,
            _ => {
                saw.set(true);
                return Box::new(io::sink());
            }
        };
        Box::new(kept.clone())
    })?;
    if !store.get() {
        return Err(refused("the backup holds no database", "a file that keyward backup wrote"));
    }
    Ok(Small { config: config.take(), master: master.take(), verifier: verifier.take() })
}

/// Has the database written into `file`.
pub(super) fn database(backup: &Path, file: &File) -> Result<(), Failed> {
    read(backup, |name| match name {
        members::STORE => Box::new(file),
        _ => Box::new(io::sink()),
    })
}

/// One small file, once.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Option<Vec<u8>>>>);

impl Kept {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.take()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.borrow_mut();
        let kept = kept.get_or_insert_default();
        let room = usize::try_from(bounds::backup::BACKUP_SMALL).unwrap_or(usize::MAX);
        if kept.len().saturating_add(bytes.len()) > room {
            return Err(io::Error::other("one of its small files is too large"));
        }
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the backup whole, with its digests: what is known, once each, goes where `open` says.
fn read<'s>(
    backup: &Path,
    mut open: impl FnMut(&str) -> Box<dyn Write + 's>,
) -> Result<(), Failed> {
    let mut expected = BTreeSet::from([
        members::ABOUT,
        members::CONFIG,
        members::MASTER,
        members::VERIFIER,
        members::STORE,
    ]);
    let told = |reason: &dyn std::fmt::Display, advice| {
        refused(&format!("{}: {reason}", backup.display()), advice)
    };
    let file = File::open(backup).map_err(|error| told(&error, "a backup that is there"))?;
    archive::read(io::BufReader::new(file), |name, _| Ok(expected.remove(name).then(|| open(name))))
        .map_err(|error| match &error {
            ArchiveError::Io(source) if is_full(source) => told(&error, "more room on the disk"),
            _ => told(&error, "another backup, whole and unchanged"),
        })
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}
