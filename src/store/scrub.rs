//! A slow look at every record while the house is at work, again and again.
//!
//! The steps are short and far between, so that no write waits for them. What is damaged is told
//! and left as it is: it goes on being served from the second copy.

use std::time::Duration;

use super::handle::Store;
use super::inspect::Place;
use crate::base::bounds;

/// Looks at all records, rests, and begins again, without end.
pub async fn run(store: Store) {
    loop {
        tokio::time::sleep(bounds::STORE_SCRUB_REST).await;
        once(&store, bounds::STORE_SCRUB_PAUSE).await;
    }
}

/// Looks at all records once, with `pause` between two steps.
pub async fn once(store: &Store, pause: Duration) {
    let mut place = Place::Start;
    loop {
        match store.scrub(place).await {
            Ok(Some(next)) => place = next,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store cannot be looked through, trying again later"
                );
                return;
            }
        }
        tokio::time::sleep(pause).await;
    }
}
