//! From the journal into the outbox: each entry once, for every channel that it concerns.

use std::time::Duration;

use tokio::sync::watch;

use super::concern::concerns;
use crate::base::bounds::STORE_PAUSE;
use crate::base::bounds::news::SORTED_AT_ONCE;
use crate::config::Channel;
use crate::store::Store;
use crate::store::StoreError;

/// Between two looks at the journal, so that a thousand certificates are not a thousand transactions more.
const LOOK: Duration = Duration::from_secs(1);

/// Sorts until it is dropped, and says so in `told` whenever something was found.
pub(super) async fn sort(store: &Store, channels: &[Channel], told: &watch::Sender<u64>) {
    loop {
        if let Err(error) = follow(store, channels, told).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "news cannot be put into the outbox, trying again later"
            );
        }
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

async fn follow(
    store: &Store,
    channels: &[Channel],
    told: &watch::Sender<u64>,
) -> Result<(), StoreError> {
    let mut head = store.journal_head();
    let mut from = match store.sorted().await? {
        Some(number) => number,
        None => {
            // What happened before there was a channel is no news.
            let number = *head.borrow();
            store.sort(number, Vec::new()).await?;
            number
        }
    };
    loop {
        head.mark_unchanged();
        let entries = store.journal(from, SORTED_AT_ONCE).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            if head.changed().await.is_err() {
                // The store is closed; nothing follows any more.
                return std::future::pending().await;
            }
            continue;
        };
        if first.seq > from.saturating_add(1) {
            let lost = first.seq.saturating_sub(from).saturating_sub(1);
            tracing::warn!(lost, "the journal went on faster than its news were sorted");
        }
        let upto = last.seq;
        let news: Vec<_> = entries
            .iter()
            .flat_map(|entry| {
                let concerned = channels.iter().filter(|channel| concerns(channel, entry));
                concerned.map(|channel| (channel.name.clone(), entry.clone()))
            })
            .collect();
        let any = !news.is_empty();
        store.sort(upto, news).await?;
        from = upto;
        if any {
            told.send_modify(|count| *count = count.wrapping_add(1));
        }
        tokio::time::sleep(LOOK).await;
    }
}
