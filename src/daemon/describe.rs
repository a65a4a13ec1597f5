//! How the daemon is, as the status tells it: what is served and done, what holds it back, and what a
//! person should know.

use std::sync::Arc;

use super::figures::figures;
use super::figures::vault_figures;
use super::house::Residence;
use super::house::unavailable;
use super::notices;
use super::open::Memory;
use super::servers;
use super::terms;
use crate::admin::HouseError;
use crate::admin::wire;
use crate::config::Require;
use crate::store::Store;
use crate::vault::VaultStatus;
use crate::vault::walls::WallReport;

impl Residence {
    fn notices(&self) -> Vec<String> {
        let flood = self.flood.load_full().map(|text| (*text).clone());
        let making = self.catalog.filled().map(notices::making);
        let making = making.into_iter().chain(self.catalog.damage().map(|d| notices::copy(&d)));
        let noticed = self.grounds.notices().into_iter().chain(flood).chain(making);
        let unwell = servers::notices(&self.edge.unwell());
        let lists = self.lists.notices();
        let budgets = self.orders.as_ref().map(|orders| orders.scheduler.budgets());
        let budgets = budgets.into_iter().flatten();
        noticed.chain(self.elders.notice()).chain(unwell).chain(lists).chain(budgets).collect()
    }

    /// The whole of `GET /v1/status`.
    pub(super) async fn describe(&self) -> Result<wire::Status, HouseError> {
        let now = self.clock.now();
        let config = Arc::clone(&self.config.borrow());
        let ((certificates, next_wake), degraded) = match &self.memory {
            Memory::Whole(_) => (self.counted().await?, None),
            Memory::Copy { reason, catalog } => {
                let count = catalog.count().map_err(|error| unavailable(&error))?;
                let text = format!("serving {count} certificates from the second copy: {reason}");
                ((wire::Counts::default(), None), Some(text))
            }
        };
        let vault = self.vault.clone();
        let vault = tokio::task::spawn_blocking(move || vault.status())
            .await
            .map_err(|error| unavailable(&error))?;
        let (alarms, busiest) = (self.lookout.alarms(now).await, self.lookout.busiest(now).await);
        let behind = self.orders.as_ref().and_then(|orders| orders.scheduler.clock_behind());
        let unwritable = self.store().ok().and_then(Store::trouble);
        let damage = self.store().ok().and_then(Store::damage);
        let hindrances = notices::hindrances(behind, unwritable.as_deref(), damage.as_deref(), now);
        let degraded: Vec<_> =
            degraded.into_iter().chain(trouble(&vault)).chain(hindrances).collect();
        Ok(wire::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at.into(),
            uptime_seconds: now.since(self.started_at).as_secs(),
            config: wire::ConfigView {
                source: config.source.as_ref().map(|path| path.display().to_string()),
                applied_at: (*self.applied.borrow()).into(),
                refused: self.refused.load_full().map(|text| (*text).clone()),
            },
            degraded: (!degraded.is_empty()).then(|| degraded.join("; ")),
            notices: self.notices(),
            walls: self.grounds.walls(),
            sites: u64::try_from(config.sites.len()).unwrap_or(u64::MAX),
            certificates,
            vault: wire::VaultView {
                pid: vault.figures.is_some().then_some(vault.pid),
                restarts: vault.restarts,
                walls: vault.walls.iter().map(WallReport::in_words).collect(),
                required: Some(required(config.vault.require).to_owned()),
                master_key: Some(self.grounds.master.in_words(&vault.masters)),
                master: self.master(),
                channel: Some(if vault.gates { "shared memory" } else { "sockets" }.to_owned()),
                figures: vault.figures.map(vault_figures).unwrap_or_default(),
                alarms,
                busiest,
            },
            tickets: self.tickets.view.borrow().clone(),
            edge: figures(&self.edge.stats()),
            listeners: self.listeners.borrow().clone(),
            kernel: self.grounds.kernel(),
            door: terms::of_all(&config),
            next_wake,
        })
    }
}

/// What is wrong with the key process, if something is.
fn trouble(vault: &VaultStatus) -> Option<String> {
    if let Some(reason) = &vault.failing {
        return Some(format!("no vault serves: {reason}"));
    }
    vault.keeper_pid.is_none().then(|| {
        "the keeper of the vault is gone, so the present vault is the last one: restart keyward \
         when it suits"
            .to_owned()
    })
}

/// The word of the configuration.
const fn required(require: Require) -> &'static str {
    match require {
        Require::Available => "available",
        Require::Strict => "strict",
    }
}
