//! `kind = "exec"`: the program that takes a pair.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program that is run with each new pair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecTarget {
    /// The program and its arguments, without a shell; never empty, the first is absolute. With a
    /// [`Hook`], its file and its settings.
    pub command: Vec<String>,
    /// As whom it runs, by name or number.
    pub user: Option<String>,
    /// What it may write beside its own directory.
    pub paths: Vec<PathBuf>,
    /// Whose manner it has, if it is no program by itself.
    pub hook: Option<Hook>,
}

/// What a file is that another program would run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// A deploy hook of acme.sh: a part of a shell script with a function `NAME_deploy`, where `NAME` is
    /// the file's name without its `.sh`.
    AcmeSh,
}

impl Hook {
    /// The word of the file.
    pub const ACME_SH: &'static str = "acme.sh";
}

/// The keys as they are written; see `raw`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct RawExecTarget {
    pub(in super::super) command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) user: Option<String>,
    pub(in super::super) paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) hook: Option<String>,
}

impl RawExecTarget {
    /// A value for every key, the default where there is one.
    pub(in super::super) fn example() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self { user: some("deploy"), hook: some(Hook::ACME_SH), ..Self::default() }
    }
}
