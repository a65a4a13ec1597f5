//! What an examination found, as it travels.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// How one check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// As it should be.
    Ok,
    /// It may be in order, or could not be looked at.
    Warning,
    /// An order, or clients, will fail for it.
    Problem,
}

/// One check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What was looked at: `ca`, `clock`, `account`, `budget`, `address`, `resolver`, `dnssec`, `caa`,
    /// `port-80`, `port-443`, `dns-account`, `staging`.
    pub what: String,
    /// The name it is about; none where it is about the machine.
    pub name: Option<String>,
    /// How it ended.
    pub finding: Finding,
    /// What was seen.
    pub seen: String,
    /// What to change.
    #[serde(default)]
    pub change: Option<String>,
}

/// `GET /v1/doctor/{name}`; with `?staging=URL` by an order there as well, and with `?staging=` at the
/// directory for trying that is known of its CA
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Doctor {
    /// The names that were examined.
    pub names: Vec<String>,
    /// The certificate for them, where there is one.
    pub certificate: Option<String>,
    /// The worst of the findings.
    pub finding: Finding,
    /// Every check.
    pub checks: Vec<Check>,
}

impl Check {
    /// One that ended well.
    pub fn ok(what: &str, name: Option<&str>, seen: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            name: name.map(str::to_owned),
            finding: Finding::Ok,
            seen: seen.into(),
            change: None,
        }
    }

    /// One that may be in order.
    pub fn warning(
        what: &str,
        name: Option<&str>,
        seen: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        let change = Some(change.into());
        Self { finding: Finding::Warning, change, ..Self::ok(what, name, seen) }
    }

    /// One that did not.
    pub fn problem(
        what: &str,
        name: Option<&str>,
        seen: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self { finding: Finding::Problem, ..Self::warning(what, name, seen, change) }
    }
}
