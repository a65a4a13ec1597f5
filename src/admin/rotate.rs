//! The routes by which secrets are replaced before their time. Who did it stands in the journal.

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
use super::wire::rotate::AccountView;
use super::wire::rotate::MasterView;
use super::wire::rotate::RotateKeys;
use super::wire::rotate::RotatedKeys;
use super::wire::tickets::TicketsView;

/// `POST /v1/rotate/tickets`
pub(super) async fn tickets(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<TicketsView>, Problem> {
    Ok(Json(desk.house.rotate_tickets(caller).await?))
}

/// `POST /v1/rotate/master`
pub(super) async fn master(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Result<(StatusCode, Json<MasterView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(desk.house.rotate_master(caller).await?)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichCa {
    /// What sites call it.
    ca: Option<String>,
}

/// `POST /v1/rotate/account`, and `?ca=NAME` for another CA than that of `[acme]`
pub(super) async fn account(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    which: Result<Query<WhichCa>, QueryRejection>,
) -> Result<Json<AccountView>, Problem> {
    let Query(which) = which.map_err(|rejection| bad_question(&rejection.body_text()))?;
    Ok(Json(desk.house.rotate_account(which.ca, caller).await?))
}

/// `POST /v1/rotate/keys`
pub(super) async fn keys(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<RotateKeys>, JsonRejection>,
) -> Result<(StatusCode, Json<RotatedKeys>), Problem> {
    let Json(order) = order.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body is no order for new keys")
            .detail(rejection.body_text())
    })?;
    if order.all != order.certificates.is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "refused", "this cannot be done")
            .detail("expected either names of certificates, or all of them")
            .hint("keyward rotate keys NAME, or keyward rotate keys --all"));
    }
    Ok((StatusCode::ACCEPTED, Json(desk.house.rotate_keys(order, caller).await?)))
}
