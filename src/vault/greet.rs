//! The first question to a new vault, with the sockets of its worker channels.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use super::channel::Channel;
use super::channel::SeqPacket;
use super::channel::Transport;
use super::error::VaultError;
use super::gate;
use super::gate::Caller;
use super::gate::Mapped;
use super::seal::Mark;
use super::walls;
use super::walls::WALLS;
use super::walls::WallReport;
use super::wire::Reply;
use super::wire::Request;
use super::wire::VERSION;
use super::wire::WireError;
use crate::base::bounds;
use crate::os::descriptors;
use crate::os::sandbox::Standing;
use crate::os::shared;

/// What every vault is told.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) cache_bytes: u64,
    /// One for each worker: the core it is to share.
    pub(super) cores: Vec<Option<usize>>,
    /// Offer gates to the workers, where the kernel has what they need.
    pub(super) gates: bool,
    /// Turn away a vault of which any wall is torn.
    pub(super) strict: bool,
}

/// A vault that answered.
#[derive(Debug)]
pub(super) struct Greeting {
    /// Workers first, then work, then control.
    pub(super) channels: Vec<Channel>,
    /// A copy of the control socket.
    pub(super) control: OwnedFd,
    pub(super) pid: u32,
    pub(super) created: bool,
    pub(super) walls: Vec<WallReport>,
    /// Workers use gates.
    pub(super) gates: bool,
    /// Its master keys, the present one first.
    pub(super) masters: Vec<Mark>,
}

/// The number of the first question.
const FIRST: u64 = 1;

/// Greets the vault at the other end of `control` and waits for its answer.
///
/// # Errors
/// What the vault refuses with; [`VaultError::Gone`] when it ended before answering;
/// [`VaultError::Torn`] when more was asked of its walls than stands.
pub(super) fn greet(control: OwnedFd, terms: &Terms) -> Result<Greeting, VaultError> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    // One more for whoever is no worker.
    for _ in 0..=terms.cores.len() {
        let (mine, its) = descriptors::seqpacket_pair().map_err(VaultError::Start)?;
        ours.push(mine);
        theirs.push(its);
    }
    let gates = gates(terms);
    let cores = terms.cores.iter().chain([&None]);
    let cores = cores
        .map(|core| core.and_then(|core| u16::try_from(core).ok()).unwrap_or(u16::MAX))
        .collect();
    let mut frame = Vec::new();
    Request::Hello {
        version: VERSION,
        cache_bytes: terms.cache_bytes,
        cores,
        gates: gates.is_some(),
    }
    .encode(FIRST, &mut frame)?;
    descriptors::set_deadline(control.as_fd(), bounds::VAULT_WORK_DEADLINE)
        .map_err(VaultError::Start)?;
    let borrowed: Vec<_> = theirs.iter().chain(&gates).map(AsFd::as_fd).collect();
    descriptors::send_with(control.as_fd(), &frame, &borrowed).map_err(gone)?;
    drop(theirs);
    frame.resize(bounds::VAULT_FRAME + 1, 0);
    let len = descriptors::receive(control.as_fd(), &mut frame).map_err(gone)?;
    if len == 0 {
        return Err(VaultError::Gone);
    }
    let (answered, reply) = Reply::decode(frame.get(..len).ok_or(WireError::Long)?)?;
    let (pid, created, walls, used, masters) = match reply {
        _ if answered != FIRST => return Err(VaultError::Unexpected),
        Reply::Welcome { pid, created, walls, gates, masters } => {
            (pid, created, read_walls(&walls)?, gates, masters)
        }
        Reply::Refused { code, text } => return Err(VaultError::refused(code, text)),
        _ => return Err(VaultError::Unexpected),
    };
    let torn = walls::torn(&walls);
    if terms.strict && !torn.is_empty() {
        // Its sockets close behind this, which ends it.
        return Err(VaultError::Torn(torn));
    }
    let gates = if used { Some(gates.ok_or(VaultError::Unexpected)?) } else { None };
    let copy = control.try_clone().map_err(VaultError::Start)?;
    let mut channels = Vec::with_capacity(ours.len().saturating_add(1));
    for (index, socket) in ours.into_iter().enumerate() {
        let transport: Box<dyn Transport> = match &gates {
            Some(gates) if index < terms.cores.len() => {
                let shared = gate::map(gates, index).map_err(VaultError::Start)?;
                Box::new(Caller::new(Mapped::new(shared, socket), bounds::gate::VAULT_GATE_GLANCES))
            }
            _ => {
                let deadline = bounds::VAULT_SIGN_DEADLINE;
                Box::new(SeqPacket::new(socket, deadline).map_err(VaultError::Start)?)
            }
        };
        channels.push(Channel::new(transport, 0));
    }
    let transport =
        SeqPacket::new(control, bounds::VAULT_WORK_DEADLINE).map_err(VaultError::Start)?;
    channels.push(Channel::new(Box::new(transport), FIRST));
    Ok(Greeting { channels, control: copy, pid, created, walls, gates: used, masters })
}

/// Memory for the gates of all workers: one piece, because the descriptors that travel with one
/// message are few. `None` where there is no worker, or the kernel lacks it: sockets do then.
fn gates(terms: &Terms) -> Option<OwnedFd> {
    let len = terms.cores.len().checked_mul(gate::GATE)?;
    if terms.gates && len > 0 { shared::sealed(len).ok() } else { None }
}

fn gone(error: io::Error) -> VaultError {
    if error.kind() == io::ErrorKind::WouldBlock { VaultError::Late } else { VaultError::Gone }
}

fn read_walls(walls: &[(u8, u8, &[u8])]) -> Result<Vec<WallReport>, WireError> {
    walls
        .iter()
        .map(|(wall, standing, text)| {
            Ok(WallReport {
                wall: *WALLS.get(usize::from(*wall)).ok_or(WireError::BadField("wall"))?,
                standing: match standing {
                    0 => Standing::Full,
                    1 => Standing::Partial,
                    2 => Standing::Absent,
                    _ => return Err(WireError::BadField("standing")),
                },
                detail: String::from_utf8_lossy(text).into_owned(),
            })
        })
        .collect()
}
