//! What travels about what clients may have: balances, packs and the ledger.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// The longest note of a pack, in octets.
pub const NOTE_MOST: usize = crate::base::bounds::allowance::NOTE_MOST;

/// `GET /v1/allowances?after=CLIENT&limit=N`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Allowances {
    /// In the order of their names: those that ever had something granted.
    pub clients: Vec<AllowanceView>,
    /// Behind which client the next page begins; none behind the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// `GET /v1/allowances/{client}`: what a client may have. One that never asked for anything has what is
/// free.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AllowanceView {
    /// Its name.
    pub client: String,
    /// Of each class.
    pub classes: Vec<BalanceView>,
}

/// What a client has of a class: `granted` is the sum of the three others.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BalanceView {
    /// `single`, `wildcard` or `multi`.
    pub class: String,
    /// Certificates that it was granted, without those that expired or were revoked before use.
    pub granted: u64,
    /// Those that it may still ask for.
    pub available: u64,
    /// Those that are being ordered.
    pub reserved: u64,
    /// Those that were issued.
    pub consumed: u64,
}

/// Body of `POST /v1/packs`; the answer is a [`PackView`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackOrder {
    /// To whom it is granted.
    pub client: String,
    /// `single`, `wildcard` or `multi`.
    pub class: String,
    /// How many certificates.
    pub count: u64,
    /// From when on nothing may be had for it any more; none for never.
    #[serde(default)]
    pub until: Option<Moment>,
    /// Why, in words.
    #[serde(default)]
    pub note: String,
}

/// `GET /v1/packs?client=CLIENT&after=ID&limit=N`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Packs {
    /// In the order of their numbers.
    pub packs: Vec<PackView>,
    /// Behind which number the next page begins; none behind the last one.
    #[serde(default)]
    pub next: Option<u64>,
}

/// A pack.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PackView {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub client: String,
    /// `single`, `wildcard` or `multi`.
    pub class: String,
    /// How many there were.
    pub count: u64,
    /// How many may still be had for it.
    pub left: u64,
    /// `open`, `used up`, `expired` or `revoked`.
    pub state: String,
    /// From when on nothing may be had for it any more.
    #[serde(default)]
    pub until: Option<Moment>,
    /// What the operator noted.
    pub note: String,
    /// When it was granted.
    pub granted_at: Moment,
    /// By whom.
    pub by: String,
}

/// Answer to `DELETE /v1/packs/{id}`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PackRevoked {
    /// As it is now.
    pub pack: PackView,
    /// How many were taken back: none of one that was over before.
    pub taken: u64,
}

/// `GET /v1/ledger?client=CLIENT&after=SEQ&limit=N`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// Oldest first.
    pub entries: Vec<LedgerView>,
    /// Behind which entry the next page begins; none behind the last one.
    #[serde(default)]
    pub next: Option<u64>,
}

/// An entry of the ledger.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// Counted from 1 without gaps, over all clients.
    pub seq: u64,
    /// When, as the clock said then.
    pub at: Moment,
    /// Whose.
    pub client: String,
    /// `granted`, `reserved`, `consumed`, `refunded`, `expired` or `revoked`.
    pub what: String,
    /// How many.
    pub amount: u64,
    /// Of which pack; none for what is free.
    #[serde(default)]
    pub pack: Option<u64>,
    /// The id of the certificate for which.
    #[serde(default)]
    pub certificate: Option<String>,
    /// By whom.
    pub by: String,
    /// The first name of the certificate, or what was noted of the pack.
    pub note: String,
    /// What the client has of the class after it.
    pub balance: BalanceView,
}
