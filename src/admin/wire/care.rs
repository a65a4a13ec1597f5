//! What travels about hosting, take-over and revocation, and the answer to "why".

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::CertificateView;
use super::FailureView;
use super::Moment;
use super::standby::StandbyView;
use crate::cert::care::Reason;

/// What is to become of a certificate besides.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CareView {
    /// Whether its successors have to be like it.
    #[serde(default)]
    pub hosted: bool,
    /// Since when that is so, or is not any more.
    #[serde(default)]
    pub hosted_since: Option<Moment>,
    /// Differences that were agreed to: `dv`, `issuer`.
    #[serde(default)]
    pub accept: Vec<String>,
    /// The difference that ended it.
    #[serde(default)]
    pub hosting_ended: Option<String>,
    /// When a free one is ordered in its place.
    #[serde(default)]
    pub take_over_at: Option<Moment>,
    /// Who issues its successors, where it was imported.
    #[serde(default)]
    pub source: Option<String>,
    /// What is being revoked.
    #[serde(default)]
    pub revoking: Option<RevokingView>,
    /// What was revoked last.
    #[serde(default)]
    pub revoked: Option<RevokedView>,
    /// Who issued what is installed, where that is not the CA that its site prefers.
    #[serde(default)]
    pub stand_in: Option<String>,
    /// Who is asked for the next one, where that is not that CA.
    #[serde(default)]
    pub asked: Option<String>,
    /// CAs that gave none, since the preferred one was asked last.
    #[serde(default)]
    pub left: Vec<LeftView>,
    /// How it stands to the other one of its site, where there are two.
    #[serde(default)]
    pub standby: Option<StandbyView>,
}

/// A CA that gave no certificate, for reasons of its own.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LeftView {
    /// Which.
    pub issuer: String,
    /// When it was left for another.
    pub at: Moment,
    /// Why.
    pub reason: String,
    /// When it may be asked again if no other gives one; none if somebody has to act.
    pub again: Option<Moment>,
}

/// A revocation that the CA has not taken yet.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevokingView {
    /// The serial number, hexadecimal.
    pub serial: String,
    /// Why.
    pub reason: String,
    /// Times that the CA did not take it.
    pub attempt: u32,
    /// When the CA is told next; none until the replacement is served.
    pub next: Option<Moment>,
    /// What the CA said last.
    pub detail: Option<String>,
}

/// A certificate that is revoked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevokedView {
    /// The serial number, hexadecimal.
    pub serial: String,
    /// When.
    pub at: Moment,
    /// Why, where it was asked for here.
    pub reason: Option<String>,
}

/// Body of `POST /v1/certificates/{selector}/host`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostOrder {
    /// Differences that are agreed to: `dv`, `issuer`.
    #[serde(default)]
    pub accept: Vec<String>,
}

/// Body of `POST /v1/host`: all that qualify, in portions.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostAll {
    /// Differences that are agreed to for each of them.
    #[serde(default)]
    pub accept: Vec<String>,
    /// Where the former portion ended.
    #[serde(default)]
    pub after: Option<String>,
}

/// Answer to it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostedAll {
    /// Those that are hosted from now on.
    pub hosted: Vec<CertificateView>,
    /// Those that were before.
    pub already: u64,
    /// Those that do not qualify, by name, and why.
    pub refused: Vec<Refused>,
    /// Where the next portion begins; none behind the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// A certificate that does not qualify.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// Its id.
    pub id: String,
    /// Its first name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Body of `POST /v1/certificates/{selector}/revoke`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeOrder {
    /// Why.
    #[schema(value_type = String)]
    pub reason: Reason,
}

/// `GET /v1/certificates/{selector}/why`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The certificate.
    pub certificate: CertificateView,
    /// What clients are shown for its first name.
    pub served: String,
    /// What is being done about it.
    pub doing: String,
    /// What went wrong last, if something did, and when.
    pub problem: Option<Trouble>,
    /// What was looked at, oldest first.
    pub checked: Vec<String>,
    /// Which CAs gave no certificate and why, and which is asked now or first at the next renewal;
    /// empty where the preferred one gives them.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Which other certificate stands by, or why this one does; empty where there is none.
    #[serde(default)]
    pub standby: Vec<String>,
    /// What somebody may change, the most likely first.
    pub change: Vec<String>,
    /// When the house tries next; none when it waits for somebody.
    pub next: Option<Moment>,
}

/// What went wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// When, where the journal still knows.
    pub at: Option<Moment>,
    /// In plain words.
    pub message: String,
    /// As it is classified, while it stands.
    pub failure: Option<FailureView>,
    /// Whether it is over.
    pub over: bool,
}
