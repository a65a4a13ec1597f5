//! The vault's side of session tickets: turns the ratchet, and in strict mode seals and opens.
//!
//! It remembers the two keys that it was told to use, and nothing else. A state whose keys are to
//! stay here is never answered with them, whoever asks.

use arc_swap::ArcSwapOption;
use ring::rand::SystemRandom;
use zeroize::Zeroize;

use super::ratchet::Refused;
use super::ratchet::State;
use super::seal::Content;
use super::seal::Sealer;
use super::ticket::RawTicketKey;
use super::ticket::TicketKey;
use super::ticket::name_of;
use super::wire::Refusal;
use super::wire::Reply;
use super::wire_tickets::Step;
use super::wire_tickets::TicketReply;
use super::wire_tickets::TicketRequest;
use crate::base::bounds::VAULT_TEXT;
use crate::os::wiped::scrub_stack;

/// The label of the ratchet's state.
const LABEL: &[u8] = b"keyward vault: session tickets";

/// The keys in use, in strict mode.
#[derive(Debug, Default)]
pub(super) struct Ticketing {
    adopted: ArcSwapOption<Vec<TicketKey>>,
}

type Decided<T> = Result<T, (Refusal, String)>;

impl Ticketing {
    /// Answers one request into `out`.
    pub(super) fn answer(
        &self,
        sealer: &Sealer,
        random: &SystemRandom,
        id: u64,
        request: &TicketRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Decided<()> {
        let mut found = None;
        let reply = match *request {
            TicketRequest::Turn { strict, step, now, state } => {
                let turned = turn(sealer, random, (strict, step, now), state);
                scrub_stack();
                return answer_turned(id, turned?, strict, out);
            }
            TicketRequest::Adopt { state } => {
                self.adopt(sealer, state)?;
                scrub_stack();
                Reply::Done
            }
            TicketRequest::Seal { context, session } => {
                let keys = self.adopted.load();
                let current = keys.as_ref().and_then(|keys| keys.first());
                found = current.and_then(|key| key.seal(&context, session));
                sealed(found.as_deref())
            }
            TicketRequest::Open { context, ticket } => {
                let keys = self.adopted.load();
                let name = name_of(ticket);
                let mut keys = keys.iter().flat_map(|keys| keys.iter());
                let key = keys.find(|key| Some(*key.name()) == name);
                found = key.and_then(|key| key.open(&context, ticket));
                sealed(found.as_deref())
            }
        };
        let encoded = reply.encode(id, out).map_err(|error| (Refusal::Crypto, error.to_string()));
        found.zeroize();
        encoded
    }

    fn adopt(&self, sealer: &Sealer, state: &[u8]) -> Decided<()> {
        let state = open(sealer, state).map_err(|reason| (Refusal::Seal, reason))?;
        if !state.is(true) {
            return Err((Refusal::Seal, "these ticket keys are not kept in the vault".to_owned()));
        }
        let keys = state.keys().map_err(refused)?;
        let keys = keys.iter().filter_map(|RawTicketKey { name, key }| {
            key.as_ref().map(|octets| TicketKey::new(*name, octets))
        });
        self.adopted.store(Some(std::sync::Arc::new(keys.collect())));
        Ok(())
    }
}

/// The next state, and why the one before it is not continued.
struct Turned {
    state: State,
    sealed: Vec<u8>,
    anew: String,
}

fn turn(
    sealer: &Sealer,
    random: &SystemRandom,
    (strict, step, now): (bool, Step, u64),
    former: &[u8],
) -> Decided<Turned> {
    let begin = |epoch| State::begin(strict, epoch, now, random);
    let (state, anew) = if former.is_empty() {
        (begin(1), String::new())
    } else {
        match open(sealer, former) {
            Ok(state) if state.is(strict) => (state.step(step, now, random), String::new()),
            Ok(state) => {
                let reason = "its keys were held in another place";
                (begin(state.epoch.saturating_add(1)), reason.to_owned())
            }
            Err(reason) => (begin(1), reason),
        }
    };
    let state = state.map_err(refused)?;
    let sealed = sealer.seal(Content::secret(LABEL), &state.encode());
    let sealed = sealed.map_err(|error| (Refusal::Crypto, error.to_string()))?;
    Ok(Turned { state, sealed, anew })
}

fn answer_turned(id: u64, turned: Turned, strict: bool, out: &mut Vec<u8>) -> Decided<()> {
    let Turned { state, sealed, anew } = turned;
    let mut keys: Vec<_> = state
        .keys()
        .map_err(refused)?
        .iter()
        .map(|RawTicketKey { name, key }| {
            (*name, key.as_ref().filter(|_| !strict).map(|octets| **octets))
        })
        .collect();
    let anew = anew.as_bytes();
    let reply = Reply::Tickets(TicketReply::Turned {
        epoch: state.epoch,
        since: state.since,
        anew: anew.get(..VAULT_TEXT).unwrap_or(anew),
        state: &sealed,
        keys: std::mem::take(&mut keys),
    });
    let encoded = reply.encode(id, out).map_err(|error| (Refusal::Crypto, error.to_string()));
    if let Reply::Tickets(TicketReply::Turned { mut keys, .. }) = reply {
        keys.iter_mut().for_each(|(_, octets)| octets.zeroize());
    }
    encoded
}

fn open(sealer: &Sealer, sealed: &[u8]) -> Result<State, String> {
    let (content, plain) = sealer.open(sealed).map_err(|error| error.to_string())?;
    if content != Content::secret(LABEL) {
        return Err("the record is something else".to_owned());
    }
    State::decode(&plain).ok_or_else(|| "the record has a form that is not known".to_owned())
}

fn sealed(bytes: Option<&[u8]>) -> Reply<'_> {
    Reply::Tickets(bytes.map_or(TicketReply::No, TicketReply::Sealed))
}

fn refused(_: Refused) -> (Refusal, String) {
    (Refusal::Crypto, "the cryptographic library refused".to_owned())
}
