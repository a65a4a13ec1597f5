//! The part of the vocabulary that is about session tickets.
//!
//! The ratchet's state stays with main, sealed; the vault makes the next one of it and remembers
//! nothing, save, in strict mode, the keys that it was told to use.

use super::codec::Reader;
use super::codec::Writer;
use super::ticket::Context;
use super::ticket::KEY;
use super::ticket::NAME;
use super::wire::WireError;

/// What is to become of the ratchet's state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing: what are its keys?
    Look,
    /// Its epoch began at the moment that goes along, as the clock has it now.
    Restamp,
    /// The next epoch.
    Next,
    /// The epoch after the next: no key that was ever used is accepted.
    Skip,
    /// A new beginning, with nothing of the old root in it.
    Anew,
}

const STEPS: [Step; 5] = [Step::Look, Step::Restamp, Step::Next, Step::Skip, Step::Anew];

/// What main may ask about tickets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TicketRequest<'a> {
    /// Make the next state of this one.
    Turn {
        /// Its keys stay in the vault.
        strict: bool,
        /// How.
        step: Step,
        /// Seconds since 1970: when the state's epoch begins, or began.
        now: u64,
        /// As it was sealed; empty when there is none.
        state: &'a [u8],
    },
    /// Use the keys of this state from now on.
    Adopt {
        /// As it was sealed.
        state: &'a [u8],
    },
    /// Seal a session.
    Seal {
        /// What the ticket is bound to.
        context: Context,
        /// The session, as rustls writes it.
        session: &'a [u8],
    },
    /// Open a ticket.
    Open {
        /// What it must be bound to.
        context: Context,
        /// The ticket.
        ticket: &'a [u8],
    },
}

/// Name of a ticket key, and its octets where they are revealed.
pub type TurnedKey = ([u8; NAME], Option<[u8; KEY]>);

/// What the vault may answer about tickets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TicketReply<'a> {
    /// To `Turn`.
    Turned {
        /// The state's number.
        epoch: u64,
        /// When its epoch began.
        since: u64,
        /// Why the state that was sent is not continued; empty if it is, or there was none.
        anew: &'a [u8],
        /// The state, sealed.
        state: &'a [u8],
        /// The keys to accept, that of the epoch first.
        keys: Vec<TurnedKey>,
    },
    /// A ticket, or the session in one.
    Sealed(&'a [u8]),
    /// That ticket does not open, or that session gets none.
    No,
}

impl<'a> TicketRequest<'a> {
    pub(super) fn encode(&self, id: u64, out: &mut Writer<'_>) {
        match self {
            Self::Turn { strict, step, now, state } => {
                out.head(50, id);
                out.u8(u8::from(*strict));
                let octet = STEPS.iter().position(|known| known == step);
                out.u8(octet.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX));
                out.u64(*now);
                out.bytes(state);
            }
            Self::Adopt { state } => {
                out.head(51, id);
                out.bytes(state);
            }
            Self::Seal { context, session } => {
                out.head(52, id);
                out.array(context);
                out.bytes(session);
            }
            Self::Open { context, ticket } => {
                out.head(53, id);
                out.array(context);
                out.bytes(ticket);
            }
        }
    }

    pub(super) fn decode(tag: u8, input: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match tag {
            50 => Self::Turn {
                strict: input.flag("strict")?,
                step: *STEPS.get(usize::from(input.u8()?)).ok_or(WireError::BadField("step"))?,
                now: input.u64()?,
                state: input.bytes()?,
            },
            51 => Self::Adopt { state: input.bytes()? },
            52 => Self::Seal { context: input.array()?, session: input.bytes()? },
            53 => Self::Open { context: input.array()?, ticket: input.bytes()? },
            unknown => return Err(WireError::UnknownTag(unknown)),
        })
    }
}

impl<'a> TicketReply<'a> {
    pub(super) fn encode(&self, id: u64, out: &mut Writer<'_>) {
        match self {
            Self::Turned { epoch, since, anew, state, keys } => {
                out.head(178, id);
                out.u64(*epoch);
                out.u64(*since);
                out.bytes(anew);
                out.bytes(state);
                // Two at most.
                out.u8(u8::try_from(keys.len()).unwrap_or(u8::MAX));
                for (name, key) in keys {
                    out.array(name);
                    out.u8(u8::from(key.is_some()));
                    out.array(key.as_ref().map_or(&[][..], |key| key));
                }
            }
            Self::Sealed(bytes) => {
                out.head(179, id);
                out.bytes(bytes);
            }
            Self::No => out.head(180, id),
        }
    }

    pub(super) fn decode(tag: u8, input: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match tag {
            178 => Self::Turned {
                epoch: input.u64()?,
                since: input.u64()?,
                anew: input.bytes()?,
                state: input.bytes()?,
                keys: {
                    let count = input.u8()?;
                    let key = |input: &mut Reader<'a>| {
                        let name = input.array()?;
                        let key = if input.flag("key")? { Some(input.array()?) } else { None };
                        Ok((name, key))
                    };
                    (0..count).map(|_| key(input)).collect::<Result<_, WireError>>()?
                },
            },
            179 => Self::Sealed(input.bytes()?),
            180 => Self::No,
            unknown => return Err(WireError::UnknownTag(unknown)),
        })
    }
}
