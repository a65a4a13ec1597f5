//! Keeps the keys of session tickets: turns the ratchet in time, writes its state, gives the keys
//! to the front door.
//!
//! A state is durable before its keys are used, so that a restart goes on with them. Where the
//! disk takes nothing, the keys change all the same: they are only lost at the next restart then,
//! while keys that never change would open ever more. A replacement that somebody ordered is not
//! called done before it is durable.

use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::epochs;
use super::epochs::Due;
use super::open::Places;
use crate::admin::HouseError;
use crate::admin::wire::tickets::TicketsView;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::disk;
use crate::base::tasks::SharedClock;
use crate::cert::ports::TicketSeal;
use crate::config::Config;
use crate::config::TicketMode;
use crate::edge::tickets::Tickets;
use crate::vault::Turned;
use crate::vault::Vault;
use crate::vault::VaultError;
use crate::vault::wire_tickets::Step;

/// What the keeper is told to do.
pub(super) enum Order {
    /// Replace the keys at once.
    Replace(oneshot::Sender<Result<TicketsView, HouseError>>),
    /// There is another vault, which knows no keys.
    VaultRestarted,
    /// Change nothing until told to go on; without that, for good.
    StandStill(oneshot::Receiver<()>),
    /// Have the state sealed under the present master key, and say whether it is, durably.
    Reseal(oneshot::Sender<bool>),
}

/// The keeper as others see it.
#[derive(Clone)]
pub(super) struct TicketDesk {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) view: watch::Receiver<TicketsView>,
}

/// What the keeper works with.
pub(super) struct TicketKeeper {
    vault: Vault,
    clock: SharedClock,
    config: watch::Receiver<Arc<Config>>,
    mode: TicketMode,
    file: PathBuf,
    tickets: Tickets,
    present: Option<Present>,
    orders: mpsc::Receiver<Order>,
    view: watch::Sender<TicketsView>,
}

/// Where the ratchet stands.
struct Present {
    state: Vec<u8>,
    epoch: u64,
    since: Timestamp,
    /// By the clock that nobody sets.
    began: Began,
    durable: bool,
}

/// An age that was known at a moment.
#[derive(Clone, Copy)]
struct Began {
    age: Duration,
    at: Instant,
}

impl Began {
    fn age(self) -> Duration {
        self.age + self.at.elapsed()
    }
}

impl TicketKeeper {
    /// Takes up the ratchet where the last daemon left it. Without a vault's answer there are no
    /// tickets yet. The last value is for the front door.
    pub(super) async fn begin(
        vault: Vault,
        clock: SharedClock,
        config: watch::Receiver<Arc<Config>>,
    ) -> (Self, TicketDesk, Tickets) {
        let mode = config.borrow().tls.tickets;
        let file = Places::of(&config.borrow()).store.join("tickets.sealed");
        let tickets = Tickets::default();
        let in_use = tickets.clone();
        let (sender, orders) = mpsc::channel(bounds::TICKET_ORDERS);
        let (view, seen) = watch::channel(TicketsView::default());
        let present = None;
        let mut keeper = Self { vault, clock, config, mode, file, tickets, present, orders, view };
        keeper.start().await;
        keeper.show();
        (keeper, TicketDesk { orders: sender, view: seen }, in_use)
    }

    /// Keeps the keys until the house ends.
    pub(super) async fn keep(mut self, closing: CancellationToken) {
        let mut config = self.config.clone();
        loop {
            let rotation = self.rotation();
            let rest = self.present.as_ref().map_or(bounds::SLEEP_STRETCH, |present| {
                rotation.saturating_sub(present.began.age()).min(bounds::SLEEP_STRETCH)
            });
            let order = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = closing.cancelled() => return,
                Ok(()) = config.changed() => None,
                () = tokio::time::sleep(rest) => None,
            };
            match order {
                Some(Order::Replace(answer)) => {
                    // Whoever asked may be gone; the keys are replaced all the same.
                    let _gone = answer.send(self.replace().await);
                }
                Some(Order::VaultRestarted) => {
                    let _told = self.reseal().await;
                    self.adopt().await;
                }
                Some(Order::StandStill(go_on)) => {
                    if go_on.await.is_err() {
                        return;
                    }
                }
                Some(Order::Reseal(answer)) => {
                    let _gone = answer.send(self.reseal().await);
                }
                None => self.look(rotation != self.rotation()).await,
            }
            self.show();
        }
    }

    async fn start(&mut self) {
        if self.mode == TicketMode::Off {
            // What is of no use is not kept.
            match std::fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "the state of the session tickets is not removed");
                }
                Ok(()) | Err(_) => {}
            }
            return;
        }
        let state = read(&self.file).unwrap_or_else(|error| {
            tracing::warn!(%error, "the state of the session tickets is not readable, beginning anew");
            Vec::new()
        });
        let (state, _written) = self.resealed(state).await;
        let now = self.clock.now();
        let Some(found) = self.turn((Step::Look, now), &state).await else { return };
        let due = epochs::at_start(Timestamp::from_unix(found.since), now, self.rotation());
        let continued = found.anew.is_none() && !state.is_empty();
        let turned = if due.0 == Step::Look {
            Some((found, continued))
        } else {
            self.turn(due, &found.state.clone()).await.map(|turned| (turned, false))
        };
        if let Some((turned, unchanged)) = turned {
            self.take_up(turned, now, unchanged).await;
        }
    }

    /// What is due by the clocks; in force again when the rotation has `changed`.
    async fn look(&mut self, changed: bool) {
        if self.mode == TicketMode::Off {
            return;
        }
        let Some(present) = &self.present else {
            self.start().await;
            return;
        };
        let now = self.clock.now();
        let age = present.began.age();
        let due = epochs::in_course(age, present.since, now, self.rotation());
        if due.0 == Step::Look && !changed && present.durable {
            return;
        }
        let state = present.state.clone();
        if let Some(turned) = self.turn(due, &state).await {
            self.take_up(turned, now, false).await;
        }
    }

    async fn replace(&mut self) -> Result<TicketsView, HouseError> {
        if self.mode == TicketMode::Off {
            return Err(HouseError::Refused {
                reason: "there are no session tickets: tls.tickets is \"off\"".to_owned(),
            });
        }
        let state = self.present.as_ref().map(|present| present.state.clone()).unwrap_or_default();
        let now = self.clock.now();
        let turned = self.turn((Step::Anew, now), &state).await;
        let turned = turned.ok_or_else(|| HouseError::Unavailable {
            reason: "the vault does not answer, so the keys are as they were".to_owned(),
        })?;
        self.take_up(turned, now, false).await;
        self.show();
        if self.present.as_ref().is_some_and(|present| present.durable) {
            return Ok(self.view.borrow().clone());
        }
        Err(HouseError::Unavailable {
            reason: format!(
                "the old tickets are refused now, but the new state is not written to {}: unless \
                 the disk takes it before the next restart, that will accept them again",
                self.file.display()
            ),
        })
    }

    /// Has the present state sealed under the present master key, which may be another now; whether
    /// it is on the disk so, or was not before either.
    async fn reseal(&mut self) -> bool {
        let Some((state, durable)) =
            self.present.as_ref().map(|present| (present.state.clone(), present.durable))
        else {
            return true;
        };
        let (state, written) = self.resealed(state).await;
        if let Some(present) = &mut self.present {
            present.state = state;
        }
        written || !durable
    }

    /// A state as the present master key seals it, written if it was not sealed so; and whether it
    /// was not to be written, or was.
    async fn resealed(&self, state: Vec<u8>) -> (Vec<u8>, bool) {
        if state.is_empty() {
            return (state, true);
        }
        let (vault, old) = (self.vault.clone(), state.clone());
        let resealing = tokio::task::spawn_blocking(move || vault.reseal(&old));
        match resealing.await {
            Ok(Ok(Some(anew))) => {
                // What is not written is turned, and written, when its time comes.
                let written = self.write(&anew).await;
                (anew, written)
            }
            // Sealed so already, or not to be opened, which is told when it is used.
            Ok(Ok(None) | Err(VaultError::Seal(_))) | Err(_) => (state, true),
            Ok(Err(_)) => (state, false),
        }
    }

    /// Asks the vault for the next state; `None` when it does not answer.
    async fn turn(&self, (step, since): Due, state: &[u8]) -> Option<Turned> {
        let (vault, state) = (self.vault.clone(), state.to_vec());
        let strict = self.mode == TicketMode::Strict;
        let turning = tokio::task::spawn_blocking(move || {
            vault.turn_tickets(strict, step, since.as_unix(), &state)
        });
        match turning.await {
            Ok(Ok(turned)) => {
                if let Some(reason) = &turned.anew {
                    tracing::info!(reason, "the keys of session tickets begin anew");
                }
                Some(turned)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the vault turns no ticket keys, the present ones stay");
                None
            }
            // The runtime ends.
            Err(_) => None,
        }
    }

    /// Makes a state durable, unless it is, and uses its keys.
    async fn take_up(&mut self, turned: Turned, now: Timestamp, unchanged: bool) {
        let Turned { epoch, since, anew, state, keys } = turned;
        let since = Timestamp::from_unix(since);
        let durable = unchanged || self.write(&state).await;
        let same = self.present.as_ref().filter(|now| now.epoch == epoch && anew.is_none());
        let began = match same {
            // The wall clock may have been set.
            Some(present) => present.began,
            None => Began { age: now.since(since), at: Instant::now() },
        };
        self.present = Some(Present { state, epoch, since, began, durable });
        self.adopt().await;
        let seal: Arc<dyn TicketSeal> = Arc::new(self.vault.clone());
        let (rotation, age) = (self.rotation(), began.age());
        let life = rotation.saturating_mul(2).saturating_sub(age);
        self.tickets.use_keys(&keys, &seal, life, rotation.saturating_sub(age));
        tracing::debug!(epoch, "ticket keys are in use");
    }

    /// In strict mode, has the present vault use the keys.
    async fn adopt(&self) {
        let (TicketMode::Strict, Some(present)) = (self.mode, &self.present) else { return };
        let (vault, state) = (self.vault.clone(), present.state.clone());
        let adopting = tokio::task::spawn_blocking(move || vault.adopt_tickets(&state));
        if let Ok(Err(error)) = adopting.await {
            tracing::warn!(%error, "the vault seals no tickets for now");
        }
    }

    async fn write(&self, state: &[u8]) -> bool {
        let (file, state) = (self.file.clone(), state.to_vec());
        let writing = tokio::task::spawn_blocking(move || disk::replace(&file, &state, 0o600));
        match writing.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the state of the session tickets is not written, a restart loses them");
                false
            }
            // The runtime ends.
            Err(_) => false,
        }
    }

    fn rotation(&self) -> Duration {
        self.config.borrow().tls.ticket_rotation
    }

    fn show(&self) {
        let mode = match self.mode {
            TicketMode::Fast => "fast",
            TicketMode::Strict => "strict",
            TicketMode::Off => "off",
        };
        let rotation = self.rotation();
        let present = self.present.as_ref();
        self.view.send_replace(TicketsView {
            mode: mode.to_owned(),
            epoch: present.map(|present| present.epoch),
            since: present.map(|present| present.since.into()),
            next: present.map(|present| present.since.plus(rotation).into()),
            durable: present.is_none_or(|present| present.durable),
        });
    }
}

/// The state as it was written; empty when there is none.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut state = Vec::new();
    file.take(bounds::TICKET_STATE).read_to_end(&mut state)?;
    Ok(state)
}
