//! Whether a site is being worked on: because the configuration says so, or a file is there.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::bounds::policy::CLOSED_FOR;
use crate::config;
use crate::config::When;

/// When a site is closed, and for whom it is not.
#[derive(Debug)]
pub(super) struct Closed {
    when: config::Maintenance,
    began: Instant,
    /// Milliseconds since then, doubled, of the last look at the file; odd if it was there. 0
    /// before the first.
    looked: AtomicU64,
}

impl Closed {
    pub(super) fn new(when: &config::Maintenance) -> Self {
        Self { when: when.clone(), began: Instant::now(), looked: AtomicU64::new(0) }
    }

    /// Whether the site is closed for `address`. The file is looked for once in a second at most.
    pub(super) fn is_for(&self, address: IpAddr) -> bool {
        let closed = match &self.when.when {
            When::Now => true,
            When::File(path) => {
                let age = self.began.elapsed().as_millis();
                let now = u64::try_from(age).unwrap_or(u64::MAX / 4).saturating_add(1);
                let looked = self.looked.load(Ordering::Relaxed);
                if looked == 0 || now.saturating_sub(looked / 2) >= 1000 {
                    // Not followed: a link that leads nowhere is as good a sign as any.
                    let there = std::fs::symlink_metadata(path).is_ok();
                    self.looked.store(now * 2 + u64::from(there), Ordering::Relaxed);
                    there
                } else {
                    looked % 2 == 1
                }
            }
        };
        closed && !self.when.allow.iter().any(|network| network.contains(address))
    }

    /// When to come back.
    pub(super) const fn until() -> Duration {
        CLOSED_FOR
    }
}
