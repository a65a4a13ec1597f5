//! Keeps the busiest keys in mind from one run to the next, so that the first handshakes after a
//! start find them open.
//!
//! All of it is a hint: nothing waits for it, and whatever fails costs a millisecond later.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::house::Residence;
use super::open::Places;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::base::tasks::TaskSet;
use crate::cert::key::KeyHandle;
use crate::store::Store;
use crate::vault::Vault;
use crate::vault::busy_list;
use crate::vault::busy_list::Busy;

/// What it takes to keep the vault warm.
struct Warmth {
    vault: Vault,
    store: Store,
    /// Where the list lies.
    path: PathBuf,
    /// The house ends.
    stop: CancellationToken,
    /// Another vault has begun with nothing open.
    replaced: Arc<Notify>,
}

/// Keeps the vault warm as long as the house stands; returns whom to tell of a new vault. Without a
/// store there is no sealed key to send along.
pub(super) fn begin(
    house: &Residence,
    store: Option<&Store>,
    tasks: &TaskSet,
    stop: &CancellationToken,
) -> Arc<Notify> {
    let replaced = Arc::new(Notify::new());
    if let Some(store) = store {
        let warmth = Warmth {
            vault: house.vault.clone(),
            store: store.clone(),
            path: Places::of(&house.config.borrow()).served.join("busiest"),
            stop: stop.clone(),
            replaced: Arc::clone(&replaced),
        };
        tasks.service("busiest keys", warmth.keep());
    }
    replaced
}

impl Warmth {
    /// Opens the keys of the list, and writes a new list now and then and at the end.
    async fn keep(self) {
        let path = self.path.clone();
        let found = blocking(move || busy_list::read(&path)).await;
        let mut list = match found {
            Some(Ok(list)) => list,
            Some(Err(error)) => {
                let (path, reason) = (self.path.display(), with_causes(&error));
                tracing::warn!(%path, reason, "the list of busy keys is no use, another is made");
                Vec::new()
            }
            None => Vec::new(),
        };
        let mut rest = self.warm(&list).await;
        loop {
            let mut ending = false;
            tokio::select! {
                () = self.stop.cancelled() => ending = true,
                () = self.replaced.notified() => {
                    rest = self.warm(&list).await;
                    continue;
                }
                () = tokio::time::sleep(bounds::BUSIEST_PERIOD) => {}
            }
            if let Some(now) = self.ranked(rest).await
                && now != list
            {
                self.write(now.clone()).await;
                list = now;
            }
            // What was not opened in all that time is not that busy.
            rest = Vec::new();
            if ending {
                return;
            }
        }
    }

    /// Has the keys of `list` opened; returns those for which there was no time.
    async fn warm(&self, list: &[Busy]) -> Vec<Busy> {
        let mut rest = list;
        let mut open = 0_usize;
        let warming = async {
            while let Some((batch, later)) =
                rest.split_at_checked(rest.len().min(bounds::WARMING_BATCH))
                && !batch.is_empty()
            {
                let mut keys = Vec::with_capacity(batch.len());
                for busy in batch {
                    match self.store.key(busy.key).await {
                        Ok(Some(key)) if key.usage.is_tls() => keys.push((key, busy.heat)),
                        // It left the store since.
                        Ok(_) => {}
                        Err(error) => return tracing::debug!(%error, "a busy key is not read"),
                    }
                }
                let vault = self.vault.clone();
                let Some(opened) = blocking(move || open_all(&vault, &keys)).await else { return };
                let Some(count) = opened else { return };
                open = open.saturating_add(count);
                rest = later;
            }
        };
        tokio::select! {
            () = warming => {}
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(bounds::WARMING) => {}
        }
        if !list.is_empty() {
            tracing::info!(open, of = list.len(), "the busiest keys of the last run are open");
            // So that they are pinned from now on.
            let vault = self.vault.clone();
            let _ranked = blocking(move || vault.busiest()).await;
        }
        rest.to_vec()
    }

    /// The busiest keys as of now, and then those of `rest` that are not among them.
    async fn ranked(&self, rest: Vec<Busy>) -> Option<Vec<Busy>> {
        let vault = self.vault.clone();
        let mut list = match blocking(move || vault.busiest()).await? {
            Ok(list) => list,
            Err(error) => {
                tracing::debug!(%error, "the vault does not say which keys are busy");
                return None;
            }
        };
        let known: HashSet<_> = list.iter().map(|busy| busy.key).collect();
        list.extend(rest.into_iter().filter(|busy| !known.contains(&busy.key)));
        list.truncate(bounds::VAULT_BUSIEST);
        Some(list)
    }

    async fn write(&self, list: Vec<Busy>) {
        let path = self.path.clone();
        if let Some(Err(error)) = blocking(move || busy_list::write(&path, &list)).await {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the list of busy keys cannot be written, going on");
        }
    }
}

/// How many are open now; `None` when it is not worth going on.
fn open_all(vault: &Vault, keys: &[(KeyHandle, u64)]) -> Option<usize> {
    let mut open = 0_usize;
    for (key, heat) in keys {
        match vault.warm(key, *heat) {
            Ok(true) => open = open.saturating_add(1),
            Ok(false) => return None,
            Err(error) => tracing::debug!(key = %key.id, %error, "a busy key does not open"),
        }
    }
    Some(open)
}

/// Does what blocks elsewhere; `None` when the runtime is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
