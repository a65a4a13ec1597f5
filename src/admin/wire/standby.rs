//! What travels about two certificates of a site, one of which stands by.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::CertificateView;
use super::Moment;

/// How a certificate stands to the other one of its site.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StandbyView {
    /// Whether clients are shown it; the other one stands by then.
    pub shown: bool,
    /// Whether it is of the CA that the site prefers.
    pub preferred: bool,
    /// Since when it is shown or not.
    pub since: Moment,
    /// Why.
    pub reason: String,
    /// The id of the other one.
    pub beside: String,
    /// The other one as it is, where it was asked for.
    #[serde(default)]
    pub other: Option<OtherView>,
}

/// The other one of two.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OtherView {
    /// Who issued it, or issues it.
    pub issuer: String,
    /// Where it stands in its life.
    pub condition: String,
    /// Its serial number; none while there is nothing.
    pub serial: Option<String>,
    /// Until when it is fresh.
    pub not_after: Option<Moment>,
    /// Whether clients could be shown it now.
    pub good: bool,
}

/// Body of `POST /v1/certificates/{selector}/switch`
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchOrder {
    /// Whether the one of the preferred CA is to be served, and not the one that stands by for it.
    #[serde(default)]
    pub back: bool,
}

/// Answer to it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SwitchedView {
    /// Whether another one is served than before.
    pub changed: bool,
    /// What is served now, one for each kind of key; each says which one stands by.
    pub served: Vec<CertificateView>,
}
