//! The running house: wires the rooms, then waits for what concerns all of them, until the end.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Failed;
use super::authorities::Authorities;
use super::authorities::Means;
use super::demo;
use super::house::ReloadRequest;
use super::house::Residence;
use super::open::Manner;
use super::open::Memory;
use super::open::Opened;
use super::open::Places;
use super::reload::Reloader;
use super::reload::listener_views;
use crate::admin;
use crate::admin::wire;
use crate::base::Jitter;
use crate::base::SystemClock;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::served::Snapshot;
use crate::config::Config;
use crate::edge::Edge;
use crate::edge::EdgeOptions;
use crate::issuer::InternalCa;
use crate::issuer::InternalOptions;
use crate::os::notify;
use crate::scheduler::Parts;
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::vault::VaultEvent;

/// How long the start waits for every site to have something to show before it says it is ready.
const FIRST_CERTIFICATES: Duration = Duration::from_secs(10);

/// How long a worker may take to answer before it counts as stuck.
const PULSE: Duration = Duration::from_secs(5);

/// Serves until told to end.
pub(super) fn supervise(opened: Opened) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("house")
        .enable_all()
        .build()
        .map_err(Failed::fault)?;
    let outcome = runtime.block_on(live(opened));
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn live(opened: Opened) -> Result<(), Failed> {
    let Opened { config, manner, logs, notifier, doors, vault, memory } = opened;
    let clock: SharedClock = Arc::new(SystemClock);
    let (tasks, mut ended) = TaskSet::new();
    let mut vault_events =
        vault.events().ok_or_else(|| Failed::fault("error: the vault's events are taken"))?;
    let store = match &memory {
        Memory::Whole(store) => Some(store.clone()),
        Memory::Copy { .. } => None,
    };
    let first = match &memory {
        Memory::Whole(store) => Arc::new(
            store.snapshot().await.map_err(|e| Failed::unavailable(format!("error: {e}")))?,
        ),
        Memory::Copy { snapshot, .. } => Arc::clone(snapshot),
    };
    let (has_http, has_tls) = (!doors.http.is_empty(), !doors.https.is_empty());
    let listeners = if doors.inherited { inherited_views(&doors) } else { listener_views(&config) };
    let edge = Arc::new(
        Edge::start(
            EdgeOptions {
                https: doors.https,
                http: doors.http,
                limits: config.edge.clone(),
                clock: Arc::clone(&clock),
                config: Arc::clone(&config),
                snapshot: Arc::clone(&first),
            },
            Arc::new(vault.clone()),
        )
        .map_err(Failed::unavailable)?,
    );

    let (config_sender, config_watch) = watch::channel(Arc::clone(&config));
    // Without a store nothing new is ever published.
    let (_unchanging, mut snapshots) = watch::channel(first);
    let mut internal = None;
    let mut scheduler = None;
    if let Some(store) = &store {
        let ca = Arc::new(InternalCa::new(InternalOptions {
            clock: Arc::clone(&clock),
            book: Arc::new(store.clone()),
            keys: Arc::new(vault.clone()),
            signing: Arc::new(vault.clone()),
            machine: machine_name(),
        }));
        let means = Means {
            clock: Arc::clone(&clock),
            book: Arc::new(store.clone()),
            seal: Arc::new(vault.clone()),
            signing: Arc::new(vault.clone()),
            solver: edge.solver(),
            has_http,
            has_tls,
        };
        let authorities = Authorities::new(means, config_watch.clone(), Arc::clone(&ca));
        let parts = Parts {
            store: store.clone(),
            copy_dir: Places::of(&config).served,
            clock: Arc::clone(&clock),
            jitter: Arc::new(Jitter::from_os()),
            authorities: Arc::new(move |name| authorities.of(name)),
            keys: Arc::new(vault.clone()),
            tasks: tasks.clone(),
        };
        let started = Scheduler::start(parts, config_watch.clone()).await;
        let handle = started.map_err(|e| Failed::unavailable(format!("error: {e}")))?;
        snapshots = handle.snapshot();
        scheduler = Some(handle);
        internal = Some(ca);
    }

    let internal_root = internal.clone();
    let refused = Arc::new(ArcSwapOption::empty());
    let (applied_sender, applied) = watch::channel(clock.now());
    let (listener_sender, listener_watch) = watch::channel(listeners);
    let (reload_sender, mut reloads) = mpsc::channel::<ReloadRequest>(4);
    let (_silent, silent_head) = watch::channel(0);
    let bound = match doors.admin {
        Some(listener) => admin::inherited(listener, config.admin.group.as_deref()),
        None => admin::bind(&config.admin.socket, config.admin.group.as_deref()),
    }
    .map_err(|error| Failed::unavailable(format!("error: {error}")))?;
    let residence = Arc::new(Residence {
        clock: Arc::clone(&clock),
        started_at: clock.now(),
        config: config_watch.clone(),
        applied,
        refused: Arc::clone(&refused),
        memory,
        scheduler: scheduler.clone(),
        internal,
        edge: Arc::clone(&edge),
        vault: vault.clone(),
        listeners: listener_watch,
        reload: reload_sender,
        silent_head,
    });
    let stop = CancellationToken::new();
    let serving = admin::serve(bound, residence, tasks.clone(), stop.clone());
    tasks.service("admin", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin socket ended");
        }
    });
    let reloader = Reloader {
        clock: Arc::clone(&clock),
        config: config_sender,
        applied: applied_sender,
        refused,
        edge: Arc::clone(&edge),
        logs,
        own_doors: !doors.inherited,
        listeners: listener_sender,
        store: store.clone(),
    };

    let fault = |error: std::io::Error| Failed::fault(error);
    let mut hangup = signal(SignalKind::hangup()).map_err(fault)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    note(store.as_ref(), &clock, EntryKind::Started, Level::Info, started_text()).await;
    let mut configs = config_watch.clone();
    let (mut ready, mut waited) = (false, false);
    let mut patience = Box::pin(tokio::time::sleep(FIRST_CERTIFICATES));
    let mut beat =
        tokio::time::interval(notify::watchdog_interval().unwrap_or(Duration::from_secs(3600)) / 2);

    let outcome = loop {
        let config = Arc::clone(&configs.borrow());
        if !ready && (waited || complete(&config, &snapshots.borrow(), &clock)) {
            ready = true;
            tell(notifier.ready(&status_line(&config)));
            tracing::info!(sites = config.sites.len(), "ready");
            if let (Manner::Demo(options), Some(ca)) = (&manner, &internal_root)
                && let Ok(root) = ca.root().await
            {
                demo::introduce(options, &root);
            }
        }
        tokio::select! {
            _ = hangup.recv() => {
                tell(notifier.reloading());
                let _told_already = reloader.reload().await;
                tell(notifier.ready(&status_line(&configs.borrow().clone())));
            }
            Some(answer) = reloads.recv() => {
                // Whoever asked may be gone; the reload counts all the same.
                let _gone = answer.send(reloader.reload().await);
            }
            Ok(()) = snapshots.changed() => {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                edge.publish(&config, &snapshot);
            }
            Ok(()) = configs.changed() => {
                let config = Arc::clone(&configs.borrow_and_update());
                edge.publish(&config, &snapshots.borrow().clone());
            }
            Some(event) = vault_events.recv() => match event {
                VaultEvent::Restarted { pid, exit } => {
                    let text = format!("the vault ended ({exit}); process {pid} took its place");
                    tracing::error!(pid, %exit, "the vault ended and another was started");
                    note(store.as_ref(), &clock, EntryKind::VaultRestarted, Level::Error, text).await;
                }
                VaultEvent::Failing { reason } => {
                    tracing::error!(reason, "a new vault does not serve, another is started");
                }
                VaultEvent::KeeperLost => tracing::error!(
                    "the vault's keeper ended, so the present vault is the last one"
                ),
                VaultEvent::Lost => break Err(Failed::fault(
                    "error: the vault and its keeper are both gone\n  \
                     try: the service manager starts keyward again; see the log for why they ended",
                )),
            },
            Some(gone) = ended.next() => break Err(Failed::fault(format!(
                "error: the task {:?} ended{}", gone.name, if gone.panicked { " in a panic" } else { "" }
            ))),
            () = &mut patience, if !waited => waited = true,
            _ = beat.tick() => {
                // A stuck worker keeps the watchdog waiting, and the service manager acts.
                if edge.pulse(PULSE).await {
                    tell(notifier.alive());
                }
            }
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
        }
    };

    tell(notifier.stopping("draining open connections"));
    tracing::info!("the end begins, open requests are finished first");
    stop.cancel();
    let drained = edge.drain(configs.borrow().edge.drain_timeout);
    if let Some(scheduler) = scheduler {
        scheduler.stop().await;
    }
    drained.await;
    note(store.as_ref(), &clock, EntryKind::Stopping, Level::Info, "keyward ends".to_owned()).await;
    outcome
}

/// Whether every name has a certificate to show, be it the bridge.
fn complete(config: &Config, snapshot: &Snapshot, clock: &SharedClock) -> bool {
    let now = clock.now();
    let mut names = config.sites.iter().flat_map(|site| &site.names);
    names.all(|name| snapshot.best_for(name, now).is_some())
}

/// What `systemctl status` shows.
fn status_line(config: &Config) -> String {
    match config.sites.len() {
        1 => "serving 1 site".to_owned(),
        many => format!("serving {many} sites"),
    }
}

/// Puts an entry about the house into the journal; a store that takes none is its own news.
async fn note(
    store: Option<&Store>,
    clock: &SharedClock,
    kind: EntryKind,
    level: Level,
    message: String,
) {
    let Some(store) = store else { return };
    let entry = Entry::about_house(clock.now(), kind, level, message);
    if let Err(error) = store.append(vec![entry]).await {
        tracing::warn!(%error, "the journal takes no entry, going on");
    }
}

fn started_text() -> String {
    format!("keyward {} started as process {}", env!("CARGO_PKG_VERSION"), std::process::id())
}

/// The service manager's deafness changes nothing here.
fn tell(sent: std::io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager does not listen");
    }
}

fn inherited_views(doors: &super::open::Doors) -> Vec<wire::ListenerView> {
    let view = |purpose: &str, listener: &std::net::TcpListener| wire::ListenerView {
        purpose: purpose.to_owned(),
        address: listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string()),
        inherited: true,
    };
    let https = doors.https.iter().map(|l| view("https", l));
    let mut views: Vec<_> = https.chain(doors.http.iter().map(|l| view("http", l))).collect();
    views.dedup();
    views
}

/// The name of this machine, for the name of its CA.
fn machine_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
