//! A database that comes from a backup: looked at as a whole before it gets its name, and never in
//! the place of another.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::ReadableTableMetadata as _;

use super::custody::shelf_in;
use super::error::OpenError;
use super::error::StoreError;
use super::inspect::inspect;
use super::inspect::key_handle;
use super::open;
use super::tables::CERTIFICATES;
use super::tables::KEYS;
use crate::base::crash;
use crate::base::disk;
use crate::cert::key::KeyHandle;
use crate::cert::ports::Shelf;

/// Why a database does not come in.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// There is one, which is never replaced.
    #[error("there is a database already: {}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The directory is in use, or the database is damaged or of a newer version.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record in it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something sealed in it is not what it should be.
    #[error("{what}: {reason}")]
    Sealed {
        /// What it is, and its name.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The operating system refuses.
    #[error("writing {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Something in it that holds a sealed secret.
#[derive(Clone, Copy, Debug)]
pub enum Sealed<'d> {
    /// A key of a certificate.
    Key(&'d KeyHandle),
    /// What lies on a shelf, under its name.
    OnShelf(Shelf, &'d str, &'d [u8]),
}

impl Sealed<'_> {
    /// As messages call it.
    fn called(&self) -> String {
        match self {
            Self::Key(key) => format!("the key {}", key.id),
            Self::OnShelf(Shelf::InternalCa, ..) => "the internal CA".to_owned(),
            Self::OnShelf(Shelf::Accounts, name, _) => format!("the account at {name}"),
            Self::OnShelf(Shelf::Proofs, ..) => "the proofs by DNS".to_owned(),
        }
    }
}

/// A database that is being written. The directory is locked as long as this lives, and what was
/// written goes with it.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    aside: PathBuf,
    file: File,
    _lock: open::Lock,
}

/// One that was looked at.
#[derive(Debug)]
pub struct Whole {
    incoming: Incoming,
    /// Certificates in it.
    pub certificates: u64,
    /// Keys of certificates in it; those of the internal CA and of accounts lie elsewhere in it.
    pub keys: u64,
}

impl Incoming {
    /// Makes the directory if there is none, locks it, and opens an empty file in it.
    ///
    /// # Errors
    /// [`IncomingError::Exists`], or what the operating system says.
    pub fn begin(dir: &Path) -> Result<Self, IncomingError> {
        let lock = open::lock(dir)?;
        let path = open::path(dir);
        if path.symlink_metadata().is_ok() {
            return Err(IncomingError::Exists { path });
        }
        let aside = open::incoming(dir);
        let failed = |source| IncomingError::Io { path: aside.clone(), source };
        // What an earlier attempt left behind.
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let file = file.map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), aside, file, _lock: lock })
    }

    /// Where its octets go.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Reads all of it, and shows `look` everything sealed.
    ///
    /// # Errors
    /// [`IncomingError`] names the first thing that is not as it should be.
    pub fn check(
        self,
        mut look: impl FnMut(Sealed<'_>) -> Result<(), String>,
    ) -> Result<Whole, IncomingError> {
        let failed = |source| IncomingError::Io { path: self.aside.clone(), source };
        self.file.sync_all().map_err(failed)?;
        crash::point("restore-copied");
        let mut look = |sealed: Sealed<'_>| {
            look(sealed).map_err(|reason| IncomingError::Sealed { what: sealed.called(), reason })
        };
        let db = open::open_existing(&self.aside)?;
        let txn = db.begin_read().map_err(StoreError::from)?;
        inspect(&txn)?;
        let certificates = txn.open_table(CERTIFICATES).map_err(StoreError::from)?;
        let certificates = certificates.len().map_err(StoreError::from)?;
        let table = txn.open_table(KEYS).map_err(StoreError::from)?;
        let keys = table.len().map_err(StoreError::from)?;
        for row in table.iter().map_err(StoreError::from)? {
            let (id, value) = row.map_err(StoreError::from)?;
            let key = key_handle(*id.value(), value.value())?;
            look(Sealed::Key(&key))?;
        }
        for shelf in [Shelf::InternalCa, Shelf::Accounts] {
            for (name, stored) in shelf_in(&txn, shelf)? {
                look(Sealed::OnShelf(shelf, &name, &stored))?;
            }
        }
        drop((table, txn));
        db.close().map_err(|error| StoreError::Damaged { reason: error.to_string() })?;
        Ok(Whole { incoming: self, certificates, keys })
    }
}

impl Whole {
    /// Where it lies until it has its name.
    pub fn aside(&self) -> &Path {
        &self.incoming.aside
    }

    /// Gives it its name, durably. Until then nothing has changed.
    ///
    /// # Errors
    /// [`IncomingError::Exists`] when somebody was faster, or what the operating system says.
    pub fn put_in_place(self) -> Result<(), IncomingError> {
        let Incoming { dir, aside, .. } = &self.incoming;
        let path = open::path(dir);
        // Unlike a rename, it never takes the place of another file.
        let placed = File::open(aside)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::hard_link(aside, &path))
            .and_then(|()| {
                disk::sync_directory(dir).inspect_err(|_| {
                    // Nothing is announced that may be gone after a crash.
                    let _stays = std::fs::remove_file(&path);
                })
            });
        crash::point("restore-placed");
        match placed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(IncomingError::Exists { path })
            }
            placed => placed.map_err(|source| IncomingError::Io { path, source }),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Its other name, once it has one.
        let _gone = std::fs::remove_file(&self.aside);
    }
}
