//! Records that prove names for good, as they travel.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// `GET /v1/dns-persist/{name}`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Persist {
    /// One for each name that can be proven so.
    pub records: Vec<PersistView>,
}

/// A record that is to be there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PersistView {
    /// The name that it proves.
    pub name: String,
    /// Where it belongs.
    pub place: String,
    /// What it says.
    pub value: String,
    /// Whether the zone's servers show what is needed; none where they cannot be asked.
    pub good: Option<bool>,
    /// What is amiss, or why they cannot be asked.
    #[serde(default)]
    pub lacking: Option<String>,
    /// Until when what is there lasts, where it says so.
    #[serde(default)]
    pub until: Option<Moment>,
}
