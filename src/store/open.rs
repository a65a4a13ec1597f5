//! Opening the file: lock, create whole or not at all, check, migrate.

use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::fs::TryLockError;
use std::io;
use std::io::Read as _;
use std::io::Seek as _;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use redb::Database;
use redb::DatabaseError;
use redb::ReadableDatabase;
use redb::StorageError;

use super::books;
use super::error::OpenError;
use super::error::StoreError;
use super::index;
use super::inspect;
use super::migrate;
use super::tables;
use crate::base::bounds;
use crate::base::disk;

const FILE: &str = "keyward.redb";
const LOCK: &str = "keyward.lock";
const ASIDE: &str = ".keyward.redb.new";
const INCOMING: &str = ".keyward.redb.restored";

/// The lock beside the database: held as long as this value lives, it names the holder.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// Path of the database below `dir`.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Where a database from a backup lies below `dir` until it has its name.
pub(super) fn incoming(dir: &Path) -> PathBuf {
    dir.join(INCOMING)
}

/// The remains of a restore that was cut off before anything had its name; `None` when there are
/// none, or a database is there.
pub fn unfinished_restore(dir: &Path) -> Option<PathBuf> {
    let cut_off = incoming(dir);
    (cut_off.exists() && !path(dir).exists()).then_some(cut_off)
}

/// Makes the directory if it is not there, and takes the lock.
pub(super) fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let failed = |action| move |source| OpenError::Io { action, path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("creating"))?;
    let mode = std::fs::metadata(dir).map_err(failed("reading"))?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(failed("closing to others"))?;
    }
    let at = dir.join(LOCK);
    let failed = |source| OpenError::Io { action: "locking", path: at.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&at)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Without the number the message is still true.
            let _ignored = file.take(32).read_to_string(&mut text);
            return Err(OpenError::InUse { dir: dir.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // The number is advice for whoever finds the lock taken: a full disk must not stop us here.
    let _ignored = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock(file))
}

/// Opens the database below `dir`, making it first when there is none.
pub(super) fn open(dir: &Path) -> Result<Database, OpenError> {
    let path = path(dir);
    if path.exists() {
        // What a restore was cut off with after all was done: another name of this very file.
        let _none = std::fs::remove_file(incoming(dir));
    }
    match std::fs::metadata(&path) {
        Ok(found) if found.len() == 0 => {
            // We create the file whole: an empty one is the remains of something.
            return Err(OpenError::Damaged { path, reason: "the file is empty".to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(dir, &path)?,
        Err(source) => return Err(OpenError::Io { action: "opening", path, source }),
    }
    open_existing(&path)
}

/// Opens the file at `path`, which must be there.
///
/// A short file that was closed well is read as a whole before it is opened for writing, because
/// the library notes in the file that it is open: so a damaged one keeps every octet. A short one
/// that a crash left is repaired by the library first; a long one needs no repair, because
/// [`begin`] has it written that way.
pub(super) fn open_existing(path: &Path) -> Result<Database, OpenError> {
    let damaged = |error: Trouble| error.at(path);
    if let Some(found) = guarded(|| look(path)).map_err(damaged)? {
        judge(path, found)?;
    }
    let open = || Ok(Database::builder().set_cache_size(bounds::STORE_CACHE).open(path)?);
    let db = guarded(open).map_err(damaged)?;
    let found = guarded(|| Ok(schema(&db.begin_read().map_err(StoreError::from)?)?));
    let found = judge(path, found.map_err(damaged)?)?;
    if found < tables::SCHEMA {
        let migrate = || {
            let txn = begin(&db, false)?;
            migrate::migrate(&txn, migrate::MIGRATIONS, found, tables::SCHEMA)?;
            txn.commit().map_err(StoreError::from)?;
            Ok(())
        };
        guarded(migrate).map_err(damaged)?;
    }
    Ok(db)
}

/// Reads the file at `path` without a change to it and returns its schema version; `None` when
/// it must be repaired before it can be read.
fn look(path: &Path) -> Result<Option<u64>, Trouble> {
    let mut builder = Database::builder();
    let db = match builder.set_cache_size(bounds::STORE_CACHE).open_read_only(path) {
        Ok(db) => db,
        Err(DatabaseError::RepairAborted) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let txn = db.begin_read().map_err(StoreError::from)?;
    let found = schema(&txn)?;
    if found == u64::from(tables::SCHEMA) && inspect::is_short(&txn)? {
        inspect::inspect(&txn)?;
    }
    Ok(Some(found))
}

/// Whether this version can go on from schema `found`.
fn judge(path: &Path, found: u64) -> Result<u32, OpenError> {
    let known = tables::SCHEMA;
    match u32::try_from(found) {
        Ok(0) => {
            let reason = "it names no schema version".to_owned();
            Err(OpenError::Damaged { path: path.to_owned(), reason })
        }
        Ok(version) if version <= known => Ok(version),
        _ => Err(OpenError::Newer { path: path.to_owned(), found, known }),
    }
}

/// A write transaction that is durable when it is committed. In a `long` file it also notes which
/// pages are free: one more sync of the disk for each commit, and no repair that reads the whole
/// file after a crash.
pub(super) fn begin(db: &Database, long: bool) -> Result<redb::WriteTransaction, StoreError> {
    let mut txn = db.begin_write()?;
    txn.set_durability(redb::Durability::Immediate)?;
    txn.set_quick_repair(long);
    Ok(txn)
}

/// The schema version in the file; 0 when it names none.
fn schema(txn: &redb::ReadTransaction) -> Result<u64, StoreError> {
    let table = match txn.open_table(tables::META) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    Ok(table.get(tables::META_SCHEMA)?.map_or(0, |value| value.value()))
}

/// Makes a database with every table, aside, and gives it its name when it is whole: a crash
/// leaves either nothing under the name or a database.
fn create(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let aside = dir.join(ASIDE);
    let failed = |source| OpenError::Io { action: "creating", path: path.to_owned(), source };
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(failed)?;
    guarded(|| {
        let db = Database::builder().set_cache_size(bounds::STORE_CACHE).create(&aside)?;
        let txn = begin(&db, false)?;
        make_tables(&txn)?;
        migrate::migrate(&txn, &[], tables::SCHEMA, tables::SCHEMA)?;
        txn.commit().map_err(StoreError::from)?;
        db.close()?;
        Ok(())
    })
    .map_err(|error| error.at(path))?;
    File::open(&aside)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&aside, path))
        .and_then(|()| disk::sync_directory(dir))
        .map_err(failed)
}

fn make_tables(txn: &redb::WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(tables::META)?;
    txn.open_table(tables::CERTIFICATES)?;
    txn.open_table(tables::KEYS)?;
    txn.open_table(tables::ACCOUNTS)?;
    txn.open_table(tables::INTERNAL_CA)?;
    txn.open_table(tables::JOURNAL)?;
    txn.open_table(tables::GUESTS)?;
    books::make_tables(txn)?;
    index::make_tables(txn)
}

/// What went wrong while opening, before it is known which file it was.
pub(super) enum Trouble {
    Database(DatabaseError),
    Store(StoreError),
    Panic(String),
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Trouble {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let damaged = |reason| OpenError::Damaged { path: path.to_owned(), reason };
        let io = |source| OpenError::Io { action: "opening", path: path.to_owned(), source };
        match self {
            Self::Database(DatabaseError::DatabaseAlreadyOpen) => {
                OpenError::InUse { dir: path.parent().unwrap_or(path).to_owned(), pid: None }
            }
            Self::Database(DatabaseError::Storage(StorageError::Io(source))) => {
                io_or_cut(source).map_or_else(damaged, io)
            }
            Self::Store(StoreError::Io(source) | StoreError::Full(source)) => {
                io_or_cut(source).map_or_else(damaged, io)
            }
            Self::Database(error) => damaged(error.to_string()),
            Self::Store(StoreError::Damaged { reason }) => damaged(reason),
            Self::Store(error) => damaged(error.to_string()),
            Self::Panic(reason) => damaged(reason),
        }
    }
}

/// A file that ends too early or holds what it must not is damaged; the rest is the operating
/// system's word.
fn io_or_cut(source: io::Error) -> Result<io::Error, String> {
    match source.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Err(source.to_string()),
        _ => Ok(source),
    }
}

/// Runs `work`; the library may panic over a damaged file, which is then an error like others.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(Trouble::Panic(panic_text(panic.as_ref()))),
    }
}

/// What a panic said, as far as it is text.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the database library gave up".to_owned())
}
