//! What travels about deployments: certificates that are brought to those who serve them.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// `GET /v1/deployments`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Deployments {
    /// By target and certificate.
    pub deployments: Vec<DeploymentView>,
    /// What the configuration wants at a target, and no certificate is called. On the first page.
    #[serde(default)]
    pub unmet: Vec<Unmet>,
    /// Where the next page begins; none behind the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// Something that the configuration wants at a target, and that is not there.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Unmet {
    /// The target.
    pub target: String,
    /// What no certificate is called.
    pub name: String,
}

/// A certificate and the target to which it is brought, and how far that is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentView {
    /// The target.
    pub target: String,
    /// What the target is: the word of the configuration.
    #[serde(default)]
    pub kind: Option<String>,
    /// The id of the certificate.
    pub certificate: String,
    /// What it is called by whoever wants it there.
    pub name: String,
    /// The client whose it is.
    #[serde(default)]
    pub client: Option<String>,
    /// `file` or `asked`.
    pub made: String,
    /// `pending`, `deployed`, `verified`, `drifted`, `failed` or `rolled-back`.
    pub state: String,
    /// Since when.
    pub since: Moment,
    /// When something is to be done again.
    pub next: Moment,
    /// SHA-256 of the certificate that is to be shown there, in hexadecimal.
    #[serde(default)]
    pub wanted: Option<String>,
    /// The same of the one that was brought last.
    #[serde(default)]
    pub placed: Option<String>,
    /// The same of the one that was seen last.
    #[serde(default)]
    pub seen: Option<String>,
    /// Where that is seen.
    #[serde(default)]
    pub probe: Option<String>,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
    /// Since when it fails.
    #[serde(default)]
    pub failing_since: Option<Moment>,
    /// How often somebody else changed it lately.
    #[serde(default)]
    pub drifts: u32,
    /// Why it is in no better state.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `POST /v1/deployments`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployOrder {
    /// A name of the certificate, its id, or the beginning of the id.
    pub certificate: String,
    /// The name of the target.
    pub target: String,
}

/// Answer to `DELETE /v1/deployments/{target}/{selector}`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Undeployed {
    /// What it was. What is at the target stays there.
    pub deployment: DeploymentView,
}
