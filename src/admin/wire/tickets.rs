//! What travels about session tickets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;

/// The keys of session tickets; also the answer to `POST /v1/rotate/tickets`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TicketsView {
    /// `fast`, `strict` or `off`.
    pub mode: String,
    /// Counts the keys; none while there is no key.
    pub epoch: Option<u64>,
    /// Since when the present key is used.
    pub since: Option<Moment>,
    /// When the next one is.
    pub next: Option<Moment>,
    /// Whether a restart goes on with it.
    pub durable: bool,
}
