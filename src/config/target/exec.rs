//! `kind = "exec"`: the program that takes a pair.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program that is run with each new pair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecTarget {
    /// The program and its arguments, without a shell; never empty, the first is absolute.
    pub command: Vec<String>,
    /// As whom it runs, by name or number.
    pub user: Option<String>,
    /// What it may write beside its own directory.
    pub paths: Vec<PathBuf>,
}

/// The keys as they are written; see `raw`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct RawExecTarget {
    pub(in super::super) command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) user: Option<String>,
    pub(in super::super) paths: Vec<String>,
}

impl RawExecTarget {
    /// A value for every key, the default where there is one.
    pub(in super::super) fn example() -> Self {
        Self { user: Some("deploy".to_owned()), ..Self::default() }
    }
}
