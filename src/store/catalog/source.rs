//! A file of the second copy with its tables open for reading, as long as nothing changes.
//!
//! To open the tables takes as long as to read a certificate, so it is done once for all who ask
//! between two changes. What is open holds on to the pages of its moment; it is let go of with
//! every change, so that the library has them for the next one and the file does not grow.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use redb::Database;
use redb::ReadableDatabase as _;

use super::file;
use super::view::View;
use crate::store::error::StoreError;

pub(super) struct Source {
    /// Before the file: the library puts off closing it while somebody reads.
    view: RwLock<Option<Arc<View>>>,
    db: Database,
}

impl Source {
    pub(super) const fn new(db: Database) -> Self {
        Self { view: RwLock::new(None), db }
    }

    /// What the file says after the last change. To be kept for one question only.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn view(&self) -> Result<Arc<View>, StoreError> {
        let kept = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(view) = kept {
            return Ok(view);
        }
        let mut kept = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = &*kept {
            return Ok(Arc::clone(view));
        }
        // With the lock, so that whoever changes the file cannot overtake: it would take away
        // what was there before, and this would put back what it was.
        let view = Arc::new(View::open(&self.db.begin_read()?)?);
        *kept = Some(Arc::clone(&view));
        Ok(view)
    }

    /// The same, with nothing of it from memory that is not in the library's.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn fresh(&self) -> Result<View, StoreError> {
        View::open(&self.db.begin_read()?)
    }

    /// Which store the file was made from; `None` when its tables are not known here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn lineage(&self) -> Result<Option<u64>, StoreError> {
        file::lineage(&self.db.begin_read()?)
    }

    /// Has the file changed. Whoever asks for a view after this returns sees the change.
    ///
    /// # Errors
    /// Those of `change`.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&Database) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let changed = change(&self.db);
        // Also of a change that failed: it may have come to be.
        let former = self.view.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(former);
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;

    use crate::cert::identifier::Identifier;
    use crate::cert::ports::Catalog as _;
    use crate::cert::served::Served;
    use crate::store::catalog::Catalog;
    use crate::store::properties::served;

    /// As many certificates as there are names, each with the serial number 0.
    fn whole(dir: &Path, names: usize) -> (Catalog, Vec<Served>) {
        let all: Vec<_> =
            (0..names).map(|number| numbered(&served(&format!("n{number}.example")), 0)).collect();
        let catalog = Catalog::unmade(dir, 1, None);
        catalog.empty().unwrap();
        catalog.fill(&all).unwrap();
        catalog.finish().unwrap();
        (catalog, all)
    }

    fn numbered(served: &Served, number: u64) -> Served {
        let mut served = served.clone();
        served.installed.serial = format!("{number:016x}");
        served
    }

    fn shown(catalog: &Catalog, host: &Identifier) -> u64 {
        let found = catalog.candidates(host).unwrap();
        let [one] = found.as_slice() else { panic!("{} are found", found.len()) };
        u64::from_str_radix(&one.installed.serial, 16).unwrap()
    }

    /// Changes `served` and has it durable.
    fn change(catalog: &Catalog, served: &Served, number: u64) {
        catalog.stage(served.id, Some(Arc::new(numbered(served, number))), number);
        catalog.flush().unwrap();
    }

    #[test]
    fn whoever_asks_after_a_change_sees_it_and_nobody_sees_it_undone() {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, all) = whole(dir.path(), 3);
        let host = all[1].spec.names()[0].clone();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut newest = 0;
                    while !done.load(Ordering::Relaxed) {
                        let number = shown(&catalog, &host);
                        assert!(number >= newest, "{number} after {newest}");
                        newest = number;
                    }
                });
            }
            for number in 1..=200 {
                change(&catalog, &all[1], number);
                assert_eq!(shown(&catalog, &host), number);
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn what_is_read_between_changes_does_not_make_the_file_grow() {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, all) = whole(dir.path(), 200);
        let length = || std::fs::metadata(dir.path().join("catalog.redb")).unwrap().len();
        let mut rounds = (1..=400).map(|number| {
            let one = &all[usize::try_from(number).unwrap() * 7 % all.len()];
            change(&catalog, one, number);
            assert_eq!(shown(&catalog, &one.spec.names()[0]), number);
            length()
        });
        let settled = rounds.nth(99).unwrap();
        assert_eq!(rounds.last(), Some(settled));
    }
}
