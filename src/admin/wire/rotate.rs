//! What travels when keys are to be replaced.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::CertificateView;

/// Body of `POST /v1/rotate/keys`. Either some certificates, or all.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    /// Names they are for, their ids, or the beginnings of ids.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// All that are renewed here.
    #[serde(default)]
    pub all: bool,
    /// Renew at once.
    #[serde(default)]
    pub now: bool,
}

/// Answer to `POST /v1/rotate/master`, and a part of the status.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MasterView {
    /// Epoch of the present master key.
    pub epoch: u32,
    /// Its epoch and check value: `epoch 2 (0123456789abcdef)`.
    pub mark: String,
    /// The same of the former one, while it is there.
    pub former: Option<String>,
    /// Whether something may still be sealed under the former one.
    pub former_needed: bool,
    /// Records sealed anew so far.
    pub resealed: u64,
    /// Records that neither opens.
    pub foreign: u64,
    /// Why it does not go on at the moment.
    pub trouble: Option<String>,
}

/// Answer to `POST /v1/rotate/account`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// URL of the CA's directory.
    pub directory: String,
    /// URL of the account, which stays.
    pub account: String,
    /// Name of the key that it had.
    pub former: String,
    /// Name of the key that it has.
    pub present: String,
}

/// Answer to `POST /v1/rotate/keys`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RotatedKeys {
    /// Every certificate that gets a new key.
    pub certificates: Vec<RotatedKey>,
}

/// One certificate that gets a new key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// The certificate as it is.
    pub certificate: CertificateView,
    /// `next-renewal`, `now`, or `at-work`: an attempt that began before may still install the key
    /// it began with.
    pub when: String,
}
