//! The routes by which certificates are hosted, revoked and explained. Who did it stands in the
//! journal.

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use http::HeaderMap;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::etag;
use super::page::Place;
use super::routes::Desk;
use super::routes::bad_question;
use super::routes::select;
use super::ways::Need;
use super::ways::Open;
use super::wire::CertificateView;
use super::wire::Problem;
use super::wire::Renewal;
use super::wire::care::HostAll;
use super::wire::care::HostOrder;
use super::wire::care::HostedAll;
use super::wire::care::RevokeOrder;
use super::wire::care::Why;
use super::wire::doctor::Doctor;
use super::wire::persist::Persist;
use crate::cert::care::Accept;
use crate::cert::rights::Scope;

/// `POST /v1/certificates/{selector}/host`
pub(super) async fn host(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
    order: Result<Json<HostOrder>, JsonRejection>,
) -> Result<Json<CertificateView>, Problem> {
    let selector = select(selector)?;
    etag::precondition(&desk, &headers, &selector, &caller).await?;
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    Ok(Json(desk.house.host(&selector, agreed(&order.accept)?, caller).await?))
}

/// `POST /v1/certificates/{selector}/unhost`
pub(super) async fn unhost(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
) -> Result<Json<CertificateView>, Problem> {
    let selector = select(selector)?;
    etag::precondition(&desk, &headers, &selector, &caller).await?;
    Ok(Json(desk.house.unhost(&selector, caller).await?))
}

/// `POST /v1/host`
pub(super) async fn host_all(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<HostAll>, JsonRejection>,
) -> Result<Json<HostedAll>, Problem> {
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    let after = order.after.as_deref().map(Place::parse).transpose();
    let after = after.map_err(|error| bad_question(&error.to_string()))?;
    Ok(Json(desk.house.host_all(agreed(&order.accept)?, after, caller).await?))
}

/// `POST /v1/certificates/{selector}/revoke`
pub(super) async fn revoke(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
    order: Result<Json<RevokeOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Renewal>), Problem> {
    let selector = select(selector)?;
    etag::precondition(&desk, &headers, &selector, &caller).await?;
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    // Read before the order is given, so that nothing that comes of it is missed.
    let after = *desk.house.journal_head().borrow();
    let certificate = desk.house.revoke(&selector, order.reason, caller).await?;
    Ok((StatusCode::ACCEPTED, Json(Renewal { certificate, after })))
}

/// `GET /v1/certificates/{selector}/why`
pub(super) async fn why(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    selector: Result<Path<String>, PathRejection>,
) -> Result<Json<Why>, Problem> {
    let selector = select(selector)?;
    Ok(Json(desk.house.why(&selector, caller).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Examination {
    /// Where to order for a trial; empty for where it is known.
    staging: Option<String>,
}

/// `GET /v1/doctor/{selector}`
pub(super) async fn doctor(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    selector: Result<Path<String>, PathRejection>,
    how: Result<Query<Examination>, QueryRejection>,
) -> Result<Json<Doctor>, Problem> {
    let Query(how) = how.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let selector = select(selector)?;
    if how.staging.is_some() {
        // It orders something, if only for a trial.
        Need { open: Open::Operators, scope: Scope::Operate }.admits(&caller)?;
    }
    Ok(Json(desk.house.doctor(&selector, how.staging, caller).await?))
}

/// `GET /v1/dns-persist/{selector}`
pub(super) async fn persist(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    selector: Result<Path<String>, PathRejection>,
) -> Result<Json<Persist>, Problem> {
    let selector = select(selector)?;
    Ok(Json(desk.house.dns_persist(&selector, caller).await?))
}

fn agreed(words: &[String]) -> Result<Accept, Problem> {
    words.iter().try_fold(Accept::default(), |accept, word| {
        accept.with(word).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "refused", "this cannot be done")
                .detail(format!("{word:?} is no difference that can be agreed to"))
                .hint("dv, or issuer")
        })
    })
}

pub(super) fn bad_body(rejection: &JsonRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body is no such order")
        .detail(rejection.body_text())
}
