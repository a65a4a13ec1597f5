//! What main's threads share about the vault: which one is alive, and the channels to it.
//!
//! A thread keeps its channel until the vault behind it dies; then it waits, bounded, for the
//! channel of the next one. As long as nothing dies, a signature takes no lock here.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::channel::Channel;
use super::error::VaultError;
use super::greet::Greeting;
use super::handing::BEGIN_ANEW;
use super::keeper::VaultExit;
use super::seal::Mark;
use super::walls::WallReport;
use super::wire::Reply;
use super::wire::Request;
use crate::base::bounds;
use crate::os::descriptors;

/// What happened to the vault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VaultEvent {
    /// It ended, and another serves.
    Restarted {
        /// The new one.
        pid: u32,
        /// How the old one ended.
        exit: VaultExit,
    },
    /// One was started and refused to serve; the keeper tries again.
    Failing {
        /// What it said.
        reason: String,
    },
    /// The keeper ended: the present vault serves on, but it is the last one.
    KeeperLost,
    /// There is no vault and none will come: main must end and be started again.
    Lost,
}

/// Shared by all handles, lines and the supervisor.
#[derive(Debug)]
pub(super) struct Link {
    /// Tells the lines of one vault from those of another in the same process (tests).
    pub(super) instance: u64,
    /// Counts the vaults that were greeted; equal to `State::generation`.
    generation: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    /// Set before hanging up on purpose.
    pub(super) closing: AtomicBool,
    events: mpsc::Sender<VaultEvent>,
    /// Who waits for the keeper to have started the program anew.
    anew: Mutex<Option<SyncSender<io::Result<OwnedFd>>>>,
}

/// The present vault.
#[derive(Debug, Default)]
pub(super) struct State {
    generation: u64,
    /// Workers first, then the work channel, then control; taken by whoever uses them.
    channels: Vec<Option<Channel>>,
    /// A copy of the control socket, to hang up and to notice a hang-up.
    pub(super) control: Option<Arc<OwnedFd>>,
    pub(super) keeper: Option<Arc<OwnedFd>>,
    pub(super) pid: u32,
    pub(super) keeper_pid: Option<u32>,
    pub(super) created_master: bool,
    pub(super) walls: Vec<WallReport>,
    pub(super) gates: bool,
    /// Its master keys, the present one first.
    pub(super) masters: Vec<Mark>,
    pub(super) last_refusal: Option<String>,
    /// Since when there should be another one.
    missed: Option<Instant>,
    lost: bool,
}

impl State {
    /// How long somebody who misses a vault may still wait. It is one time for all: while none comes,
    /// a worker has others to serve.
    fn patience(&mut self) -> Duration {
        let since = *self.missed.get_or_insert_with(Instant::now);
        bounds::VAULT_FAILOVER.saturating_sub(since.elapsed())
    }
}

static INSTANCES: AtomicU64 = AtomicU64::new(1);

impl Link {
    pub(super) fn new(events: mpsc::Sender<VaultEvent>) -> Self {
        Self {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            generation: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
            events,
            anew: Mutex::default(),
        }
    }

    /// The state; a panic elsewhere leaves it usable, as every change is a single assignment.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a newly greeted vault the present one.
    pub(super) fn publish(&self, greeting: Greeting) {
        let mut state = self.state();
        state.generation = state.generation.saturating_add(1);
        state.channels = greeting.channels.into_iter().map(Some).collect();
        state.control = Some(Arc::new(greeting.control));
        state.pid = greeting.pid;
        state.created_master |= greeting.created;
        state.walls = greeting.walls;
        state.gates = greeting.gates;
        state.masters = greeting.masters;
        state.last_refusal = None;
        state.missed = None;
        self.generation.store(state.generation, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether a vault may take the place of the one before: it has its master key, be it as the
    /// former one. Another would open nothing, and seal what nobody else opens.
    ///
    /// # Errors
    /// [`VaultError::MasterKey`] names both.
    pub(super) fn admit(&self, masters: &[Mark]) -> Result<(), VaultError> {
        match (self.state().masters.first(), masters.first()) {
            (Some(needed), Some(found)) if !masters.iter().any(|m| m.check == needed.check) => {
                Err(VaultError::MasterKey(format!(
                    "the master key was exchanged: what is sealed needs that of {needed}, and \
                     found is that of {found}; put the former one back"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Has the keeper start the program anew; the socket to it. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Gone`] without a keeper, [`VaultError::Late`] when it does not answer,
    /// [`VaultError::Start`] with what the operating system says.
    pub(super) fn begin_anew(&self) -> Result<OwnedFd, VaultError> {
        let keeper = self.state().keeper.clone().ok_or(VaultError::Gone)?;
        let (answer, answered) = sync_channel(1);
        *self.anew.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        descriptors::send(keeper.as_fd(), BEGIN_ANEW).map_err(|_| VaultError::Gone)?;
        match answered.recv_timeout(bounds::VAULT_WORK_DEADLINE) {
            Ok(begun) => begun.map_err(VaultError::Start),
            Err(_) => Err(VaultError::Late),
        }
    }

    /// What the keeper said to that.
    pub(super) fn begun_anew(&self, begun: io::Result<OwnedFd>) {
        if let Some(waits) = self.anew.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever waited may have given up; then the socket closes here.
            let _late = waits.try_send(begun);
        }
    }

    /// No vault will come any more.
    pub(super) fn lose(&self) {
        self.state().lost = true;
        self.changed.notify_all();
    }

    /// Counts the vaults that were greeted.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The master keys of the vault that takes the place of number `before`.
    ///
    /// # Errors
    /// [`VaultError::Late`] when none does within `limit`, [`VaultError::Gone`] when none will.
    pub(super) fn masters_after(
        &self,
        before: u64,
        limit: Duration,
    ) -> Result<Vec<Mark>, VaultError> {
        let (state, waited) = self
            .changed
            .wait_timeout_while(self.state(), limit, |state| {
                state.generation <= before && !state.lost
            })
            .unwrap_or_else(PoisonError::into_inner);
        match () {
            () if waited.timed_out() => Err(VaultError::Late),
            () if state.lost => Err(VaultError::Gone),
            () => Ok(state.masters.clone()),
        }
    }

    /// How many times a vault was replaced.
    pub(super) fn restarts(&self) -> u64 {
        self.generation.load(Ordering::Acquire).saturating_sub(1)
    }

    /// Reports; a report that nobody reads is dropped when the channel is full.
    pub(super) fn tell(&self, event: VaultEvent) {
        let _unread = self.events.try_send(event);
    }

    /// Hangs up on keeper and vault.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let state = self.state();
        for socket in [&state.keeper, &state.control].into_iter().flatten() {
            descriptors::hang_up(socket.as_fd());
        }
    }

    /// Takes channel `index` of a vault newer than `than`, waiting for one if need be.
    fn take(&self, index: usize, than: u64) -> Result<(u64, Channel), VaultError> {
        let mut state = self.state();
        let limit = if state.generation <= than { state.patience() } else { Duration::ZERO };
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, limit, |state| state.generation <= than && !state.lost)
            .unwrap_or_else(PoisonError::into_inner);
        if state.generation <= than {
            return Err(VaultError::Gone);
        }
        let generation = state.generation;
        let channel = state.channels.get_mut(index).and_then(Option::take);
        channel.map(|channel| (generation, channel)).ok_or(VaultError::ChannelInUse)
    }

    fn give_back(&self, index: usize, generation: u64, channel: Channel) {
        let mut state = self.state();
        if state.generation == generation
            && let Some(place) = state.channels.get_mut(index)
        {
            *place = Some(channel);
        }
    }
}

/// One thread's way to whichever vault is alive.
#[derive(Debug)]
pub(super) struct Line {
    link: Arc<Link>,
    index: usize,
    generation: u64,
    channel: Option<Channel>,
}

impl Line {
    pub(super) const fn new(link: Arc<Link>, index: usize) -> Self {
        Self { link, index, generation: 0, channel: None }
    }

    pub(super) fn instance(&self) -> u64 {
        self.link.instance
    }

    pub(super) const fn index(&self) -> usize {
        self.index
    }

    /// Asks the vault; when it dies over the question, asks the next one, once.
    pub(super) fn ask<T>(
        &mut self,
        request: &Request<'_>,
        read: impl Fn(Reply<'_>) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        for _ in 0..2 {
            let channel = self.renewed()?;
            match channel.ask(request) {
                Ok(reply) => return read(reply),
                Err(VaultError::Gone) => self.channel = None,
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Gone)
    }

    /// [`Self::ask`] with descriptors along, and never twice: what was written cannot be taken
    /// back.
    pub(super) fn hand_over<T>(
        &mut self,
        request: &Request<'_>,
        descriptors: &[BorrowedFd<'_>],
        read: impl Fn(Reply<'_>) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        match self.renewed()?.hand_over(request, descriptors) {
            Ok(reply) => read(reply),
            Err(error) => {
                if matches!(error, VaultError::Gone) {
                    self.channel = None;
                }
                Err(error)
            }
        }
    }

    /// Wipes what passed through.
    pub(super) fn wipe(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.wipe();
        }
    }

    fn renewed(&mut self) -> Result<&mut Channel, VaultError> {
        if self.generation != self.link.generation.load(Ordering::Acquire) {
            self.channel = None;
        }
        if self.channel.is_none() {
            let (generation, channel) = self.link.take(self.index, self.generation)?;
            self.generation = generation;
            self.channel = Some(channel);
        }
        self.channel.as_mut().ok_or(VaultError::Gone)
    }
}

impl Drop for Line {
    /// A thread that ends leaves its channel to the one that takes its place.
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.link.give_back(self.index, self.generation, channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asks first waits, and whoever asks after that does not do so again.
    #[test]
    fn a_vault_that_does_not_come_is_waited_for_once() {
        let link = Arc::new(Link::new(mpsc::channel(1).0));
        let begun = Instant::now();
        assert!(matches!(link.take(0, 0), Err(VaultError::Gone)));
        let first = begun.elapsed();
        assert!(first >= bounds::VAULT_FAILOVER, "{first:?}");
        for _ in 0..20 {
            assert!(matches!(link.take(0, 0), Err(VaultError::Gone)));
        }
        let others = begun.elapsed().saturating_sub(first);
        assert!(others < bounds::VAULT_FAILOVER, "{others:?}");
    }

    #[test]
    fn the_next_one_is_waited_for_anew() {
        let mut state = State::default();
        let before = state.patience();
        std::thread::park_timeout(Duration::from_millis(50));
        assert!(state.patience() < before);
        state.missed = None;
        assert!(state.patience() > bounds::VAULT_FAILOVER.saturating_sub(Duration::from_secs(1)));
    }
}
