//! The routes by which secrets are replaced before their time. Who did it stands in the journal.

use axum::Extension;
use axum::Json;
use axum::extract::State;

use super::access::Peer;
use super::routes::Desk;
use super::wire::Problem;
use super::wire::tickets::TicketsView;

/// `POST /v1/rotate/tickets`
pub(super) async fn tickets(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<TicketsView>, Problem> {
    Ok(Json(desk.house.rotate_tickets(peer).await?))
}
