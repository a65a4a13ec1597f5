//! What a server shows, as it travels.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// A look at a place: what was seen, or why nothing was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Look {
    /// The place, as it is written: `smtp://mail.example.org:25`.
    pub place: String,
    /// The name that was asked for.
    pub sni: String,
    /// What is shown; none where there is an error.
    pub seen: Option<Seen>,
    /// Where, and what was missing.
    #[serde(default)]
    pub error: Option<String>,
}

/// What is shown at a place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub leaf: String,
    /// Its serial number, in lower-case hexadecimal.
    pub serial: String,
    /// Its names and addresses.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Kind and size of its key.
    pub key: String,
    /// From when it is good.
    pub not_before: Moment,
    /// Until when it is good.
    pub not_after: Moment,
    /// How many certificates are sent, with this one.
    pub chain: usize,
    /// The version of TLS.
    pub protocol: String,
    /// Whether the server showed that it has the key; `false` where that cannot be checked.
    pub proven: bool,
    /// The addresses that show it.
    pub addresses: Vec<String>,
    /// Addresses of the same name where nobody accepts a connection, and why.
    #[serde(default)]
    pub silent: Vec<String>,
    /// Addresses of the name that were not looked at, being too many.
    #[serde(default)]
    pub passed_over: usize,
}
