//! Entity tags of certificates: the revision of the record (RFC 9110, sections 8.8.3 and 13.1).
//!
//! A tag tells one state of the record from another. What is shown beside it and changes with time alone,
//! such as the share of its life that is left, is no part of it.

use axum::Json;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use serde::Serialize;

use super::caller::Caller;
use super::routes::Desk;
use super::select::Selector;
use super::wire::CertificateView;
use super::wire::Problem;

/// Something with its tag, or with a `known` one the tag alone.
pub(super) struct Tagged<T> {
    pub(super) known: bool,
    pub(super) tag: Option<HeaderValue>,
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = match self.known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => Json(self.body).into_response(),
        };
        if let Some(tag) = self.tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// The tag of a certificate as it is.
pub(super) fn tag(view: &CertificateView) -> String {
    format!("\"{}-{}\"", view.id, view.revision)
}

/// The same as the value of a header field.
pub(super) fn value(view: &CertificateView) -> Option<HeaderValue> {
    HeaderValue::try_from(tag(view)).ok()
}

/// Whether the tag is among those that `If-None-Match` names, so that nothing need be shown again.
pub(super) fn is_known(headers: &HeaderMap, view: &CertificateView) -> bool {
    named(headers, &header::IF_NONE_MATCH, &tag(view)) == Some(true)
}

/// Lets a change go on if the certificate is as `If-Match` says, or nothing is said.
///
/// It is looked at before the change is ordered: of two that come at the same moment with the same tag
/// both may go on, as they may without one.
///
/// # Errors
/// 412 if it is another, and what the house says if there is none.
pub(super) async fn precondition(
    desk: &Desk,
    headers: &HeaderMap,
    selector: &Selector,
    caller: &Caller,
) -> Result<(), Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let view = desk.house.certificate(selector, caller.clone()).await?;
    let tag = tag(&view);
    if named(headers, &header::IF_MATCH, &tag) == Some(true) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "it is not as If-Match says")
        .detail(format!("the certificate has the tag {tag} now"))
        .hint("look at it again, and decide again"))
}

/// Whether a list of tags names this one or any; none if there is no such field.
fn named(headers: &HeaderMap, field: &header::HeaderName, tag: &str) -> Option<bool> {
    let mut lists = headers.get_all(field).iter().peekable();
    lists.peek()?;
    let fits = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
    // None of ours has a comma in it.
    let all = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    Some(all.map(str::trim).any(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_read_and_nothing_is_taken_for_one() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, HeaderValue::from_static(value));
            }
            named(&headers, &header::IF_MATCH, "\"ab-7\"")
        };
        assert_eq!(with(&[]), None);
        for yes in [&["\"ab-7\""][..], &["\"x\", \"ab-7\""], &["\"x\"", "\"ab-7\""], &["*"]] {
            assert_eq!(with(yes), Some(true), "{yes:?}");
        }
        for no in [&["\"ab-8\""][..], &["ab-7"], &[""], &["\"ab-7"]] {
            assert_eq!(with(no), Some(false), "{no:?}");
        }
    }
}
