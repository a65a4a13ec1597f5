//! `[onboarding]` as it is written.

use serde::{Deserialize, Serialize};

use super::raw::RawOrigin;
use super::raw_ca::RawIssuers;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOnboarding {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<RawOrigin>,
    pub(super) suffixes: Vec<String>,
    pub(super) denied: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) max_labels: u64,
    pub(super) max_names: u64,
    pub(super) per_domain: u64,
    pub(super) per_network: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ask: Option<String>,
    pub(super) hold: String,
    pub(super) name_servers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<RawIssuers>,
}

impl Default for RawOnboarding {
    fn default() -> Self {
        Self {
            target: None,
            origin: None,
            suffixes: Vec::new(),
            denied: Vec::new(),
            addresses: Vec::new(),
            max_labels: 6,
            max_names: 100_000,
            per_domain: 50,
            per_network: 20,
            ask: None,
            hold: "10s".to_owned(),
            name_servers: Vec::new(),
            issuer: None,
        }
    }
}

impl RawOnboarding {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self {
            target: Some("edge.example.net".to_owned()),
            origin: Some(RawOrigin::One("http://127.0.0.1:8080".to_owned())),
            ask: Some("http://127.0.0.1:9000/may-i".to_owned()),
            issuer: Some(RawIssuers::One("acme".to_owned())),
            ..Self::default()
        }
    }
}
