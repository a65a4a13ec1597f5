//! `[[dns]]` as it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDns {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<String>,
    pub(super) zones: Vec<String>,
    pub(super) servers: Vec<String>,
    pub(super) propagation: String,
    pub(super) ttl: u64,
    /// What the provider wants to know; which keys there are depends on it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) with: BTreeMap<String, String>,
}

impl Default for RawDns {
    fn default() -> Self {
        Self {
            name: None,
            provider: None,
            zones: Vec::new(),
            servers: Vec::new(),
            propagation: "2m".to_owned(),
            ttl: 60,
            with: BTreeMap::new(),
        }
    }
}

impl RawDns {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        let token = ("token_file".to_owned(), "/etc/keyward/cloudflare.token".to_owned());
        Self {
            name: Some("main".to_owned()),
            provider: Some("cloudflare".to_owned()),
            zones: vec!["example.org".to_owned()],
            with: [token].into(),
            ..Self::default()
        }
    }
}
