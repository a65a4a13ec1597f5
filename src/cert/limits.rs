//! What a CA admits: its published rate limits.
//!
//! How much of them is left is the scheduler's business.

use std::fmt;
use std::time::Duration;

use super::spec::IssuerName;

/// So many within so long, steadily refilled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Tokens of a full bucket; at least 1.
    pub tokens: u32,
    /// How long an empty bucket takes to fill.
    pub span: Duration,
}

/// The limits of one CA; `None` where it has none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// New orders for each account.
    pub orders: Option<Limit>,
    /// Certificates for each registered domain, address, or network of addresses.
    pub per_domain: Option<Limit>,
    /// Certificates for each exact set of identifiers.
    pub same_set: Option<Limit>,
    /// Failed authorizations for each identifier.
    pub failures: Option<Limit>,
    /// Failed authorizations for an identifier in a row, after which it is paused until a person asks
    /// the CA to go on.
    pub in_a_row: Option<u32>,
}

const HOUR: u64 = 3600;
const WEEK: u64 = 7 * 24 * HOUR;

const fn limit(tokens: u32, seconds: u64) -> Option<Limit> {
    Some(Limit { tokens, span: Duration::from_secs(seconds) })
}

/// Let's Encrypt's production limits (letsencrypt.org/docs/rate-limits, 2026-08).
pub const LETS_ENCRYPT: Limits = Limits {
    orders: limit(300, 3 * HOUR),
    per_domain: limit(50, WEEK),
    same_set: limit(5, WEEK),
    failures: limit(5, HOUR),
    in_a_row: Some(1152),
};

/// Let's Encrypt's staging limits; those for each second are left out.
pub const LETS_ENCRYPT_STAGING: Limits = Limits {
    orders: limit(1500, 3 * HOUR),
    per_domain: None,
    same_set: limit(30_000, WEEK),
    failures: limit(200, HOUR),
    in_a_row: Some(3600),
};

impl Limits {
    /// Those that the CA with this name has published, where they are known.
    pub fn published(issuer: &IssuerName) -> Self {
        let IssuerName::Acme(_) = issuer else { return Self::default() };
        match issuer.to_string().as_str() {
            "acme-v02.api.letsencrypt.org" => LETS_ENCRYPT,
            "acme-staging-v02.api.letsencrypt.org" => LETS_ENCRYPT_STAGING,
            _ => Self::default(),
        }
    }
}

impl fmt::Display for Limit {
    /// `50 in 168 h`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.span.as_secs();
        if seconds.is_multiple_of(HOUR) {
            write!(f, "{} in {} h", self.tokens, seconds / HOUR)
        } else {
            write!(f, "{} in {seconds} s", self.tokens)
        }
    }
}
