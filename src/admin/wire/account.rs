//! Accounts at CAs, as they travel. No private key in the clear is among it.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;
use crate::cert::key::KeyAlgorithm;

/// `GET /v1/accounts`, and with `?ask=true` the CAs are asked how the accounts stand.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Accounts {
    /// One for each CA that speaks ACME, that of `[acme]` first.
    pub accounts: Vec<AccountEntry>,
}

/// A CA, and the account there.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccountEntry {
    /// What sites call the CA.
    pub ca: String,
    /// URL of its directory.
    pub directory: String,
    /// URL of the account; none as long as there is none.
    pub account: Option<String>,
    /// The contacts: those that the CA says, else those that it was told.
    pub contact: Vec<String>,
    /// Those that it has still to be told.
    pub contact_wanted: Option<Vec<String>>,
    /// Name of the account's key: the SHA-256 of the public key (subject public key info), hexadecimal.
    pub key: Option<String>,
    /// Its kind.
    #[schema(value_type = Option<String>)]
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Whether the key was brought from elsewhere, where somebody else may have it.
    #[serde(default)]
    pub brought: bool,
    /// When the account was opened here, or adopted; none if that is not known.
    pub since: Option<Moment>,
    /// What the CA says: `valid`, `deactivated`, `revoked`, or `unknown` if it knows no such key; none
    /// where it was not asked, or does not say.
    pub status: Option<String>,
    /// Why that could not be found out.
    pub trouble: Option<String>,
}

/// Body of `POST /v1/accounts/adopt`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptOrder {
    /// What sites call the CA; that of `[acme]` if none is named.
    #[serde(default)]
    pub ca: Option<String>,
    /// Name of the key in the box, 64 hexadecimal digits.
    pub key: String,
    /// Its kind.
    #[schema(value_type = String)]
    pub key_algorithm: KeyAlgorithm,
    /// The sender's half of the exchange of the box, base64.
    pub encapsulated: String,
    /// The box, base64.
    pub sealed: String,
    /// Whether an account that is there already may go.
    #[serde(default)]
    pub force: bool,
}

/// Answer to `POST /v1/accounts/adopt`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccountAdopted {
    /// What sites call the CA.
    pub ca: String,
    /// URL of the account.
    pub account: String,
    /// Name of its key.
    pub key: String,
    /// The contacts that the CA says it has.
    pub contact: Vec<String>,
    /// URL of the account whose place it took.
    pub former: Option<String>,
    /// It was here before, with this very key: nothing was done.
    pub already: bool,
}
