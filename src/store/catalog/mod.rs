//! The second copy of what is served, in a file of its own: where certificates are found by name,
//! and what is served while the database is damaged.
//!
//! A change is seen from the moment it is staged, and is durable once it was flushed; a disk that
//! takes no writes leaves it staged. Keys are sealed. Deliberately absent: anything but what a
//! handshake needs, and any memory of certificates that nobody asks for.

pub(super) mod file;
mod lent;
mod making;
mod source;
mod still;
mod view;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use redb::Builder;
use redb::Database;

use self::making::Making;
use self::source::Source;
use self::still::Still;
use self::view::View;
use super::disk::guarded;
use super::error::OpenError;
use super::error::StoreError;
use super::open;
use crate::base::bounds;
use crate::base::disk;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Catalog as Port;
use crate::cert::ports::Seals;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;

const NAME: &str = "catalog.redb";
/// As it was when the daemon started before, where it is short.
const PREVIOUS: &str = "catalog.redb.1";
const ASIDE: &str = ".catalog.redb.new";

/// What earlier versions kept in its place.
const FORMER: [&str; 2] = ["served.bin", "served.bin.1"];

/// The second copy.
pub struct Catalog {
    path: RwLock<PathBuf>,
    held: RwLock<Held>,
    /// What the file does not have yet.
    staged: RwLock<BTreeMap<CertificateId, Staged>>,
    /// What may be staged, where it matters; locked within `staged`.
    guard: Mutex<Option<Arc<dyn Seals>>>,
    /// As long as it is being made.
    making: Mutex<Option<Making>>,
    /// What it takes the place of, as long as it is being made.
    former: RwLock<Option<Held>>,
    /// What is wrong with it, in words.
    damage: RwLock<Option<Arc<str>>>,
    /// Another process writes the file.
    lent: AtomicBool,
}

/// The last of some certificates that were looked at, and those that are damaged.
pub(super) type Looked = (Option<CertificateId>, Vec<(CertificateId, StoreError)>);

/// A change that is to be written.
#[derive(Clone, Debug)]
struct Staged {
    /// `None` to take the certificate away.
    served: Option<Arc<Served>>,
    /// The revision of the record that it comes from.
    revision: u64,
}

enum Held {
    /// Open for reading and writing.
    Open(Source),
    /// As before, in memory: the disk had no place for a file.
    Memory(Source),
    /// Open for reading: the store is damaged, or the disk is full.
    Still(Source),
    /// There is none yet.
    Unmade,
    /// It could be opened no more.
    Lost,
}

impl Catalog {
    /// Opens the copy in `dir` without a change to it, or the one before where that is damaged, or
    /// else what can be read of the damaged one; `None` when there is none.
    ///
    /// # Errors
    /// [`OpenError`] when there is one and neither it nor the one before can be read.
    pub fn open_still(dir: &Path) -> Result<Option<Self>, OpenError> {
        let (newest, previous) = (dir.join(NAME), dir.join(PREVIOUS));
        let error = match Self::still(&newest, true) {
            Ok(Some(newest)) => return Ok(Some(newest)),
            Ok(None) => return Self::still(&previous, true),
            Err(error) => error,
        };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the second copy is damaged, looking for the one before"
        );
        let rest = match Self::still(&previous, true) {
            Ok(Some(previous)) => Ok(Some(previous)),
            Ok(None) | Err(_) => Self::still(&newest, false),
        };
        rest.map_err(|_| error)
    }

    /// `strict` refuses a short copy of which a single record is damaged.
    fn still(path: &Path, strict: bool) -> Result<Option<Self>, OpenError> {
        if !path.exists() {
            return Ok(None);
        }
        let open = || {
            let file = Still::open(path).map_err(StoreError::from_io)?;
            let source = Source::new(builder().create_with_backend(file)?);
            if source.lineage()?.is_none() {
                let reason = "it has a version that is not known here".to_owned();
                return Err(StoreError::Damaged { reason }.into());
            }
            if strict {
                source.view()?.look()?;
            }
            Ok(source)
        };
        let source = open::guarded(open).map_err(|error| error.at(path))?;
        Ok(Some(Self::of(path.to_owned(), Held::Still(source))))
    }

    /// Opens the copy in `dir` for writing, if it was made from the store of this `lineage`.
    ///
    /// # Errors
    /// [`OpenError`] when it is damaged, and when the disk refuses.
    pub(super) fn open(dir: &Path, lineage: u64) -> Result<Option<Self>, OpenError> {
        let path = dir.join(NAME);
        let Some(looked) = Self::still(&path, true)? else { return Ok(None) };
        let found = looked.lineage();
        let count = looked.count();
        drop(looked);
        if !matches!(found, Ok(Some(found)) if found == lineage) {
            return Ok(None);
        }
        if matches!(count, Ok(count) if count <= bounds::STORE_INSPECTED) {
            keep_former(dir);
        }
        let held = match open::guarded(|| Ok(builder().open(&path)?)) {
            Ok(db) => Held::Open(Source::new(db)),
            Err(error) => match error.at(&path) {
                OpenError::Io { .. } => return Self::still(&path, true),
                other => return Err(other),
            },
        };
        Ok(Some(Self::of(path, held)))
    }

    const fn of(path: PathBuf, held: Held) -> Self {
        Self {
            path: RwLock::new(path),
            held: RwLock::new(held),
            staged: RwLock::new(BTreeMap::new()),
            guard: Mutex::new(None),
            making: Mutex::new(None),
            former: RwLock::new(None),
            damage: RwLock::new(None),
            lent: AtomicBool::new(false),
        }
    }

    /// Puts a certificate in the place of its former self, or takes `id` away. Seen at once;
    /// durable after [`Self::flush`]. `revision` is that of the record it comes from.
    pub fn stage(&self, id: CertificateId, served: Option<Arc<Served>>, revision: u64) {
        // First, so that nothing older is put over it once it was flushed.
        self.note_change(id);
        let mut staged = self.staged.write().unwrap_or_else(PoisonError::into_inner);
        staged.insert(id, Staged { served, revision });
    }

    /// As [`Self::stage`], unless [`Self::guard`] does not let the key in; whether it did.
    pub fn stage_guarded(&self, served: &Arc<Served>, revision: u64) -> bool {
        let id = served.id;
        self.note_change(id);
        let mut staged = self.staged.write().unwrap_or_else(PoisonError::into_inner);
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if guard.is_some_and(|seals| seals.is_former(&served.key.sealed.0)) {
            return false;
        }
        staged.insert(id, Staged { served: Some(Arc::clone(served)), revision });
        true
    }

    /// From now on [`Self::stage_guarded`] takes no key that `seals` does not know as sealed under
    /// the present master key; with `None` it takes all.
    pub fn guard(&self, seals: Option<Arc<dyn Seals>>) {
        // Whoever is staging has either done so or sees it.
        let _staged = self.staged.write().unwrap_or_else(PoisonError::into_inner);
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = seals;
    }

    /// Writes what is staged in one transaction, and returns what is durable now, each with the
    /// revision of the record it came from. Blocks for some milliseconds.
    ///
    /// # Errors
    /// [`StoreError`]; what was staged stays so and is seen as before.
    pub fn flush(&self) -> Result<Vec<(CertificateId, u64)>, StoreError> {
        let staged = self.staged().clone();
        if staged.is_empty() {
            return Ok(Vec::new());
        }
        if self.lent.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        if matches!(*self.held(), Held::Still(_) | Held::Lost) {
            self.reopen();
        }
        let written = guarded(|| match &*self.held() {
            Held::Open(source) | Held::Memory(source) => {
                source.change(|db| file::apply(db, &staged))
            }
            Held::Still(_) | Held::Unmade | Held::Lost => Err(StoreError::Closed),
        });
        if let Err(error) = written {
            self.reopen();
            return Err(error);
        }
        let mut left = self.staged.write().unwrap_or_else(PoisonError::into_inner);
        // What was staged anew meanwhile is still to be written.
        left.retain(|id, now| {
            staged.get(id).is_none_or(|then| match (&then.served, &now.served) {
                (Some(then), Some(now)) => !Arc::ptr_eq(then, now),
                (None, None) => then.revision != now.revision,
                _ => true,
            })
        });
        Ok(staged.into_iter().map(|(id, staged)| (id, staged.revision)).collect())
    }

    /// Deletes the copy before this one.
    ///
    /// # Errors
    /// [`StoreError`] of the disk.
    pub fn forget_former(&self) -> Result<(), StoreError> {
        let path = self.path();
        match path.parent() {
            Some(dir) if !path.as_os_str().is_empty() => remove(&dir.join(PREVIOUS)),
            // One in memory has none.
            _ => Ok(()),
        }
    }

    /// Whether everything that was staged is durable.
    pub fn is_flushed(&self) -> bool {
        self.staged().is_empty()
    }

    /// How many certificates the file has.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.with(View::count)
    }

    /// Whether a certificate is shown.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub fn shows(&self, id: CertificateId) -> Result<bool, StoreError> {
        if let Some(staged) = self.staged().get(&id) {
            return Ok(staged.served.is_some());
        }
        self.with(|view| view.has(id))
    }

    /// One certificate that is shown.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn get(&self, id: CertificateId) -> Result<Option<Arc<Served>>, StoreError> {
        // Held until the file was read, so that nothing is between the two in a flush.
        let staged = self.staged();
        if let Some(staged) = staged.get(&id) {
            return Ok(staged.served.clone());
        }
        Ok(self.with(|view| view.get(id))?.map(Arc::new))
    }

    /// The names of at most `limit` certificates behind `after` that are shown, readable or not,
    /// in order.
    ///
    /// # Errors
    /// When the file itself cannot be read.
    pub fn page(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<CertificateId>, StoreError> {
        let staged = self.staged();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        // Those that go may be as many as there are, and are no part of the page.
        let room = limit.saturating_add(staged.len());
        let mut page: BTreeSet<_> = self.with(|view| view.ids(after, room))?.into_iter().collect();
        let last = page.last().copied().filter(|_| page.len() == room);
        for (id, staged) in staged.range((from, Bound::Unbounded)) {
            if staged.served.is_none() {
                page.remove(id);
            } else if last.is_none_or(|last| *id <= last) {
                page.insert(*id);
            }
        }
        Ok(page.into_iter().take(limit).collect())
    }

    /// Looks at some certificates of the file behind `after`: the last of them, and what is wrong
    /// with which.
    ///
    /// # Errors
    /// When the file itself cannot be read.
    pub(super) fn look(&self, after: Option<CertificateId>) -> Result<Looked, StoreError> {
        let mut damaged = Vec::new();
        let note = |id, error| damaged.push((id, error));
        let last = self.reading(|source| source.fresh()?.step(after, bounds::STORE_STEP, note))?;
        Ok((last, damaged))
    }

    /// What is wrong with the file, as far as it was looked at.
    pub fn damage(&self) -> Option<Arc<str>> {
        self.damage.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has [`Self::damage`] say this.
    pub(super) fn tell_damage(&self, damage: Option<Arc<str>>) {
        *self.damage.write().unwrap_or_else(PoisonError::into_inner) = damage;
    }

    fn find(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, StoreError> {
        // Held until the file was read, so that nothing is between the two in a flush.
        let staged = self.staged();
        let shown = staged.values().filter_map(|staged| staged.served.as_ref());
        let mut found: Vec<_> =
            shown.filter(|served| served.spec.covers(host)).map(Arc::clone).collect();
        let stored = self.with(|view| {
            let mut ids = view.covering(host)?;
            ids.retain(|id| !staged.contains_key(id));
            let mut stored = Vec::with_capacity(ids.len());
            let mut damaged = None;
            for id in ids {
                match view.get(id) {
                    Ok(served) => stored.extend(served.map(Arc::new)),
                    Err(error) => damaged = Some(error),
                }
            }
            match damaged {
                // Another certificate of the name is better than none.
                Some(error) if stored.is_empty() => Err(error),
                _ => Ok(stored),
            }
        });
        let former = self.find_in_former(host, |id| staged.contains_key(id));
        found.extend(former.into_iter().filter(|s| s.spec.covers(host)));
        match stored {
            Ok(stored) => found.extend(stored.into_iter().filter(|s| s.spec.covers(host))),
            Err(error) if found.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(found)
    }

    fn lineage(&self) -> Result<Option<u64>, StoreError> {
        self.reading(Source::lineage)
    }

    fn with<T>(&self, read: impl FnOnce(&View) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.reading(|source| read(&*source.view()?))
    }

    fn reading<T>(
        &self,
        read: impl FnOnce(&Source) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let held = self.held();
        guarded(|| match &*held {
            Held::Open(source) | Held::Memory(source) | Held::Still(source) => read(source),
            Held::Unmade | Held::Lost => Err(StoreError::Closed),
        })
    }

    /// After an error the library refuses the file until it is opened again.
    fn reopen(&self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*held, Held::Memory(_) | Held::Unmade) {
            return;
        }
        *held = Held::Lost;
        let path = self.path();
        let writable = open::guarded(|| Ok(builder().open(&path)?));
        *held = match writable {
            Ok(db) => Held::Open(Source::new(db)),
            Err(_) => match Self::still(&path, false) {
                Ok(Some(still)) => still.held.into_inner().unwrap_or_else(PoisonError::into_inner),
                Ok(None) => Held::Lost,
                Err(error) => {
                    tracing::error!(%error, "the second copy cannot be opened again");
                    Held::Lost
                }
            },
        };
    }

    fn path(&self) -> PathBuf {
        self.path.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged(&self) -> RwLockReadGuard<'_, BTreeMap<CertificateId, Staged>> {
        self.staged.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Port for Catalog {
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String> {
        self.find(host).map_err(|error| error.to_string())
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(bounds::CATALOG_CACHE);
    builder
}

/// Keeps the closed copy in `dir`, which was just found whole, for the case that the next one is
/// not: it is wanted only where the store and this copy are damaged at the same time.
///
/// A long copy has none beside it. It would not be found whole before it is kept, since that takes
/// reading it all; it would be hundreds of megabytes to write at every start that has a second to
/// serve; and blocks shared with the file system's help would be damaged together. A damaged copy
/// is made anew from the store, and where that is damaged as well, what can be read of the damaged
/// copy is served.
fn keep_former(dir: &Path) {
    let kept = std::fs::read(dir.join(NAME))
        .and_then(|bytes| disk::replace(&dir.join(PREVIOUS), &bytes, 0o600));
    if let Err(error) = kept {
        tracing::warn!(%error, "the former second copy is not kept, going on");
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::from_io(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
