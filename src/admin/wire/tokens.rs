//! What travels about tokens of clients. The text of one travels once, when it was made.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// Body of `POST /v1/tokens`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenOrder {
    /// As whom its bearer acts: a client of the configuration.
    pub client: String,
    /// What it is called.
    #[serde(default)]
    pub name: Option<String>,
    /// What may be asked for with it, of what the client may: `read`, `issue`, `deploy`, `operate`; all
    /// of that if nothing is said.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// For how many seconds it is good; for ever if nothing is said.
    #[serde(default)]
    pub expires_in: Option<u64>,
}

/// Answer to `POST /v1/tokens`.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// The token, which nobody is told again.
    pub token: String,
    /// What is kept of it.
    pub about: TokenView,
}

impl fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMade").field("about", &self.about).finish_non_exhaustive()
    }
}

/// `GET /v1/tokens`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// By client, then the oldest first.
    pub tokens: Vec<TokenView>,
}

/// A token that was given out and not taken back.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// By which it is taken back: twelve hexadecimal digits.
    pub id: String,
    /// As whom its bearer acts.
    pub client: String,
    /// What it is called.
    pub name: String,
    /// What may be asked for with it, as far as the client may.
    pub scopes: Vec<String>,
    /// When it was made.
    pub since: Moment,
    /// By whom.
    pub by: String,
    /// From when on it is none any more; none for never.
    pub expires: Option<Moment>,
    /// When it was used last, to the hour; none for never.
    pub used: Option<Moment>,
    /// Whether it is let in: it has not run out, and its client is in the configuration.
    pub good: bool,
}

/// Answer to `DELETE /v1/tokens/{id}`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenRevoked {
    /// The token as it was.
    pub token: TokenView,
}
