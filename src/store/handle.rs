//! The handle that the rest of the house holds: each call travels to the store's thread and its
//! answer comes back.
//!
//! A call whose future is dropped is carried out all the same; only its answer is lost.

mod deployments;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;

use super::catalog::Catalog;
use super::disk::Disk;
use super::error::OpenError;
use super::error::StoreError;
use super::filling;
use super::inspect::Place;
use super::lending::Lend;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::journal::Entry;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::ports::Book;
use crate::cert::ports::Shelf;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

type Call = Box<dyn FnOnce(&mut Disk) + Send>;

enum Job {
    Call(Call),
    Lend(Lend),
}

/// The store. Clones share one thread and one file; when the last is dropped, the calls under
/// way are finished and the file is closed before the drop returns.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` only while dropping.
    calls: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    head: watch::Receiver<u64>,
    trouble: watch::Receiver<Option<Arc<str>>>,
    damage: watch::Receiver<Option<Arc<str>>>,
}

impl Store {
    /// Opens the store in `dir`, made with mode 0700 when it is not there. Reads every record of a
    /// short store once, which takes some milliseconds for each thousand certificates; one of more
    /// than [`bounds::STORE_INSPECTED`] records is looked at by [`super::scrub`] instead.
    ///
    /// # Errors
    /// [`OpenError`]; a damaged file is left as it is.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let mut disk = Disk::open(dir)?;
        let (calls, mut queue) = mpsc::channel::<Job>(bounds::STORE_QUEUE);
        let (announce, head) = watch::channel(disk.head());
        let (complain, trouble) = watch::channel(None);
        let (find, damage) = watch::channel(None);
        let dir = dir.to_owned();
        let at = dir.clone();
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                let call = match job {
                    Job::Call(call) => call,
                    Job::Lend(lend) => match lend.carry_out(disk, &dir) {
                        Some(back) => {
                            disk = back;
                            continue;
                        }
                        None => return,
                    },
                };
                let before = disk.trouble().cloned();
                call(&mut disk);
                if before.as_ref() != disk.trouble() {
                    complain.send_replace(disk.trouble().cloned());
                }
                find.send_if_modified(|known| {
                    let same = known.as_ref() == disk.damage();
                    *known = disk.damage().cloned();
                    !same
                });
                announce.send_if_modified(|head| std::mem::replace(head, disk.head()) != *head);
            }
        };
        let thread =
            std::thread::Builder::new().name("store".to_owned()).spawn(work).map_err(|source| {
                OpenError::Io { action: "starting a thread for", path: at, source }
            })?;
        let shared = Shared { calls: Some(calls), thread: Some(thread), head, trouble, damage };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Every certificate, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn certificates(&self) -> Result<Vec<Certificate>, StoreError> {
        self.ask(|disk| disk.certificates()).await
    }

    /// At most `limit` certificates behind `after`, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn page(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<Certificate>, StoreError> {
        self.ask(move |disk| disk.page(after, limit)).await
    }

    /// At most `limit` certificates between `first` and `last`, both included, in the order of their
    /// names.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn between(
        &self,
        first: CertificateId,
        last: CertificateId,
        limit: usize,
    ) -> Result<Vec<Certificate>, StoreError> {
        self.ask(move |disk| disk.between(first, last, limit)).await
    }

    /// How many certificates there are; costs the same however many.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.ask(|disk| disk.count()).await
    }

    /// One of the certificates that refer to a key whose name begins with `head`.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn user_of(&self, head: [u8; 8]) -> Result<Option<Certificate>, StoreError> {
        self.ask(move |disk| disk.user_of(head)).await
    }

    /// Every certificate but the imported ones, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn driven(&self) -> Result<Vec<Certificate>, StoreError> {
        self.ask(|disk| disk.driven()).await
    }

    /// At most `limit` imported certificates whose time has come at `now`, the earliest first, and
    /// the moment at which the next one's comes.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CertificateId>, Option<Timestamp>), StoreError> {
        self.ask(move |disk| disk.due(now, limit)).await
    }

    /// How many imported certificates are in which phase, by the phase's word.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn imported(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.ask(|disk| disk.imported(false)).await
    }

    /// One certificate.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, StoreError> {
        self.ask(move |disk| disk.certificate(id)).await
    }

    /// Adds a certificate as it is, together with journal entries.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::MissingKey`], and those of writing.
    pub async fn add(&self, record: Certificate, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.ask(move |disk| disk.add(&record, None, entries)).await
    }

    /// Adds many certificates with the keys that they refer to, as far as these are not there yet,
    /// together with journal entries, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::MissingKey`], and those of writing.
    pub async fn add_all(
        &self,
        records: Vec<Certificate>,
        keys: Vec<KeyHandle>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.add_all(&records, &keys, entries)).await
    }

    /// [`Self::add`] for a record that refers to `key`, which is stored in the same transaction.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn add_with_key(
        &self,
        record: Certificate,
        key: KeyHandle,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.add(&record, Some(&key), entries)).await
    }

    /// Replaces a certificate whose revision still is `record.revision`, together with journal
    /// entries, and returns it with its new revision. Keys that only the former record referred
    /// to are deleted with it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::NotFound`], [`StoreError::MissingKey`], and those
    /// of writing.
    pub async fn update(
        &self,
        record: Certificate,
        entries: Vec<Entry>,
    ) -> Result<Certificate, StoreError> {
        self.ask(move |disk| disk.update(record, None, entries)).await
    }

    /// [`Self::update`] for a record that begins to refer to `key`, which is stored in the same
    /// transaction: so no crash leaves one without the other.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub async fn update_with_key(
        &self,
        record: Certificate,
        key: KeyHandle,
        entries: Vec<Entry>,
    ) -> Result<Certificate, StoreError> {
        self.ask(move |disk| disk.update(record, Some(&key), entries)).await
    }

    /// [`Self::update`] for many, in one transaction.
    ///
    /// # Errors
    /// As [`Self::update`], for the first record that cannot be replaced; none was then.
    pub async fn update_all(
        &self,
        records: Vec<Certificate>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.update_all(records, entries)).await
    }

    /// Deletes a certificate, and every key that it referred to and no other record does.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], and those of writing.
    pub async fn remove(&self, id: CertificateId, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.ask(move |disk| disk.remove(id, None, entries)).await
    }

    /// One key.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyHandle>, StoreError> {
        self.ask(move |disk| disk.key(id)).await
    }

    /// Notes that no further certificate is to be ordered for `keys`, as far as they are there. The
    /// note goes with the key.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn wear_out(&self, keys: Vec<KeyId>, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.ask(move |disk| disk.wear_out(&keys, entries)).await
    }

    /// Whether [`Self::wear_out`] was called for a key.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn is_worn(&self, key: KeyId) -> Result<bool, StoreError> {
        self.ask(move |disk| disk.is_worn(key)).await
    }

    /// Appends to the journal, which numbers the entries and forgets the oldest.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.ask(move |disk| disk.append(entries)).await
    }

    /// At most `limit` entries with numbers above `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn journal(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.ask(move |disk| disk.journal(after, limit)).await
    }

    /// The number of the newest journal entry, as it grows.
    pub fn journal_head(&self) -> watch::Receiver<u64> {
        self.shared.head.clone()
    }

    /// Why the last write did not reach the disk, until one does.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.shared.trouble.borrow().clone()
    }

    /// What is wrong with single records, as far as they were looked at.
    pub fn damage(&self) -> Option<Arc<str>> {
        self.shared.damage.borrow().clone()
    }

    /// Looks at some records from `place` on, and says where to go on.
    pub(super) async fn scrub(&self, place: Place) -> Result<Option<Place>, StoreError> {
        self.ask(move |disk| disk.scrub(place)).await
    }

    /// The second copy in `dir`, with everything that is installed and its sealed key. Where it is
    /// not there, damaged, or of another store, it is to be filled anew by [`filling::fill`]; until
    /// then it shows what it has, and what can be read of the damaged one.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn open_catalog(&self, dir: &Path) -> Result<Arc<Catalog>, StoreError> {
        let dir = dir.to_owned();
        self.ask(move |disk| disk.catalog(&dir).map(Arc::new)).await
    }

    /// The same, and whole on return.
    ///
    /// # Errors
    /// Those of reading. A disk that cannot take the copy is told in the log, and it is kept in
    /// memory.
    pub async fn catalog(&self, dir: &Path) -> Result<Arc<Catalog>, StoreError> {
        let catalog = self.open_catalog(dir).await?;
        filling::fill(self, &catalog).await?;
        Ok(catalog)
    }

    /// Notes that the second copy has these, each as of this revision of its record: what
    /// [`Catalog::flush`] returned. Forgotten in a crash, which costs the next start a moment.
    pub async fn settle(&self, settled: Vec<(CertificateId, u64)>) {
        if settled.is_empty() {
            return;
        }
        let noted = self.ask(move |disk| {
            disk.settle(settled);
            Ok(())
        });
        if let Err(error) = noted.await {
            tracing::debug!(%error, "marks of the second copy are left");
        }
    }

    /// Copies the file as it stands between two transactions into `target`; the octets written.
    /// Nothing is written meanwhile. Whoever opens the copy finds it as after a crash, which loses
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError`] of reading, and those of writing to `target`.
    pub async fn copy_into(&self, target: File) -> Result<u64, StoreError> {
        self.ask(move |disk| disk.copy_into(target)).await
    }

    /// Makes one small durable write, so that nobody asks a CA for what could not be kept
    /// (invariant 12).
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.ask(Disk::probe).await
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let call: Call = Box::new(move |disk| {
            // Nobody waiting any more is no reason not to have done it.
            let _ignored = answer.send(disk.run(work));
        });
        self.send(Job::Call(call)).await?;
        self.hear(answered).await?
    }

    /// What the store's thread says to a job that was sent.
    pub(super) async fn hear<T>(
        &self,
        mut answered: oneshot::Receiver<T>,
    ) -> Result<T, StoreError> {
        let calls = self.shared.calls.as_ref().ok_or(StoreError::Closed)?;
        tokio::select! {
            biased;
            answer = &mut answered => answer.map_err(|_| StoreError::Closed),
            // A job that came at the moment at which the thread ended lies in the channel, which
            // this very store keeps: nobody is going to answer.
            () = calls.closed() => answered.try_recv().map_err(|_| StoreError::Closed),
        }
    }

    pub(super) async fn order(&self, lend: Lend) -> Result<(), StoreError> {
        self.send(Job::Lend(lend)).await
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        let calls = self.shared.calls.as_ref().ok_or(StoreError::Closed)?;
        calls.send(job).await.map_err(|_| StoreError::Closed)
    }
}

impl Book for Store {
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        let name = name.to_owned();
        Box::pin(async move {
            let found = self.ask(move |disk| disk.shelf_get(shelf, &name)).await;
            found.map_err(|error| error.failure())
        })
    }

    fn put<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
        value: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let name = name.to_owned();
        Box::pin(async move {
            let put = self.ask(move |disk| disk.shelf_put(shelf, &name, &value, Vec::new())).await;
            put.map_err(|error| error.failure())
        })
    }

    fn put_noting<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
        value: Vec<u8>,
        entry: Entry,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let name = name.to_owned();
        Box::pin(async move {
            let put = self.ask(move |disk| disk.shelf_put(shelf, &name, &value, vec![entry])).await;
            put.map_err(|error| error.failure())
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("head", &*self.shared.head.borrow()).finish()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.calls.take());
        if let Some(thread) = self.thread.take() {
            // Its panics are caught call by call; there is nothing to hear here.
            let _ignored = thread.join();
        }
    }
}
