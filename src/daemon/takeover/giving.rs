//! The old process: starts the new one, gives it what it needs in the order in which it can be taken
//! back, and lets its own connections come to their end.
//!
//! Deliberately absent: more than one new process at a time.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Line;
use super::OWN;
use super::Silence;
use super::Word;
use crate::admin::HouseError;
use crate::admin::Left;
use crate::admin::wire::upgrade::Upgraded;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::base::crash;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::daemon::tickets::Order;
use crate::daemon::wire::Running;
use crate::edge::Edge;
use crate::store::Loan;
use crate::vault::Vault;

/// What is said of a process that says nothing itself.
const ENDED: &str = "it ended before it was ready; the log says why, if it could";

/// An upgrade that somebody asked for, and where the answer goes.
pub(in crate::daemon) type UpgradeRequest = oneshot::Sender<Result<Upgraded, HouseError>>;

/// What a process keeps for the one that may follow it.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Estate {
    /// What the service manager has opened, by name; empty when it opened nothing.
    pub(in crate::daemon) inherited: Vec<(String, OwnedFd)>,
    /// The admin socket, where it is, and the way to leave it there.
    pub(in crate::daemon) admin: Option<(OwnedFd, PathBuf, Left)>,
}

/// A process that is ready but for the store.
#[derive(Debug)]
pub(in crate::daemon) struct Heir {
    line: Line,
    pid: u32,
    version: String,
}

/// A process that is on its way, and who asked for it.
#[derive(Debug)]
pub(in crate::daemon) struct Expected {
    outcome: oneshot::Receiver<Result<Heir, String>>,
    answer: Option<UpgradeRequest>,
}

/// A process that has come, or why it has not; and who asked for it.
pub(in crate::daemon) type Come = (Result<Heir, String>, Option<UpgradeRequest>);

/// Waits for the process that is `expected`, if there is one.
pub(in crate::daemon) async fn arrival(expected: &mut Option<Expected>) -> Come {
    let Some(waited) = expected else { return std::future::pending().await };
    let come = (&mut waited.outcome).await;
    let answer = expected.take().and_then(|expected| expected.answer);
    (come.unwrap_or_else(|_| Err("it could not be waited for".to_owned())), answer)
}

/// What was given and can be taken back.
struct Given {
    loan: Option<Loan>,
    /// Has the keeper of the ticket keys go on.
    tickets: Option<oneshot::Sender<()>>,
}

/// The new process, for whoever has to end when it says so.
#[derive(Debug)]
pub(in crate::daemon) struct Follower(Arc<Line>);

impl Estate {
    /// What is said of the sockets, each with those that go along.
    fn words(&self, edge: &Edge) -> std::io::Result<Vec<(Word, Vec<OwnedFd>)>> {
        let mut all = Vec::new();
        for (name, socket) in &self.inherited {
            all.push((name.clone(), socket.try_clone()?));
        }
        let copies = edge.copies()?;
        let named = |name: &str| all.iter().any(|(known, _)| known == name);
        let http = named("https") || named("http");
        let known = [http, http, named("tcp")];
        let own = OWN.into_iter().zip([copies.https, copies.http, copies.tcp]).zip(known);
        let own: Vec<_> = own.filter(|(_, known)| !known).map(|(own, _)| own).collect();
        for (name, listeners) in own {
            all.extend(listeners.into_iter().map(|one| (name.to_owned(), one.into())));
        }
        all.extend(edge.leave_http3()?);
        let mut admin = None;
        if let Some((socket, place, _)) = &self.admin {
            all.push(("admin".to_owned(), socket.try_clone()?));
            admin = Some(place.clone());
        }
        let mut words = Vec::new();
        loop {
            let rest = all.split_off(all.len().min(bounds::takeover::SOCKETS_PER_WORD));
            let (names, sockets) = std::mem::replace(&mut all, rest).into_iter().unzip();
            let more = !all.is_empty();
            words.push((Word::Sockets { names, admin: admin.take(), more }, sockets));
            if !more {
                return Ok(words);
            }
        }
    }
}

/// Starts the new process and waits until it is ready; why it is not, in words. Blocks.
fn begin(vault: &Vault, words: Vec<(Word, Vec<OwnedFd>)>) -> Result<Heir, String> {
    let begun = vault.begin_anew();
    let failed = |error| format!("it could not be started: {}", with_causes(&error));
    let socket = begun.map_err(failed)?;
    let line = Line(socket);
    for (word, sockets) in words {
        let along: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        if line.say(&word, &along).is_err() {
            return Err(ENDED.to_owned());
        }
    }
    crash::point("heir-called");
    match line.hear(bounds::takeover::PREPARING) {
        Ok((Word::Prepared { pid, version }, _)) => Ok(Heir { line, pid, version }),
        Ok((Word::Failed { report }, _)) => Err(report),
        Ok(_) => Err(Silence::Odd.to_string()),
        Err(Silence::Gone) => Err(ENDED.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Running {
    /// Begins to be followed, for whoever asked; the others find it in the log.
    pub(in crate::daemon) fn call_for_heir(
        &self,
        answer: Option<UpgradeRequest>,
    ) -> Option<Expected> {
        match self.call() {
            Ok(outcome) => Some(Expected { outcome, answer }),
            Err(reason) => {
                refuse(reason, answer);
                None
            }
        }
    }

    /// Gives everything to who has come, and answers who asked for it. `None` when this process
    /// goes on.
    pub(in crate::daemon) async fn yield_to(&mut self, (come, answer): Come) -> Option<Follower> {
        let handed_over = match come {
            Ok(heir) => self.hand_over(heir).await,
            Err(reason) => Err(reason),
        };
        match handed_over {
            Ok((follower, upgraded)) => {
                let Upgraded { pid, version, waited, .. } = &upgraded;
                tracing::info!(pid, version, waited, "another process serves from now on");
                if let Some(answer) = answer {
                    // Whoever asked may be gone.
                    let _gone = answer.send(Ok(upgraded));
                }
                Some(follower)
            }
            Err(reason) => {
                refuse(reason.clone(), answer);
                self.note(EntryKind::UpgradeFailed, Level::Error, reason).await;
                None
            }
        }
    }

    fn call(&self) -> Result<oneshot::Receiver<Result<Heir, String>>, String> {
        if self.elders.count() >= bounds::takeover::ELDERS {
            return Err(format!(
                "{} former processes still finish what they began, which is the most there may be",
                bounds::takeover::ELDERS
            ));
        }
        let words = self.estate.words(&self.edge);
        let words = words.map_err(|error| format!("its sockets cannot be copied: {error}"))?;
        let (vault, (sender, receiver)) = (self.vault.clone(), oneshot::channel());
        drop(tokio::task::spawn_blocking(move || {
            // If nobody waits any more, the new process finds nobody either, and ends.
            let _unwanted = sender.send(begin(&vault, words));
        }));
        Ok(receiver)
    }

    /// Gives everything to `heir`. If that does not serve, everything is as it was, and the reason
    /// is returned.
    async fn hand_over(&self, heir: Heir) -> Result<(Follower, Upgraded), String> {
        let began = Instant::now();
        // There is no other moment for it until this is over.
        let _silent = self.notifier.alive();
        if let Some(orders) = &self.orders {
            orders.scheduler.stand_still().await;
        }
        let paused = Instant::now();
        self.edge.stand_aside();
        let given = match self.give().await {
            Ok(given) => given,
            Err((given, reason)) => {
                let _gone = heir.line.say(&Word::NeverMind, &[]);
                self.take_back(given).await;
                return Err(reason);
            }
        };
        crash::point("given");
        let line = Arc::new(heir.line);
        let heard = match line.say(&Word::Yours, &[]) {
            Ok(()) => {
                let hearing = Arc::clone(&line);
                tokio::task::spawn_blocking(move || hearing.hear(bounds::takeover::TAKING_OVER))
                    .await
                    .unwrap_or(Err(Silence::Gone))
            }
            Err(_) => Err(Silence::Gone),
        };
        let reason = match heard {
            Ok((Word::Serving { admin, http3 }, _)) => {
                crash::point("heir-serves");
                self.edge.read_http3_but(&http3);
                self.leave(&line, heir.pid, admin);
                drop(given);
                crash::point("left");
                let millis = |since: Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                let upgraded = Upgraded {
                    pid: heir.pid,
                    former: std::process::id(),
                    version: heir.version,
                    millis: millis(began.elapsed()),
                    waited: millis(paused.elapsed()),
                };
                return Ok((Follower(line), upgraded));
            }
            Ok((Word::Failed { report }, _)) => report,
            Ok(_) => Silence::Odd.to_string(),
            Err(error) => error.to_string(),
        };
        let _gone = line.say(&Word::NeverMind, &[]);
        self.take_back(given).await;
        Err(reason)
    }

    /// Closes what the new process must open.
    async fn give(&self) -> Result<Given, (Given, String)> {
        let mut given = Given { loan: None, tickets: None };
        let (go_on, waits) = oneshot::channel();
        // A keeper that is gone changes nothing either.
        if self.tickets.orders.send(Order::StandStill(waits)).await.is_ok() {
            given.tickets = Some(go_on);
        }
        let catalog = Arc::clone(&self.catalog);
        let lent = tokio::task::spawn_blocking(move || catalog.lend()).await;
        if let Ok(Err(error)) = lent {
            return Err((given, format!("the second copy cannot be given away: {error}")));
        }
        if let Some(store) = &self.store {
            match store.lend().await {
                Ok(loan) => given.loan = Some(loan),
                Err(error) => return Err((given, format!("the store is gone: {error}"))),
            }
        }
        Ok(given)
    }

    async fn take_back(&self, given: Given) {
        if let Err(error) = self.edge.stand_in() {
            tracing::error!(%error, "not every listener is there again");
        }
        if let Some(loan) = given.loan {
            loan.take_back().await;
        }
        let catalog = Arc::clone(&self.catalog);
        let _ended = tokio::task::spawn_blocking(move || catalog.take_back()).await;
        if let Some(go_on) = given.tickets {
            let _gone = go_on.send(());
        }
        if let Some(orders) = &self.orders {
            orders.scheduler.go_on();
        }
    }

    /// The new process is the main one.
    fn leave(&self, line: &Line, pid: u32, admin: bool) {
        if let Err(error) = self.notifier.main_process(pid) {
            tracing::warn!(%error, "the service manager does not listen");
        }
        if let Some((_, _, left)) = self.estate.admin.as_ref().filter(|_| admin) {
            left.leave();
        }
        let elders = self.elders.copies();
        let along: Vec<_> = elders.iter().map(AsFd::as_fd).collect();
        // If it is gone by now, this was the last word all the same: nothing is here any more.
        let _gone = line.say(&Word::Main, &along);
    }
}

/// Says why nobody follows.
fn refuse(reason: String, answer: Option<UpgradeRequest>) {
    tracing::error!(reason, "no other process takes over, this one goes on");
    if let Some(answer) = answer {
        let reason = format!("this process goes on, as the new one does not serve: {reason}");
        // Whoever asked may be gone.
        let _gone = answer.send(Err(HouseError::Refused { reason }));
    }
}

impl Follower {
    /// Waits until the new process wants this one to end, and within which time; `None` when it is
    /// gone.
    pub(in crate::daemon) async fn hurries(&self) -> Option<Duration> {
        let (sender, hurry) = oneshot::channel();
        let line = Arc::clone(&self.0);
        let waiting = std::thread::Builder::new().name("follower".to_owned()).spawn(move || {
            if let Ok((Word::Hurry { millis }, _)) = line.hear(Duration::ZERO) {
                // Nobody waits once everything has ended anyway.
                let _ended = sender.send(Duration::from_millis(millis));
            }
        });
        match (waiting, hurry.await) {
            (Ok(_), hurry) => hurry.ok(),
            // Nobody listens.
            (Err(_), _) => std::future::pending().await,
        }
    }
}
