//! Makes known what is installed: to whoever watches, and to the second copy on disk.
//!
//! Publications that arrive while the copy is being written share its next transaction.

use std::sync::Arc;

use tokio::sync::watch;

use crate::base::bounds;
use crate::base::tasks::TaskSet;
use crate::cert::served::Served;
use crate::cert::served::Snapshot;
use crate::cert::spec::CertificateId;
use crate::store::Catalog;
use crate::store::Store;
use crate::store::StoreError;

/// The publishing end.
#[derive(Debug)]
pub(super) struct Publisher {
    catalog: Arc<Catalog>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    wanted: watch::Sender<u64>,
    copied: watch::Receiver<u64>,
}

impl Publisher {
    /// Publishes what `catalog` holds at once, and keeps it up to date from a task of its own.
    pub(super) fn start(
        first: Snapshot,
        catalog: Arc<Catalog>,
        store: Store,
        tasks: &TaskSet,
    ) -> Self {
        let (snapshot, _) = watch::channel(Arc::new(first));
        let (wanted, wants) = watch::channel(1);
        let (done, copied) = watch::channel(0);
        tasks.service("second-copy", keep_copy(Arc::clone(&catalog), store, wants, done));
        Self { catalog, snapshot, wanted, copied }
    }

    /// What is installed, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Puts one certificate, whose record has this `revision`, in the place of its former self.
    pub(super) fn put(&self, served: Served, revision: u64) -> u64 {
        let served = Arc::new(served);
        self.catalog.stage(served.id, Some(Arc::clone(&served)), revision);
        self.modify(|certificates| match certificates.iter_mut().find(|one| one.id == served.id) {
            Some(slot) => *slot = served,
            None => certificates.push(served),
        })
    }

    /// Whether this certificate is published.
    pub(super) fn shows(&self, id: CertificateId) -> bool {
        self.snapshot.borrow().certificates.iter().any(|one| one.id == id)
    }

    /// Whether all that was published is durable.
    pub(super) fn is_flushed(&self) -> bool {
        self.catalog.is_flushed()
    }

    /// What the copy shows.
    pub(super) fn shown(&self) -> Result<Vec<Arc<Served>>, StoreError> {
        self.catalog.certificates()
    }

    /// Deletes the copy before the present one.
    pub(super) fn forget_former(&self) -> Result<(), StoreError> {
        self.catalog.forget_former()
    }

    /// Takes one certificate away. `revision` is the one after its record's last.
    pub(super) fn withdraw(&self, id: CertificateId, revision: u64) -> u64 {
        self.catalog.stage(id, None, revision);
        self.modify(|certificates| certificates.retain(|one| one.id != id))
    }

    /// Waits until the copy has what was published under this number, or was tried and failed.
    pub(super) async fn copied(&self, publication: u64) {
        let mut copied = self.copied.clone();
        // An error means that the task has ended: the house is closing.
        let _ignored = copied.wait_for(|done| *done >= publication).await;
    }

    fn modify(&self, change: impl FnOnce(&mut Vec<Arc<Served>>)) -> u64 {
        self.snapshot.send_modify(|snapshot| {
            let mut next = Snapshot::clone(snapshot);
            change(&mut next.certificates);
            *snapshot = Arc::new(next);
        });
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        number
    }
}

async fn keep_copy(
    catalog: Arc<Catalog>,
    store: Store,
    mut wants: watch::Receiver<u64>,
    done: watch::Sender<u64>,
) {
    loop {
        // The number first: what is staged after it is at least as new.
        let number = *wants.borrow_and_update();
        let copy = Arc::clone(&catalog);
        let failed = match tokio::task::spawn_blocking(move || copy.flush()).await {
            Ok(Ok(settled)) => {
                store.settle(settled).await;
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the second copy cannot be written, serving goes on"
                );
                true
            }
            Err(_ended) => return,
        };
        done.send_replace(number);
        if failed {
            let again = tokio::time::sleep(bounds::SLEEP_STRETCH);
            tokio::select! {
                changed = wants.changed() => if changed.is_err() { return },
                () = again => {}
            }
        } else if wants.changed().await.is_err() {
            return;
        }
    }
}
