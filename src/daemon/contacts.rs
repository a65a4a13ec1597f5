//! Contacts of accounts that a reload has changed are told to their CAs at once, and again until these take
//! them.
//!
//! Where there is no account yet nobody is asked: it is opened with the contacts of that moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorities::Authorities;
use super::house::unavailable;
use crate::base::bounds::accounts::CONTACT_FIRST;
use crate::base::bounds::accounts::CONTACT_MOST;
use crate::base::tasks::SharedClock;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::config::Config;
use crate::store::Store;

/// What tells the CAs.
pub(super) struct Contacts {
    pub(super) authorities: Arc<Authorities>,
    pub(super) configs: watch::Receiver<Arc<Config>>,
    pub(super) store: Store,
    pub(super) clock: SharedClock,
}

impl Contacts {
    /// Tells them at the start and after every reload, until `stop`.
    pub(super) async fn keep(mut self, stop: CancellationToken) {
        // Those whose failure stands in the journal.
        let mut told = BTreeSet::new();
        let mut pause = CONTACT_FIRST;
        loop {
            let config = Arc::clone(&self.configs.borrow_and_update());
            let all_know = tokio::select! {
                () = stop.cancelled() => return,
                all_know = self.round(&config, &mut told) => all_know,
            };
            // Where all is told there is nothing to do before the next reload.
            let wait = if all_know { Duration::MAX } else { pause };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.configs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    (told, pause) = (BTreeSet::new(), CONTACT_FIRST);
                }
                () = tokio::time::sleep(wait) => pause = pause.saturating_mul(2).min(CONTACT_MOST),
            }
        }
    }

    /// Tells every CA that has to be told; whether all know then.
    async fn round(&self, config: &Config, told: &mut BTreeSet<String>) -> bool {
        let mut all_know = true;
        for ca in config.authorities() {
            let Some(issuer) = self.authorities.acme(&ca.issuer()) else { continue };
            let Err(failure) = issuer.bring_contacts().await else { continue };
            all_know = false;
            tracing::warn!(ca = ca.name, reason = %failure, "the CA does not take the contacts");
            if !told.insert(ca.directory.clone()) {
                continue;
            }
            let (kind, now) = (EntryKind::AccountContactFailed, self.clock.now());
            let text = format!(
                "the CA {} does not take the new contacts of the account, and is told again until it \
                 does: {failure}",
                ca.name
            );
            let entry = Entry::about_house(now, kind, Level::Warning, text);
            if let Err(error) = self.store.append(vec![entry]).await {
                let reason = unavailable(&error);
                tracing::warn!(%reason, "the journal takes no entry, going on");
            }
        }
        all_know
    }
}
