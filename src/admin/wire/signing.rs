//! What goes over the socket about the work of keys: how often they sign.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// What a key does, since the present vault began.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SigningView {
    /// The first twelve digits of its name.
    pub key: String,
    /// The first name that it is for, where that is not said anyway.
    #[serde(default)]
    pub name: Option<String>,
    /// Signatures over handshakes.
    pub signatures: u64,
    /// Of these, in a minute, over the last one or two.
    pub per_minute: u64,
    /// Handshakes that reached signing.
    pub handshakes: u64,
    /// Since when.
    pub since: Moment,
}
