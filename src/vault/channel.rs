//! One way from main to the vault: asks, waits, and knows its own answer.
//!
//! A channel is used by one thread at a time. What it is made of is behind [`Transport`].

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use zeroize::Zeroize;

use super::error::VaultError;
use super::wire::Reply;
use super::wire::Request;
use super::wire::WireError;
use crate::base::bounds;
use crate::os::descriptors;
use crate::os::descriptors::Received;

/// Carries frames between a thread of main and one of the vault; either side has one end.
pub(super) trait Transport: Send + std::fmt::Debug {
    /// Sends one frame whole.
    ///
    /// # Errors
    /// `WouldBlock` after the deadline, `InvalidInput` for a frame that does not fit; anything
    /// else means that the vault is gone.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;

    /// Sends one frame whole, with descriptors.
    ///
    /// # Errors
    /// As [`Transport::send`]; a way that carries no descriptors refuses.
    fn send_with(&mut self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.is_empty() {
            self.send(frame)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Receives one frame; its length as sent, 0 when the peer is gone.
    ///
    /// # Errors
    /// As [`Transport::send`].
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize>;

    /// Receives one frame and the descriptors that came along.
    ///
    /// # Errors
    /// As [`Transport::send`].
    fn receive_with(&mut self, frame: &mut [u8]) -> io::Result<Received> {
        self.receive(frame).map(|len| Received { len, descriptors: Vec::new() })
    }
}

/// A `SOCK_SEQPACKET` pair.
#[derive(Debug)]
pub(super) struct SeqPacket(OwnedFd);

impl SeqPacket {
    /// Takes the end of one who waits as long as it takes.
    pub(super) const fn patient(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Takes one end; every send and receive is due within `deadline`.
    ///
    /// # Errors
    /// When it is no socket.
    pub(super) fn new(socket: OwnedFd, deadline: Duration) -> io::Result<Self> {
        descriptors::set_deadline(socket.as_fd(), deadline)?;
        Ok(Self(socket))
    }
}

impl Transport for SeqPacket {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        descriptors::send(self.0.as_fd(), frame)
    }

    fn send_with(&mut self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        descriptors::send_with(self.0.as_fd(), frame, descriptors)
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        descriptors::receive(self.0.as_fd(), frame)
    }

    fn receive_with(&mut self, frame: &mut [u8]) -> io::Result<Received> {
        descriptors::receive_with(self.0.as_fd(), frame)
    }
}

/// How many late answers to earlier questions are passed over before the vault counts as mad.
const STALE_ANSWERS: usize = 64;

/// A transport with its buffers and the number of its last question.
#[derive(Debug)]
pub(super) struct Channel {
    transport: Box<dyn Transport>,
    newest: u64,
    out: Vec<u8>,
    reply: Vec<u8>,
}

impl Channel {
    /// A channel on which questions up to `newest` were asked already.
    pub(super) fn new(transport: Box<dyn Transport>, newest: u64) -> Self {
        Self {
            transport,
            newest,
            out: Vec::with_capacity(bounds::VAULT_FRAME),
            reply: vec![0; bounds::VAULT_FRAME + 1],
        }
    }

    /// Asks, and waits for the answer to this very question.
    ///
    /// # Errors
    /// [`VaultError::Gone`] when the vault hung up, [`VaultError::Late`] after the deadline; the
    /// late answer is passed over by the next question.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Result<Reply<'_>, VaultError> {
        let asked = self.number(request)?;
        self.transport.send(&self.out).map_err(|error| broken(&error))?;
        self.answer(asked)
    }

    /// Asks with descriptors along, and waits for the answer.
    ///
    /// # Errors
    /// As [`Channel::ask`].
    pub(super) fn hand_over(
        &mut self,
        request: &Request<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply<'_>, VaultError> {
        let asked = self.number(request)?;
        let sent = self.transport.send_with(&self.out, descriptors);
        sent.map_err(|error| broken(&error))?;
        self.answer(asked)
    }

    /// Writes the next question into its buffer.
    fn number(&mut self, request: &Request<'_>) -> Result<u64, VaultError> {
        self.newest = self.newest.saturating_add(1);
        request.encode(self.newest, &mut self.out)?;
        Ok(self.newest)
    }

    fn answer(&mut self, asked: u64) -> Result<Reply<'_>, VaultError> {
        for _ in 0..STALE_ANSWERS {
            let len = match self.transport.receive(&mut self.reply) {
                Ok(0) => return Err(VaultError::Gone),
                Ok(len) => len,
                Err(error) => return Err(broken(&error)),
            };
            let frame = self.reply.get(..len).ok_or(WireError::Long)?;
            let (answered, _) = Reply::decode(frame)?;
            if answered == asked {
                // Decoded again, because the borrow of the loop ends here.
                let frame = self.reply.get(..len).ok_or(WireError::Long)?;
                return match Reply::decode(frame)?.1 {
                    Reply::Refused { code, text } => Err(VaultError::refused(code, text)),
                    reply => Ok(reply),
                };
            }
            if answered > asked {
                return Err(VaultError::Unexpected);
            }
        }
        Err(VaultError::Unexpected)
    }

    /// Wipes what passed through.
    pub(super) fn wipe(&mut self) {
        self.out.zeroize();
        self.reply.as_mut_slice().zeroize();
    }
}

fn broken(error: &io::Error) -> VaultError {
    match error.kind() {
        io::ErrorKind::WouldBlock => VaultError::Late,
        io::ErrorKind::InvalidInput => VaultError::Frame(WireError::Long),
        _ => VaultError::Gone,
    }
}
