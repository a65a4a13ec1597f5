//! News, between the socket, the configuration and those who tell them; and what has to be so that the
//! heartbeat goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::deploy;
use super::house::unavailable;
use super::orders::Orders;
use super::orders::machine_name;
use crate::admin::HouseError;
use crate::admin::Telling;
use crate::admin::wire::news::ChannelView;
use crate::admin::wire::news::Channels;
use crate::base::Timestamp;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::challenge::BoxFuture;
use crate::cert::record::Certificate;
use crate::config::Channel;
use crate::config::Config;
use crate::config::Form;
use crate::config::Way;
use crate::deploy::Deployer;
use crate::notify;
use crate::notify::News;
use crate::notify::Tried;
use crate::store::Store;
use crate::store::Waiting;
use crate::vault::Vault;

/// How long news may wait for a channel that does not take them while all is well.
const DEAF: Duration = Duration::from_secs(3600);

/// Those who tell, as the socket sees them.
pub(super) struct NewsDesk(Arc<News>);

/// Tells what happens, looks for what runs out, and lets the heart beat.
pub(super) fn begin(
    (clock, store, vault, orders): (&SharedClock, &Store, &Vault, &Orders),
    deployer: &Deployer,
    configs: &watch::Receiver<Arc<Config>>,
    tasks: &TaskSet,
    stop: &CancellationToken,
) -> NewsDesk {
    let host = machine_name().unwrap_or_else(|| "this machine".to_owned());
    notify::watch(clock, store, tasks, stop);
    let news = News::begin((clock, store), host, configs, tasks, stop);
    let (clock, store, vault) = (Arc::clone(clock), store.clone(), vault.clone());
    let (orders, telling, deployer) = (orders.clone(), Arc::clone(&news), deployer.clone());
    let pulse: notify::Pulse = Arc::new(move || {
        let (store, vault, now) = (store.clone(), vault.clone(), clock.now());
        let (orders, telling) = (orders.clone(), Arc::clone(&telling));
        let not_there = deploy::ails(&deployer.all(), now);
        Box::pin(async move { ails(&store, vault, &orders, &telling, now).await.or(not_there) })
    });
    notify::beat(pulse, configs, tasks, stop);
    NewsDesk(news)
}

/// What is wrong, if anything is that nobody might tell of.
async fn ails(
    store: &Store,
    vault: Vault,
    orders: &Orders,
    news: &News,
    now: Timestamp,
) -> Option<String> {
    // Tried, and not only asked for: what is known is how the last write went.
    if let Err(error) = store.check_writable().await {
        return Some(format!("the store cannot be written: {error}"));
    }
    if let Some(damage) = store.damage() {
        return Some(format!("records of the store are damaged: {damage}"));
    }
    let status = tokio::task::spawn_blocking(move || vault.status()).await;
    if status.map_or(true, |status| status.failing.is_some()) {
        return Some("the vault is not there".to_owned());
    }
    if let Some(newest) = orders.scheduler.clock_behind() {
        return Some(format!("the clock is behind {newest}, so that nothing is ordered"));
    }
    let ran_out = |record: &Arc<Certificate>| {
        record.shown().is_some_and(|installed| installed.validity.not_after < now)
    };
    if let Some(record) = orders.scheduler.driven().iter().find(|record| ran_out(record)) {
        let name = record.spec.names().first().map(ToString::to_string).unwrap_or_default();
        return Some(format!("a certificate of {name} ran out"));
    }
    let channels = news.channels().await.unwrap_or_default();
    let deaf = channels.into_iter().find(|(_, waiting)| {
        waiting.state.failing_since.is_some_and(|since| now.since(since) > DEAF)
    });
    deaf.map(|(channel, _)| format!("the channel {} takes no news", channel.name))
}

impl Telling for NewsDesk {
    fn channels(&self) -> BoxFuture<'_, Result<Channels, HouseError>> {
        Box::pin(async {
            let channels = self.0.channels().await.map_err(|error| unavailable(&error))?;
            Ok(Channels { channels: channels.into_iter().map(view).collect() })
        })
    }

    fn try_out<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), HouseError>> {
        Box::pin(async move {
            match self.0.try_out(channel).await {
                Tried::Taken => Ok(()),
                Tried::NotTaken(reason) => {
                    let reason = format!("the channel {channel} does not take it: {reason}");
                    Err(HouseError::Unavailable { reason })
                }
                Tried::NoChannel => {
                    let reason =
                        format!("no [[notify]] of the configuration is called {channel:?}");
                    Err(HouseError::Refused { reason })
                }
            }
        })
    }
}

fn view((channel, waiting): (Channel, Waiting)) -> ChannelView {
    let Waiting { count, state } = waiting;
    let failing = state.failing_since.is_some();
    ChannelView {
        way: way(&channel.way).to_owned(),
        name: channel.name,
        waiting: count,
        told: state.told,
        lost: state.lost,
        told_at: state.told_at.map(Into::into),
        failing_since: state.failing_since.map(Into::into),
        failures: state.failures,
        reason: state.reason,
        next: failing.then(|| state.next.into()),
    }
}

fn way(way: &Way) -> &'static str {
    match way {
        Way::Mail(_) => "mail",
        Way::Webhook(hook) => {
            Form::ALL.iter().find(|(_, form)| *form == hook.form).map_or("", |(word, _)| word)
        }
    }
}
