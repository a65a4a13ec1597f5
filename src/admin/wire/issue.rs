//! What travels when a certificate is issued for a client.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::CertificateView;
use super::Moment;

/// Body of `POST /v1/certificates`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueOrder {
    /// The names that it is to be for; with `csr` they may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A request that the client signed with its own key: PEM, or DER in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    /// `p256`, `p384` or `rsa2048`: the key to be made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether its key may be handed out.
    #[serde(default)]
    pub exportable: bool,
    /// Whether it is renewed before it ends.
    #[serde(default)]
    pub hosted: bool,
    /// By what the client finds this very order again, however often it asks; the header field
    /// `Idempotency-Key` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// On behalf of which client, where an operator asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// Answer to `POST /v1/certificates`: with status 202 while it is being ordered, 201 once it was issued
/// for this call, 200 if it was issued before.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Issuance {
    /// The certificate as it is now.
    pub certificate: CertificateView,
    /// Whether this call is the one that ordered it.
    pub fresh: bool,
    /// Where it is found.
    pub url: String,
    /// Where its events are followed.
    pub events: String,
    /// Number of the newest entry of the journal before the call: what comes of it follows.
    pub after: u64,
    /// The certificate and its issuers, PEM, leaf first; once it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
}

/// How a certificate was ordered by a client.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IssueView {
    /// Whose it is.
    pub client: String,
    /// What it counts as: `single`, `wildcard` or `multi`.
    pub class: String,
    /// How it stands in the ledger: `reserved`, `consumed` or `refunded`.
    pub claim: String,
    /// Whether its key may be handed out.
    pub exportable: bool,
    /// Whether its key is the client's, and never was here.
    pub key_elsewhere: bool,
    /// When it was asked for.
    pub since: Moment,
    /// When the order ends, if nothing was issued until then.
    pub give_up: Moment,
}

/// Answer to `DELETE /v1/certificates/{selector}` for one that was issued for a client.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawn {
    /// The certificate as it is now.
    pub certificate: CertificateView,
    /// Whether its order ended, so that the allowance has it back; else it is being revoked.
    pub refunded: bool,
    /// Number of the newest entry of the journal before the call: what comes of it follows.
    pub after: u64,
}

/// One field of an order that is not taken.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// Which, as in `names[2]`.
    pub field: String,
    /// What stands there, shortened.
    pub value: String,
    /// What is wrong with it, and what was expected.
    pub detail: String,
}

/// Media type of [`Issuance::chain`] by itself.
pub const CHAIN_PEM: &str = "application/pem-certificate-chain";

/// Media type of the leaf alone, DER (RFC 5280, section 4.2.2.1).
pub const LEAF_DER: &str = "application/pkix-cert";
