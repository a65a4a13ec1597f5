//! Failures of our own in the form that clients of gRPC read: a status of HTTP means little to them.
//!
//! What an origin says of a call goes by as it is, and so does all of gRPC-Web, whose clients are
//! browsers.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::AnswerBody;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC: &str = "application/grpc";

/// Whether a request is a call ("gRPC over HTTP2", requests).
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    let rest = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix(GRPC));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// The answer to a call: a failure of ours as one that has trailers only.
pub(super) fn answer(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    let status = response.status();
    if !response.body().is_ours() || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (number, message) = status_of(status);
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = AnswerBody::ready(Bytes::new());
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(number));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    response
}

/// As "HTTP to gRPC Status Code Mapping" has it, so that a client concludes the same from either.
const fn status_of(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::BAD_REQUEST => ("13", "the request is malformed"),
        StatusCode::UNAUTHORIZED => ("16", "the request needs credentials"),
        StatusCode::FORBIDDEN => ("7", "the request is not allowed"),
        StatusCode::NOT_FOUND => ("12", "there is no such site here"),
        StatusCode::TOO_MANY_REQUESTS => ("14", "there are too many requests"),
        StatusCode::BAD_GATEWAY => ("14", "the server behind this site gives no proper answer"),
        StatusCode::SERVICE_UNAVAILABLE => ("14", "the server behind this site is busy"),
        StatusCode::GATEWAY_TIMEOUT => {
            ("14", "the server behind this site does not answer in time")
        }
        _ => ("2", "the request cannot be answered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_type() {
        for (text, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            assert_eq!(is_call(&headers), call, "{text}");
        }
    }
}
