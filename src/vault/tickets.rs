//! Session tickets as main asks the vault about them.

use zeroize::Zeroize;
use zeroize::Zeroizing;

use super::client::Vault;
use super::error::VaultError;
use super::ticket::Context;
use super::ticket::RawTicketKey;
use super::wire::Reply;
use super::wire::Request;
use super::wire_tickets::Step;
use super::wire_tickets::TicketReply;
use super::wire_tickets::TicketRequest;
use crate::cert::ports::TicketSeal;

/// Where the ratchet stands now.
#[derive(Debug)]
pub struct Turned {
    /// Number of the state.
    pub epoch: u64,
    /// When its epoch began, in seconds since 1970.
    pub since: u64,
    /// Why the state that was given is not continued, if it is not.
    pub anew: Option<String>,
    /// The state, sealed; to be given next time.
    pub state: Vec<u8>,
    /// The keys to accept, that of the epoch first; without octets in strict mode.
    pub keys: Vec<RawTicketKey>,
}

impl Vault {
    /// Makes the next state of `state`, which may be empty. In `strict` mode its keys are not
    /// revealed. `now` is when the epoch begins, or began. Nothing is in force by this. Blocks.
    ///
    /// # Errors
    /// [`VaultError`]; a state that does not open is no error but a new beginning.
    pub fn turn_tickets(
        &self,
        strict: bool,
        step: Step,
        now: u64,
        state: &[u8],
    ) -> Result<Turned, VaultError> {
        let mut control = self.control();
        let request = Request::Tickets(TicketRequest::Turn { strict, step, now, state });
        let turned = control.ask(&request, |reply| match reply {
            Reply::Tickets(TicketReply::Turned { epoch, since, anew, state, mut keys })
                if !keys.is_empty() =>
            {
                let raw = |(name, key): &mut (_, Option<[u8; 32]>)| {
                    let octets = key.map(Zeroizing::new);
                    key.zeroize();
                    RawTicketKey { name: *name, key: octets }
                };
                let anew = (!anew.is_empty()).then(|| String::from_utf8_lossy(anew).into_owned());
                let keys = keys.iter_mut().map(raw).collect();
                Ok(Turned { epoch, since, anew, state: state.to_vec(), keys })
            }
            _ => Err(VaultError::Unexpected),
        });
        control.wipe();
        turned
    }

    /// Has the present vault seal and open with the keys of `state`, which must be strict. The
    /// next vault has to be told again. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Seal`] when the state does not open, or its keys may be revealed.
    pub fn adopt_tickets(&self, state: &[u8]) -> Result<(), VaultError> {
        let request = Request::Tickets(TicketRequest::Adopt { state });
        self.control().ask(&request, |reply| match reply {
            Reply::Done => Ok(()),
            _ => Err(VaultError::Unexpected),
        })
    }

    fn ticket(&self, request: TicketRequest<'_>) -> Option<Vec<u8>> {
        let request = Request::Tickets(request);
        // Without an answer the handshake goes on without a ticket.
        let answer = self.on_nearest(|line| {
            line.ask(&request, |reply| match reply {
                Reply::Tickets(TicketReply::Sealed(bytes)) => Ok(Some(bytes.to_vec())),
                Reply::Tickets(TicketReply::No) => Ok(None),
                _ => Err(VaultError::Unexpected),
            })
        });
        answer.ok().flatten()
    }
}

impl TicketSeal for Vault {
    fn seal(&self, context: &Context, session: &[u8]) -> Option<Vec<u8>> {
        self.ticket(TicketRequest::Seal { context: *context, session })
    }

    fn open(&self, context: &Context, ticket: &[u8]) -> Option<Vec<u8>> {
        self.ticket(TicketRequest::Open { context: *context, ticket })
    }
}
