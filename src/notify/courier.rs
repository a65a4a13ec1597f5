//! Has each channel tell what waits for it, and keeps what is not taken until it is.
//!
//! Each channel has a courier of its own, so that none waits for another. A message that was not taken
//! is tried again as it was, with pauses that grow; what nobody took for days is given up, and counted.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::due;
use super::hook;
use super::hook::NotTaken;
use super::letter::Letter;
use super::mail;
use super::sorter;
use crate::base::Jitter;
use crate::base::Timestamp;
use crate::base::bounds::STORE_PAUSE;
use crate::base::bounds::news::FAILURES_TOLD;
use crate::base::bounds::news::KEPT;
use crate::base::bounds::news::LOOK_AGAIN;
use crate::base::bounds::news::PAUSE;
use crate::base::bounds::news::REASON;
use crate::base::bounds::news::RETRY_FIRST;
use crate::base::bounds::news::RETRY_MOST;
use crate::base::bounds::news::TOLD_AT_ONCE;
use crate::base::jitter::share;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::config::Channel;
use crate::config::Config;
use crate::config::Way;
use crate::store::ChannelState;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Waiting;

/// Octets of a mail's text.
const MAIL_ROOM: usize = 256 * 1024;

/// What came of a trial.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tried {
    /// It was taken.
    Taken,
    /// It was not, for this reason.
    NotTaken(String),
    /// There is no channel of that name.
    NoChannel,
}

/// Those who tell.
pub struct News {
    clock: SharedClock,
    store: Store,
    configs: watch::Receiver<Arc<Config>>,
    jitter: Jitter,
    host: String,
    told: watch::Sender<u64>,
}

/// What one courier has in hand.
#[derive(Default)]
struct Hand {
    /// A message that was not taken, as it was.
    held: Vec<Entry>,
    /// Until when everything that happened goes with what was due.
    flushed: Timestamp,
}

impl News {
    /// Tells what the present configuration says, until `stop`. `host` is this machine's name.
    pub fn begin(
        (clock, store): (&SharedClock, &Store),
        host: String,
        configs: &watch::Receiver<Arc<Config>>,
        tasks: &TaskSet,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let news = Arc::new(Self {
            clock: Arc::clone(clock),
            store: store.clone(),
            configs: configs.clone(),
            jitter: Jitter::from_os(),
            host,
            told: watch::Sender::new(0),
        });
        let (telling, set, stop) = (Arc::clone(&news), tasks.clone(), stop.clone());
        tasks.service("news", async move {
            let _stopped = stop.clone().run_until_cancelled(telling.keep(set, stop)).await;
        });
        news
    }

    async fn keep(self: Arc<Self>, tasks: TaskSet, stop: CancellationToken) {
        let mut configs = self.configs.clone();
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            let channels = &config.notify;
            self.forget(channels).await;
            let round = stop.child_token();
            let (alive, mut ended) = mpsc::channel::<()>(1);
            for channel in channels {
                let (news, alive, round) = (Arc::clone(&self), alive.clone(), round.clone());
                let channel = channel.clone();
                tasks.job("courier", async move {
                    let _alive = alive;
                    let _over = round.run_until_cancelled(news.serve(channel)).await;
                });
            }
            drop(alive);
            let changed = async {
                while configs.changed().await.is_ok() {
                    if configs.borrow_and_update().notify != *channels {
                        return;
                    }
                }
                // Whoever held the configuration is gone; nothing changes any more.
                std::future::pending().await
            };
            if channels.is_empty() {
                changed.await;
            } else {
                tokio::select! {
                    () = sorter::sort(&self.store, channels, &self.told) => {}
                    () = changed => {}
                }
            }
            round.cancel();
            // Two couriers of one channel would tell everything twice.
            let _all = ended.recv().await;
        }
    }

    async fn forget(&self, channels: &[Channel]) {
        let names = channels.iter().map(|channel| channel.name.clone()).collect();
        match self.store.forget_channels(names).await {
            Ok(0) => {}
            Ok(lost) => tracing::warn!(lost, "news of channels that are gone are not told"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store does not forget channels that are gone"
            ),
        }
    }

    async fn serve(&self, channel: Channel) {
        let (mut told, mut hand) = (self.told.subscribe(), Hand::default());
        loop {
            told.mark_unchanged();
            let pause = match self.step(&channel, &mut hand).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(
                        channel = channel.name,
                        error = &error as &dyn std::error::Error,
                        "the outbox cannot be read or written, trying again later"
                    );
                    Some(STORE_PAUSE)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)) => {}
                _ = told.changed() => {}
            }
        }
    }

    /// Tells what is due, and says how long nothing else will be; `None` is until something happens.
    async fn step(
        &self,
        channel: &Channel,
        hand: &mut Hand,
    ) -> Result<Option<Duration>, StoreError> {
        let now = self.clock.now();
        let Waiting { state, .. } = self.store.channel(&channel.name).await?;
        // A clock that was put back would have everybody wait for nothing.
        let rest = state.next.since(now);
        if !rest.is_zero() && rest <= RETRY_MOST {
            return Ok(Some(rest));
        }
        let zone = due::zone(channel);
        if hand.held.is_empty() {
            let mut news = self.store.waiting_news(&channel.name, TOLD_AT_ONCE).await?;
            let Some(first) = news.first() else { return Ok(None) };
            let due = due::due(channel, &zone, first.level, first.at.min(now));
            if now < due && first.at > hand.flushed {
                return Ok(Some(due.since(now)));
            }
            if first.level < Level::Error {
                hand.flushed = now;
            }
            shorten(channel, &self.letter(channel, &zone, &[], 0), &mut news);
            hand.held = news;
        }
        let letter = self.letter(channel, &zone, &hand.held, state.lost);
        let outcome = self.tell(channel, &letter, now).await;
        let now = self.clock.now();
        let done: Vec<u64> = hand.held.iter().map(|entry| entry.seq).collect();
        let (done, state, entry) = match outcome {
            Ok(()) => {
                let (state, entry) = taken(channel, state, done.len(), now);
                (done, state, entry)
            }
            Err(failed) => {
                let newest = hand.held.iter().map(|entry| entry.at).max().unwrap_or(now);
                let tired = now.since(newest) > KEPT;
                let (mut state, entry) =
                    not_taken(channel, state, &failed, self.jitter.draw(), now);
                let done = if tired { done } else { Vec::new() };
                state.lost = state.lost.saturating_add(length(done.len()));
                tracing::warn!(
                    channel = channel.name,
                    reason = failed.reason,
                    given_up = done.len(),
                    "news are not taken"
                );
                (done, state, entry)
            }
        };
        if !done.is_empty() {
            hand.held.clear();
        }
        let rest = state.next.since(now);
        let entries = entry.into_iter().collect();
        self.store.settle_news(&channel.name, done, state, entries).await?;
        Ok(Some(rest))
    }

    fn letter<'a>(
        &'a self,
        channel: &'a Channel,
        zone: &'a TimeZone,
        news: &'a [Entry],
        lost: u64,
    ) -> Letter<'a> {
        Letter { host: &self.host, channel: &channel.name, news, lost, zone }
    }

    async fn tell(
        &self,
        channel: &Channel,
        letter: &Letter<'_>,
        now: Timestamp,
    ) -> Result<(), NotTaken> {
        let number = |entry: Option<&Entry>| entry.map_or(now.as_unix(), |entry| entry.seq);
        let (first, last) = (number(letter.news.first()), number(letter.news.last()));
        let id = format!("{}-{}-{first}-{last}", self.host, channel.name);
        match &channel.way {
            Way::Webhook(webhook) => hook::post(webhook, letter, &id, now).await,
            Way::Mail(mail) => Ok(mail::mail(mail, letter, &id).await?),
        }
    }

    /// Has the channel `name` tell a word of its own, at once.
    pub async fn try_out(&self, name: &str) -> Tried {
        let config = Arc::clone(&self.configs.borrow());
        let Some(channel) = config.notify.iter().find(|channel| channel.name == name) else {
            return Tried::NoChannel;
        };
        let zone = due::zone(channel);
        let letter = self.letter(channel, &zone, &[], 0);
        match self.tell(channel, &letter, self.clock.now()).await {
            Ok(()) => Tried::Taken,
            Err(failed) => Tried::NotTaken(cut(&failed.reason)),
        }
    }

    /// The channels of the present configuration, and how each fares.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn channels(&self) -> Result<Vec<(Channel, Waiting)>, StoreError> {
        let config = Arc::clone(&self.configs.borrow());
        let mut all = Vec::with_capacity(config.notify.len());
        for channel in &config.notify {
            let waiting = self.store.channel(&channel.name).await?;
            all.push((channel.clone(), waiting));
        }
        Ok(all)
    }
}

/// Leaves as many news as the service takes in one message, and at least one, which it may cut off.
fn shorten(channel: &Channel, empty: &Letter<'_>, news: &mut Vec<Entry>) {
    let room = match &channel.way {
        Way::Webhook(webhook) => hook::room(webhook.form),
        Way::Mail(_) => MAIL_ROOM,
    };
    while news.len() > 1 {
        let letter = Letter { news, ..*empty };
        if letter.subject().len() + letter.text().len() < room {
            break;
        }
        news.pop();
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON).collect()
}

fn entry(channel: &Channel, kind: EntryKind, level: Level, told: String, now: Timestamp) -> Entry {
    let entry = Entry::about_house(now, kind, level, told);
    Entry { name: Some(channel.name.clone()), ..entry }
}

/// How a channel fares after `count` news were taken.
fn taken(
    channel: &Channel,
    state: ChannelState,
    count: usize,
    now: Timestamp,
) -> (ChannelState, Option<Entry>) {
    let again = state.failures >= FAILURES_TOLD;
    let told = || "the channel takes news again".to_owned();
    let entry = again.then(|| entry(channel, EntryKind::NewsDelivered, Level::Info, told(), now));
    let state = ChannelState {
        failures: 0,
        failing_since: None,
        next: now.plus(PAUSE),
        told_at: Some(now),
        reason: None,
        told: state.told.saturating_add(length(count)),
        // It was told that they are.
        lost: 0,
    };
    (state, entry)
}

/// How a channel fares that did not take a message.
fn not_taken(
    channel: &Channel,
    state: ChannelState,
    failed: &NotTaken,
    draw: u32,
    now: Timestamp,
) -> (ChannelState, Option<Entry>) {
    let failures = state.failures.saturating_add(1);
    let doubled = RETRY_FIRST.saturating_mul(1_u32.checked_shl(state.failures).unwrap_or(u32::MAX));
    let pause = doubled.max(failed.after.unwrap_or_default()).min(RETRY_MOST);
    // A quarter less at most, so that many that failed together do not come back together.
    let less = Duration::from_secs(share(pause.as_secs() / 4, draw));
    let reason = cut(&failed.reason);
    let told = format!("news are not taken by this channel, and kept: {reason}");
    let entry = (failures == FAILURES_TOLD)
        .then(|| entry(channel, EntryKind::NewsFailed, Level::Warning, told, now));
    let state = ChannelState {
        failures,
        failing_since: state.failing_since.or(Some(now)),
        next: now.plus(pause.saturating_sub(less)),
        reason: Some(reason),
        ..state
    };
    (state, entry)
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
