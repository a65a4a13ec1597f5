//! The routes by which certificates and keys are fetched.

use axum::Extension;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::issuing::Issuing;
use super::routes::Desk;
use super::routes::bad_question;
use super::routes::select;
use super::wire::Problem;
use super::wire::issue::CHAIN_PEM;
use super::wire::issue::LEAF_DER;
use crate::vault::age::Recipient;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct To {
    recipient: String,
}

/// `GET /v1/certificates/{selector}/chain`: PEM, leaf first; or the leaf alone in DER, where the client
/// accepts nothing else.
pub(super) async fn chain(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    selector: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let selector = select(selector)?;
    let form = accepted(&headers)?;
    let chain = issuing(&desk)?.chain(&selector, caller).await?;
    let body = match form {
        LEAF_DER => chain.certificates().first().cloned().unwrap_or_default(),
        _ => chain.to_pem().into_bytes(),
    };
    Ok(([(header::CONTENT_TYPE, form), (header::VARY, "Accept")], body).into_response())
}

/// `GET /v1/certificates/{selector}/key?recipient=age1...`: the private key in a file of age.
pub(super) async fn key(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    selector: Result<Path<String>, PathRejection>,
    to: Result<Query<To>, QueryRejection>,
) -> Result<Response, Problem> {
    let selector = select(selector)?;
    let Query(To { recipient }) = to.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let recipient: Recipient =
        recipient.parse().map_err(|error| bad_question(&format!("recipient: {error}")))?;
    let file = issuing(&desk)?.deliver(&selector, recipient, caller).await?;
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, file).into_response())
}

pub(super) fn issuing(desk: &Desk) -> Result<&dyn Issuing, Problem> {
    desk.house.issuing().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a part is not there")
            .detail("nothing is issued here")
    })
}

/// The first of the forms that the client accepts (RFC 9110, section 12.5.1), in our order.
fn accepted(headers: &HeaderMap) -> Result<&'static str, Problem> {
    let lines: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let takes = |form: &str| {
        let kind = form.split('/').next().unwrap_or_default();
        lines.iter().flat_map(|line| line.split(',')).any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            // A weight of nothing forbids.
            let refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").and_then(|text| text.parse::<f32>().ok());
                weight.is_some_and(|weight| weight <= 0.0)
            });
            let any = name == "*/*" || name.strip_suffix("/*") == Some(kind);
            !refused && (any || name.eq_ignore_ascii_case(form))
        })
    };
    // Our own client asks for JSON everywhere, and whoever asks for PEM may call it text.
    let pem = lines.is_empty()
        || [CHAIN_PEM, "application/x-pem-file", "text/plain", "application/json"]
            .into_iter()
            .any(takes);
    match (pem, takes(LEAF_DER)) {
        (true, _) => Ok(CHAIN_PEM),
        (false, true) => Ok(LEAF_DER),
        (false, false) => {
            let told = format!("this is to be had as {CHAIN_PEM} or {LEAF_DER}");
            Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "not in this form")
                .detail(told))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_pem_unless_nothing_but_der_is_accepted() {
        let form = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, http::HeaderValue::from_static(value));
            }
            accepted(&headers).map_err(|problem| problem.status)
        };
        assert_eq!(form(&[]), Ok(CHAIN_PEM));
        assert_eq!(form(&["*/*"]), Ok(CHAIN_PEM));
        assert_eq!(form(&["application/json"]), Ok(CHAIN_PEM));
        assert_eq!(form(&["application/pkix-cert"]), Ok(LEAF_DER));
        assert_eq!(form(&["text/html, application/pkix-cert;q=0.5"]), Ok(LEAF_DER));
        assert_eq!(form(&["text/html", CHAIN_PEM]), Ok(CHAIN_PEM));
        assert_eq!(
            form(&["application/pem-certificate-chain;q=0, application/pkix-cert"]),
            Ok(LEAF_DER)
        );
        assert_eq!(form(&["image/png"]), Err(406));
        assert_eq!(form(&["*/*;q=0"]), Err(406));
    }
}
