//! Makes known what is installed: to the second copy, where it is found by name, and which names
//! that concerns to whoever has looked there before.
//!
//! Publications that arrive while the copy is being written, or within [`COPY_PAUSE`] after it was,
//! share its next transaction: what is published is durable in the store, which has a mark for what
//! the copy lacks. Who has to know that the copy has it waits in [`Publisher::copied`], which ends
//! the pause.
//! Deliberately absent: a list of everything that is published.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::bounds;
use crate::base::bounds::catalog::COPY_PAUSE;
use crate::base::tasks::TaskSet;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Catalog as _;
use crate::cert::ports::Seals;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Specification;
use crate::store::Catalog;
use crate::store::Store;
use crate::store::StoreError;

/// Told of the names about which the copy says something else from now on.
pub type Audience = Arc<dyn Fn(&[Identifier]) + Send + Sync>;

/// The publishing end.
pub(super) struct Publisher {
    catalog: Arc<Catalog>,
    store: Store,
    audience: Audience,
    wanted: watch::Sender<u64>,
    copied: watch::Receiver<u64>,
    /// Told when somebody waits for the copy.
    urgent: Arc<Notify>,
}

impl Publisher {
    /// Publishes into `catalog`, which has what is installed, and keeps what is published durable
    /// from a task of its own.
    pub(super) fn start(
        catalog: Arc<Catalog>,
        audience: Audience,
        store: Store,
        tasks: &TaskSet,
    ) -> Self {
        let (wanted, wants) = watch::channel(1);
        let (done, copied) = watch::channel(0);
        let copy = Arc::clone(&catalog);
        let urgent = Arc::new(Notify::new());
        let (closing, hurry) = (tasks.closing(), Arc::clone(&urgent));
        let keeping = keep_copy(copy, store.clone(), wants, done, (hurry, closing));
        tasks.service("second-copy", keeping);
        Self { catalog, store, audience, wanted, copied, urgent }
    }

    /// The number of the newest publication, as it grows.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Puts one certificate, whose record has this `revision`, in the place of its former self,
    /// which had the same names. Shown to the next handshake when this returns.
    ///
    /// A key that was sealed anew in the store since it was read is shown as it is stored.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub(super) async fn put(&self, served: Served, revision: u64) -> Result<u64, StoreError> {
        let mut served = Arc::new(served);
        if !self.catalog.stage_guarded(&served, revision) {
            if let Some(stored) = self.store.key(served.key.id).await? {
                served = Arc::new(Served { key: stored, ..served.as_ref().clone() });
            }
            // Once the copy is guarded the store has nothing under a former master key, but for what
            // never opened.
            self.catalog.stage(served.id, Some(Arc::clone(&served)), revision);
        }
        Ok(self.tell(&served.spec))
    }

    /// Whether the copy has everything that is to be shown, and is not being made.
    pub(super) fn is_whole(&self) -> bool {
        self.catalog.filled().is_none()
    }

    /// Shows nothing from now on that `seals` knows as sealed under a former master key.
    pub(super) fn guard(&self, seals: Option<Arc<dyn Seals>>) {
        self.catalog.guard(seals);
    }

    /// Whether this certificate is published; what cannot be read is not.
    pub(super) fn shows(&self, id: CertificateId) -> bool {
        match self.catalog.shows(id) {
            Ok(shows) => shows,
            Err(error) => {
                tracing::error!(cert = %id, %error, "the second copy cannot be read");
                false
            }
        }
    }

    /// Whether all that was published is durable.
    pub(super) fn is_flushed(&self) -> bool {
        self.catalog.is_flushed()
    }

    /// The names of at most `limit` published certificates behind `after`, in order.
    pub(super) fn page(
        &self,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<CertificateId>, StoreError> {
        self.catalog.page(after, limit)
    }

    /// One published certificate; `None` also for one that cannot be read.
    pub(super) fn shown(&self, id: CertificateId) -> Option<Arc<Served>> {
        self.catalog.get(id).unwrap_or_else(|error| {
            tracing::error!(cert = %id, %error, "a certificate of the second copy is damaged");
            None
        })
    }

    /// What is published of imported and onboarded certificates that cover `name`.
    pub(super) fn brought(&self, name: &Identifier) -> Vec<Arc<Served>> {
        let found = self.catalog.candidates(name).unwrap_or_else(|error| {
            tracing::error!(%name, error, "the second copy cannot be read");
            Vec::new()
        });
        found.into_iter().filter(|served| !served.spec.role.is_driven()).collect()
    }

    /// Deletes the copy before the present one.
    pub(super) fn forget_former(&self) -> Result<(), StoreError> {
        self.catalog.forget_former()
    }

    /// Takes the certificate for `spec` away. `revision` is the one after its record's last. Shown
    /// to no handshake any more when this returns.
    pub(super) fn withdraw(&self, spec: &Specification, revision: u64) {
        self.catalog.stage(spec.id(), None, revision);
        self.tell(spec);
    }

    /// Waits until the copy has what was published under this number, or was tried and failed.
    pub(super) async fn copied(&self, publication: u64) {
        let mut copied = self.copied.clone();
        self.urgent.notify_one();
        // An error means that the task has ended: the house is closing.
        let _ignored = copied.wait_for(|done| *done >= publication).await;
    }

    /// Waits until the copy has what was published so far, or was tried and failed.
    pub(super) async fn caught_up(&self) {
        let newest = *self.wanted.borrow();
        self.copied(newest).await;
    }

    fn tell(&self, spec: &Specification) -> u64 {
        (self.audience)(spec.names());
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        number
    }
}

impl Drop for Publisher {
    /// The house is closing, and does not wait for a pause.
    fn drop(&mut self) {
        self.urgent.notify_one();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

async fn keep_copy(
    catalog: Arc<Catalog>,
    store: Store,
    mut wants: watch::Receiver<u64>,
    done: watch::Sender<u64>,
    (urgent, closing): (Arc<Notify>, CancellationToken),
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
                () = closing.cancelled() => return,
                () = again => {}
            }
        } else {
            tokio::select! {
                () = urgent.notified() => {}
                () = closing.cancelled() => {}
                () = tokio::time::sleep(COPY_PAUSE) => {}
            }
            tokio::select! {
                biased;
                // Before the end: what was published last is not left for the next start to find.
                changed = wants.changed() => if changed.is_err() { return },
                () = closing.cancelled() => return,
            }
        }
    }
}
