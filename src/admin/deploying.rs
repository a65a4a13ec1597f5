//! The routes of deployments, and the port behind them: a part of the house.

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
use super::care::bad_body;
use super::house::HouseError;
use super::routes::Desk;
use super::routes::bad_question;
use super::select::Selector;
use super::wire::LIST_DEFAULT;
use super::wire::LIST_MOST;
use super::wire::Problem;
use super::wire::deployments::DeployOrder;
use super::wire::deployments::DeploymentView;
use super::wire::deployments::Deployments;
use super::wire::deployments::Undeployed;
use super::wire::deployments::Unmet;
use crate::cert::challenge::BoxFuture;
use crate::cert::deployment::TargetName;

/// Deployments, and what the file wants and nobody has.
pub type Overview = (Vec<DeploymentView>, Vec<Unmet>);

/// What can be seen and asked of deployments. The daemon implements it.
pub trait Deploying: Send + Sync {
    /// All that `caller` may see, by target and certificate; and to operators and observers what the
    /// file wants and nobody has.
    fn deployments(&self, caller: Caller) -> BoxFuture<'_, Result<Overview, HouseError>>;
    /// Has what `selector` means brought to `target` for `caller`, from now on; does not wait. `called`
    /// is how it was written.
    fn deploy<'a>(
        &'a self,
        selector: &'a Selector,
        called: String,
        target: TargetName,
        caller: Caller,
    ) -> BoxFuture<'a, Result<DeploymentView, HouseError>>;
    /// Has it brought there no more.
    fn undeploy<'a>(
        &'a self,
        selector: &'a Selector,
        target: TargetName,
        caller: Caller,
    ) -> BoxFuture<'a, Result<DeploymentView, HouseError>>;
    /// One of them, looked at now if `now`.
    fn deployment<'a>(
        &'a self,
        selector: &'a Selector,
        target: TargetName,
        now: bool,
        caller: Caller,
    ) -> BoxFuture<'a, Result<DeploymentView, HouseError>>;
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The `next` of the page before; none to begin.
    after: Option<String>,
    /// At most so many, up to 1000.
    limit: Option<usize>,
    /// Only those of the certificate with this id.
    certificate: Option<String>,
    /// Only those to this target.
    target: Option<String>,
    /// Only those in this state.
    state: Option<String>,
}

type Place = Result<Path<(String, String)>, PathRejection>;

fn deploying(desk: &Desk) -> Result<&dyn Deploying, Problem> {
    desk.house.deploying().ok_or_else(|| {
        let reason = "nothing is deployed while the store is not readable".to_owned();
        HouseError::Unavailable { reason }.into()
    })
}

fn name(text: &str) -> Result<TargetName, Problem> {
    TargetName::parse(text).map_err(|error| bad_question(&format!("target: {error}")))
}

fn place(place: Place) -> Result<(TargetName, Selector), Problem> {
    let Path((target, selector)) = place.map_err(|error| bad_question(&error.body_text()))?;
    Ok((name(&target)?, Selector::parse(&selector)?))
}

/// `GET /v1/deployments`
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Deployments>, Problem> {
    let Query(page) = page.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let limit = page.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MOST).contains(&limit) {
        return Err(bad_question(&format!("limit={limit} is not between 1 and {LIST_MOST}")));
    }
    let after = match &page.after {
        None => None,
        Some(text) => {
            let parts = text.split_once('/').map(|(target, id)| (target.to_owned(), id.to_owned()));
            Some(parts.ok_or_else(|| bad_question("after: it is no `next` of a page before"))?)
        }
    };
    let (mut all, unmet) = deploying(&desk)?.deployments(caller).await?;
    all.retain(|one| {
        let place = (one.target.clone(), one.certificate.clone());
        after.as_ref().is_none_or(|after| place > *after)
            && page.certificate.as_ref().is_none_or(|id| one.certificate == *id)
            && page.target.as_ref().is_none_or(|target| one.target == *target)
            && page.state.as_ref().is_none_or(|state| one.state == *state)
    });
    let more = all.len() > limit;
    all.truncate(limit);
    let last = all.last().filter(|_| more);
    let next = last.map(|last| format!("{}/{}", last.target, last.certificate));
    let wanted = |one: &Unmet| {
        after.is_none()
            && page.state.is_none()
            && page.certificate.is_none()
            && page.target.as_ref().is_none_or(|target| one.target == *target)
    };
    let unmet = unmet.into_iter().filter(wanted).take(LIST_MOST).collect();
    Ok(Json(Deployments { deployments: all, unmet, next }))
}

/// `POST /v1/deployments`
pub(super) async fn deploy(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<DeployOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<DeploymentView>), Problem> {
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    let (target, selector) = (name(&order.target)?, Selector::parse(&order.certificate)?);
    let deployed = deploying(&desk)?.deploy(&selector, order.certificate, target, caller).await?;
    Ok((StatusCode::ACCEPTED, Json(deployed)))
}

/// `GET /v1/deployments/{target}/{selector}`
pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    at: Place,
) -> Result<Json<DeploymentView>, Problem> {
    let (target, selector) = place(at)?;
    Ok(Json(deploying(&desk)?.deployment(&selector, target, false, caller).await?))
}

/// `POST /v1/deployments/{target}/{selector}/probe`
pub(super) async fn probe(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    at: Place,
) -> Result<Json<DeploymentView>, Problem> {
    let (target, selector) = place(at)?;
    Ok(Json(deploying(&desk)?.deployment(&selector, target, true, caller).await?))
}

/// `DELETE /v1/deployments/{target}/{selector}`
pub(super) async fn undeploy(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    at: Place,
) -> Result<Json<Undeployed>, Problem> {
    let (target, selector) = place(at)?;
    let deployment = deploying(&desk)?.undeploy(&selector, target, caller).await?;
    Ok(Json(Undeployed { deployment }))
}
