//! The call gate: a question and its answer in memory that a worker shares with its thread of the
//! vault, and two words at which they wait for each other.
//!
//! # The words
//!
//! `asked` is written by the worker alone, `answered` by the vault alone. Equal, they mean that
//! nothing is under way. To ask, the worker fills the request slot and adds one to `asked`; to
//! answer, the vault fills the answer slot and makes `answered` equal. Each waits at the other's
//! word as long as that holds what it saw, and says so beforehand in a third number, its flag:
//! who has changed a word wakes the other only where that flag is up. From this follows:
//!
//! - One question is under way at most. A worker that gave up waiting fills the slot again only
//!   after the old question was answered, so the vault never reads half of each.
//! - A wake-up cannot be lost. Who waits raises its flag, then has the kernel compare the word
//!   before it is put to sleep; who wakes changes the word, then looks at the flag; and a full
//!   fence lies between the two steps of either. So one of them sees what the other did.
//! - An answer cannot be taken for that to another question, nor for that of an earlier vault:
//!   each vault has gates of its own.
//!
//! The vault copies a request out before it looks at it, believes no length, and writes its
//! answer to a place that no request can name. A worker that writes nonsense into the numbers
//! confuses its own thread of the vault and nobody else's: it may leave it asleep, or awake for
//! nothing. The vault waits without a limit, because it ends with main; a dead vault wakes nobody,
//! so the worker looks every [`bounds::gate::VAULT_GATE_GLANCE`] whether the socket of this channel was
//! hung up, which the kernel does for the dead.
//!
//! `gate_model.rs` walks through every interleaving of this code.
//!
//! # What it costs
//!
//! The least there can be is two system calls and two switches between threads: the worker wakes the
//! vault's thread, which runs at once on the worker's core, answers, and goes to sleep, upon which the
//! worker goes on and finds the answer, without having had the time to sleep itself. Where it does go
//! to sleep, there are two calls and a timer more, and the core does something else meanwhile. Which
//! of the two it is, the kernel decides by whose turn ends first. So the vault's threads take shorter
//! turns than workers do ([`bounds::gate::VAULT_TURN`]).
//!
//! Measured with two small programs that do this and nothing else, on one core of a virtual machine
//! (AMD Zen 3, Linux 6.18) between stretches of 80 us of other work, others at work on the machine; CPU
//! of both, one thing changed at a time:
//!
//! - The worker does not sleep: 6.5 to 7 us. It does: 10 to 12, and 17 to 27 when others want the core.
//!   With turns of equal length it sleeps 94 to 100 times of a hundred on the busy machine, with short
//!   ones of the vault 3 to 8 times.
//! - Two threads of one process instead of two processes: no difference that stands out, so the
//!   address space costs less than 1 us. The same for each wall: filter of system calls, no dumps,
//!   locked memory, secret memory. A barrier for predicted branches at each switch (IBPB), which this
//!   kernel has for those only who ask for it, would be 4 to 5 us.
//! - Yielding the core instead of sleeping: 5.8 us with nothing around, 3.4 where the vault yields too;
//!   but 28 to 33 when others want the core, because who yields goes behind them all, and a call was
//!   seen to take 2.4 ms. And a vault that only yields never rests. Dropped.
//! - A pair of eventfds instead of the futex: no better, and it cannot be looked at without a system
//!   call. Dropped.
//!
//! In the middle of a handshake the caches have to be filled again as well: one that is asked alone has
//! not become cheaper by short turns in `cargo bench --bench handshake -- --table alone` (+13.4 % before,
//! +14.4 % in a noisier run after). What helps most is to cross less often: see [`super::together`].
//!
//! Of what the vault's thread spends for a P-256 signature that is asked alone (`perf record -e
//! cpu-clock` of the daemon behind sockets, on a busy machine), 56 % is the curve, where a third is the
//! walk through the 150 KB of ring's table; 16 % the vault's own code, most of it the first touch of
//! cold lines: 3.4 % taking the request, 2 % decoding, 2 % each to find the key and to sign; 15 %
//! switching and the futex, 2 % of that to find the page of a word that two processes share; 4 %
//! copies; and 3.5 % the random octets, which ring asks the kernel for each time and takes from nobody
//! else. Signing in the process pays for the curve, the octets and half of the copies as well. Main
//! spends some 3 % of the handshake on asking. No part of it stands out that could be left away.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;
use std::time::Duration;

use super::channel::Transport;
use crate::base::bounds;
use crate::os::descriptors;
use crate::os::shared;
use crate::os::shared::Shared;

/// Octets of one gate.
pub(super) const GATE: usize = bounds::gate::VAULT_GATE_REQUEST + bounds::gate::VAULT_GATE_ANSWER;

/// Cells before the bytes of a slot: the word, the length, and the flag of who waits at the word.
pub(super) const HEAD: usize = 3;

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

    /// Says that who waits at the word is about to, or has done. What is read after raising it is
    /// read after everybody can see it.
    fn set_waiting(&self, slot: Slot, waiting: bool);

    /// Whether somebody may be waiting at the word. What was written before is written before
    /// this is read.
    fn is_waiting(&self, slot: Slot) -> bool;

    /// Waits while the word is `value`, up to `limit`; `false` when that has passed.
    fn wait(&self, slot: Slot, value: u32, limit: Option<Duration>) -> bool;

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
    /// An answer may take as many times [`bounds::gate::VAULT_GATE_GLANCE`].
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
        if self.memory.is_waiting(Slot::Request) {
            self.memory.wake(Slot::Request);
        }
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
            let limit = Some(bounds::gate::VAULT_GATE_GLANCE);
            self.memory.set_waiting(Slot::Answer, true);
            let woken = self.memory.wait(Slot::Answer, answered, limit);
            self.memory.set_waiting(Slot::Answer, false);
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
            self.memory.set_waiting(Slot::Request, true);
            self.memory.wait(Slot::Request, asked, None);
            self.memory.set_waiting(Slot::Request, false);
        }
    }

    /// Answers it; `false`, and an empty answer, when `frame` does not fit.
    pub(super) fn answer(&self, frame: &[u8]) -> bool {
        let fits = self.memory.fill(Slot::Answer, frame);
        self.memory.set_word(Slot::Answer, self.seen);
        if self.memory.is_waiting(Slot::Answer) {
            self.memory.wake(Slot::Answer);
        }
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
    fn slot(&self, slot: Slot) -> ([&AtomicU32; HEAD], &[AtomicU32]) {
        let (request, answer) =
            self.shared.cells().split_at(bounds::gate::VAULT_GATE_REQUEST / size_of::<AtomicU32>());
        let cells = match slot {
            Slot::Request => request,
            Slot::Answer => answer,
        };
        ([&cells[0], &cells[1], &cells[2]], &cells[HEAD..])
    }

    fn head(&self, slot: Slot) -> [&AtomicU32; HEAD] {
        self.slot(slot).0
    }
}

impl Memory for Mapped {
    fn word(&self, slot: Slot) -> u32 {
        let [word, ..] = self.head(slot);
        word.load(Ordering::Acquire)
    }

    fn set_word(&self, slot: Slot, value: u32) {
        let [word, ..] = self.head(slot);
        word.store(value, Ordering::Release);
    }

    fn set_waiting(&self, slot: Slot, waiting: bool) {
        let [_, _, flag] = self.head(slot);
        flag.store(u32::from(waiting), Ordering::Relaxed);
        if waiting {
            fence(Ordering::SeqCst);
        }
    }

    fn is_waiting(&self, slot: Slot) -> bool {
        let [_, _, flag] = self.head(slot);
        fence(Ordering::SeqCst);
        flag.load(Ordering::Relaxed) != 0
    }

    fn wait(&self, slot: Slot, value: u32, limit: Option<Duration>) -> bool {
        let [word, ..] = self.head(slot);
        shared::wait(word, value, limit)
    }

    fn wake(&self, slot: Slot) {
        let [word, ..] = self.head(slot);
        shared::wake(word);
    }

    fn fill(&self, slot: Slot, bytes: &[u8]) -> bool {
        let ([_, len, _], cells) = self.slot(slot);
        let fits = bytes.len() <= size_of_val(cells);
        let bytes = if fits { bytes } else { &[] };
        len.store(u32::try_from(bytes.len()).unwrap_or(0), Ordering::Relaxed);
        shared::copy_in(cells, bytes);
        fits
    }

    fn copy(&self, slot: Slot, bytes: &mut [u8]) -> Option<usize> {
        let ([_, len, _], cells) = self.slot(slot);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A gate that counts how often the kernel is asked to wake somebody.
    struct Counted<'c>(Mapped, &'c AtomicUsize);

    impl Memory for Counted<'_> {
        fn word(&self, slot: Slot) -> u32 {
            self.0.word(slot)
        }

        fn set_word(&self, slot: Slot, value: u32) {
            self.0.set_word(slot, value);
        }

        fn set_waiting(&self, slot: Slot, waiting: bool) {
            self.0.set_waiting(slot, waiting);
        }

        fn is_waiting(&self, slot: Slot) -> bool {
            self.0.is_waiting(slot)
        }

        fn wait(&self, slot: Slot, value: u32, limit: Option<Duration>) -> bool {
            self.0.wait(slot, value, limit)
        }

        fn wake(&self, slot: Slot) {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.wake(slot);
        }

        fn fill(&self, slot: Slot, bytes: &[u8]) -> bool {
            self.0.fill(slot, bytes)
        }

        fn copy(&self, slot: Slot, bytes: &mut [u8]) -> Option<usize> {
            self.0.copy(slot, bytes)
        }

        fn peer_gone(&self) -> bool {
            self.0.peer_gone()
        }
    }

    #[test]
    fn the_kernel_is_asked_to_wake_only_who_waits() {
        let memory = shared::sealed(GATE).unwrap();
        let (one, other) = descriptors::seqpacket_pair().unwrap();
        let (by_worker, by_vault) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let woken = || (by_worker.load(Ordering::Relaxed), by_vault.load(Ordering::Relaxed));
        let mapped = |socket| Mapped::new(map(&memory, 0).unwrap(), socket);
        let mut caller = Caller::new(Counted(mapped(one), &by_worker), 1000);
        let mut callee = Callee::new(Counted(mapped(other), &by_vault));
        let mut frame = [0; 8];
        // Each finds what it looks for, as where the vault's thread runs as soon as it can.
        for round in 1..=3 {
            caller.ask(&[round]).unwrap();
            assert_eq!((callee.next(&mut frame), frame[0]), (Some(1), round));
            assert!(callee.answer(&[round]));
            assert_eq!((caller.take(&mut frame).unwrap(), frame[0]), (1, round));
        }
        assert_eq!(woken(), (0, 0));
        // Here the vault's thread sleeps before it is asked, and the worker before it is answered.
        let asleep = |slot| {
            let gate = map(&memory, 0).unwrap();
            let place =
                if slot == Slot::Request { 0 } else { bounds::gate::VAULT_GATE_REQUEST / 4 };
            while gate.cells()[place + 2].load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut frame = [0; 8];
                callee.next(&mut frame).unwrap();
                asleep(Slot::Answer);
                callee.answer(&frame[..1]);
            });
            asleep(Slot::Request);
            caller.ask(&[9]).unwrap();
            assert_eq!((caller.take(&mut frame).unwrap(), frame[0]), (1, 9));
        });
        assert_eq!(woken(), (1, 1));
    }
}
