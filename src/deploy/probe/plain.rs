//! What is said before TLS, within bounds of octets; time is the business of whoever waits for it.
//!
//! What the words mean is the business of each protocol.

use std::io;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;

use super::address::hung_up;
use super::error::quoted;
use crate::base::bounds::deployment::probe::LINE;
use crate::base::bounds::deployment::probe::MESSAGE;
use crate::base::bounds::deployment::probe::PLAIN;

/// How a dialogue fails.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// The server hung up.
    Closed,
    /// The connection broke, in the words of the kernel.
    Broken(String),
    /// It says what the protocol does not know.
    Garbled(String),
    /// It does not begin TLS.
    Refused(String),
    /// There is more in plain where TLS was to begin.
    Stuffed,
}

/// A connection on which TLS has not begun.
#[derive(Debug)]
pub(super) struct Plain<S> {
    stream: S,
    /// What came and was not looked at yet.
    read: Vec<u8>,
    /// How much came, all in all.
    total: usize,
    /// What is waited for.
    pub(super) missing: &'static str,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Plain<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, read: Vec::new(), total: 0, missing: "" }
    }

    /// The address of this side is needed by one protocol.
    pub(super) const fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends `octets`; what comes next is `missing` until it is there.
    pub(super) async fn say(
        &mut self,
        octets: &[u8],
        missing: &'static str,
    ) -> Result<(), Trouble> {
        self.missing = missing;
        self.stream.write_all(octets).await.map_err(broken)
    }

    /// The next line without its end.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read) {
                let rest = self.read.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.read, rest);
                line.truncate(end);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.read.len() >= LINE {
                let begun = quoted(&self.read);
                return Err(Trouble::Garbled(format!("a line does not end: {begun}")));
            }
            self.more().await?;
        }
    }

    /// Exactly so many octets, at most [`MESSAGE`].
    pub(super) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        if count > MESSAGE {
            return Err(Trouble::Garbled(format!("a message of {count} octets")));
        }
        while self.read.len() < count {
            self.more().await?;
        }
        let rest = self.read.split_off(count);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    /// Everything up to the first of `ends`, and which one it is.
    pub(super) async fn until(&mut self, ends: &[&[u8]]) -> Result<(Vec<u8>, usize), Trouble> {
        loop {
            let found = |(which, end): (usize, &&[u8])| {
                let at = memchr::memmem::find(&self.read, end)?;
                Some((at + end.len(), which))
            };
            if let Some((at, which)) = ends.iter().enumerate().filter_map(found).min() {
                let rest = self.read.split_off(at);
                return Ok((std::mem::replace(&mut self.read, rest), which));
            }
            self.more().await?;
        }
    }

    /// How much was read.
    #[cfg(any(test, fuzzing))]
    pub(super) const fn total(&self) -> usize {
        self.total
    }

    /// The connection, on which TLS begins now.
    pub(super) fn secured(self) -> Result<S, Trouble> {
        if self.read.is_empty() { Ok(self.stream) } else { Err(Trouble::Stuffed) }
    }

    async fn more(&mut self) -> Result<(), Trouble> {
        if self.total >= PLAIN {
            return Err(Trouble::Garbled(format!("it says more than {PLAIN} octets before TLS")));
        }
        let mut chunk = [0; 1024];
        let count = self.stream.read(&mut chunk).await.map_err(broken)?;
        if count == 0 {
            return Err(Trouble::Closed);
        }
        self.total += count;
        self.read.extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(())
    }
}

fn broken(error: io::Error) -> Trouble {
    if hung_up(&error) { Trouble::Closed } else { Trouble::Broken(error.to_string()) }
}
