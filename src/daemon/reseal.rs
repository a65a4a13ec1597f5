//! Seals everything anew that a former master key sealed, while the house goes on.
//!
//! Two master keys are there as long as anything needs the former one, so nothing waits for this,
//! and a kill costs nothing: the next start finds both and goes on. Records first, then what is
//! served and both second copies. The store takes nothing under the former key any more before the
//! first look, and the copy nothing before the last: what is held up on its way to them for however
//! long is sealed anew or refused when it comes. The former key is deleted when a look at all of it
//! found nothing any more; where it is not ours to delete, that is said.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::orders::Orders;
use super::seals;
use super::tickets;
use super::tickets::TicketDesk;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::crash;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyHandle;
use crate::cert::key::SealedKey;
use crate::cert::ports::Shelf;
use crate::issuer::custody;
use crate::store::Store;
use crate::vault::MasterKeySource;
use crate::vault::Vault;
use crate::vault::VaultError;
use crate::vault::succession::Step;

/// How far it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Progress {
    /// Records sealed anew since the master key was replaced, or since the start.
    pub(super) resealed: u64,
    /// Records that no master key here opens.
    pub(super) foreign: u64,
    /// Nothing needs the former master key any more, and it is not ours to delete.
    pub(super) idle_former: bool,
    /// Why it does not go on at the moment.
    pub(super) trouble: Option<String>,
}

/// What others hold of it.
#[derive(Clone)]
pub(super) struct ResealHandle {
    pub(super) progress: watch::Receiver<Progress>,
    wake: Arc<Notify>,
}

impl ResealHandle {
    /// Has it look whether there are two master keys.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// What it works with.
pub(super) struct Resealer {
    vault: Vault,
    source: MasterKeySource,
    store: Store,
    orders: Orders,
    tickets: mpsc::Sender<tickets::Order>,
    clock: SharedClock,
}

impl Resealer {
    /// Begins to work, until `stop`.
    pub(super) fn begin(
        vault: &Vault,
        source: MasterKeySource,
        (store, orders, tickets): (&Store, &Orders, &TicketDesk),
        clock: &SharedClock,
        tasks: &TaskSet,
        stop: &CancellationToken,
    ) -> ResealHandle {
        let (vault, store, orders) = (vault.clone(), store.clone(), orders.clone());
        let (tickets, clock) = (tickets.orders.clone(), Arc::clone(clock));
        let resealer = Self { vault, source, store, orders, tickets, clock };
        let (progress, seen) = watch::channel(Progress::default());
        let wake = Arc::new(Notify::new());
        let handle = ResealHandle { progress: seen, wake: Arc::clone(&wake) };
        let stop = stop.clone();
        tasks.service("reseal", async move {
            tokio::select! {
                () = resealer.work(&progress, &wake) => {}
                () = stop.cancelled() => {}
            }
        });
        handle
    }

    async fn work(&self, progress: &watch::Sender<Progress>, wake: &Notify) {
        loop {
            let idle = progress.borrow().idle_former;
            if self.vault.masters().len() > 1
                && !idle
                && let Err(failure) = self.round(progress).await
            {
                tracing::warn!(reason = %failure, "records are not sealed anew, trying again");
                progress.send_modify(|p| p.trouble = Some(failure.to_string()));
                tokio::time::sleep(bounds::master::RESEAL_RETRY).await;
                continue;
            }
            wake.notified().await;
        }
    }

    /// From two master keys to one.
    async fn round(&self, progress: &watch::Sender<Progress>) -> Result<(), Failure> {
        progress.send_replace(Progress::default());
        crash::point("master-made");
        tracing::info!("everything is sealed anew under the present master key");
        let seals = seals::of(&self.vault).ok_or_else(|| {
            Failure::new(FailureKind::Vault, "no vault says which master key there is")
        })?;
        self.orders.scheduler.guard_copy(None);
        let guarded = self.store.guard(Arc::clone(&seals)).await;
        guarded.map_err(|error| error.failure())?;
        // Whether the store is known to have nothing left, and so the copy is guarded, too.
        let mut clean = false;
        loop {
            // A copy that is being made may get what was read of the store before it was clean.
            let last = clean && self.orders.scheduler.is_copy_whole();
            let (found, foreign) = self.keys(progress).await?;
            crash::point("keys-resealed");
            let shelved = self.shelves(progress).await?;
            crash::point("shelves-resealed");
            progress.send_modify(|p| p.foreign = foreign);
            // Also what a run that was killed stored and did not publish.
            let corrected = self.orders.scheduler.publish_stored().await;
            let corrected = corrected.map_err(|error| error.failure())?;
            crash::point("copies-resealed");
            let left = found + shelved + corrected;
            if last && left == 0 && self.are_tickets_sealed().await {
                break;
            }
            if found + shelved == 0 && !clean {
                self.orders.scheduler.guard_copy(Some(Arc::clone(&seals)));
                clean = true;
            }
            if last || left != 0 {
                tokio::time::sleep(bounds::master::RESEAL_PAUSE).await;
            }
        }
        let forgotten = self.orders.scheduler.forget_former_copy();
        forgotten.map_err(|error| error.failure())?;
        let count = progress.borrow().resealed;
        if self.source.is_ours() {
            let vault = self.vault.clone();
            let finished = asked(move || vault.change_master(Step::Finish)).await?;
            crash::point("former-forgotten");
            let mark = finished.first().map(ToString::to_string).unwrap_or_default();
            self.note(format!(
                "{count} records are sealed under that of {mark}; the former one is deleted"
            ))
            .await;
        } else {
            progress.send_modify(|p| p.idle_former = true);
            let former = crate::vault::master::former(self.source.path());
            self.note(format!(
                "{count} records are sealed under the present one; nothing needs {} any more",
                former.display()
            ))
            .await;
        }
        Ok(())
    }

    /// One look at every key. How many were sealed anew, and how many no master key opens.
    async fn keys(&self, progress: &watch::Sender<Progress>) -> Result<(usize, u64), Failure> {
        let (mut after, mut found, mut foreign) = (None, 0, 0);
        loop {
            let batch = self.store.keys_after(after, bounds::master::RESEAL_BATCH).await;
            let batch = batch.map_err(|error| error.failure())?;
            let Some(last) = batch.last() else { return Ok((found, foreign)) };
            after = Some(last.id);
            let vault = self.vault.clone();
            let (changed, lost) = asked(move || reseal_batch(&vault, batch)).await?;
            foreign += lost;
            if changed.is_empty() {
                continue;
            }
            let count = changed.len();
            let stored = self.store.replace_keys(changed).await;
            stored.map_err(|error| error.failure())?;
            found += count;
            progress.send_modify(|p| p.resealed += u64::try_from(count).unwrap_or(0));
        }
    }

    /// One look at what the issuers keep. How many values were put back sealed anew.
    async fn shelves(&self, progress: &watch::Sender<Progress>) -> Result<usize, Failure> {
        let mut found = 0;
        for shelf in [Shelf::Accounts, Shelf::InternalCa] {
            let values = self.store.shelf(shelf).await.map_err(|error| error.failure())?;
            for (name, old) in values {
                let (vault, stored) = (self.vault.clone(), old.clone());
                let anew = tokio::task::spawn_blocking(move || {
                    let mut reseal = |record: &[u8]| opened(vault.reseal(record));
                    custody::reseal(shelf, &stored, &mut reseal)
                });
                let Some(new) = anew.await.map_err(|_| ending())?? else { continue };
                let put = self.store.replace_on_shelf(shelf, name, old, new).await;
                put.map_err(|error| error.failure())?;
                found += 1;
                progress.send_modify(|p| p.resealed += 1);
            }
        }
        self.orders.authorities.reread();
        Ok(found)
    }

    /// Whether the state of the session tickets is sealed under the present master key.
    async fn are_tickets_sealed(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        // Without its keeper there is no state that anybody uses.
        if self.tickets.send(tickets::Order::Reseal(answer)).await.is_err() {
            return true;
        }
        answered.await.unwrap_or(true)
    }

    async fn note(&self, message: String) {
        let now: Timestamp = self.clock.now();
        tracing::info!(message, "the master key was replaced");
        let entry = Entry::about_house(now, EntryKind::MasterKey, Level::Info, message);
        if let Err(error) = self.store.append(vec![entry]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
    }
}

/// Those of `batch` that had to be sealed anew, and how many do not open.
fn reseal_batch(vault: &Vault, batch: Vec<KeyHandle>) -> Result<(Vec<KeyHandle>, u64), VaultError> {
    let (mut changed, mut foreign) = (Vec::new(), 0);
    for key in batch {
        match vault.reseal(&key.sealed.0) {
            Ok(None) => {}
            Ok(Some(sealed)) => changed.push(KeyHandle { sealed: SealedKey(sealed.into()), ..key }),
            // It did not open before either: no master key here is worth keeping for it.
            Err(VaultError::Seal(reason)) => {
                tracing::warn!(key = %key.id, reason, "a key does not open, leaving it as it is");
                foreign += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((changed, foreign))
}

/// What does not open stays as it is.
fn opened(resealed: Result<Option<Vec<u8>>, VaultError>) -> Result<Option<Vec<u8>>, Failure> {
    match resealed {
        Err(VaultError::Seal(reason)) => {
            tracing::warn!(reason, "a record of an issuer does not open, leaving it as it is");
            Ok(None)
        }
        other => Ok(other?),
    }
}

async fn asked<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, Failure> {
    Ok(tokio::task::spawn_blocking(ask).await.map_err(|_| ending())??)
}

fn ending() -> Failure {
    Failure::new(FailureKind::Vault, "the runtime is ending")
}
