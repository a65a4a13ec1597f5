//! `[allowance]` as it is written.

use serde::{Deserialize, Serialize};

use super::raw_ca::RawIssuers;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAllowance {
    pub(super) single: u64,
    pub(super) wildcard: u64,
    pub(super) multi: u64,
    pub(super) give_up: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<RawIssuers>,
}

impl Default for RawAllowance {
    fn default() -> Self {
        Self { single: 20, wildcard: 0, multi: 0, give_up: "24h".to_owned(), issuer: None }
    }
}

impl RawAllowance {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self { issuer: Some(RawIssuers::One("acme".to_owned())), ..Self::default() }
    }
}
