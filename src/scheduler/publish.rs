//! Makes known what is installed: to whoever watches, and to the second copy on disk.
//!
//! Publications that arrive while a copy is being written share the next copy.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::base::bounds;
use crate::base::tasks::TaskSet;
use crate::cert::served::Served;
use crate::cert::served::Snapshot;
use crate::cert::spec::CertificateId;
use crate::store::copy;

/// The publishing end.
#[derive(Debug)]
pub(super) struct Publisher {
    snapshot: watch::Sender<Arc<Snapshot>>,
    wanted: watch::Sender<u64>,
    copied: watch::Receiver<u64>,
}

impl Publisher {
    /// Publishes `first` at once, and keeps the copy in `dir` up to date from a task of its own.
    pub(super) fn start(first: Snapshot, dir: PathBuf, tasks: &TaskSet) -> Self {
        let (snapshot, source) = watch::channel(Arc::new(first));
        let (wanted, wants) = watch::channel(1);
        let (done, copied) = watch::channel(0);
        tasks.service("second-copy", keep_copy(source, wants, done, dir));
        Self { snapshot, wanted, copied }
    }

    /// What is installed, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Puts one certificate in the place of its former self.
    pub(super) fn put(&self, served: Served) -> u64 {
        let served = Arc::new(served);
        self.modify(|certificates| match certificates.iter_mut().find(|one| one.id == served.id) {
            Some(slot) => *slot = served,
            None => certificates.push(served),
        })
    }

    /// Whether this certificate is published.
    pub(super) fn shows(&self, id: CertificateId) -> bool {
        self.snapshot.borrow().certificates.iter().any(|one| one.id == id)
    }

    /// Takes one certificate away.
    pub(super) fn withdraw(&self, id: CertificateId) -> u64 {
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
    snapshot: watch::Receiver<Arc<Snapshot>>,
    mut wants: watch::Receiver<u64>,
    done: watch::Sender<u64>,
    dir: PathBuf,
) {
    loop {
        // The number first: the snapshot read after it is at least as new.
        let number = *wants.borrow_and_update();
        let current = Arc::clone(&snapshot.borrow());
        let dir = dir.clone();
        let written = tokio::task::spawn_blocking(move || copy::write(&dir, &current)).await;
        let failed = match written {
            Ok(Ok(())) => false,
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
