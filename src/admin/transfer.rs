//! The routes by which certificates come in and are taken away. Who did it stands in the journal.

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use http::StatusCode;

use super::caller::Caller;
use super::routes::Desk;
use super::routes::select;
use super::wire::Problem;
use super::wire::transfer::Forgotten;
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

/// `DELETE /v1/certificates/{selector}`
pub(super) async fn forget(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    selector: Result<Path<String>, PathRejection>,
) -> Result<Json<Forgotten>, Problem> {
    let selector = select(selector)?;
    Ok(Json(Forgotten { certificate: desk.house.forget(&selector, caller).await? }))
}
