//! One thread that looks after the servers of all sites: where their hosts are, and how they are.
//!
//! It is told of a server when a serving set is made that has it, and forgets it with the last such
//! set. How it looks is in `addresses` and `checking`.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;

use tokio::runtime::LocalOptions;
use tokio::sync::Notify;
use tokio::sync::Semaphore;

use super::addresses;
use super::addresses::Addresses;
use super::addresses::Resolver;
use super::checking;
use super::standing::Standing;
use super::target::Reach;
use crate::base::bounds::origins::CHECKS_AT_ONCE;
use crate::base::bounds::origins::TIDINGS_KEPT;
use crate::config::Health;

/// What all serving sets know of servers. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Watch {
    desk: Arc<Desk>,
    hosts: Mutex<HashMap<Box<str>, Weak<Addresses>>>,
    standings: Mutex<HashMap<Box<str>, Weak<Standing>>>,
    tidings: Arc<Tidings>,
}

/// Where the thread is told what to look after.
#[derive(Debug, Default)]
struct Desk {
    /// As many as there are servers.
    jobs: Mutex<Vec<Job>>,
    laid: Notify,
}

#[derive(Debug)]
enum Job {
    Follow(Weak<Addresses>),
    Check(Weak<Standing>, Arc<Reach>, Health),
    End,
}

/// What happened to servers and was not read yet.
#[derive(Debug, Default)]
pub(super) struct Tidings(Mutex<VecDeque<ServerNews>>);

/// A server went down or came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerNews {
    /// A site that has it.
    pub site: String,
    /// Its address.
    pub server: String,
    /// Why it is down; `None` when it is up again.
    pub down: Option<String>,
}

impl Tidings {
    pub(super) fn tell(&self, standing: &Standing, down: Option<String>) {
        let mut tidings = lock(&self.0);
        // Who reads none of them misses the oldest.
        if tidings.len() >= TIDINGS_KEPT {
            tidings.pop_front();
        }
        tidings.push_back(ServerNews {
            site: standing.site.to_string(),
            server: standing.server.to_string(),
            down,
        });
    }

    pub(super) fn take(&self) -> Vec<ServerNews> {
        std::mem::take(&mut *lock(&self.0)).into()
    }
}

impl Watch {
    /// Starts the thread; it asks `name_servers`, or where there are none those of the system.
    ///
    /// # Errors
    /// When there is no such thread to be had.
    pub(super) fn start(name_servers: Vec<SocketAddr>) -> io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let tidings = Arc::<Tidings>::default();
        let (at, told) = (Arc::clone(&desk), Arc::clone(&tidings));
        let runtime = tokio::runtime::Builder::new_current_thread();
        std::thread::Builder::new().name("edge-watch".to_owned()).spawn(move || {
            let mut builder = runtime;
            match builder.enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(work(&at, &told, name_servers)),
                Err(error) => tracing::error!(%error, "the servers of sites are not looked after"),
            }
        })?;
        Ok(Self { desk, hosts: Mutex::default(), standings: Mutex::default(), tidings })
    }

    /// The addresses of `host`, which are looked up from now on.
    pub(super) fn host(&self, host: &str) -> Arc<Addresses> {
        let mut hosts = lock(&self.hosts);
        if let Some(known) = hosts.get(host).and_then(Weak::upgrade) {
            return known;
        }
        sweep(&mut hosts);
        let fresh = Arc::new(Addresses::new(host));
        hosts.insert(host.into(), Arc::downgrade(&fresh));
        self.lay(Job::Follow(Arc::downgrade(&fresh)));
        fresh
    }

    /// How the server called `key` is, which is checked from now on as `health` says.
    pub(super) fn standing(
        &self,
        (key, site): (&str, &str),
        reach: &Arc<Reach>,
        health: Option<&Health>,
    ) -> Arc<Standing> {
        let key = format!("{key} {health:?}").into_boxed_str();
        let mut standings = lock(&self.standings);
        if let Some(known) = standings.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        sweep(&mut standings);
        let fresh = Arc::new(Standing::new(site, &reach.address.to_string()));
        standings.insert(key, Arc::downgrade(&fresh));
        if let Some(health) = health {
            self.lay(Job::Check(Arc::downgrade(&fresh), Arc::clone(reach), health.clone()));
        }
        fresh
    }

    /// What happened since it was asked for last.
    pub(super) fn news(&self) -> Vec<ServerNews> {
        self.tidings.take()
    }

    fn lay(&self, job: Job) {
        lock(&self.desk.jobs).push(job);
        self.desk.laid.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.lay(Job::End);
    }
}

async fn work(desk: &Desk, tidings: &Arc<Tidings>, name_servers: Vec<SocketAddr>) {
    let resolver = Rc::new(Resolver::new(name_servers));
    let turns = Arc::new(Semaphore::new(CHECKS_AT_ONCE));
    loop {
        let jobs = std::mem::take(&mut *lock(&desk.jobs));
        for job in jobs {
            match job {
                Job::Follow(addresses) => {
                    let following = addresses::follow(addresses, Rc::clone(&resolver));
                    drop(tokio::task::spawn_local(following));
                }
                Job::Check(standing, reach, health) => {
                    let (tidings, turns) = (Arc::clone(tidings), Arc::clone(&turns));
                    let checking = checking::follow(standing, reach, health, tidings, turns);
                    drop(tokio::task::spawn_local(checking));
                }
                Job::End => return,
            }
        }
        desk.laid.notified().await;
    }
}

/// Forgets those whom nobody has any more. Not with each that comes, as thousands come at once.
fn sweep<T>(known: &mut HashMap<Box<str>, Weak<T>>) {
    if known.len().is_power_of_two() {
        known.retain(|_, one| one.strong_count() > 0);
    }
}

/// What is behind each lock is whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
