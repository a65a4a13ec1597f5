//! Lists of revoked certificates that are named by a URL: fetched again and again, and laid where the
//! edge reads them as it reads those of an operator.
//!
//! The last good one stays, over restarts too, and is good for as long as it says. When it is out of
//! date, or there never was one, the clients that it is for are refused, as with the operator's files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;
use crate::base::bounds::visitors::CLIENT_CRL_BYTES;
use crate::base::bounds::visitors::LIST_CONNECT;
use crate::base::bounds::visitors::LIST_EARLIEST;
use crate::base::bounds::visitors::LIST_EXCHANGE;
use crate::base::bounds::visitors::LIST_LATEST;
use crate::base::disk;
use crate::base::exchange::Within;
use crate::base::exchange::get;
use crate::base::revoked;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::base::visitors;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::config::Config;
use crate::edge::Edge;
use crate::store::Store;

/// The bounds of one fetch.
const WITHIN: Within =
    Within { connect: LIST_CONNECT, whole: LIST_EXCHANGE, octets: CLIENT_CRL_BYTES };

/// Who fetches them, and what came of it.
pub(super) struct Lists {
    clock: SharedClock,
    store: Option<Store>,
    edge: Arc<Edge>,
    /// By URL, those that could not be had when they were asked for last.
    failing: Mutex<BTreeMap<String, Trouble>>,
}

/// Why a list cannot be had.
struct Trouble {
    since: Timestamp,
    reason: String,
    /// When the last good one runs out, if there is one and it says so.
    until: Option<Timestamp>,
    /// Whether there is one.
    held: bool,
}

/// When a list is fetched next, and how often in a row that failed.
struct Due {
    at: Instant,
    failures: u32,
}

impl Lists {
    /// Fetches what the present configuration names, until `stop`.
    pub(super) fn begin(
        clock: &SharedClock,
        store: Option<&Store>,
        (edge, configs): (&Arc<Edge>, &watch::Receiver<Arc<Config>>),
        tasks: &TaskSet,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let lists = Arc::new(Self {
            clock: Arc::clone(clock),
            store: store.cloned(),
            edge: Arc::clone(edge),
            failing: Mutex::default(),
        });
        let (keeping, configs, stop) = (Arc::clone(&lists), configs.clone(), stop.clone());
        tasks.service("lists", async move {
            let _stopped = stop.run_until_cancelled(keeping.keep(configs)).await;
        });
        lists
    }

    async fn keep(&self, mut configs: watch::Receiver<Arc<Config>>) {
        let mut due: BTreeMap<String, Due> = BTreeMap::new();
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            let wanted = wanted(&config);
            due.retain(|url, _| wanted.contains_key(url));
            self.failing().retain(|url, _| wanted.contains_key(url));
            for (url, (ca, file)) in &wanted {
                let former = due.get(url);
                if former.is_some_and(|due| due.at > Instant::now()) {
                    continue;
                }
                let fetched = self.fetch(url, ca, file).await;
                let failures = match &fetched {
                    Ok(_) => 0,
                    Err(_) => former.map_or(0, |due| due.failures).saturating_add(1),
                };
                if fetched == Ok(true) {
                    tracing::info!(url, "a list of revoked certificates is taken");
                    self.edge.refresh(&config);
                }
                let until = visitors::outlook(file).map(|outlook| outlook.until);
                let pause =
                    pause(until.as_ref().ok().copied().flatten(), failures, self.clock.now());
                due.insert(url.clone(), Due { at: Instant::now() + pause, failures });
                self.note(url, fetched.err(), until.ok()).await;
            }
            let next = due.values().map(|due| due.at).min();
            tokio::select! {
                changed = configs.changed() => match changed {
                    // Whoever reloads wants to have them.
                    Ok(()) => due.clear(),
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)),
                    if next.is_some() => {}
            }
        }
    }

    /// Whether there is another one now.
    async fn fetch(&self, url: &str, ca: &Path, file: &Path) -> Result<bool, String> {
        let bytes = get(url, None, WITHIN).await?.ok()?;
        let (ca, file) = (ca.to_owned(), file.to_owned());
        let (safe, now) = (url.starts_with("https:"), self.clock.now());
        let taken = tokio::task::spawn_blocking(move || take(&bytes, (&ca, &file), safe, now));
        taken.await.map_err(|_| "the daemon is ending".to_owned())?
    }

    /// Tells that a list cannot be had any more, or can again. `until` is `None` where none is held.
    async fn note(&self, url: &str, failed: Option<String>, until: Option<Option<Timestamp>>) {
        let now = self.clock.now();
        let (kind, level, message) = {
            let mut failing = self.failing();
            match failed {
                None => match failing.remove(url) {
                    Some(_) => {
                        let text =
                            format!("the list of revoked certificates at {url} can be had again");
                        (EntryKind::ListFetched, Level::Info, text)
                    }
                    None => return,
                },
                Some(reason) => {
                    let since = failing.get(url).map(|trouble| trouble.since);
                    let (held, until) = (until.is_some(), until.flatten());
                    let trouble = Trouble { since: since.unwrap_or(now), reason, until, held };
                    let text = in_words(url, &trouble, now);
                    failing.insert(url.to_owned(), trouble);
                    if since.is_some() {
                        return;
                    }
                    (EntryKind::ListFailed, Level::Warning, text)
                }
            }
        };
        if kind == EntryKind::ListFailed {
            tracing::warn!(url, reason = message, "a list of revoked certificates cannot be had");
        }
        let Some(store) = &self.store else { return };
        let entry = Entry::about_house(now, kind, level, message);
        if let Err(error) = store.append(vec![entry]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
    }

    /// What a person should know of those that cannot be had.
    pub(super) fn notices(&self) -> Vec<String> {
        let now = self.clock.now();
        self.failing().iter().map(|(url, trouble)| in_words(url, trouble, now)).collect()
    }

    /// Whole at every moment, so a panic elsewhere spoils nothing.
    fn failing(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By URL, the CAs that a list is for, and where it is laid.
fn wanted(config: &Config) -> BTreeMap<String, (PathBuf, PathBuf)> {
    let named = config.client_certificates().filter_map(|clients| {
        let (url, file) = (clients.crl_url.clone()?, clients.crl.clone()?);
        Some((url, (clients.ca.clone(), file)))
    });
    named.collect()
}

/// Until it is fetched again: half of the time for which the present one is good; sooner after a
/// failure, and less so after several.
fn pause(until: Option<Timestamp>, failures: u32, now: Timestamp) -> Duration {
    let good = until.map_or(LIST_LATEST, |until| until.since(now) / 2);
    let patience = match failures.checked_sub(1) {
        None => LIST_LATEST,
        Some(more) => LIST_EARLIEST.saturating_mul(1 << more.min(10)),
    };
    good.min(patience).clamp(LIST_EARLIEST, LIST_LATEST)
}

/// Lays it where the edge finds it, unless it is there already; whether it was not.
fn take(
    bytes: &Bytes,
    (ca, file): (&Path, &Path),
    safe: bool,
    now: Timestamp,
) -> Result<bool, String> {
    revoked::check(bytes, (ca, file), safe, now)?;
    if fs::read(file).is_ok_and(|present| present == *bytes) {
        return Ok(false);
    }
    let laid = file.parent().map_or(Ok(()), fs::create_dir_all);
    laid.and_then(|()| disk::replace(file, bytes, 0o600))
        .map_err(|error| format!("it cannot be kept in {}: {error}", file.display()))?;
    Ok(true)
}

fn in_words(url: &str, trouble: &Trouble, now: Timestamp) -> String {
    let Trouble { reason, until, held, .. } = trouble;
    let meanwhile = match until {
        _ if !held => "there is none yet, so that its clients are refused".to_owned(),
        Some(until) if *until < now => {
            format!("the last one ran out {until}, so that its clients are refused")
        }
        Some(until) => format!("the last one is good until {until}"),
        None => "the last one goes on to be used".to_owned(),
    };
    format!("the list of revoked certificates at {url} cannot be had ({reason}); {meanwhile}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_fetched_again_long_before_it_runs_out_and_soon_after_a_failure() {
        let now = Timestamp::from_unix(1_000_000);
        let at = |seconds: u64| Some(Timestamp::from_unix(1_000_000 + seconds));
        assert_eq!(pause(None, 0, now), LIST_LATEST);
        assert_eq!(pause(at(7 * 24 * 3600), 0, now), LIST_LATEST);
        assert_eq!(pause(at(600), 0, now), Duration::from_secs(300));
        assert_eq!(pause(at(1), 0, now), LIST_EARLIEST);
        // It has run out.
        assert_eq!(pause(Some(Timestamp::from_unix(5)), 0, now), LIST_EARLIEST);
        assert_eq!(pause(at(7 * 24 * 3600), 1, now), LIST_EARLIEST);
        assert_eq!(pause(at(7 * 24 * 3600), 3, now), LIST_EARLIEST * 4);
        assert_eq!(pause(None, 400, now), LIST_LATEST);
        assert_eq!(pause(at(600), 400, now), Duration::from_secs(300));
    }
}
