//! The call gate: a question and its answer in memory that a worker shares with its thread of the
//! vault, and two words at which they wait for each other.
//!
//! # The words
//!
//! `asked` is written by the worker alone, `answered` by the vault alone. Equal, they mean that
//! nothing is under way. To ask, the worker fills the request slot, adds one to `asked`, and
//! wakes the vault; to answer, the vault fills the answer slot, makes `answered` equal, and wakes
//! the worker. Each waits at the other's word as long as that holds what it saw. From this
//! follows:
//!
//! - One question is under way at most. A worker that gave up waiting fills the slot again only
//!   after the old question was answered, so the vault never reads half of each.
//! - A wake-up cannot be lost: the kernel compares the word before it puts anyone to sleep.
//! - An answer cannot be taken for that to another question, nor for that of an earlier vault:
//!   each vault has gates of its own.
//!
//! The vault copies a request out before it looks at it, believes no length, and writes its
//! answer to a place that no request can name. A worker that writes nonsense into the words
//! confuses its own thread of the vault and nobody else's. A dead vault wakes nobody: so the
//! worker looks every [`bounds::VAULT_GATE_GLANCE`] whether the socket of this channel was
//! hung up, which the kernel does for the dead.
//!
//! What it saves is the copying calls of a socket: a full TLS 1.3 handshake with P-256 costs 7.7 to
//! 8.2 % more CPU through a gate than with the key in the process, and 10.5 % more over a socket
//! (`benches/handshake.rs`, worker and vault on one core, two runs of each in one hour). What is
//! left are two switches between threads.
//!
//! `gate_model.rs` walks through every interleaving of this code.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::channel::Transport;
use crate::base::bounds;
use crate::os::descriptors;
use crate::os::shared;
use crate::os::shared::Shared;

/// Octets of one gate.
pub(super) const GATE: usize = bounds::VAULT_GATE_REQUEST + bounds::VAULT_GATE_ANSWER;

/// Cells before the bytes of a slot: the word, and the length.
const HEAD: usize = 2;

/// One of the two words, and the slot that belongs to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    /// Written by the worker.
    Request,
    /// Written by the vault.
    Answer,
}

/// The memory of a gate. The order in which its parts are used is the business of [`Caller`] and
/// [`Callee`], so that a model can stand in for it.
pub(super) trait Memory {
    /// The word; what was written before it was stored is seen afterwards.
    fn word(&self, slot: Slot) -> u32;

    /// Changes the word.
    fn set_word(&self, slot: Slot, value: u32);

    /// Waits while the word is `value`, up to `limit`; `false` when that has passed.
    fn wait(&self, slot: Slot, value: u32, limit: Duration) -> bool;

    /// Wakes who waits at the word.
    fn wake(&self, slot: Slot);

    /// Fills the slot; `false` when `bytes` do not fit.
    fn fill(&self, slot: Slot, bytes: &[u8]) -> bool;

    /// Copies the slot out, and returns its length; `None` for a length that no slot has.
    fn copy(&self, slot: Slot, bytes: &mut [u8]) -> Option<usize>;

    /// Whether the other process is gone. For the worker; the vault may not even ask.
    fn peer_gone(&self) -> bool;
}

/// The worker's side.
#[derive(Debug)]
pub(super) struct Caller<M> {
    memory: M,
    asked: u32,
    /// An answer may take as many times [`bounds::VAULT_GATE_GLANCE`].
    glances: u32,
}

impl<M: Memory> Caller<M> {
    pub(super) const fn new(memory: M, glances: u32) -> Self {
        Self { memory, asked: 0, glances }
    }

    /// Asks, once nothing else is under way.
    pub(super) fn ask(&mut self, frame: &[u8]) -> io::Result<()> {
        self.settled()?;
        if !self.memory.fill(Slot::Request, frame) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.asked = self.asked.wrapping_add(1);
        self.memory.set_word(Slot::Request, self.asked);
        self.memory.wake(Slot::Request);
        Ok(())
    }

    /// The answer to what was asked last: its length.
    pub(super) fn take(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.settled()?;
        // The vault writes no other length.
        self.memory.copy(Slot::Answer, frame).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Waits until nothing is under way.
    fn settled(&self) -> io::Result<()> {
        let mut left = self.glances;
        loop {
            let answered = self.memory.word(Slot::Answer);
            if answered == self.asked {
                return Ok(());
            }
            // Being woken for nothing counts as well, so that this ends whatever the vault does.
            left = left.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
            let woken = self.memory.wait(Slot::Answer, answered, bounds::VAULT_GATE_GLANCE);
            if !woken && self.memory.peer_gone() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }
}

/// The vault's side.
#[derive(Debug)]
pub(super) struct Callee<M> {
    memory: M,
    seen: u32,
}

impl<M: Memory> Callee<M> {
    pub(super) const fn new(memory: M) -> Self {
        Self { memory, seen: 0 }
    }

    /// Waits for the next question: its length, or `None` for a length that no slot has.
    pub(super) fn next(&mut self, frame: &mut [u8]) -> Option<usize> {
        loop {
            let asked = self.memory.word(Slot::Request);
            if asked != self.seen {
                self.seen = asked;
                return self.memory.copy(Slot::Request, frame);
            }
            self.memory.wait(Slot::Request, asked, bounds::VAULT_GATE_WATCH);
        }
    }

    /// Answers it; `false`, and an empty answer, when `frame` does not fit.
    pub(super) fn answer(&self, frame: &[u8]) -> bool {
        let fits = self.memory.fill(Slot::Answer, frame);
        self.memory.set_word(Slot::Answer, self.seen);
        self.memory.wake(Slot::Answer);
        fits
    }
}

/// A gate that both processes have mapped. The socket of its channel carries nothing: it is there
/// to be hung up when the process at its end is gone.
#[derive(Debug)]
pub(super) struct Mapped {
    shared: Shared,
    socket: OwnedFd,
}

/// Maps gate `index` of the gates in `memory`.
pub(super) fn map(memory: &OwnedFd, index: usize) -> io::Result<Shared> {
    let offset = index.checked_mul(GATE).ok_or(io::ErrorKind::InvalidInput)?;
    Shared::map(memory, offset, GATE)
}

impl Mapped {
    /// A gate as [`map`] maps it, and the socket of its channel.
    pub(super) const fn new(shared: Shared, socket: OwnedFd) -> Self {
        Self { shared, socket }
    }

    #[expect(clippy::indexing_slicing, reason = "a gate is mapped whole: both slots have heads")]
    fn slot(&self, slot: Slot) -> (&AtomicU32, &AtomicU32, &[AtomicU32]) {
        let (request, answer) =
            self.shared.cells().split_at(bounds::VAULT_GATE_REQUEST / size_of::<AtomicU32>());
        let cells = match slot {
            Slot::Request => request,
            Slot::Answer => answer,
        };
        (&cells[0], &cells[1], &cells[HEAD..])
    }
}

impl Memory for Mapped {
    fn word(&self, slot: Slot) -> u32 {
        self.slot(slot).0.load(Ordering::Acquire)
    }

    fn set_word(&self, slot: Slot, value: u32) {
        self.slot(slot).0.store(value, Ordering::Release);
    }

    fn wait(&self, slot: Slot, value: u32, limit: Duration) -> bool {
        shared::wait(self.slot(slot).0, value, limit)
    }

    fn wake(&self, slot: Slot) {
        shared::wake(self.slot(slot).0);
    }

    fn fill(&self, slot: Slot, bytes: &[u8]) -> bool {
        let (_, len, cells) = self.slot(slot);
        let fits = bytes.len() <= size_of_val(cells);
        let bytes = if fits { bytes } else { &[] };
        len.store(u32::try_from(bytes.len()).unwrap_or(0), Ordering::Relaxed);
        shared::copy_in(cells, bytes);
        fits
    }

    fn copy(&self, slot: Slot, bytes: &mut [u8]) -> Option<usize> {
        let (_, len, cells) = self.slot(slot);
        let len = usize::try_from(len.load(Ordering::Relaxed)).ok()?;
        if len == 0 || len > size_of_val(cells) {
            return None;
        }
        shared::copy_out(cells, bytes.get_mut(..len)?);
        Some(len)
    }

    fn peer_gone(&self) -> bool {
        descriptors::is_hung_up(self.socket.as_fd())
    }
}

impl Transport for Caller<Mapped> {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.ask(frame)
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        self.take(frame)
    }
}

impl Transport for Callee<Mapped> {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.answer(frame) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Never 0: who is gone asks nothing. A length that no slot has is told as one that no
    /// buffer holds.
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        Ok(self.next(frame).unwrap_or(usize::MAX))
    }
}
