//! `[[client]]`, and what `[admin]` says of clients, as they are written; see `raw`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawClient {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) users: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) role: String,
}

/// Keys that stand in `[admin]`: what each client may take at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawShare {
    pub(super) client_connections: u64,
    pub(super) client_requests: u64,
    pub(super) client_per_minute: u64,
    pub(super) body: String,
}

impl Default for RawClient {
    fn default() -> Self {
        Self { name: None, users: Vec::new(), groups: Vec::new(), role: "client".to_owned() }
    }
}

impl Default for RawShare {
    fn default() -> Self {
        Self {
            client_connections: 16,
            client_requests: 8,
            client_per_minute: 1200,
            body: "1MiB".to_owned(),
        }
    }
}

impl RawClient {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self { name: Some("panel".to_owned()), ..Self::default() }
    }
}
