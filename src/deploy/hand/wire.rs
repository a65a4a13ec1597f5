//! What main and a hand say to each other, as frames of bounded length.
//!
//! A hand may have more rights than main, and somebody may own main: a frame is read strictly, and is
//! the one way in which what it says can be written. Deliberately absent: a private key, which comes over
//! a socket of its own that main cannot read.

use serde::Deserialize;
use serde::Serialize;

use crate::base::bounds;

/// Version of the vocabulary. A hand is started anew each time, so after an upgrade it may be of
/// another program than main is.
pub(super) const VERSION: u32 = 1;

/// What main says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// First, and once.
    Begin {
        /// Must be [`VERSION`].
        version: u32,
        /// The target's name in the file.
        target: String,
        /// The first name of the certificate.
        name: String,
        /// DER certificates, the leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// The target shows what it should.
    Keep,
    /// It does not: it is to be as it was.
    PutBack,
}

/// What a hand is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    /// The process itself.
    Start,
    /// What the file says of the target, and whether it can be written in.
    Prepare,
    /// The private key on its way from the vault.
    Key,
    /// The files, or what is in their place.
    Place,
    /// The target is told to take it up.
    TakeUp,
    /// What was there before comes back.
    PutBack,
}

/// What a hand says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The target is known and can be written in; the socket for the key comes along.
    Ready,
    /// It is at this now.
    At(Stage),
    /// The pair is there and was taken up; what is to become of it?
    Placed,
    /// It stays.
    Kept,
    /// The target is as it was.
    IsBack,
    /// It did not work.
    Failed {
        /// At what.
        stage: Stage,
        /// Why, in the words of a person.
        reason: String,
        /// Whether the target is as it was before.
        as_it_was: bool,
    },
}

/// Why octets are no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a frame that cannot be understood")]
pub(super) struct NoFrame;

pub(super) fn encode<T: Serialize>(said: &T) -> Result<Vec<u8>, NoFrame> {
    let frame = postcard::to_stdvec(said).map_err(|_| NoFrame)?;
    if frame.len() > bounds::hand::FRAME { Err(NoFrame) } else { Ok(frame) }
}

pub(super) fn order(frame: &[u8]) -> Result<Order, NoFrame> {
    let order: Order = decode(frame)?;
    match &order {
        Order::Begin { chain, .. } if chain.len() > bounds::hand::CHAIN => Err(NoFrame),
        _ => Ok(order),
    }
}

pub(super) fn report(frame: &[u8]) -> Result<Report, NoFrame> {
    let report: Report = decode(frame)?;
    match &report {
        Report::Failed { reason, .. } if reason.len() > bounds::hand::REASON => Err(NoFrame),
        _ => Ok(report),
    }
}

fn decode<T: Serialize + for<'f> Deserialize<'f>>(frame: &[u8]) -> Result<T, NoFrame> {
    if frame.len() > bounds::hand::FRAME {
        return Err(NoFrame);
    }
    let (said, rest) = postcard::take_from_bytes::<T>(frame).map_err(|_| NoFrame)?;
    // The library reads a number in more ways than it writes it.
    if !rest.is_empty() || encode(&said)? != frame {
        return Err(NoFrame);
    }
    Ok(said)
}

impl Report {
    /// A failure in words on one line, of bounded length.
    pub(super) fn failed(stage: Stage, reason: &str, as_it_was: bool) -> Self {
        Self::Failed { stage, reason: one_line(reason, bounds::hand::REASON), as_it_was }
    }
}

/// The text without control characters and in at most `most` octets, its end cut off.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut end = line.len().min(most);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

#[cfg(any(test, fuzzing))]
#[path = "properties.rs"]
pub mod properties;
