//! Main's side of an errand: a pair is carried to a target, judged, and kept or put back.
//!
//! Everything here blocks, within bounds. Deliberately absent: the verdict itself, and where hands come
//! from.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::deadline::Deadline;
use super::door::Hand;
use super::wire;
use super::wire::Order;
use super::wire::Report;
use super::wire::Stage;
use crate::base::bounds;
use crate::cert::chain::Chain;
use crate::cert::deployment::TargetName;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyHandle;
use crate::os::descriptors;
use crate::vault::Vault;

/// What is carried where.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// The target, as the file names it.
    pub target: &'a TargetName,
    /// The certificate's first name, which stands for `{name}` in the paths of the target.
    pub name: &'a Identifier,
    /// The chain.
    pub chain: &'a Chain,
    /// Its key, which has to be exportable.
    pub key: &'a KeyHandle,
}

/// Why a pair was not brought, or not put back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: {reason}", stage.words())]
pub struct HandError {
    /// At what.
    pub stage: Stage,
    /// In the words of a person.
    pub reason: String,
    /// Whether the target is as it was before.
    pub as_it_was: bool,
}

impl Stage {
    /// What did not work.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Start => "the process that deploys",
            Self::Prepare => "the target cannot be written",
            Self::Key => "the private key did not come",
            Self::Place => "the pair cannot be put there",
            Self::TakeUp => "the target does not take it up",
            Self::PutBack => "what was there before cannot be put back",
        }
    }
}

/// A pair that is at its target and was taken up there, and is to be judged: within
/// [`bounds::hand::VERDICT`]. Dropped without a verdict, it stays there, and counts as not judged.
#[derive(Debug)]
pub struct Placed {
    talk: Talk,
    time: Duration,
}

/// A conversation with one hand.
#[derive(Debug)]
struct Talk {
    socket: OwnedFd,
    /// What it was at when it was last heard of.
    stage: Stage,
}

impl Hand {
    /// Brings the pair to its target and has it taken up there. Blocks, for up to `deadline` and some
    /// seconds.
    ///
    /// # Errors
    /// [`HandError`]. Where the target did not take the pair up, what was there before is there again
    /// if [`HandError::as_it_was`] says so.
    pub fn carry(
        &self,
        parcel: Parcel<'_>,
        vault: &Vault,
        deadline: Duration,
    ) -> Result<Placed, HandError> {
        self.carry_with(parcel, deadline, |end| {
            vault.export(parcel.key, end).map_err(|error| error.to_string())
        })
    }

    /// The same with a private key from elsewhere, which `give` writes into the descriptor.
    ///
    /// # Errors
    /// As [`Self::carry`].
    pub fn carry_with(
        &self,
        parcel: Parcel<'_>,
        deadline: Duration,
        give: impl FnOnce(OwnedFd) -> Result<(), String>,
    ) -> Result<Placed, HandError> {
        let start = |reason: String| HandError { stage: Stage::Start, reason, as_it_was: true };
        let socket = self.call().map_err(start)?;
        let mut talk = Talk { socket, stage: Stage::Start };
        talk.order(&Order::Begin {
            version: wire::VERSION,
            target: parcel.target.as_str().to_owned(),
            name: parcel.name.to_string(),
            chain: parcel.chain.certificates().to_vec(),
        })?;
        let time = deadline.saturating_add(bounds::hand::GRACE);
        let until = Deadline::within(time);
        let end = talk.wait_ready(until)?;
        let given = give(end);
        if let Err(reason) = given {
            // What the hand would say of a key that did not come is less than this.
            return Err(HandError { stage: Stage::Key, reason, as_it_was: true });
        }
        // It puts back what was there before by itself, for which it has the same time again.
        talk.wait(&Report::Placed, Deadline::within(until.left().saturating_add(time)))?;
        Ok(Placed { talk, time })
    }
}

impl Placed {
    /// The pair stays.
    ///
    /// # Errors
    /// When the hand is gone: then the pair is there, and the next hand believes that nobody judged it.
    pub fn keep(mut self) -> Result<(), HandError> {
        self.talk.order(&Order::Keep)?;
        self.talk.wait(&Report::Kept, Deadline::within(self.time))
    }

    /// What was there before is there again and taken up.
    ///
    /// # Errors
    /// When it could not be put back.
    pub fn put_back(mut self) -> Result<(), HandError> {
        self.talk.stage = Stage::PutBack;
        self.talk.order(&Order::PutBack)?;
        self.talk.wait(&Report::IsBack, Deadline::within(self.time))
    }
}

impl Talk {
    fn lost(&self, reason: impl ToString) -> HandError {
        // Before it was at the target, it has changed nothing.
        let as_it_was = matches!(self.stage, Stage::Start | Stage::Prepare | Stage::Key);
        HandError { stage: self.stage, reason: reason.to_string(), as_it_was }
    }

    fn order(&self, order: &Order) -> Result<(), HandError> {
        let frame = wire::encode(order).map_err(|error| self.lost(error))?;
        let within = descriptors::set_deadline(self.socket.as_fd(), bounds::hand::GREETING);
        within.and_then(|()| descriptors::send(self.socket.as_fd(), &frame)).map_err(|error| {
            self.lost(format!("the process that deploys does not listen: {error}"))
        })
    }

    /// The next thing that it says, with what comes along.
    fn hear(&self, until: Deadline) -> Result<(Report, Vec<OwnedFd>), HandError> {
        let late = || self.lost("the process that deploys did not answer in time");
        let left = until.left();
        if left.is_zero() {
            return Err(late());
        }
        let mut frame = vec![0; bounds::hand::FRAME];
        let received = descriptors::set_deadline(self.socket.as_fd(), left)
            .and_then(|()| descriptors::receive_with(self.socket.as_fd(), &mut frame))
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => late(),
                _ => self.lost(format!("the process that deploys is gone: {error}")),
            })?;
        let frame = frame.get(..received.len).filter(|frame| !frame.is_empty());
        let frame =
            frame.ok_or_else(|| self.lost("the process that deploys ended without an answer"))?;
        let report = wire::report(frame).map_err(|error| self.lost(error))?;
        Ok((report, received.descriptors))
    }

    fn wait_ready(&mut self, until: Deadline) -> Result<OwnedFd, HandError> {
        match self.hear(until)? {
            (Report::Ready, descriptors) => {
                self.stage = Stage::Key;
                let end = descriptors.into_iter().next();
                end.ok_or_else(|| self.lost("the process that deploys gave nothing to write into"))
            }
            (Report::Failed { stage, reason, as_it_was }, _) => {
                Err(HandError { stage, reason, as_it_was })
            }
            _ => Err(self.lost("the process that deploys said what has no meaning here")),
        }
    }

    fn wait(&mut self, wanted: &Report, until: Deadline) -> Result<(), HandError> {
        loop {
            match self.hear(until)?.0 {
                report if report == *wanted => return Ok(()),
                Report::At(stage) => self.stage = stage,
                Report::Failed { stage, reason, as_it_was } => {
                    return Err(HandError { stage, reason, as_it_was });
                }
                _ => {
                    return Err(self.lost("the process that deploys said what has no meaning here"));
                }
            }
        }
    }
}
