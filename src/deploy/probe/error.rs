//! Why nothing was seen at a place, in the words of a person.
//!
//! What follows from it for a deployment is decided elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use super::seen::Seen;
use crate::base::bounds::deployment::probe::QUOTED;

/// Why there is no certificate to be told of.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProbeError {
    /// There is nowhere to look.
    #[error("{host} has no address: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody accepts a connection.
    #[error("{at} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        at: SocketAddr,
        /// What the kernel said.
        reason: String,
    },
    /// Time ran out.
    #[error("{at}: {missing} did not come within {} s", within.as_secs_f64())]
    Late {
        /// Where.
        at: SocketAddr,
        /// What was waited for.
        missing: &'static str,
        /// How long.
        within: Duration,
    },
    /// The server hung up.
    #[error("{at} closed the connection where {missing} was to come")]
    Closed {
        /// Where.
        at: SocketAddr,
        /// What was waited for.
        missing: &'static str,
    },
    /// What it says is not of the protocol that was expected.
    #[error("{at} does not speak {protocol} as it should: {reason}")]
    Garbled {
        /// Where.
        at: SocketAddr,
        /// What was expected.
        protocol: &'static str,
        /// What it did.
        reason: String,
    },
    /// It speaks the protocol, and does not begin TLS.
    #[error("{at} does not begin TLS: {said}")]
    Refused {
        /// Where.
        at: SocketAddr,
        /// What it said.
        said: String,
    },
    /// Something in plain stood where TLS was to begin, where anybody could have put it.
    #[error("{at} sent something in plain behind its word that TLS begins")]
    Stuffed {
        /// Where.
        at: SocketAddr,
    },
    /// TLS did not come about.
    #[error("{at}: the TLS handshake failed: {reason}")]
    Handshake {
        /// Where.
        at: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The certificate is shown by somebody who does not have its key.
    #[error("{at} shows a certificate (serial {serial}) without having its key")]
    Unproven {
        /// Where.
        at: SocketAddr,
        /// The serial number of the certificate.
        serial: String,
    },
    /// The certificate cannot be read.
    #[error("{at} shows a certificate that cannot be read: {reason}")]
    Unreadable {
        /// Where.
        at: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// Not all addresses of the name show the same certificate.
    #[error("{} shows the certificate with serial {}, {} the one with serial {}",
            list(&first.at), first.serial, list(&other.at), other.serial)]
    Differs {
        /// What the first ones show.
        first: Box<Seen>,
        /// What others show.
        other: Box<Seen>,
    },
    /// Some addresses show a certificate, and at one that accepts connections none is seen.
    #[error("{} shows the certificate with serial {}, but {reason}", list(&seen.at), seen.serial)]
    Partly {
        /// What the others show.
        seen: Box<Seen>,
        /// Why not there.
        reason: Box<Self>,
    },
}

impl ProbeError {
    /// The leaf that some addresses show and that is not `wanted`, where TLS comes about at all of them:
    /// a server that has not read everything is not broken.
    pub fn shown_beside(&self, wanted: &[u8; 32]) -> Option<[u8; 32]> {
        let Self::Differs { first, other } = self else { return None };
        Some(if first.leaf == *wanted { other.leaf } else { first.leaf })
    }

    /// Whether nobody accepts a connection there.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Late { missing, .. } => *missing == CONNECTION,
            _ => false,
        }
    }
}

/// What is waited for first.
pub(super) const CONNECTION: &str = "a connection";

/// Addresses, one behind the other.
fn list(at: &[SocketAddr]) -> String {
    at.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a server said, fit to be told: no control characters, and not much of it.
pub(super) fn quoted(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let text = text.trim();
    let mut told: String =
        text.chars().take(QUOTED).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        told.push('…');
    }
    format!("{told:?}")
}
