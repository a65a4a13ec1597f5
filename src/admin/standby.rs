//! The route by which the other one of two certificates is served. Who did it stands in the journal.

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use http::HeaderMap;

use super::caller::Caller;
use super::care::bad_body;
use super::etag;
use super::routes::Desk;
use super::routes::select;
use super::wire::Problem;
use super::wire::standby::SwitchOrder;
use super::wire::standby::SwitchedView;

/// `POST /v1/certificates/{selector}/switch`
pub(super) async fn switch(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
    order: Result<Json<SwitchOrder>, JsonRejection>,
) -> Result<Json<SwitchedView>, Problem> {
    let selector = select(selector)?;
    etag::precondition(&desk, &headers, &selector, &caller).await?;
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    Ok(Json(desk.house.switch(&selector, order.back, caller).await?))
}
