//! The clients of the configuration in force: looked up, admitted, and let through the mode of the socket.
//!
//! Names are looked up again now and then: a user that comes later is known then, and one that goes is
//! known no more, whoever gets its number.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bind::Bound;
use super::bind::Gateway;
use super::gate::Gate;
use super::people::People;
use crate::base::bounds::admin::LOOK_UP_AGAIN;
use crate::config::Config;

/// Keeps what the socket knows of clients in step with the configuration.
pub(super) struct Following {
    configs: watch::Receiver<Arc<Config>>,
    gate: Gate,
    gateway: Gateway,
    missing: Vec<String>,
}

impl Following {
    /// Takes in the clients that there are.
    pub(super) async fn begin(
        configs: watch::Receiver<Arc<Config>>,
        bound: &Bound,
        gate: &Gate,
    ) -> Self {
        let (gate, gateway) = (gate.clone(), bound.gateway());
        let mut following = Self { configs, gate, gateway, missing: Vec::new() };
        following.look().await;
        following
    }

    /// Goes on until `stop`, or until nobody sets a configuration any more.
    pub(super) async fn go_on(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                changed = self.configs.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_UP_AGAIN) => {}
                () = stop.cancelled() => return,
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let config = Arc::clone(&self.configs.borrow_and_update());
        self.gate.shares.set(config.admin.share);
        let open = !config.clients.is_empty();
        let looking = tokio::task::spawn_blocking(move || People::look_up(&config.clients));
        // A lookup that panics changes nothing.
        let Ok((people, missing)) = looking.await else { return };
        for name in missing.iter().filter(|name| !self.missing.contains(name)) {
            tracing::warn!(what = name, "a client's user or group is not there, looking again");
        }
        self.missing = missing;
        if self.gate.access.know(people) {
            // Those who follow the journal are looked at again.
            self.gate.desk.rights_changed();
        }
        if let Err(error) = self.gateway.open_to_all(open) {
            tracing::warn!(reason = %error, "the mode of the admin socket cannot be set");
        }
    }
}
