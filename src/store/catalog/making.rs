//! A copy that is being made while it is asked: what it has by now, and what can be read of the one
//! in whose place it comes.
//!
//! A change that comes meanwhile is newer than what was read of the store before it, so nothing is
//! put over it. The new file gets its name when it is whole; a crash before that leaves the former
//! one, and the next start begins again.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use redb::backends::InMemoryBackend;

use super::ASIDE;
use super::Catalog;
use super::FORMER;
use super::Held;
use super::NAME;
use super::builder;
use super::file;
use super::remove;
use super::source::Source;
use super::view::View;
use crate::base::disk;
use crate::cert::identifier::Identifier;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::store::disk::guarded;
use crate::store::error::StoreError;

/// What there is only while the copy is being made.
pub(super) struct Making {
    dir: PathBuf,
    lineage: u64,
    /// Certificates that were changed since the file was emptied.
    changed: BTreeSet<CertificateId>,
    /// The same since the copy was begun: the former one says nothing of worth about them.
    outdated: BTreeSet<CertificateId>,
    /// How many were put in.
    filled: u64,
}

impl Catalog {
    /// One that is to be made in `dir`, of which nothing is there yet. Until it is whole it also
    /// shows what `former` has and it does not.
    pub(in crate::store) fn unmade(dir: &Path, lineage: u64, former: Option<Self>) -> Self {
        let mut catalog = Self::of(dir.join(ASIDE), Held::Unmade);
        let former = former.map(|f| f.held.into_inner().unwrap_or_else(PoisonError::into_inner));
        *catalog.former.get_mut().unwrap_or_else(PoisonError::into_inner) = former;
        *catalog.making.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(Making {
            dir: dir.to_owned(),
            lineage,
            changed: BTreeSet::new(),
            outdated: BTreeSet::new(),
            filled: 0,
        });
        catalog
    }

    /// What can be read of a copy in `dir` that is not good enough to go on with, if it was made
    /// from the store of this `lineage`.
    pub(in crate::store) fn remains(dir: &Path, lineage: u64) -> Option<Self> {
        let still = Self::still(&dir.join(NAME), false).ok().flatten()?;
        matches!(still.lineage(), Ok(Some(found)) if found == lineage).then_some(still)
    }

    /// Makes one that is whole and damaged anew: from now on it is the former one, and nothing is in
    /// the new one yet. Not for one in memory.
    pub(in crate::store) fn begin_anew(&self, lineage: u64) {
        let path = self.path();
        let Some(dir) = path.parent().filter(|_| !path.as_os_str().is_empty()) else { return };
        *self.making() = Some(Making {
            dir: dir.to_owned(),
            lineage,
            changed: BTreeSet::new(),
            // What is not written yet is shown from where it waits, and after that is in the new one.
            outdated: self.staged().keys().copied().collect(),
            filled: 0,
        });
        *self.path.write().unwrap_or_else(PoisonError::into_inner) = dir.join(ASIDE);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut *held, Held::Unmade);
        drop(held);
        *self.former.write().unwrap_or_else(PoisonError::into_inner) = Some(former);
    }

    /// How many certificates were put in so far; `None` when it is whole.
    pub fn filled(&self) -> Option<u64> {
        self.making().as_ref().map(|making| making.filled)
    }

    /// Makes an empty file to be filled.
    ///
    /// # Errors
    /// [`StoreError`] of the disk.
    pub(in crate::store) fn empty(&self) -> Result<(), StoreError> {
        let Some((dir, lineage)) = self.start() else { return Ok(()) };
        let aside = dir.join(ASIDE);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(StoreError::from_io)?;
        remove(&aside)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)
            .map_err(StoreError::from_io)?;
        let db = guarded(|| {
            let db = builder().create(&aside).map_err(redb::Error::from)?;
            file::make_tables(&db, lineage)?;
            Ok(db)
        })?;
        self.hold(Held::Open(Source::new(db)));
        Ok(())
    }

    /// The same in memory, for a disk that has no place for it.
    ///
    /// # Errors
    /// [`StoreError`] of the library.
    pub(in crate::store) fn empty_in_memory(&self) -> Result<(), StoreError> {
        let Some((_, lineage)) = self.start() else { return Ok(()) };
        let db = guarded(|| {
            let backend = InMemoryBackend::new();
            let db = builder().create_with_backend(backend).map_err(redb::Error::from)?;
            file::make_tables(&db, lineage)?;
            Ok(db)
        })?;
        self.hold(Held::Memory(Source::new(db)));
        Ok(())
    }

    /// What is filled from now on was read after this: nothing that was changed before is newer.
    fn start(&self) -> Option<(PathBuf, u64)> {
        self.hold(Held::Unmade);
        self.making().as_mut().map(|making| {
            making.changed.clear();
            making.filled = 0;
            (making.dir.clone(), making.lineage)
        })
    }

    /// Puts in what was read of the store, but for what was changed meanwhile. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`]; what was filled before is still there.
    pub(in crate::store) fn fill(&self, portion: &[Served]) -> Result<(), StoreError> {
        if matches!(*self.held(), Held::Still(_) | Held::Lost) {
            self.reopen();
        }
        let newer = |id| self.making().as_ref().is_some_and(|m| m.changed.contains(&id));
        let filled = guarded(|| match &*self.held() {
            Held::Open(source) | Held::Memory(source) => {
                source.change(|db| file::fill(db, portion, newer))
            }
            Held::Still(_) | Held::Unmade | Held::Lost => Err(StoreError::Closed),
        });
        if let Err(error) = filled {
            self.reopen();
            return Err(error);
        }
        if let Some(making) = &mut *self.making() {
            let more = u64::try_from(portion.len()).unwrap_or(0);
            making.filled = making.filled.saturating_add(more);
        }
        Ok(())
    }

    /// It is whole: gives the file its name, durably, and says of which lineage it is; `None` for
    /// one that lies in memory.
    ///
    /// # Errors
    /// [`StoreError`] of the disk; it goes on as one that is being made.
    pub(in crate::store) fn finish(&self) -> Result<Option<u64>, StoreError> {
        let begun = self.making().as_ref().map(|making| (making.dir.clone(), making.lineage));
        let Some((dir, lineage)) = begun else { return Ok(None) };
        let in_memory = matches!(*self.held(), Held::Memory(_));
        let path = if in_memory { PathBuf::new() } else { dir.join(NAME) };
        if !in_memory {
            let aside = dir.join(ASIDE);
            File::open(&aside)
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&aside, &path))
                .and_then(|()| disk::sync_directory(&dir))
                .map_err(StoreError::from_io)?;
        }
        *self.path.write().unwrap_or_else(PoisonError::into_inner) = path;
        *self.making() = None;
        let former = self.former.write().unwrap_or_else(PoisonError::into_inner).take();
        // The library may want to tidy a damaged file up, and give up over it.
        if let Err(error) = guarded(|| {
            drop(former);
            Ok(())
        }) {
            tracing::debug!(%error, "the former second copy is not closed well");
        }
        if in_memory {
            return Ok(None);
        }
        for former in FORMER {
            remove(&dir.join(former))?;
        }
        Ok(Some(lineage))
    }

    /// Notes a change that is newer than what is being filled.
    pub(super) fn note_change(&self, id: CertificateId) {
        if let Some(making) = &mut *self.making() {
            making.changed.insert(id);
            making.outdated.insert(id);
        }
    }

    /// What only the former copy has for `host`, as far as it can be read, apart from what is
    /// `staged`.
    pub(super) fn find_in_former(
        &self,
        host: &Identifier,
        staged: impl Fn(&CertificateId) -> bool,
    ) -> Vec<Arc<Served>> {
        let former = self.former.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Held::Open(source) | Held::Memory(source) | Held::Still(source)) = &*former else {
            return Vec::new();
        };
        let read = |view: &View| {
            let mut ids = view.covering(host)?;
            ids.retain(|id| !staged(id));
            // Another certificate of the name is better than none.
            let readable = ids.iter().filter_map(|id| view.get(*id).ok().flatten());
            Ok(readable.map(Arc::new).collect::<Vec<_>>())
        };
        let mut found = guarded(|| read(&*source.view()?)).unwrap_or_default();
        let outdated = |id| self.making().as_ref().is_none_or(|m| m.outdated.contains(&id));
        found.retain(|served| !outdated(served.id));
        found.retain(|served| !self.with(|view| view.has(served.id)).unwrap_or(false));
        found
    }

    fn hold(&self, held: Held) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Nothing else is locked while this is.
    fn making(&self) -> MutexGuard<'_, Option<Making>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::ports::Catalog as _;
    use crate::store::properties::served;

    /// The serial numbers of what is shown for `name`.
    fn shown(catalog: &Catalog, name: &str) -> Vec<String> {
        let found = catalog.candidates(&Identifier::parse(name).unwrap()).unwrap_or_default();
        found.iter().map(|served| served.installed.serial.clone()).collect()
    }

    fn serial(served: &Served) -> String {
        served.installed.serial.clone()
    }

    /// A whole copy of these in `dir`.
    fn whole(dir: &Path, all: &[Served]) -> Catalog {
        let catalog = Catalog::unmade(dir, 1, None);
        catalog.empty().unwrap();
        catalog.fill(all).unwrap();
        assert_eq!(catalog.finish().unwrap(), Some(1));
        catalog
    }

    #[test]
    fn what_changes_while_a_copy_is_filled_is_newer_than_what_is_filled() {
        for in_memory in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let read: Vec<_> =
                ["a.example", "b.example", "c.example"].map(|n| (*served(n)).clone()).into();
            let [a, _, c] = ["a.example", "b.example", "c.example"].map(served);
            let catalog = Catalog::unmade(dir.path(), 1, None);
            assert!(catalog.candidates(&a.spec.names()[0]).is_err(), "it knows nothing yet");
            if in_memory { catalog.empty_in_memory() } else { catalog.empty() }.unwrap();
            catalog.stage(a.id, Some(Arc::clone(&a)), 1);
            catalog.stage(read[1].id, None, 1);
            assert_eq!(catalog.flush().unwrap().len(), 2);
            catalog.stage(c.id, Some(Arc::clone(&c)), 1);
            catalog.fill(&read).unwrap();
            assert_eq!(catalog.filled(), Some(3));
            for round in ["while", "after"] {
                assert_eq!(shown(&catalog, "a.example"), [serial(&a)], "{round}");
                assert_eq!(shown(&catalog, "b.example"), [""; 0], "{round}");
                assert_eq!(shown(&catalog, "c.example"), [serial(&c)], "{round}");
                catalog.flush().unwrap();
                assert_eq!(catalog.finish().unwrap().is_some(), !in_memory && round == "while");
                assert_eq!(catalog.filled(), None);
            }
            let again = Catalog::open_still(dir.path()).unwrap();
            assert_eq!(again.map(|c| c.count().unwrap()), (!in_memory).then_some(2));
        }
    }

    #[test]
    fn what_was_changed_before_the_file_is_emptied_again_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (served("a.example"), served("a.example"));
        let catalog = Catalog::unmade(dir.path(), 1, Some(whole(dir.path(), &[(*old).clone()])));
        catalog.empty().unwrap();
        catalog.stage(new.id, Some(Arc::clone(&new)), 1);
        catalog.flush().unwrap();
        catalog.empty_in_memory().unwrap();
        assert_eq!(shown(&catalog, "a.example"), [""; 0], "the former one is outdated");
        catalog.fill(&[(*new).clone()]).unwrap();
        assert_eq!(shown(&catalog, "a.example"), [serial(&new)]);
    }

    #[test]
    fn until_it_is_whole_the_former_copy_shows_what_the_new_one_does_not_have() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a.example", "b.example", "c.example", "*.d.example"];
        let old = names.map(|name| (*served(name)).clone());
        let new = names.map(|name| (*served(name)).clone());
        let former = whole(dir.path(), &old);
        let catalog = Catalog::unmade(dir.path(), 2, Some(former));
        let all = |catalog: &Catalog| {
            ["a.example", "b.example", "c.example", "x.d.example"].map(|name| shown(catalog, name))
        };
        let of = |all: &[Served]| -> Vec<_> { all.iter().map(|one| vec![serial(one)]).collect() };
        assert_eq!(all(&catalog).to_vec(), of(&old), "before there is a file");
        catalog.empty().unwrap();
        catalog.fill(&new[..1]).unwrap();
        catalog.stage(new[1].id, Some(Arc::new(new[1].clone())), 1);
        catalog.stage(new[2].id, None, 1);
        catalog.flush().unwrap();
        let mixed = [vec![serial(&new[0])], vec![serial(&new[1])], vec![], vec![serial(&old[3])]];
        assert_eq!(all(&catalog), mixed);
        catalog.finish().unwrap();
        assert!(shown(&catalog, "x.d.example").is_empty(), "what is not in the new one is gone");
        assert_eq!(shown(&catalog, "b.example"), [serial(&new[1])]);
    }
}
