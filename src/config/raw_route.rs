//! `[[site.route]]` as it is written; see `raw`.

use serde::{Deserialize, Serialize};

use super::raw::RawOrigin;
use super::raw_policy::{RawFiles, RawPolicy};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawRoute {
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<RawOrigin>,
    #[serde(flatten)]
    pub(super) files: RawFiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rewrite: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redirect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u64>,
    pub(super) set_request: Vec<String>,
    pub(super) remove_request: Vec<String>,
    pub(super) set_answer: Vec<String>,
    pub(super) remove_answer: Vec<String>,
    #[serde(flatten)]
    pub(super) policy: RawPolicy,
}

impl Default for RawRoute {
    fn default() -> Self {
        Self {
            path: "/*".to_owned(),
            methods: Vec::new(),
            field: None,
            origin: None,
            files: RawFiles::default(),
            rewrite: None,
            redirect: None,
            status: None,
            set_request: Vec::new(),
            remove_request: Vec::new(),
            set_answer: Vec::new(),
            remove_answer: Vec::new(),
            policy: RawPolicy::default(),
        }
    }
}

impl RawRoute {
    /// A value for every key.
    pub(super) fn example() -> Self {
        Self {
            field: Some("X-Version: 2".to_owned()),
            origin: Some(RawOrigin::One("http://127.0.0.1:9000".to_owned())),
            files: RawFiles::example(),
            rewrite: Some("/v2/*".to_owned()),
            redirect: Some("https://{host}/new/*".to_owned()),
            status: Some(308),
            policy: RawPolicy::example(),
            ..Self::default()
        }
    }
}
