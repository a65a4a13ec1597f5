//! How control over a name is proven (RFC 8555 section 8, RFC 8737), and the port through which
//! the issuer asks the edge to answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::identifier::Identifier;

/// The challenge types that keyward can answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub enum ChallengeType {
    /// A file below `/.well-known/acme-challenge/` on port 80 (RFC 8555, section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// A self-signed certificate on port 443 under the protocol `acme-tls/1` (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record at `_acme-challenge` below the name (RFC 8555, section 8.4).
    #[serde(rename = "dns-01")]
    Dns01,
    /// A TXT record at `_validation-persist` that stays (draft-ietf-acme-dns-persist-00).
    #[serde(rename = "dns-persist-01")]
    DnsPersist01,
}

impl ChallengeType {
    /// Whether this challenge can prove control of `name`: wildcards need DNS, addresses have none.
    pub const fn can_prove(self, name: &Identifier) -> bool {
        match self {
            Self::Http01 | Self::TlsAlpn01 => !name.is_wildcard(),
            // RFC 8738, section 7.
            Self::Dns01 | Self::DnsPersist01 => !matches!(name, Identifier::Ip(_)),
        }
    }
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
            Self::DnsPersist01 => "dns-persist-01",
        })
    }
}

/// A challenge to be answered.
#[derive(Clone, Eq, PartialEq)]
pub enum Challenge {
    /// Answer `GET /.well-known/acme-challenge/{token}` with `key_authorization`, for any Host.
    Http01 {
        /// The name to be proven.
        name: Identifier,
        /// The token: base64url, checked by the issuer before it comes here.
        token: String,
        /// Token, dot, account key thumbprint (RFC 8555, section 8.1).
        key_authorization: String,
    },
    /// Answer a handshake for `name` under `acme-tls/1` with a certificate that carries `digest`.
    TlsAlpn01 {
        /// The name to be proven.
        name: Identifier,
        /// SHA-256 of the key authorization.
        digest: [u8; 32],
    },
}

impl fmt::Debug for Challenge {
    /// Without token and key authorization, which have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http01 { name, .. } => write!(f, "Http01({name})"),
            Self::TlsAlpn01 { name, .. } => write!(f, "TlsAlpn01({name})"),
        }
    }
}

/// Proof that a challenge is being answered. Dropping it withdraws the answer, on every path.
pub type Presented = Box<dyn fmt::Debug + Send>;

/// A future as ports return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who answers challenges: implemented by the edge, called by the issuer.
pub trait Solver: Send + Sync + fmt::Debug {
    /// Begins to answer `challenge`; when it returns, every worker does.
    fn present(&self, challenge: Challenge) -> BoxFuture<'_, Result<Presented, PresentError>>;
}

/// Why a challenge cannot be answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PresentError {
    /// No listener that the CA could reach speaks what this challenge needs.
    #[error("no listener for {0}")]
    NoListener(ChallengeType),
    /// The certificate for the challenge could not be made.
    #[error("the challenge certificate for {name} could not be made: {reason}")]
    Certificate {
        /// The name.
        name: Identifier,
        /// What the library said.
        reason: String,
    },
    /// No account may change the zone in which the proof belongs.
    #[error("no [[dns]] account has a zone for {record}")]
    NoZone {
        /// Where the proof belongs.
        record: String,
    },
    /// The zone could not be changed.
    #[error("the record {record} could not be set: {reason}")]
    Zone {
        /// Where the proof belongs.
        record: String,
        /// In the provider's words.
        reason: String,
    },
}
