//! From what was opened to a house at work: every room gets what it needs of the others.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorities::Doorways;
use super::authorities::Means;
use super::contacts::Contacts;
use super::custody;
use super::deploy;
use super::floods::Floods;
use super::house::ReloadRequest;
use super::house::Residence;
use super::lists::Lists;
use super::lookout::Lookout;
use super::news;
use super::open::Doors;
use super::open::Manner;
use super::open::Memory;
use super::open::Opened;
use super::open::Places;
use super::orders::Orders;
use super::orders::begin_orders;
use super::persist;
use super::reload::Reloader;
use super::reload::http3_views;
use super::reload::listener_views;
use super::reload::offers_http3;
use super::reseal::Resealer;
use super::seals;
use super::takeover::elders::Elders;
use super::takeover::giving::Estate;
use super::takeover::giving::UpgradeRequest;
use super::tickets::TicketDesk;
use super::tickets::TicketKeeper;
use super::tokens::TokenBook;
use super::walls::Torn;
use super::warm;
use super::zones;
use crate::admin;
use crate::admin::Left;
use crate::admin::wire;
use crate::base::SystemClock;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::base::tasks::Watch;
use crate::cert::challenge::BoxFuture;
use crate::cli::Failed;
use crate::config::Config;
use crate::edge::Edge;
use crate::edge::EdgeOptions;
use crate::edge::tickets::Tickets;
use crate::issuer::dns::DnsDesk;
use crate::os::notify::Notifier;
use crate::store::Catalog;
use crate::store::Store;
use crate::store::filling;
use crate::store::scrub;
use crate::store::scrub::Mend;
use crate::vault::MasterKeySource;
use crate::vault::Vault;
use crate::vault::VaultEvent;

/// The house at work.
pub(super) struct Running {
    pub(super) manner: Manner,
    pub(super) clock: SharedClock,
    pub(super) notifier: Notifier,
    pub(super) edge: Arc<Edge>,
    pub(super) store: Option<Store>,
    pub(super) orders: Option<Orders>,
    pub(super) reloader: Reloader,
    pub(super) configs: watch::Receiver<Arc<Config>>,
    pub(super) catalog: Arc<Catalog>,
    /// Changes whenever something else is served.
    pub(super) published: watch::Receiver<u64>,
    pub(super) reloads: mpsc::Receiver<ReloadRequest>,
    pub(super) vault: Vault,
    pub(super) vault_events: mpsc::Receiver<VaultEvent>,
    pub(super) tickets: TicketDesk,
    /// The torn walls that were told.
    pub(super) torn: Vec<Torn>,
    pub(super) tasks: TaskSet,
    pub(super) ended: Watch,
    /// Ends the admin socket.
    pub(super) stop: CancellationToken,
    pub(super) floods: Floods,
    /// Told when another vault has begun with nothing open.
    pub(super) vault_replaced: Arc<Notify>,
    pub(super) upgrades: mpsc::Receiver<UpgradeRequest>,
    /// What another process may go on with.
    pub(super) estate: Estate,
    /// Those before this one.
    pub(super) elders: Elders,
    /// What is to be listened on for HTTP/3 when they are gone.
    pub(super) http3: Option<Vec<UdpSocket>>,
    /// Whether the admin socket is that of the process before.
    pub(super) took_admin: bool,
}

/// Between those who ask and those who answer; both ends.
struct Wires {
    refused: Arc<ArcSwapOption<String>>,
    applied: Ends<Timestamp>,
    listeners: Ends<Vec<wire::ListenerView>>,
    reloads: (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>),
    upgrades: (mpsc::Sender<UpgradeRequest>, mpsc::Receiver<UpgradeRequest>),
}

type Ends<T> = (watch::Sender<T>, watch::Receiver<T>);

impl Wires {
    fn new(now: Timestamp, listeners: Vec<wire::ListenerView>) -> Self {
        Self {
            refused: Arc::default(),
            applied: watch::channel(now),
            listeners: watch::channel(listeners),
            reloads: mpsc::channel(4),
            upgrades: mpsc::channel(1),
        }
    }
}

/// What is left of making the second copy anew.
type Filling = BoxFuture<'static, ()>;

/// Puts everything to work. The front door serves what the store, or its second copy, holds before
/// anybody else is asked.
#[expect(clippy::too_many_lines, reason = "a list of rooms, each of which needs those above it")]
pub(super) async fn wire(opened: Opened, memory: Memory) -> Result<Running, Failed> {
    let Opened {
        config,
        manner,
        logs,
        notifier,
        mut doors,
        vault,
        grounds,
        torn,
        master,
        zones: porter,
        hand,
    } = opened;
    let clock: SharedClock = Arc::new(SystemClock);
    let (tasks, ended) = TaskSet::new();
    let vault_events = events(&vault)?;
    let (store, catalog, filling) = remembered(&memory, &config, &vault, &master).await?;
    let doorways = Doorways::inherited(&doors);
    let inherited = doors.inherited;
    let listeners = door_views(&doors, &config);
    let (config_sender, configs) = watch::channel(Arc::clone(&config));
    let (keeper, ticket_desk, tickets) =
        TicketKeeper::begin(vault.clone(), Arc::clone(&clock), configs.clone()).await;
    tasks.service("tickets", keeper.keep(tasks.closing()));
    let admin_doors = (doors.admin.take(), doors.left_admin.take());
    let took_admin = admin_doors.1.is_some();
    let copies = std::mem::take(&mut doors.copies);
    // Unless it has left what is needed to go on at once.
    let waits = doors.follows && doors.http3_left.is_empty();
    let http3 = waits.then(|| std::mem::take(&mut doors.http3));
    let edge = open_edge(doors, &config, &clock, &catalog, tickets, &vault)?;
    let listeners = [listeners, http3_views(&edge, inherited)].concat();

    let stop = CancellationToken::new();
    go_on_filling(filling, &edge, &tasks, &stop);
    let (mut orders, mut resealing, mut desk, mut deployer) = (None, None, None, None);
    if let Some(store) = &store {
        let dns = zones::begin_proofs(porter, store, &configs, &clock, &tasks, &stop);
        let means = means(&clock, store, &vault, &edge, (dns, doorways));
        let within = (&tasks, &stop);
        let begun = begin_orders(store, (&catalog, &edge), &vault, means, within, &configs).await;
        let begun = begun.map_err(|error| unavailable(&error))?;
        let parts = (store, &begun, &ticket_desk);
        let persist = persist::Watch {
            authorities: Arc::clone(&begun.authorities),
            configs: configs.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
        };
        tasks.service("proofs-that-stay", persist.keep(stop.clone()));
        let contacts = Contacts {
            authorities: Arc::clone(&begun.authorities),
            configs: configs.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
        };
        tasks.service("contacts", contacts.keep(stop.clone()));
        resealing = Some(Resealer::begin(&vault, master, parts, &clock, &tasks, &stop));
        let parts = (&clock, store, &vault, &begun);
        let bringing = deploy::begin(parts, hand, &configs, &tasks, &stop);
        desk = Some(news::begin(parts, &bringing, &configs, &tasks, &stop));
        deployer = Some(bringing);
        orders = Some(begun);
    }
    // Without a store nothing new is ever published.
    let published =
        orders.as_ref().map_or_else(|| watch::channel(0).1, |o| o.scheduler.published());

    let lookout = Lookout::begin(&clock, &vault, store.as_ref(), &tasks, &stop);
    let lists = Lists::begin(&clock, store.as_ref(), (&edge, &configs), &tasks, &stop);
    let wires = Wires::new(clock.now(), listeners);
    let tokens = TokenBook::begin(store.as_ref(), (&clock, &configs), (&tasks, &stop)).await;
    let tokens = tokens.map_err(|error| unavailable(&error))?;
    let (floods, elders) = (Floods::default(), Elders::default());
    let residence = Residence {
        clock: Arc::clone(&clock),
        started_at: clock.now(),
        config: configs.clone(),
        applied: wires.applied.1,
        refused: Arc::clone(&wires.refused),
        flood: floods.told(),
        memory,
        catalog: Arc::clone(&catalog),
        orders: orders.clone(),
        resealing,
        edge: Arc::clone(&edge),
        vault: vault.clone(),
        grounds,
        lookout,
        lists,
        news: desk,
        deployer,
        listeners: wires.listeners.1,
        tickets: ticket_desk.clone(),
        tokens,
        reload: wires.reloads.0,
        upgrade: wires.upgrades.0,
        elders: elders.clone(),
        silent_head: watch::channel(0).1,
    };
    look_through((store.as_ref(), orders.as_ref(), &catalog), &tasks, &stop);
    let vault_replaced = warm::begin(&residence, store.as_ref(), &tasks, &stop);
    let admin = open_admin(residence, admin_doors, &config, &tasks, &stop)?;
    let reloader = Reloader {
        clock: Arc::clone(&clock),
        config: config_sender,
        applied: wires.applied.0,
        refused: wires.refused,
        edge: Arc::clone(&edge),
        logs,
        own_doors: !inherited,
        elders: elders.clone(),
        listeners: wires.listeners.0,
        store: store.clone(),
    };
    Ok(Running {
        manner,
        clock,
        notifier,
        edge,
        store,
        orders,
        reloader,
        configs,
        catalog,
        published,
        reloads: wires.reloads.1,
        vault,
        vault_events,
        tickets: ticket_desk,
        torn,
        tasks,
        ended,
        stop,
        floods,
        vault_replaced,
        upgrades: wires.upgrades.1,
        estate: Estate { inherited: copies, admin },
        elders,
        http3,
        took_admin,
    })
}

/// Opens the front door; the admin socket is not a part of it.
fn open_edge(
    doors: Doors,
    config: &Arc<Config>,
    clock: &SharedClock,
    catalog: &Arc<Catalog>,
    tickets: Tickets,
    vault: &Vault,
) -> Result<Arc<Edge>, Failed> {
    let waits = doors.follows && doors.http3_left.is_empty();
    let (http3, left, opened) = (doors.http3, doors.http3_left, !doors.inherited);
    let options = EdgeOptions {
        https: doors.https,
        http: doors.http,
        tcp: doors.tcp,
        limits: config.edge.clone(),
        clock: Arc::clone(clock),
        config: Arc::clone(config),
        catalog: Arc::<Catalog>::clone(catalog),
        tickets,
    };
    let edge = Edge::start(options, Arc::new(vault.clone())).map_err(|e| unavailable(&e))?;
    if !waits {
        edge.inherit_http3(left);
        edge.follow_http3(offers_http3(config), opened, http3);
    }
    Ok(Arc::new(edge))
}

/// Fills a second copy that has to be made anew. The start waits for a moment; where that is not
/// enough, sites are served in the order in which their certificates come into it.
async fn fill_copy(store: Option<&Store>, catalog: &Arc<Catalog>) -> Option<Filling> {
    let (store, catalog) = (store?.clone(), Arc::clone(catalog));
    let mut filling: Filling = Box::pin(async move {
        while let Err(error) = filling::fill(&store, &catalog).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the second copy cannot be made, trying again later"
            );
            tokio::time::sleep(bounds::SLEEP_STRETCH).await;
        }
    });
    let patience = tokio::time::timeout(bounds::CATALOG_PATIENCE, &mut filling);
    patience.await.is_err().then_some(filling)
}

/// Fills on what the start had no time for; the edge looks at every name again after that.
fn go_on_filling(
    filling: Option<Filling>,
    edge: &Arc<Edge>,
    tasks: &TaskSet,
    stop: &CancellationToken,
) {
    let Some(filling) = filling else { return };
    let (edge, stop) = (Arc::clone(edge), stop.clone());
    tasks.job("second-copy-making", async move {
        tokio::select! {
            () = filling => edge.changed_throughout(),
            () = stop.cancelled() => {}
        }
    });
}

/// What happens to the vault from now on.
fn events(vault: &Vault) -> Result<mpsc::Receiver<VaultEvent>, Failed> {
    vault.events().ok_or_else(|| Failed::fault("error: the vault's events are taken"))
}

/// The store, if it is whole, its second copy, and what is left of making that.
async fn remembered(
    memory: &Memory,
    config: &Config,
    vault: &Vault,
    master: &MasterKeySource,
) -> Result<(Option<Store>, Arc<Catalog>, Option<Filling>), Failed> {
    // Before anything is made of what nobody here could open.
    custody::examine(memory, &vault.masters(), master).await?;
    let (store, catalog) = match memory {
        Memory::Whole(store) => {
            if let Some(seals) = seals::of(vault) {
                store.guard(seals).await.map_err(|error| unavailable(&error))?;
            }
            let catalog = store.open_catalog(&Places::of(config).served).await;
            (Some(store.clone()), catalog.map_err(|error| unavailable(&error))?)
        }
        Memory::Copy { catalog, .. } => (None, Arc::clone(catalog)),
    };
    let filling = fill_copy(store.as_ref(), &catalog).await;
    Ok((store, catalog, filling))
}

/// What orders are carried out with.
fn means(
    clock: &SharedClock,
    store: &Store,
    vault: &Vault,
    edge: &Edge,
    (dns, inherited): (DnsDesk, Option<Doorways>),
) -> Means {
    Means {
        clock: Arc::clone(clock),
        book: Arc::new(store.clone()),
        accounts: Arc::new(vault.clone()),
        signing: Arc::new(vault.clone()),
        solver: edge.solver(),
        dns,
        inherited,
    }
}

/// Has every record and every entry of the second copy looked at, slowly, as long as the house
/// stands.
fn look_through(
    (store, orders, catalog): (Option<&Store>, Option<&Orders>, &Arc<Catalog>),
    tasks: &TaskSet,
    stop: &CancellationToken,
) {
    let (Some(store), Some(orders)) = (store, orders) else { return };
    let scheduler = orders.scheduler.clone();
    let mend: Mend = Arc::new(move |id| {
        let scheduler = scheduler.clone();
        // What cannot be read of the store is told by the look at that.
        Box::pin(async move { scheduler.publish_again(id).await.unwrap_or(false) })
    });
    let looking = scrub::run(store.clone(), Arc::clone(catalog), mend);
    let ending = stop.clone().cancelled_owned();
    tasks.service("scrub", async move {
        tokio::select! {
            () = looking => {}
            () = ending => {}
        }
    });
}

fn open_admin(
    residence: Residence,
    (door, left): (Option<UnixListener>, Option<UnixListener>),
    config: &Config,
    tasks: &TaskSet,
    stop: &CancellationToken,
) -> Result<Option<(OwnedFd, PathBuf, Left)>, Failed> {
    let (group, place) = (config.admin.group.as_deref(), &config.admin.socket);
    let own = door.is_none();
    let bound = match (door, left) {
        (Some(listener), _) => admin::inherited(listener, group),
        (None, Some(listener)) => admin::handed(listener, place, group),
        (None, None) => admin::bind(place, group),
    }
    .map_err(|error| unavailable(&error))?
    .following(residence.config.clone());
    let copy = bound.copy().map_err(|error| unavailable(&error))?;
    let serving = admin::serve(bound, Arc::new(residence), tasks.clone(), stop.clone());
    tasks.service("admin", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin socket ended");
        }
    });
    Ok(own.then(|| (copy.0.into(), place.clone(), copy.1)))
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Failed {
    Failed::unavailable(format!("error: {}", with_causes(error)))
}

/// Where the house listens. Each socket that the service manager holds is there once for every
/// worker.
fn door_views(doors: &Doors, config: &Config) -> Vec<wire::ListenerView> {
    if !doors.inherited {
        return listener_views(config);
    }
    let view = |purpose: &str, listener: &std::net::TcpListener| wire::ListenerView {
        purpose: purpose.to_owned(),
        address: listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string()),
        inherited: true,
    };
    let https = doors.https.iter().map(|listener| view("https", listener));
    let http = doors.http.iter().map(|listener| view("http", listener));
    let tcp = doors.tcp.iter().map(|listener| view("tcp", listener));
    let mut views: Vec<_> = https.chain(http).chain(tcp).collect();
    views.dedup();
    views
}
