//! Looks for certificates whose end comes near, which is news that no change of a state writes.
//!
//! When it was last looked is stored together with what was found, so that each is told once, over
//! restarts too. A clock that is put back tells nothing again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;
use crate::base::bounds::STORE_PAUSE;
use crate::base::bounds::news::EXPIRY_LEAST;
use crate::base::bounds::news::EXPIRY_MOST;
use crate::base::bounds::news::EXPIRY_SHARE;
use crate::base::bounds::news::EXPIRY_TOLD;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::expiry;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::store::Store;
use crate::store::StoreError;

/// Records that are read in one go.
const PAGE: usize = 500;

/// Looks again and again, until `stop`.
pub fn watch(clock: &SharedClock, store: &Store, tasks: &TaskSet, stop: &CancellationToken) {
    let (clock, store, stop) = (Arc::clone(clock), store.clone(), stop.clone());
    let watching = async move {
        let mut head = store.journal_head();
        loop {
            head.mark_unchanged();
            let begun = Instant::now();
            let wait = match look(&store, clock.now()).await {
                Ok(next) => next.map_or(EXPIRY_MOST, |next| next.since(clock.now())),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "certificates that run out cannot be looked for, trying again later"
                    );
                    STORE_PAUSE
                }
            };
            // Whoever has a million of them looks less often.
            let least = begun.elapsed().saturating_mul(EXPIRY_SHARE).max(EXPIRY_LEAST);
            tokio::time::sleep(least).await;
            tokio::select! {
                () = tokio::time::sleep(wait.min(EXPIRY_MOST).saturating_sub(least)) => {}
                // Another certificate may be there.
                changed = head.changed() => if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    };
    tasks.service("expiry", async move {
        let _stopped = stop.run_until_cancelled(watching).await;
    });
}

/// Writes what is told at `now` into the journal, and says when something may be to tell next.
async fn look(store: &Store, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let last = match store.looked_for_expiry().await? {
        Some(last) => last,
        // What ran out before anybody looked is in `keyward status`, and no news.
        None => {
            store.look_for_expiry(now, Vec::new()).await?;
            now
        }
    };
    let (mut found, mut more, mut next, mut after) = (Vec::new(), 0_usize, None::<Timestamp>, None);
    loop {
        let page = store.page(after, PAGE).await?;
        for record in &page {
            if let Some(entry) = expiry::told(record, last, now) {
                if found.len() < EXPIRY_TOLD { found.push(entry) } else { more += 1 }
            }
            if let Some(moment) = expiry::next(record, now) {
                next = Some(next.map_or(moment, |known| known.min(moment)));
            }
        }
        match page.last() {
            Some(last) => after = Some(last.id()),
            None => break,
        }
    }
    if more > 0 {
        let told = format!("{more} more certificates run out, or have: keyward list shows them");
        found.push(Entry::about_house(now, EntryKind::Expiring, Level::Error, told));
    }
    // A transaction for each look, where nothing was found, would be for nothing: what passed without
    // being told is not told later either, as long as the last moment is remembered within the hour.
    if !found.is_empty() || now.since(last) > Duration::from_secs(3600) {
        store.look_for_expiry(now, found).await?;
    }
    Ok(next)
}
