//! What travels about onboarded names.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::CertificateView;
use super::Moment;

/// Body of `POST /v1/onboarded`; the answer is a `Renewal`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnboardOrder {
    /// The name.
    pub name: String,
    /// Its own origin, if it is to have one.
    #[serde(default)]
    pub origin: Option<String>,
}

/// `GET /v1/onboarded?after=NAME&limit=N`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Guests {
    /// In the order of their names.
    pub names: Vec<GuestView>,
    /// Behind which name the next page begins; none behind the last one.
    #[serde(default)]
    pub next: Option<String>,
    /// All of them, barred ones included.
    pub total: u64,
    /// Whether the configuration knows of onboarding; if not, none of them is served.
    pub on: bool,
}

/// An onboarded name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GuestView {
    /// The name.
    pub name: String,
    /// Its own origin, if it has one.
    #[serde(default)]
    pub origin: Option<String>,
    /// Since when; of a barred one, since when it is that.
    pub since: Moment,
    /// Whether a person asked for it, and not a client's handshake.
    #[serde(default)]
    pub by_hand: bool,
    /// Whether it was offboarded and does not come back by itself.
    #[serde(default)]
    pub barred: bool,
    /// Its certificate.
    #[serde(default)]
    pub certificate: Option<CertificateView>,
}

/// Answer to `DELETE /v1/onboarded/{name}`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Offboarded {
    /// The name.
    pub name: String,
}
