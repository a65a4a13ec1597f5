//! Answers made shorter on their way: zstd, brotli or gzip, as the client prefers.
//!
//! Only for sites that ask for it: where a page holds a secret beside something that a stranger
//! chose, its compressed length tells of the secret (BREACH, CVE-2013-3587), and only the operator
//! knows. The encoders are tower-http's; here is which answers they are for. Streams are passed on
//! as they come: what an encoder holds goes out when the origin pauses.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::compression::Compression;

use super::super::body::AnswerBody;
use super::super::body::BodyError;
use crate::base::bounds::policy::COMPRESSED_AT_ONCE;
use crate::base::bounds::policy::COMPRESSED_LEAST;

/// Types, beside all of `text/`, that are worth it.
const TYPES: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
];

/// For all three. Above it more time is spent than bytes are saved on their way.
const LEVEL: i32 = 3;

/// How many are made shorter at a time.
#[derive(Debug)]
pub(super) struct Presses(Arc<Semaphore>);

/// What a client says about it.
#[derive(Debug)]
pub(super) struct Asked {
    encodings: Vec<HeaderValue>,
}

impl Default for Presses {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COMPRESSED_AT_ONCE)))
    }
}

impl Asked {
    /// What `headers` of a request say; `None` where the answer must stay as it is.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        if *method == Method::HEAD || says_no_transform(headers) {
            return None;
        }
        Some(Self { encodings: headers.get_all(ACCEPT_ENCODING).iter().cloned().collect() })
    }
}

/// Makes `response` shorter if it is worth it and the client takes it so.
pub(super) async fn press(
    presses: &Presses,
    asked: Asked,
    response: Response<AnswerBody>,
) -> Response<AnswerBody> {
    if !is_worth_it(response.status(), response.headers()) || response.body().is_end_stream() {
        return response;
    }
    // Beyond so many each would only wait for the others, with an encoder's memory in its hands.
    let Ok(place) = Arc::clone(&presses.0).try_acquire_owned() else { return response };
    let status = response.status();
    let strong = response.headers().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    let weak =
        strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    let mut request = Request::new(());
    for encoding in asked.encodings {
        request.headers_mut().append(ACCEPT_ENCODING, encoding);
    }
    let mut answer = Some(response);
    let inner = tower::service_fn(move |_: Request<()>| {
        let none = || Response::new(AnswerBody::ready(Bytes::new()));
        ready(Ok::<_, Infallible>(answer.take().unwrap_or_else(none)))
    });
    let pressing = Compression::new(inner)
        .quality(CompressionLevel::Precise(LEVEL))
        .compress_when(|status, _, headers: &HeaderMap, _: &_| is_worth_it(status, headers));
    let Ok(mut response) = pressing.oneshot(request).await;
    // A client that takes nothing at all gets it as it is.
    *response.status_mut() = status;
    if let (true, Some(weak)) = (response.headers().contains_key(CONTENT_ENCODING), weak) {
        // The same to a reader, and not byte by byte (RFC 9110, section 8.8.1).
        response.headers_mut().insert(ETAG, weak);
    }
    response.map(|body| {
        let body = body.map_err(|error| match error.downcast::<BodyError>() {
            Ok(error) => *error,
            Err(_) => BodyError::Encoding,
        });
        AnswerBody::made(Holding { body: Box::pin(body), _place: place })
    })
}

/// A body, and the place that it takes.
struct Holding<B> {
    body: Pin<Box<B>>,
    _place: OwnedSemaphorePermit,
}

impl<B: Body> Body for Holding<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn is_worth_it(status: StatusCode, headers: &HeaderMap) -> bool {
    let partial = status == StatusCode::PARTIAL_CONTENT || status.is_informational();
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let tiny = length.is_some_and(|length: u64| length < COMPRESSED_LEAST);
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    // Events are passed on one by one, and each is short.
    let text = kind.starts_with("text/") && kind != "text/event-stream";
    let known =
        text || TYPES.contains(&kind.as_str()) || kind.ends_with("+json") || kind.ends_with("+xml");
    !partial && !tiny && known && !says_no_transform(headers)
}

/// RFC 9111, sections 5.2.1.6 and 5.2.2.6.
fn says_no_transform(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    fields
        .flat_map(|field| field.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("no-transform"))
}
