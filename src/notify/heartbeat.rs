//! Calls a URL while all is well, so that whoever watches it hears of a house that can tell nothing any
//! more.
//!
//! Deliberately absent: what is well. Whoever begins this knows.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::secret;
use crate::base::bounds::news::CONNECT;
use crate::base::bounds::news::EXCHANGE;
use crate::base::exchange::Within;
use crate::base::exchange::get;
use crate::base::tasks::TaskSet;
use crate::cert::challenge::BoxFuture;
use crate::config::Config;
use crate::config::Heartbeat;

const WITHIN: Within = Within { connect: CONNECT, whole: EXCHANGE, octets: 0 };

/// Says why all is not well, if it is not.
pub type Pulse = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Calls the URL of the present configuration again and again, until `stop`, unless `pulse` says that
/// something is wrong.
pub fn beat(
    pulse: Pulse,
    configs: &watch::Receiver<Arc<Config>>,
    tasks: &TaskSet,
    stop: &CancellationToken,
) {
    let (mut configs, stop) = (configs.clone(), stop.clone());
    let beating = async move {
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            let Some(heartbeat) = &config.heartbeat else {
                if configs.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            };
            once(&pulse, heartbeat).await;
            tokio::select! {
                () = tokio::time::sleep(heartbeat.every) => {}
                changed = configs.changed() => if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    };
    tasks.service("heartbeat", async move {
        let _stopped = stop.run_until_cancelled(beating).await;
    });
}

async fn once(pulse: &Pulse, heartbeat: &Heartbeat) {
    if let Some(reason) = pulse().await {
        tracing::warn!(reason, "all is not well, so the heartbeat is left out");
        return;
    }
    let called = async {
        let url = secret::url(&heartbeat.url).await?;
        let answer = get(&url, heartbeat.ca.as_deref(), WITHIN).await?;
        let status = answer.status;
        let told = || format!("the answer is {}", status.as_u16());
        if status.is_success() { Ok(()) } else { Err(told()) }
    };
    if let Err(reason) = called.await {
        tracing::warn!(reason, "the heartbeat's URL does not answer as it should");
    }
}
