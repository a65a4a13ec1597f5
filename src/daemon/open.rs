//! From a configuration to everything that must stand before the first byte from a stranger.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failed;
use super::custody;
use super::notices::Grounds;
use super::notices::MasterPlace;
use super::restore;
use super::takeover::OWN;
use super::takeover::taking::Legacy;
use super::walls;
use super::walls::Torn;
use super::zones::Porter;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::cli::DemoOptions;
use crate::config::{Config, KernelTls, LogFormat, MasterKey, Origin, Policy, Require, Site};
use crate::deploy::hand::Hand;
use crate::edge::EdgeError;
use crate::edge::Http3Left;
use crate::edge::listen;
use crate::os::affinity;
use crate::os::inherit::Sockets;
use crate::os::limits;
use crate::os::logs::{self, Logs, Sink};
use crate::os::notify::Notifier;
use crate::os::tcp;
use crate::os::wall::{self, WallPaths, WallState};
use crate::store::{Catalog, OpenError, Store};
use crate::vault::Lineage;
use crate::vault::MasterKeySource;
use crate::vault::Vault;
use crate::vault::VaultError;
use crate::vault::VaultOptions;

/// What for the daemon runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// As a service, on a file.
    Service,
    /// As a demonstration, on embedded defaults, for whoever looks at the terminal.
    Demo(DemoOptions),
}

/// Everything that stands before threads serve.
pub(super) struct Opened {
    pub(super) config: Arc<Config>,
    pub(super) manner: Manner,
    pub(super) logs: Logs,
    pub(super) notifier: Notifier,
    pub(super) doors: Doors,
    pub(super) vault: Vault,
    pub(super) grounds: Grounds,
    /// The walls that are torn, which was told.
    pub(super) torn: Vec<Torn>,
    /// Where the vault reads the master key.
    pub(super) master: MasterKeySource,
    /// Who changes DNS zones; nobody where there is no file to read accounts from.
    pub(super) zones: Option<Porter>,
    /// Who carries certificates to targets; nobody where there is no file to read targets from.
    pub(super) hand: Option<Hand>,
}

/// The listening sockets.
#[derive(Default)]
pub(super) struct Doors {
    pub(super) https: Vec<TcpListener>,
    pub(super) http: Vec<TcpListener>,
    /// Of services that are no HTTP.
    pub(super) tcp: Vec<TcpListener>,
    /// Those of the service manager; others are opened beside the ones for HTTPS.
    pub(super) http3: Vec<UdpSocket>,
    /// What the process before this one has left for HTTP/3.
    pub(super) http3_left: Http3Left,
    pub(super) admin: Option<UnixListener>,
    /// That of the process before this one.
    pub(super) left_admin: Option<UnixListener>,
    /// Copies of what the service manager opened, for the process after this one.
    pub(super) copies: Vec<(String, OwnedFd)>,
    /// Whether there is a process before this one.
    pub(super) follows: bool,
    /// Whether the service manager holds them, so that the addresses of the file do not count.
    pub(super) inherited: bool,
}

/// What is remembered.
pub(super) enum Memory {
    /// The store is whole.
    Whole(Store),
    /// It is not: the second copy is served, and nothing is ordered.
    Copy {
        /// The copy.
        catalog: Arc<Catalog>,
        /// Why the store is not to be had.
        reason: String,
    },
}

/// The directories below the state directory. The key's place is apart from what main may see.
pub(super) struct Places {
    pub(super) store: PathBuf,
    pub(super) served: PathBuf,
    pub(super) vault: PathBuf,
}

impl Places {
    pub(super) fn of(config: &Config) -> Self {
        let dir = &config.state.dir;
        Self { store: dir.join("store"), served: dir.join("served"), vault: dir.join("vault") }
    }
}

/// Opens everything but what [`remember`] does, in the one order that is safe.
pub(super) fn open(
    config: Config,
    manner: Manner,
    mut legacy: Option<&mut Legacy>,
) -> Result<Opened, Failed> {
    let wanted = [config.listen.https.clone(), config.listen.http.clone(), config.tcp_addresses()];
    let mut left = OWN.iter().zip(wanted).map(|(name, wanted)| match &mut legacy {
        Some(legacy) => legacy.of_addresses(name, wanted),
        None => (Vec::new(), wanted),
    });
    let [https, http, tcp] = std::array::from_fn(|_| left.next().unwrap_or_default());
    drop(left);
    let left_admin = legacy.as_mut().and_then(|legacy| legacy.admin_at(&config.admin.socket));
    let http3_left = legacy.as_mut().map(|legacy| legacy.http3()).unwrap_or_default();
    let mut sockets = match &mut legacy {
        Some(legacy) => legacy.inherited(),
        None => Sockets::from_environment().map_err(Failed::unavailable)?,
    };
    let sink = match config.log.format {
        LogFormat::Auto => Sink::Auto,
        LogFormat::Text => Sink::Text,
        LogFormat::Journal => Sink::Journal,
    };
    let logs = logs::start(&config.log.level, sink).map_err(Failed::unavailable)?;
    let places = Places::of(&config);
    for place in [&places.store, &places.served, &places.vault] {
        private_directory(place)?;
    }
    if let Some(parent) = config.admin.socket.parent() {
        std::fs::create_dir_all(parent).map_err(|error| cannot_create(parent, &error))?;
    }
    // Before a vault makes a master key for an empty state.
    restore::cut_off(&places)?;
    let copies = sockets.copies().map_err(Failed::unavailable)?;
    let doors = doors(&config, &mut sockets, [https, http, tcp])?;
    let doors = Doors { left_admin, copies, http3_left, follows: legacy.is_some(), ..doors };
    let notifier = Notifier::from_environment().map_err(Failed::unavailable)?;

    let (options, place) = vault_options(&config, &places);
    let master = options.master.clone();
    if master.is_asked_for() && legacy.is_none() {
        // A service manager that does not listen has no timeout either.
        let _silent = notifier.extend_timeout(bounds::master::PASSPHRASE_PATIENCE);
    }
    let strict = options.strict;
    let lineage = Lineage {
        config: match &manner {
            Manner::Service => config.source.as_ref().and_then(|p| std::path::absolute(p).ok()),
            Manner::Demo(_) => None,
        },
        keeper: legacy.and_then(|legacy| legacy.keeper.take()),
    };
    let (launched, mut torn) = match Vault::launch_of(options, lineage) {
        Ok(launched) => {
            let torn = walls::of_vault(launched.torn());
            (Some(launched), torn)
        }
        // Not told yet: the wall around main may have something to say as well.
        Err(VaultError::Torn(reports)) => (None, walls::of_vault(reports)),
        Err(error @ VaultError::MasterKey(_)) => return Err(no_master_key(&error, &places)),
        Err(error) => return Err(no_vault(error)),
    };
    // Also where there is no account yet: one that a reload brings finds it, and behind the wall
    // nobody could start it any more.
    let porter = config.source.as_ref();
    let zones =
        porter.map(|source| Porter::start(source)).transpose().map_err(Failed::unavailable)?;
    let hand = porter.map(|source| Hand::start(source)).transpose().map_err(Failed::unavailable)?;
    let wall = raise_wall(&config, &places)?;
    torn.extend(walls::of_main(&wall));
    let launched = match launched {
        Some(launched) if !strict || torn.is_empty() => launched,
        _ => return Err(walls::refusal(&torn)),
    };
    limits::survive_file_size().map_err(Failed::fault)?;
    // Threads begin here, and all of them stand behind the wall.
    let vault = launched.supervise().map_err(no_vault)?;
    let kernel = tcp::offers(config.tls.ktls == KernelTls::Auto);
    let grounds = Grounds { wall, master: place, kernel, demo: manner != Manner::Service };
    walls::tell(&torn, grounds.demo);
    if vault.status().created_master && !grounds.demo {
        for notice in grounds.notices() {
            tracing::warn!(notice, "a master key was made");
        }
    }
    let config = Arc::new(config);
    Ok(Opened { config, manner, logs, notifier, doors, vault, grounds, torn, master, zones, hand })
}

/// Listeners of the process before this one, and the addresses that are left to open.
type LeftDoors = (Vec<TcpListener>, Vec<SocketAddr>);

fn doors(
    config: &Config,
    sockets: &mut Sockets,
    [own_https, own_http, own_tcp]: [LeftDoors; 3],
) -> Result<Doors, Failed> {
    let workers = config.edge.workers;
    let https = sockets.take_tcp("https").map_err(Failed::unavailable)?;
    let http = sockets.take_tcp("http").map_err(Failed::unavailable)?;
    let tcp = sockets.take_tcp("tcp").map_err(Failed::unavailable)?;
    let http3 = sockets.take_udp("http3").map_err(Failed::unavailable)?;
    let admin = sockets.take_unix("admin").map_err(Failed::unavailable)?.into_iter().next();
    if let Some(name) = sockets.names().next() {
        return Err(Failed::unavailable(format!(
            "error: the service manager passed a socket called {name:?}\n  \
             expected: FileDescriptorName= https, http, http3, tcp or admin\n  try: correct the socket unit"
        )));
    }
    // These have ports of their own, so each kind is opened here unless it was passed.
    let tcp = if tcp.is_empty() { opened(own_tcp, workers)? } else { shared(tcp, workers)? };
    let inherited = !https.is_empty() || !http.is_empty();
    let (https, http) = match inherited {
        true => (shared(https, workers)?, shared(http, workers)?),
        false => (opened(own_https, workers)?, opened(own_http, workers)?),
    };
    Ok(Doors { https, http, tcp, http3, admin, inherited, ..Doors::default() })
}

fn opened((mut left, new): LeftDoors, workers: usize) -> Result<Vec<TcpListener>, Failed> {
    left.extend(listen::bind(&new, workers).map_err(|e| cannot_listen(&e))?);
    Ok(left)
}

fn shared(listeners: Vec<TcpListener>, workers: usize) -> Result<Vec<TcpListener>, Failed> {
    let mut all = Vec::new();
    for listener in listeners {
        all.extend(listen::share(listener, workers).map_err(|e| cannot_listen(&e))?);
    }
    Ok(all)
}

fn vault_options(config: &Config, places: &Places) -> (VaultOptions, MasterPlace) {
    let (master, place) = match &config.vault.master_key {
        MasterKey::File(path) => {
            (MasterKeySource::File(path.clone()), MasterPlace::Named(path.clone()))
        }
        MasterKey::Passphrase => {
            let path = places.vault.join("passphrase");
            let place = MasterPlace::Passphrase(path.clone());
            if has_store(places) {
                (MasterKeySource::Passphrase(path), place)
            } else {
                (MasterKeySource::NewPassphrase(path), place)
            }
        }
        MasterKey::Auto => match credential("keyward.master") {
            Some(path) => (MasterKeySource::Credential(path), MasterPlace::Credential),
            None => {
                let path = places.vault.join("master.key");
                let place = MasterPlace::Own(path.clone());
                // Once something was sealed, a vanished key is a fault to be told, not a reason
                // to make another: the new one could open nothing.
                if has_store(places) {
                    (MasterKeySource::Own(path), place)
                } else {
                    (MasterKeySource::CreateIfMissing(path), place)
                }
            }
        },
    };
    let workers = config.edge.workers;
    let options = VaultOptions {
        exe: PathBuf::from("/proc/self/exe"),
        master,
        cache_bytes: config.vault.cache,
        workers,
        cores: (0..workers).map(|index| affinity::core_of_worker(index, workers)).collect(),
        gates: true,
        strict: config.vault.require == Require::Strict,
    };
    (options, place)
}

/// The file of a systemd credential, if the unit has one of that name.
fn credential(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let path = PathBuf::from(directory).join(name);
    path.exists().then_some(path)
}

fn raise_wall(config: &Config, places: &Places) -> Result<WallState, Failed> {
    let mut paths = WallPaths::system();
    let parent = |path: &Path| path.parent().map(Path::to_path_buf);
    paths.read.extend(config.source.as_deref().and_then(parent));
    for ca in config.authorities() {
        paths.read.extend(ca.ca_root.as_deref().and_then(parent));
        paths.read.extend(ca.eab.as_ref().and_then(|eab| parent(&eab.hmac_key_file)));
    }
    for clients in config.client_certificates() {
        paths.read.extend(parent(&clients.ca));
        // What is fetched lies where main may write.
        let own = clients.crl.as_deref().filter(|_| clients.crl_url.is_none());
        paths.read.extend(own.and_then(parent));
    }
    let origins = config.sites.iter().flat_map(Site::origins);
    paths.read.extend(origins.filter_map(Origin::ca).filter_map(|ca| parent(ca)));
    paths.read.extend(config.files_of_news().filter_map(parent));
    let policies = config.sites.iter().flat_map(Site::policies);
    paths.read.extend(policies.flat_map(Policy::places).map(Path::to_path_buf));
    paths.read.extend(config.sites.iter().flat_map(Site::roots).cloned());
    paths.write.extend([places.store.clone(), places.served.clone()]);
    paths.write.extend(parent(&config.admin.socket));
    paths.write.extend(config.access_log.file().and_then(|file| parent(file)));
    // The service's directory for logs (systemd.exec(5), `LogsDirectory=`), so that a log that is
    // turned on later can be opened.
    if let Some(directories) = std::env::var_os("LOGS_DIRECTORY") {
        paths.write.extend(std::env::split_paths(&directories));
    }
    paths.closed.push(places.vault.clone());
    if let MasterKey::File(path) = &config.vault.master_key {
        paths.closed.push(path.clone());
    }
    paths.closed.extend(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    wall::wall(&paths).map_err(Failed::fault)
}

/// Opens the store; where it is damaged, the second copy.
pub(super) fn remember(places: &Places) -> Result<Memory, Failed> {
    let error = match Store::open(&places.store) {
        Ok(store) => return Ok(Memory::Whole(store)),
        Err(error) => error,
    };
    match &error {
        OpenError::InUse { .. } => {
            return Err(Failed::unavailable(format!(
                "error: another keyward is running: {error}\n  \
                 try: stop it first, or give this one a state directory of its own"
            )));
        }
        OpenError::Newer { .. } => {
            return Err(Failed::unavailable(format!(
                "error: {error}\n  try: install the version of keyward that wrote it, or a newer one"
            )));
        }
        OpenError::Damaged { .. } | OpenError::Io { .. } => {}
    }
    match Catalog::open_still(&places.served) {
        Ok(Some(catalog)) if !matches!(catalog.count(), Ok(0)) => {
            let reason = with_causes(&error);
            tracing::error!(reason, "the store is not readable, serving the second copy");
            Ok(Memory::Copy { catalog: Arc::new(catalog), reason })
        }
        Ok(_) => Err(Failed::unavailable(format!(
            "error: {}\n  there is no second copy to serve from\n  \
             try: put the file aside, or restore it from a backup, and start again",
            with_causes(&error)
        ))),
        Err(second) => Err(Failed::unavailable(format!(
            "error: {}\n  the second copy is of no use either: {second}\n  \
             try: restore the state directory from a backup, and start again",
            with_causes(&error)
        ))),
    }
}

pub(super) fn private_directory(path: &Path) -> Result<(), Failed> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
        .map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &io::Error) -> Failed {
    let report = format!(
        "error: the directory {} is not usable: {error}\n  \
         try: start keyward by systemd, or name a directory of your own in [state] and [admin]",
        path.display()
    );
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Failed::forbidden(report);
    }
    Failed::unavailable(report)
}

fn cannot_listen(error: &EdgeError) -> Failed {
    Failed::unavailable(format!("error: {error}"))
}

/// Says which master key the state needs, if there is a state.
fn no_master_key(error: &VaultError, places: &Places) -> Failed {
    let memory = has_store(places).then(|| remember(places).ok()).flatten();
    let needed = memory.as_ref().and_then(custody::told);
    let report = [Some(format!("error: {}", with_causes(error))), needed];
    Failed::unavailable(report.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

fn has_store(places: &Places) -> bool {
    places.store.join("keyward.redb").exists()
}

fn no_vault(error: VaultError) -> Failed {
    Failed::unavailable(format!("error: {}", with_causes(&error)))
}
