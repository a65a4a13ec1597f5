//! What went wrong, classified by what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::challenge::ChallengeType;
use super::identifier::Identifier;
use crate::base::Timestamp;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Try again on the retry ladder.
    Retry,
    /// Try again, but not before this moment: the CA named it.
    RetryAfter(Timestamp),
    /// Only a person or a new configuration can help.
    Intervene,
}

/// The kind of failure. Names follow the problem types of RFC 8555, section 6.7, where one fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The CA could not be reached, or its answer was cut short.
    Unreachable,
    /// The CA answered with an error of its own (5xx, `serverInternal`).
    CaFault,
    /// The CA's rate limit, or our mirror of it.
    RateLimited,
    /// The CA looked for the proof and did not find it.
    ChallengeFailed,
    /// The CA could not resolve the name (`dns`).
    Dns,
    /// The CA could not connect to the name (`connection`, `tls`).
    Connection,
    /// A CAA record forbids this CA.
    Caa,
    /// The CA refuses the name by policy (`rejectedIdentifier`, `unsupportedIdentifier`).
    Rejected,
    /// No configured challenge can prove this name.
    NoChallenge,
    /// The account is missing, refused, deactivated, or needs an external binding.
    Account,
    /// The CA's terms of service are not accepted in the configuration.
    Terms,
    /// The certificate to be replaced was already replaced (RFC 9773, section 5).
    AlreadyReplaced,
    /// The order became invalid, expired, or is unknown to the CA.
    OrderLost,
    /// The CA refused the request itself (`malformed`, `badCSR`, `invalidProfile`).
    Refused,
    /// The certificate that arrived is not the one that was asked for.
    BadCertificate,
    /// The vault did not answer or refused.
    Vault,
    /// The store refused to write.
    Store,
    /// The work did not end before its lease lapsed.
    Lapsed,
    /// It was brought from elsewhere, so its successor has to be brought as well.
    Imported,
    /// Its successor would be another kind of certificate, to which its owner has not agreed.
    Unlike,
    /// A zone could not be changed for a proof by DNS.
    Zone,
    /// The name does not lead here any more, or the configuration does not let it.
    Elsewhere,
    /// The name does not lead to this machine, or is not there at all.
    Astray,
    /// A CAA record forbids this CA, as was seen before it was asked.
    CaaForbids,
    /// The record that proves the name for good is not there, or not as it has to be.
    ProofLacks,
}

/// One failure, with what an operator needs to act on it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What to do about it.
    pub remedy: Remedy,
    /// In plain words, as told by whoever refused. No secrets.
    pub detail: String,
    /// The name it is about, if one.
    pub subject: Option<Identifier>,
    /// The challenge that was tried, if one.
    pub challenge: Option<ChallengeType>,
}

impl Failure {
    /// A failure of `kind` with the remedy usual for it.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            remedy: kind.usual_remedy(),
            detail: detail.into(),
            subject: None,
            challenge: None,
        }
    }

    /// The same with another remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    /// The same about a certain name.
    #[must_use]
    pub fn about(mut self, subject: Identifier) -> Self {
        self.subject = Some(subject);
        self
    }

    /// The same, met while trying a certain challenge.
    #[must_use]
    pub fn while_trying(mut self, challenge: ChallengeType) -> Self {
        self.challenge = Some(challenge);
        self
    }
}

impl FailureKind {
    /// Whether it is looked at again and again without a word while nothing changes.
    pub const fn is_watched(self) -> bool {
        matches!(self, Self::Astray | Self::CaaForbids | Self::ProofLacks)
    }

    /// What helps against this kind unless something more precise is known.
    pub const fn usual_remedy(self) -> Remedy {
        match self {
            Self::Unreachable
            | Self::CaFault
            | Self::RateLimited
            | Self::ChallengeFailed
            | Self::Dns
            | Self::Connection
            | Self::Caa
            | Self::AlreadyReplaced
            | Self::OrderLost
            | Self::BadCertificate
            | Self::Vault
            | Self::Store
            | Self::Lapsed
            | Self::Zone
            | Self::Elsewhere
            | Self::Astray
            | Self::CaaForbids
            | Self::ProofLacks => Remedy::Retry,
            Self::Rejected
            | Self::NoChallenge
            | Self::Account
            | Self::Terms
            | Self::Refused
            | Self::Imported
            | Self::Unlike => Remedy::Intervene,
        }
    }

    /// What an operator should look at.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Unreachable => "check the network and [acme] directory",
            Self::CaFault => "the CA has a fault of its own; nothing to do here but wait",
            Self::RateLimited => "wait; use the CA's staging directory while trying things out",
            Self::ChallengeFailed => "check that the name leads to this machine, ports 80 and 443",
            Self::Dns => "check the A, AAAA and CNAME records of the name, and its DNSSEC",
            Self::Connection => "check that ports 80 and 443 of this machine are open to the world",
            Self::Caa | Self::CaaForbids => {
                "add the CA to the name's CAA record, or remove the record"
            }
            Self::Rejected => "the CA does not sign this name; set issuer = \"internal\" for it",
            Self::NoChallenge => {
                "add a challenge that can prove the name to [acme] challenges, or a [[dns]] account"
            }
            Self::Account => "check [acme] contact, accept_terms and eab",
            Self::Terms => "read the CA's terms and set accept_terms = true in [acme]",
            Self::AlreadyReplaced => "nothing: the next order names no predecessor",
            Self::OrderLost => "nothing: a new order is opened",
            Self::Refused => "check [acme] profile and the names of the site",
            Self::BadCertificate => "the CA sent something else than was asked; tell its operator",
            Self::Vault => "see the log for the vault's end",
            Self::Store => "check the free space and health of the state directory's disk",
            Self::Lapsed => "nothing: the stored order is asked again",
            Self::Imported => "keyward import its successor, or keyward host or forget it",
            Self::Unlike => "keyward host it with --accept, or keyward import its successor",
            Self::Astray => {
                "point the name at this machine again, or take it out of the configuration; when it \
                 does, keyward notices"
            }
            Self::ProofLacks => "set the record that keyward dns-persist prints for the name",
            Self::Zone => {
                "check the [[dns]] account: its secrets, its zones, what its provider says"
            }
            Self::Elsewhere => "have the name lead here again, or keyward offboard it",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = &self.subject {
            write!(f, "{subject}: ")?;
        }
        f.write_str(&self.detail)?;
        if let Some(challenge) = self.challenge {
            write!(f, " ({challenge})")?;
        }
        Ok(())
    }
}
