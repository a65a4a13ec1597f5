//! The routes about accounts at CAs. Who did something stands in the journal.

use axum::Extension;
use axum::Json;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::QueryRejection;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::routes::Desk;
use super::routes::bad_question;
use super::wire::Problem;
use super::wire::account::AccountAdopted;
use super::wire::account::Accounts;
use super::wire::account::AdoptOrder;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    #[serde(default)]
    ask: bool,
}

/// `GET /v1/accounts`
pub(super) async fn list(
    State(desk): State<Desk>,
    ask: Result<Query<Ask>, QueryRejection>,
) -> Result<Json<Accounts>, Problem> {
    let Query(Ask { ask }) = ask.map_err(|rejection| bad_question(&rejection.body_text()))?;
    Ok(Json(desk.house.accounts(ask).await?))
}

/// `POST /v1/accounts/adopt`
pub(super) async fn adopt(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<AdoptOrder>, JsonRejection>,
) -> Result<Json<AccountAdopted>, Problem> {
    let Json(order) = order.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body brings no account")
            .detail(rejection.body_text())
    })?;
    Ok(Json(desk.house.adopt_account(order, caller).await?))
}
