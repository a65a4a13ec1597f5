//! Starts the keeper, and greets every vault it hands over.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::VaultError;
use super::greet::Greeting;
use super::greet::Terms;
use super::greet::greet;
use super::handing::HandedKeeper;
use super::keeper::KeeperReport;
use super::keeper::VaultExit;
use super::link::Link;
use super::link::VaultEvent;
use super::master::MasterKeySource;
use crate::base::bounds;
use crate::os::descriptors;

/// The keeper as main sees it.
#[derive(Debug)]
pub(super) struct Keeper {
    /// `None` of one that somebody else has started.
    child: Option<Child>,
    pid: u32,
    socket: Arc<OwnedFd>,
    /// How long its first report may take.
    patience: Duration,
}

impl Keeper {
    /// One that was started for us, and asks nobody for anything.
    pub(super) fn handed(handed: HandedKeeper) -> Self {
        let HandedKeeper { socket, pid } = handed;
        Self { child: None, pid, socket: Arc::new(socket), patience: bounds::VAULT_WORK_DEADLINE }
    }

    /// Starts the keeper; it starts a vault at once. With a `config` it can start the program anew.
    pub(super) fn start(
        exe: &Path,
        master: &MasterKeySource,
        config: Option<&Path>,
    ) -> Result<Self, VaultError> {
        let (ours, theirs) = descriptors::seqpacket_pair().map_err(VaultError::Start)?;
        let child = Command::new(exe)
            .arg0("keyward")
            .arg("vault-keeper")
            .args(master.to_arguments())
            // Its environment is that of the program that it may have to start anew; no vault
            // gets any of it.
            .arg(config.unwrap_or_else(|| Path::new("")))
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(VaultError::Start)?;
        let patience = match master.is_asked_for() {
            true => bounds::master::PASSPHRASE_PATIENCE.saturating_add(bounds::VAULT_WORK_DEADLINE),
            false => bounds::VAULT_WORK_DEADLINE,
        };
        Ok(Self { pid: child.id(), child: Some(child), socket: Arc::new(ours), patience })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the first vault and greets it.
    pub(super) fn first(&mut self, link: &Link, terms: &Terms) -> Result<(), VaultError> {
        descriptors::set_deadline(self.socket.as_fd(), self.patience).map_err(VaultError::Start)?;
        let ended = |exit: VaultExit| VaultError::EndedAtStart { exit: exit.to_string() };
        let Some((KeeperReport::Started { .. }, Some(control))) = self.report() else {
            return Err(ended(VaultExit::Unseen));
        };
        let greeting = match greet(control, terms) {
            Ok(greeting) => greeting,
            Err(VaultError::Gone) => {
                return Err(match self.report() {
                    Some((KeeperReport::Ended { exit }, _)) => ended(exit),
                    _ => ended(VaultExit::Unseen),
                });
            }
            Err(error) => return Err(error),
        };
        let forever = Duration::ZERO;
        descriptors::set_deadline(self.socket.as_fd(), forever).map_err(VaultError::Start)?;
        link.publish(greeting);
        let mut state = link.state();
        state.keeper = Some(Arc::clone(&self.socket));
        state.keeper_pid = Some(self.pid);
        Ok(())
    }

    /// The next report; `None` when the keeper is gone.
    fn report(&self) -> Option<(KeeperReport, Option<OwnedFd>)> {
        let mut frame = [0; 16];
        let received = descriptors::receive_with(self.socket.as_fd(), &mut frame).ok()?;
        let report = KeeperReport::decode(frame.get(..received.len)?).ok()?;
        Some((report, received.descriptors.into_iter().next()))
    }

    /// Ends the keeper, which ends its vault.
    pub(super) fn end(mut self) {
        descriptors::hang_up(self.socket.as_fd());
        // It ends with its socket; a keeper that does not is past helping.
        if let Some(child) = &mut self.child {
            let _reaped = child.wait();
        }
    }

    /// Greets vaults until the keeper is gone.
    pub(super) fn supervise(self, link: &Link, terms: &Terms) {
        let mut exit = VaultExit::Unseen;
        while let Some((report, control)) = self.report() {
            match (report, control) {
                (KeeperReport::Ended { exit: seen }, _) => exit = seen,
                (KeeperReport::Started { pid }, Some(control)) => {
                    match next(link, control, terms) {
                        Ok(greeting) => {
                            link.publish(greeting);
                            link.tell(VaultEvent::Restarted { pid, exit });
                        }
                        Err(error) => {
                            let reason = error.to_string();
                            link.state().last_refusal = Some(reason.clone());
                            link.tell(VaultEvent::Failing { reason });
                        }
                    }
                }
                (KeeperReport::BegunAnew, Some(socket)) => link.begun_anew(Ok(socket)),
                (KeeperReport::NotBegun { errno }, _) => {
                    link.begun_anew(Err(io::Error::from_raw_os_error(errno)));
                }
                (KeeperReport::Started { .. } | KeeperReport::BegunAnew, None) => {}
            }
            if link.closing.load(Ordering::Acquire) {
                break;
            }
        }
        self.end();
        {
            let mut state = link.state();
            state.keeper = None;
            state.keeper_pid = None;
        }
        watch_orphan(link);
    }
}

/// Greets a vault that is to take the place of another. One that may not is hung up on, and ends.
fn next(link: &Link, control: OwnedFd, terms: &Terms) -> Result<Greeting, VaultError> {
    let greeting = greet(control, terms)?;
    link.admit(&greeting.masters)?;
    Ok(greeting)
}

/// Without a keeper the present vault is the last one: reports its end.
pub(super) fn watch_orphan(link: &Link) {
    let closing = || link.closing.load(Ordering::Acquire);
    if !closing() {
        link.tell(VaultEvent::KeeperLost);
    }
    let control = link.state().control.clone();
    if let Some(control) = control {
        // A poll that fails is as good as a hang-up: nobody watches any more.
        let _ended = descriptors::wait_hung_up(control.as_fd());
    }
    link.lose();
    if !closing() {
        link.tell(VaultEvent::Lost);
    }
}
