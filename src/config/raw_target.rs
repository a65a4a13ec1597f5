//! `[[target]]` and `[deployment]` as they are written; see `raw`.

use serde::{Deserialize, Serialize};

use super::target::RawExecTarget;
use super::target::RawFileTarget;
use super::target::RawHaproxyTarget;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawTarget {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    pub(super) certificates: Vec<String>,
    pub(super) clients: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sni: Option<String>,
    pub(super) deadline: String,
    #[serde(flatten)]
    pub(super) files: RawFileTarget,
    #[serde(flatten)]
    pub(super) haproxy: RawHaproxyTarget,
    #[serde(flatten)]
    pub(super) exec: RawExecTarget,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDeployment {
    pub(super) watch: String,
    pub(super) together: u64,
}

/// A text, or a list of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawWords {
    One(String),
    Several(Vec<String>),
}

impl Default for RawTarget {
    fn default() -> Self {
        Self {
            name: None,
            kind: None,
            certificates: Vec::new(),
            clients: Vec::new(),
            probe: None,
            sni: None,
            deadline: "60s".to_owned(),
            files: RawFileTarget::default(),
            haproxy: RawHaproxyTarget::default(),
            exec: RawExecTarget::default(),
        }
    }
}

impl Default for RawDeployment {
    fn default() -> Self {
        Self { watch: "1h".to_owned(), together: 8 }
    }
}

impl RawTarget {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self {
            name: some("mail"),
            kind: some("files"),
            probe: some("smtp://mail.example.org:25"),
            sni: some("mail.example.org"),
            files: RawFileTarget::example(),
            haproxy: RawHaproxyTarget::example(),
            exec: RawExecTarget::example(),
            ..Self::default()
        }
    }
}
