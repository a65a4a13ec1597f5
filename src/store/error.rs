//! What can go wrong with the store, by call.

use std::io;
use std::path::PathBuf;

use crate::cert::allowance::Overdrawn;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyId;
use crate::cert::pack::PackId;
use crate::cert::spec::CertificateId;

/// Why a store cannot be opened. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error("the state in {} is in use by {}", dir.display(), holder(*pid))]
    InUse {
        /// The store's directory.
        dir: PathBuf,
        /// The process that has it, where it is known.
        pid: Option<u32>,
    },
    /// The file is there and cannot be understood. It is left as it is.
    #[error("the database {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer version of keyward.
    #[error("the database {} has schema {found}, and this version knows up to {known}",
        path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The newest version known here.
        known: u32,
    },
    /// The operating system refuses.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done: `creating`, `locking`, `opening`.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a call of an open store did not succeed. After any of these nothing was changed, unless
/// the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space is left, or a limit on the file's size is reached. Later calls try again.
    #[error("no space is left to write the database")]
    Full(#[source] io::Error),
    /// Reading or writing the file went wrong. What was being written may or may not be there
    /// after the next start; until then every write is refused, because a write that the kernel
    /// has once lost is not repeated as if it were done.
    #[error("the database cannot be read or written")]
    Io(#[source] io::Error),
    /// The database's own structure is broken.
    #[error("the database is damaged: {reason}")]
    Damaged {
        /// What the library said.
        reason: String,
    },
    /// A record was written by a version of keyward that is not this one.
    #[error("the record {key} in {table} has version {found}, and this one knows {known}")]
    UnknownVersion {
        /// The table.
        table: &'static str,
        /// The record's key, printable.
        key: String,
        /// The version found.
        found: u8,
        /// The version known.
        known: u8,
    },
    /// A record cannot be decoded.
    #[error("the record {key} in {table} is unreadable: {reason}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The record's key, printable.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Somebody else changed the record since it was read.
    #[error("certificate {id} is at revision {found}, not {expected}")]
    Conflict {
        /// The certificate.
        id: CertificateId,
        /// The revision the writer had read.
        expected: u64,
        /// The revision that stands.
        found: u64,
    },
    /// There is a certificate of this name already.
    #[error("certificate {id} exists already")]
    Exists {
        /// The certificate.
        id: CertificateId,
    },
    /// There is no certificate of this name.
    #[error("there is no certificate {id}")]
    NotFound {
        /// The certificate.
        id: CertificateId,
    },
    /// The record names a key that is not stored.
    #[error("certificate {id} names key {key}, which is not stored")]
    MissingKey {
        /// The certificate.
        id: CertificateId,
        /// The key.
        key: KeyId,
    },
    /// The client may not have another certificate of that class.
    #[error("{0}")]
    Overdrawn(Box<Overdrawn>),
    /// There is no pack of this number.
    #[error("there is no pack {id}")]
    NoPack {
        /// The pack.
        id: PackId,
    },
    /// It is sealed under a master key that was replaced, and cannot be sealed anew.
    #[error("{what} is sealed under a former master key and cannot be sealed anew: {reason}")]
    FormerSeal {
        /// What it is.
        what: String,
        /// Why it cannot be sealed anew.
        reason: Failure,
    },
    /// A copy could not be made; the database itself is as it was.
    #[error("the database cannot be copied")]
    Copy {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// What the operating system said of a file, sorted by what it means to us.
    pub(super) fn from_io(source: io::Error) -> Self {
        redb::Error::Io(source).into()
    }

    /// The same as a failure of an attempt, for whoever hands failures on.
    pub fn failure(&self) -> Failure {
        use std::error::Error as _;
        let detail =
            self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"));
        Failure::new(FailureKind::Store, detail)
    }

    /// Whether the disk, and not the caller, is at fault.
    pub const fn is_disk(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Io(_) | Self::Damaged { .. } | Self::Closed)
    }
}

/// Any error of the library, sorted by what it means to us.
impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) => match source.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => Self::Full(source),
                _ => Self::Io(source),
            },
            redb::Error::PreviousIo => {
                Self::Io(io::Error::other("an earlier read or write went wrong"))
            }
            redb::Error::DatabaseClosed => Self::Closed,
            other => Self::Damaged { reason: other.to_string() },
        }
    }
}

macro_rules! through_redb {
    ($($error:ty),+) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )+};
}

through_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError
);
