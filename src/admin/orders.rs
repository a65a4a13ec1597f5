//! The routes by which certificates are issued for clients: one call orders one, and can wait for it.
//!
//! Deliberately absent: what the fields of an order may say, which `order_check` knows, and who may have
//! what, which the house decides.

use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::StatusCode;
use http::Uri;
use http::header;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::caller::Caller;
use super::care::bad_body;
use super::delivery::issuing;
use super::etag;
use super::issuing::OrderError;
use super::order_check;
use super::routes::Desk;
use super::routes::bad_question;
use super::routes::select;
use super::select::Selector;
use super::wire::CertificateView;
use super::wire::Problem;
use super::wire::issue::Issuance;
use super::wire::issue::IssueOrder;
use super::wire::issue::Withdrawn;
use super::wire::transfer::Forgotten;
use crate::base::bounds;
use crate::cert::care::Reason;

/// Between two looks at a certificate that is waited for.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    wait: Option<String>,
}

/// `POST /v1/certificates?wait=60s`
pub(super) async fn order(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    how: Result<Query<How>, QueryRejection>,
    order: Result<Json<IssueOrder>, JsonRejection>,
) -> Result<Response, Problem> {
    let Query(how) = how.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let wait = how.wait.as_deref().map(span).transpose()?;
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    let key = headers.get("idempotency-key").map(|value| value.to_str());
    let key = key.transpose().map_err(|_| bad_question("Idempotency-Key is not ASCII"))?;
    let asked = order_check::check(order, key).map_err(|errors| {
        let told: Vec<_> = errors
            .iter()
            .map(|one| format!("{} {:?}: {}", one.field, one.value, one.detail))
            .collect();
        let kind = "bad-order";
        let problem =
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "the order cannot be taken");
        Problem { errors: errors.into(), ..problem.detail(told.join("\n")) }
    })?;
    // Read before the order is given, so that nothing that comes of it is missed.
    let after = *desk.house.journal_head().borrow();
    let placed = issuing(&desk)?.issue(asked, caller.clone()).await?;
    let selector = Selector::Id(placed.certificate.to_string());
    let view = await_end(&desk, &selector, &caller, wait.unwrap_or_default()).await?;
    if view.phase == "halted" && view.installed.is_none() {
        return Err(not_issued(&view));
    }
    let (status, chain) = match (&view.installed, placed.fresh) {
        (None, _) => (StatusCode::ACCEPTED, None),
        (Some(_), fresh) => {
            let chain = issuing(&desk)?.chain(&selector, caller).await?;
            let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
            (status, Some(chain.to_pem()))
        }
    };
    let url = format!("/v1/certificates/{}", view.id);
    let events = format!("/v1/events?follow=true&after={after}&certificate={}", view.id);
    let place = [(header::LOCATION, url.clone())];
    let issuance = Issuance { certificate: view, fresh: placed.fresh, url, events, after, chain };
    Ok((status, place, Json(issuance)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    reason: Option<String>,
}

/// `DELETE /v1/certificates/{selector}?reason=superseded`: ends an order and gives back what was reserved
/// for it, or revokes what was issued; an imported one is forgotten.
pub(super) async fn remove(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, Problem> {
    let selector = select(selector)?;
    etag::precondition(&desk, &headers, &selector, &caller).await?;
    let Query(Why { reason }) = why.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let reason = reason.as_deref().map(|word| {
        Reason::parse(word).ok_or_else(|| {
            let words = Reason::ALL.map(Reason::word).join(", ");
            bad_question(&format!("reason={word:?}: expected one of {words}"))
        })
    });
    let reason = reason.transpose()?;
    let after = *desk.house.journal_head().borrow();
    if let Some(issuing) = desk.house.issuing()
        && let Some(withdrawn) = issuing
            .withdraw(&selector, reason.unwrap_or(Reason::Unspecified), caller.clone())
            .await?
    {
        let (certificate, refunded) = withdrawn;
        let status = if refunded { StatusCode::OK } else { StatusCode::ACCEPTED };
        return Ok((status, Json(Withdrawn { certificate, refunded, after })).into_response());
    }
    if reason.is_some() {
        return Err(bad_question("reason is for those that were issued for a client"));
    }
    let certificate = desk.house.forget(&selector, caller).await?;
    Ok(Json(Forgotten { certificate }).into_response())
}

/// How much longer than any other a request may take, by what it says itself.
pub(super) fn patience(uri: &Uri) -> Duration {
    let query = uri.query().unwrap_or_default();
    let wait = query.split('&').find_map(|pair| pair.strip_prefix("wait="));
    match (uri.path(), wait.map(span)) {
        ("/v1/certificates", Some(Ok(wait))) => wait,
        _ => Duration::ZERO,
    }
}

/// `60s`, `2m`, or a number of seconds; at most [`bounds::orders::LONGEST_WAIT`].
fn span(text: &str) -> Result<Duration, Problem> {
    let most = bounds::orders::LONGEST_WAIT;
    let (number, unit) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 60),
        (None, None) => (text, 1),
    };
    let seconds: Option<u64> = number.parse().ok().filter(|_| !number.starts_with('+'));
    let wait = seconds.and_then(|seconds| seconds.checked_mul(unit)).map(Duration::from_secs);
    wait.filter(|wait| *wait <= most).ok_or_else(|| {
        bad_question(&format!("wait={text:?}: expected up to {}s, as in wait=60s", most.as_secs()))
    })
}

/// The certificate once it is issued, or its order has ended, or the time is over.
async fn await_end(
    desk: &Desk,
    selector: &Selector,
    caller: &Caller,
    wait: Duration,
) -> Result<CertificateView, Problem> {
    let until = Instant::now() + wait;
    let mut head = desk.house.journal_head();
    loop {
        // Marked as seen before the house is asked: what comes later wakes us again.
        head.borrow_and_update();
        let view = desk.house.certificate(selector, caller.clone()).await?;
        let ended = view.installed.is_some() || view.phase == "halted";
        if ended || Instant::now() >= until {
            return Ok(view);
        }
        tokio::select! {
            changed = head.changed() => {
                if changed.is_err() {
                    return Ok(view);
                }
                // Others are issued as well, and each of them is news.
                tokio::time::sleep(LOOK).await;
            }
            () = tokio::time::sleep_until(until) => {}
            () = desk.stop.cancelled() => return Ok(view),
        }
    }
}

fn not_issued(view: &CertificateView) -> Problem {
    let problem = Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "not-issued",
        "it was not issued, and costs nothing",
    );
    match &view.failure {
        None => problem.detail("its order was ended"),
        Some(failure) => {
            problem.detail(format!("{}: {}", failure.kind, failure.detail)).hint(&failure.hint)
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let detail = error.to_string();
        let (status, kind, title) = match error {
            OrderError::House(error) => return error.into(),
            OrderError::Overdrawn { .. } => {
                (StatusCode::CONFLICT, "overdrawn", "nothing is left of the allowance")
            }
            OrderError::Taken { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "the key of idempotency is that of another order",
            ),
            OrderError::NotYours { .. } => {
                (StatusCode::FORBIDDEN, "not-allowed", "you may not do this")
            }
            OrderError::Unprovable { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unprovable", "no CA could be shown this")
            }
        };
        Self::new(status, kind, title).detail(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_or_minutes_and_bounds_the_request_by_itself() {
        let seconds =
            |text| span(text).map(|wait| wait.as_secs()).map_err(|problem| problem.status);
        assert_eq!(["60s", "60", "2m", "0"].map(seconds), [Ok(60), Ok(60), Ok(120), Ok(0)]);
        for bad in ["", "s", "-1", "+1", "1h", "601", "11m", "99999999999999999999", "1.5s"] {
            assert_eq!(seconds(bad), Err(400), "{bad}");
        }
        let of = |uri: &'static str| patience(&Uri::from_static(uri)).as_secs();
        assert_eq!(of("/v1/certificates?wait=60s"), 60);
        assert_eq!(of("/v1/certificates?x=1&wait=2m"), 120);
        assert_eq!(of("/v1/certificates?wait=9999"), 0);
        assert_eq!(of("/v1/status?wait=60s"), 0);
        assert_eq!(of("/v1/certificates"), 0);
    }
}
