//! What a request means: one route for each thing the house can show or do, and a problem
//! document for everything else.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::body::to_bytes;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::Request;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use axum::middleware::Next;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::StatusCode;
use http::header;
use http_body::Body as _;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::caller::Caller;
use super::etag;
use super::etag::Tagged;
use super::filter::Filter;
use super::house::House;
use super::house::HouseError;
use super::orders;
use super::page::Place;
use super::select::Selector;
use super::shares::Shares;
use super::ways::Way;
use super::ways::ways;
use super::wire::CertificateView;
use super::wire::Certificates;
use super::wire::LIST_DEFAULT;
use super::wire::LIST_MOST;
use super::wire::PROBLEM_JSON;
use super::wire::Problem;
use super::wire::Reloaded;
use super::wire::Renewal;
use super::wire::Sites;
use super::wire::Status;
use super::wire::upgrade::Upgraded;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::tasks::TaskSet;
use crate::cert::client::ClientName;
use crate::cert::identifier::Identifier;

/// What every request has at hand.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) house: Arc<dyn House>,
    pub(super) tasks: TaskSet,
    pub(super) stop: CancellationToken,
    pub(super) shares: Shares,
    /// Counts the changes of who may do what.
    rights: watch::Sender<u64>,
    deadline: Duration,
}

impl Desk {
    pub(super) fn new(
        house: Arc<dyn House>,
        shares: Shares,
        tasks: TaskSet,
        stop: CancellationToken,
    ) -> Self {
        let (rights, deadline) = (watch::Sender::new(0), bounds::ADMIN_REQUEST_DEADLINE);
        Self { house, tasks, stop, shares, rights, deadline }
    }

    /// Who may do what has changed: those who are in the middle of something are looked at again.
    pub(super) fn rights_changed(&self) {
        self.rights.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Told of such changes.
    pub(super) fn rights(&self) -> watch::Receiver<u64> {
        self.rights.subscribe()
    }
}

/// The interface for those who are admitted; each request brings its [`super::caller::Caller`] along.
pub(super) fn router(desk: Desk) -> Router {
    let ways = ways().into_iter().map(Way::guarded);
    ways.fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(desk.clone(), within_limits))
        .with_state(desk)
}

/// Reads the body under its limit, and bounds the time of the whole request. The answer's body is
/// not included: a follower of the journal stays for as long as it likes.
async fn within_limits(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    // Whoever says that it waits is waited for.
    let deadline = desk.deadline + orders::patience(request.uri());
    let work = async {
        let (head, body) = request.into_parts();
        let most = desk.shares.body();
        // One that says that it is too large need not be heard.
        if usize::try_from(body.size_hint().lower()).is_ok_and(|said| said > most) {
            return too_large(most).into_response();
        }
        let body = match to_bytes(body, most).await {
            Ok(bytes) => bytes,
            Err(error) => return unreadable(&error, most).into_response(),
        };
        next.run(Request::from_parts(head, Body::from(body))).await
    };
    match tokio::time::timeout(deadline, work).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "slow", "the daemon is too slow")
            .detail(format!(
                "no answer within {} s; an order that was given may still be carried out",
                deadline.as_secs()
            ))
            .hint("look at the daemon's log")
            .into_response(),
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large")
        .detail(format!("at most {most} bytes are read"))
}

fn unreadable(error: &axum::Error, most: usize) -> Problem {
    let limited = std::error::Error::source(error)
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
    if limited {
        too_large(most)
    } else {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body cannot be read")
            .detail(error.to_string())
    }
}

pub(super) async fn status(State(desk): State<Desk>) -> Result<Json<Status>, Problem> {
    Ok(Json(desk.house.status().await?))
}

pub(super) async fn sites(State(desk): State<Desk>) -> Result<Json<Sites>, Problem> {
    Ok(Json(Sites { sites: desk.house.sites().await? }))
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The `next` of the page before; none to begin.
    after: Option<String>,
    /// At most so many, up to 1000.
    limit: Option<usize>,
    /// Only those that the house is doing this about: `due`, `ordering`, `holding`, `waiting`, `halted`
    /// or `retiring`.
    phase: Option<String>,
    /// Only those of this issuer: `internal`, `imported`, or the host of a CA's directory.
    issuer: Option<String>,
    /// Only those that are good for this name.
    name: Option<String>,
    /// Only those that were issued for this client.
    client: Option<String>,
    /// Only those that run out before this moment (RFC 3339).
    expires_before: Option<String>,
}

impl Page {
    fn filter(&self) -> Result<Filter, Problem> {
        let said =
            |field: &str, error: &dyn std::fmt::Display| bad_question(&format!("{field}: {error}"));
        let name = self.name.as_deref().map(Identifier::parse).transpose();
        let client = self.client.as_deref().map(ClientName::parse).transpose();
        let before = self.expires_before.as_deref().map(str::parse::<jiff::Timestamp>).transpose();
        let before = before.map_err(|error| said("expires_before", &error))?;
        Ok(Filter {
            phase: self.phase.clone(),
            issuer: self.issuer.clone(),
            name: name.map_err(|error| said("name", &error))?,
            client: client.map_err(|error| said("client", &error))?,
            expires_before: before.map(|moment| Timestamp::from_unix_signed(moment.as_second())),
        })
    }
}

pub(super) async fn certificates(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Certificates>, Problem> {
    let Query(page) = page.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let after = page.after.as_deref().map(Place::parse).transpose();
    let after = after.map_err(|error| bad_question(&error.to_string()))?;
    let limit = page.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MOST).contains(&limit) {
        return Err(bad_question(&format!(
            "limit={limit} is not between 1 and {LIST_MOST}: ask for more in pages, each behind \
             the \"next\" of the one before"
        )));
    }
    Ok(Json(desk.house.certificates((after, limit), page.filter()?, caller).await?))
}

pub(super) fn bad_question(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-question", "the question cannot be read").detail(why)
}

pub(super) fn select(segment: Result<Path<String>, PathRejection>) -> Result<Selector, Problem> {
    match segment {
        Ok(Path(text)) => Ok(Selector::parse(&text)?),
        Err(rejection) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "refused", "this cannot be done")
                .detail(rejection.body_text()))
        }
    }
}

pub(super) async fn certificate(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
) -> Result<Tagged<CertificateView>, Problem> {
    let selector = select(selector)?;
    let view = desk.house.certificate(&selector, caller).await?;
    Ok(Tagged { known: etag::is_known(&headers, &view), tag: etag::value(&view), body: view })
}

pub(super) async fn renew(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Json<Renewal>), Problem> {
    let selector = select(selector)?;
    etag::precondition(&desk, &headers, &selector, &caller).await?;
    // Read before the order is given, so that nothing that comes of it is missed.
    let after = *desk.house.journal_head().borrow();
    let certificate = desk.house.renew(&selector, caller).await?;
    Ok((StatusCode::ACCEPTED, Json(Renewal { certificate, after })))
}

pub(super) async fn reload(State(desk): State<Desk>) -> Result<Json<Reloaded>, Problem> {
    Ok(Json(desk.house.reload().await?))
}

pub(super) async fn upgrade(State(desk): State<Desk>) -> Result<Json<Upgraded>, Problem> {
    Ok(Json(desk.house.upgrade().await?))
}

pub(super) async fn root(State(desk): State<Desk>) -> Result<Response, Problem> {
    let pem = desk.house.internal_root().await?;
    Ok(([(header::CONTENT_TYPE, "application/pem-certificate-chain")], pem).into_response())
}

async fn unknown(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(128).collect();
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", "there is no such path").detail(path)
}

async fn wrong_method(request: Request) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "the path has no such method")
        .detail(request.method().to_string())
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &str, title: &str) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: String::new(),
            hint: None,
            errors: Box::default(),
        }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

impl From<HouseError> for Problem {
    fn from(error: HouseError) -> Self {
        let detail = error.to_string();
        let (status, kind, title, hint) = match error {
            HouseError::NotFound { .. } => (
                StatusCode::NOT_FOUND,
                "no-such-certificate",
                "there is no such certificate",
                Some("keyward list"),
            ),
            HouseError::Ambiguous { .. } => (
                StatusCode::CONFLICT,
                "ambiguous",
                "several certificates match",
                Some("name it by its id, or the kind of its key behind a slash: shop.example/rsa"),
            ),
            HouseError::Refused { .. } => {
                (StatusCode::BAD_REQUEST, "refused", "this cannot be done", None)
            }
            HouseError::Configuration { report } => {
                return Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "configuration",
                    "the configuration was refused and the former one stays in force",
                )
                .detail(report)
                .hint("correct the file, try it with keyward check, and reload again");
            }
            HouseError::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a part is not there", None)
            }
        };
        let problem = Self::new(status, kind, title).detail(detail);
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A structure of strings and numbers always serialises.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
