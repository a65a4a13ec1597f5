//! The running house: waits for what concerns all rooms, until the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::demo;
use super::floods::News;
use super::open::Manner;
use super::open::Opened;
use super::open::Places;
use super::open::remember;
use super::servers;
use super::sticky;
use super::takeover::giving::Estate;
use super::takeover::giving::Follower;
use super::takeover::giving::arrival;
use super::takeover::taking::Former;
use super::takeover::taking::Legacy;
use super::takeover::taking::Verdict;
use super::tickets::Order;
use super::walls;
use super::wire::Running;
use super::wire::wire;
use crate::base::bounds;
use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::ports::Catalog as _;
use crate::cli::Failed;
use crate::config::Config;
use crate::os::notify;
use crate::vault::VaultEvent;
use crate::vault::VaultExit;
use crate::vault::succession::Step;

/// How long the start waits for every site to have something to show before it says it is ready.
const FIRST_CERTIFICATES: Duration = Duration::from_secs(10);

/// How long a worker may take to answer before it counts as stuck.
const PULSE: Duration = Duration::from_secs(5);

/// How long connections to the admin socket may still take at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the service manager is asked to wait for beyond the drain: the scheduler's open orders,
/// [`LAST_WORDS`], and the end of the threads.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at the workers where no watchdog waits for them.
const NO_WATCHDOG: Duration = Duration::from_secs(600);

/// Between two looks at whether clients are being turned away.
const LOOK: Duration = Duration::from_secs(5);

/// How the watch over a running house ended.
enum Outcome {
    /// It is to end.
    End,
    /// Another process serves.
    Followed(Follower),
}

/// Until a process that is not to serve after all lets go of whom it has.
const NEVER_MIND: Duration = Duration::from_secs(2);

/// Serves until told to end, or until another process does. With a `legacy`, once the process before
/// has given everything away.
pub(super) fn supervise(opened: Opened, legacy: Option<Legacy>) -> Result<(), Failed> {
    let former = legacy.map(Legacy::ready).transpose()?;
    let outcome = serve(opened, &former);
    if let (Err(failed), Some(former)) = (&outcome, &former) {
        // In vain once everything is well.
        former.fail(&failed.report);
    }
    outcome
}

fn serve(opened: Opened, former: &Option<Former>) -> Result<(), Failed> {
    let memory = remember(&Places::of(&opened.config))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("house")
        .enable_all()
        .build()
        .map_err(Failed::fault)?;
    let outcome = runtime.block_on(async {
        let mut running = wire(opened, memory).await?;
        if let Some(former) = former {
            match former.serving(running.took_admin, running.edge.http3()) {
                Verdict::Main(elders) => running.elders.join(elders),
                Verdict::NeverMind => {
                    running.edge.drain(NEVER_MIND).await;
                    return Err(Failed::unavailable("error: the process before goes on itself"));
                }
            }
        }
        match running.watch().await {
            Ok(Outcome::Followed(follower)) => {
                running.finish(follower).await;
                Ok(())
            }
            outcome => {
                running.end().await;
                outcome.map(drop)
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

impl Running {
    /// Until a signal, or until a part of the house ends on its own.
    async fn watch(&mut self) -> Result<Outcome, Failed> {
        let mut hangup = signal(SignalKind::hangup()).map_err(Failed::fault)?;
        let mut reopen = signal(SignalKind::user_defined1()).map_err(Failed::fault)?;
        let mut replace = signal(SignalKind::user_defined2()).map_err(Failed::fault)?;
        let mut heir = None;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failed::fault)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failed::fault)?;
        let mut patience = Box::pin(tokio::time::sleep(FIRST_CERTIFICATES));
        let mut beat = tokio::time::interval(notify::watchdog_interval().unwrap_or(NO_WATCHDOG));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut files = tokio::time::interval(bounds::visitors::CLIENT_FILES_LOOK);
        files.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.publish();
        let (mut ready, mut waited) = (false, false);
        let mut lacking = names_of(&self.configs.borrow());
        let after = if self.elders.count() > 0 { ", after another that ends" } else { "" };
        let started = format!(
            "keyward {} started as process {}{after}",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        );
        self.note(EntryKind::Started, Level::Info, started).await;
        loop {
            if !ready && (waited || self.is_complete(&mut lacking)) {
                ready = true;
                self.announce().await;
            }
            tokio::select! {
                _ = hangup.recv() => {
                    tell(self.notifier.reloading());
                    // Refused or not, it is told already, and the reload is over.
                    let _told = self.reloader.reload().await;
                    tell(self.notifier.ready(&status_line(&self.configs.borrow())));
                }
                _ = reopen.recv() => self.edge.reopen_access_log(),
                Some(answer) = self.reloads.recv() => {
                    // Whoever asked may be gone; the reload counts all the same.
                    let _gone = answer.send(self.reloader.reload().await);
                }
                _ = replace.recv(), if heir.is_none() => heir = self.call_for_heir(None),
                Some(answer) = self.upgrades.recv(), if heir.is_none() => {
                    heir = self.call_for_heir(Some(answer));
                }
                come = arrival(&mut heir) => {
                    if let Some(follower) = self.yield_to(come).await {
                        return Ok(Outcome::Followed(follower));
                    }
                }
                // Only to look again whether the start is complete.
                Ok(()) = self.published.changed(), if !ready => {}
                Ok(()) = self.configs.changed() => {
                    self.publish();
                    lacking = names_of(&self.configs.borrow());
                }
                Some(event) = self.vault_events.recv() => self.hear(event).await?,
                Some(gone) = self.ended.next() => {
                    let how = if gone.panicked { " in a panic" } else { "" };
                    return Err(Failed::fault(format!("error: the task {:?} ended{how}", gone.name)));
                }
                _ = look.tick() => {
                    self.offer_http3();
                    self.look_at_the_door().await;
                }
                _ = files.tick() => {
                    let config = Arc::clone(&self.configs.borrow());
                    self.edge.refresh(&config);
                }
                () = &mut patience, if !waited => waited = true,
                _ = beat.tick() => {
                    // A stuck worker keeps the watchdog waiting, and the service manager acts.
                    if self.edge.pulse(PULSE).await {
                        tell(self.notifier.alive());
                    } else {
                        tracing::error!("a worker does not answer");
                    }
                }
                _ = terminate.recv() => return Ok(Outcome::End),
                _ = interrupt.recv() => return Ok(Outcome::End),
            }
        }
    }

    /// Finishes what is open, then ends.
    async fn end(self) {
        tell(self.notifier.stopping("draining open connections"));
        tracing::info!("the end begins, open requests are finished first");
        self.note(EntryKind::Stopping, Level::Info, "keyward ends".to_owned()).await;
        self.stop.cancel();
        let limit = self.configs.borrow().edge.drain_timeout;
        // The file may allow for more than the unit's TimeoutStopSec.
        tell(self.notifier.extend_timeout(limit.saturating_add(PATIENCE)));
        let scheduler = async {
            if let Some(orders) = &self.orders {
                orders.scheduler.stop().await;
            }
        };
        tokio::join!(self.edge.drain(limit), scheduler, self.elders.end(limit));
        if tokio::time::timeout(LAST_WORDS, self.tasks.finished()).await.is_err() {
            let tasks = self.tasks.names().join(", ");
            tracing::warn!(tasks, "some tasks did not end in time");
        }
    }

    /// Lets connections come to their end while another process serves.
    async fn finish(mut self, follower: Follower) {
        self.stop.cancel();
        // Sockets that this one held open would take in clients that nobody answers, should the
        // process that follows be killed, and keep the next one from starting.
        self.estate = Estate::default();
        let limit = self.configs.borrow().edge.linger_timeout;
        if let Some(orders) = &self.orders {
            orders.scheduler.stop().await;
        }
        tokio::select! {
            () = self.edge.drain(limit) => {}
            () = self.give_way(&follower) => {}
        }
        let _in_time = tokio::time::timeout(LAST_WORDS, self.tasks.finished()).await;
        tracing::info!("what was begun is finished, this former process ends");
    }

    /// Until the time is over that the process that follows leaves to this one.
    async fn give_way(&self, follower: &Follower) {
        if let Some(limit) = follower.hurries().await {
            return tokio::time::sleep(limit).await;
        }
        // It reads no datagrams for this one any more.
        self.edge.read_http3_but(&[]);
        std::future::pending().await
    }

    /// Serves the sites of the present configuration.
    fn publish(&mut self) {
        let config = Arc::clone(&self.configs.borrow_and_update());
        sticky::begin(&config, &self.edge);
        self.edge.publish(&config);
    }

    /// What happened to the vault.
    async fn hear(&mut self, event: VaultEvent) -> Result<(), Failed> {
        match event {
            VaultEvent::Restarted { pid, exit } => {
                let meant =
                    matches!(exit, VaultExit::Status(status) if Step::of_status(status).is_some());
                if meant {
                    tracing::info!(pid, "a vault ended for the next one to see to the master key");
                } else {
                    tracing::error!(pid, %exit, "the vault ended and another was started");
                    let text = format!("the vault ended ({exit}); process {pid} took its place");
                    self.note(EntryKind::VaultRestarted, Level::Error, text).await;
                }
                self.vault_replaced.notify_one();
                self.compare_walls();
                // A full queue means that the keeper is about to look at the vault anyway.
                let _told = self.tickets.orders.try_send(Order::VaultRestarted);
            }
            VaultEvent::Failing { reason } => {
                tracing::error!(reason, "a new vault does not serve, another is started");
            }
            VaultEvent::KeeperLost => {
                tracing::error!("the vault's keeper ended, so the present vault is the last one");
            }
            VaultEvent::Lost => {
                return Err(Failed::fault(
                    "error: the vault and its keeper are both gone\n  \
                     try: the service manager starts keyward again; the log says why they ended",
                ));
            }
        }
        Ok(())
    }

    /// Tells what is torn around the present vault and was not around those before it.
    fn compare_walls(&mut self) {
        let mut torn = walls::of_vault(self.vault.torn());
        torn.retain(|wall| !self.torn.contains(wall));
        walls::tell(&torn, self.manner != Manner::Service);
        self.torn.extend(torn);
    }

    /// Speaks HTTP/3 once no former process can.
    fn offer_http3(&mut self) {
        if self.elders.count() == 0
            && let Some(sockets) = self.http3.take()
        {
            self.reloader.offer_http3(&self.configs.borrow(), sockets);
        }
    }

    /// Tells when clients begin to be turned away, and when that is over.
    async fn look_at_the_door(&mut self) {
        let turned_away = self.edge.stats().turned_away.total();
        let network = self.edge.crowding().map(|network| network.to_string());
        let now = self.clock.now();
        match self.floods.look(turned_away, network.as_deref(), now) {
            Some(News::Began(text)) => {
                tracing::warn!(what = text, "a flood is being turned away");
                self.note(EntryKind::FloodBegan, Level::Warning, text).await;
            }
            Some(News::Ended(text)) => {
                tracing::info!(what = text, "the flood is over");
                self.note(EntryKind::FloodEnded, Level::Info, text).await;
            }
            None => {}
        }
        for news in self.edge.server_news() {
            let (good, text) = servers::entry(&news);
            let (kind, level) = if good {
                (EntryKind::ServerUp, Level::Info)
            } else {
                (EntryKind::ServerDown, Level::Warning)
            };
            self.note(kind, level, text).await;
        }
    }

    /// Whether every name has a certificate to show, be it the bridge. Those that have one are no
    /// longer `lacking`, so that each is looked up once.
    fn is_complete(&self, lacking: &mut Vec<Identifier>) -> bool {
        let shown = |name: &Identifier| self.catalog.candidates(name).is_ok_and(|c| !c.is_empty());
        while lacking.pop_if(|name| shown(name)).is_some() {}
        lacking.is_empty()
    }

    /// Says that the house is ready: to the service manager, the log, and whoever looks at a demo.
    async fn announce(&self) {
        let config = Arc::clone(&self.configs.borrow());
        tell(self.notifier.ready(&status_line(&config)));
        tracing::info!(sites = config.sites.len(), "ready");
        if let (Manner::Demo(options), Some(orders)) = (&self.manner, &self.orders)
            && let Ok(root) = orders.internal.root().await
        {
            demo::introduce(options, &root);
        }
    }

    /// Puts an entry about the house into the journal; a store that takes none is its own news.
    pub(super) async fn note(&self, kind: EntryKind, level: Level, message: String) {
        let Some(store) = &self.store else { return };
        let entry = Entry::about_house(self.clock.now(), kind, level, message);
        if let Err(error) = store.append(vec![entry]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
    }
}

/// The names of all sites.
fn names_of(config: &Config) -> Vec<Identifier> {
    config.sites.iter().flat_map(|site| &site.names).cloned().collect()
}

/// What `systemctl status` shows.
fn status_line(config: &Config) -> String {
    match config.sites.len() {
        1 => "serving 1 site".to_owned(),
        many => format!("serving {many} sites"),
    }
}

/// The service manager's deafness changes nothing here.
fn tell(sent: std::io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager does not listen");
    }
}
