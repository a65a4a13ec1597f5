//! What becomes of certificates that were brought for a site, as it is written; see `raw`.

use serde::{Deserialize, Serialize};

use super::raw::RawKeys;

/// Keys that stand in `[[site]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawKeeping {
    pub(super) hosted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accept: Option<RawKeys>,
    pub(super) take_over: bool,
}

impl Default for RawKeeping {
    fn default() -> Self {
        Self { hosted: false, accept: None, take_over: true }
    }
}

impl RawKeeping {
    /// A value for every key.
    pub(super) fn example() -> Self {
        Self { accept: Some(RawKeys::One("dv".to_owned())), ..Self::default() }
    }
}
