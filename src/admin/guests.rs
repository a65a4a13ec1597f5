//! The routes of onboarded names. Who did it stands in the journal.

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::routes::Desk;
use super::routes::bad_question;
use super::wire::LIST_DEFAULT;
use super::wire::LIST_MOST;
use super::wire::Problem;
use super::wire::Renewal;
use super::wire::guests::Guests;
use super::wire::guests::Offboarded;
use super::wire::guests::OnboardOrder;

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

/// How a name is offboarded.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct How {
    /// Whether it may come back by itself.
    #[serde(default)]
    may_return: bool,
}

/// `GET /v1/onboarded`
pub(super) async fn list(
    State(desk): State<Desk>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Guests>, Problem> {
    let Query(page) = page.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let limit = page.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MOST).contains(&limit) {
        return Err(bad_question(&format!("limit={limit} is not between 1 and {LIST_MOST}")));
    }
    Ok(Json(desk.house.onboarded(page.after, limit).await?))
}

/// `POST /v1/onboarded`
pub(super) async fn onboard(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<OnboardOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Renewal>), Problem> {
    let Json(order) = order.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body is no order to onboard a name")
            .detail(rejection.body_text())
    })?;
    Ok((StatusCode::ACCEPTED, Json(desk.house.onboard(order, caller).await?)))
}

/// `DELETE /v1/onboarded/{name}`
pub(super) async fn offboard(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
    how: Result<Query<How>, QueryRejection>,
) -> Result<Json<Offboarded>, Problem> {
    let Path(name) = name.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let Query(how) = how.map_err(|rejection| bad_question(&rejection.body_text()))?;
    desk.house.offboard(&name, !how.may_return, caller).await?;
    Ok(Json(Offboarded { name }))
}
