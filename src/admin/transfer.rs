//! The routes by which certificates come in. Who did it stands in the journal.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;

use super::caller::Caller;
use super::routes::Desk;
use super::wire::Problem;
use super::wire::transfer::ImportKey;
use super::wire::transfer::ImportOrder;
use super::wire::transfer::Imported;

/// `GET /v1/import/key`
pub(super) async fn key(State(desk): State<Desk>) -> Result<Json<ImportKey>, Problem> {
    Ok(Json(desk.house.import_key().await?))
}

/// `POST /v1/import`
pub(super) async fn import(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<ImportOrder>, JsonRejection>,
) -> Result<Json<Imported>, Problem> {
    let Json(order) = order.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body is no order to import")
            .detail(rejection.body_text())
    })?;
    Ok(Json(desk.house.import(order, caller).await?))
}
