//! Files of a directory as answers: types, ranges, conditions, and forms that lie there compressed.
//!
//! tower-http's `ServeDir` answers; here is what it may see (`beneath`), where a directory's address
//! leads, and what is given for a page that an application in the browser makes itself.
//! Deliberately absent: lists of what is in a directory.

mod beneath;

use std::io;

use http::header::{CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody;

use self::beneath::Beneath;
use super::answer;
use super::body::AnswerBody;
use super::body::BodyError;
use super::path;
use crate::config;

/// A directory that is served.
#[derive(Debug)]
pub(super) struct Files {
    service: ServeDir<tower_http::services::fs::DefaultServeDirFallback, Beneath>,
    /// The file that is given where there is none of the name that was asked for.
    fallback: Option<PathAndQuery>,
}

impl Files {
    /// The files of `origin`, if it has some.
    pub(super) fn of(origin: &config::Origin, site: &str) -> Option<Self> {
        let config::Origin::Files(files) = origin else { return None };
        Some(Self::new(files, site))
    }

    fn new(files: &config::Files, site: &str) -> Self {
        let beneath = Beneath::new(&files.root);
        if let Err(error) = beneath.look() {
            let root = files.root.display();
            tracing::error!(
                site,
                %root,
                %error,
                hint = "a directory that keyward's user may read, not below /home or /tmp, which the \
                        service does not see; one that came by a reload is seen after a restart",
                "files cannot be served"
            );
        }
        let service = ServeDir::with_backend("", beneath)
            .precompressed_zstd()
            .precompressed_br()
            .precompressed_gzip()
            .ignore_multi_range_requests(true);
        let fallback = files.fallback.as_ref().and_then(|name| name.parse().ok());
        Self { service, fallback }
    }

    /// Answers a request; `shown` is the path that its client knows, if a route made another of it.
    pub(super) async fn serve(&self, parts: Parts, shown: Option<&str>) -> Response<AnswerBody> {
        let Some(path) = path::normal(parts.uri.path()) else {
            return answer::failure(StatusCode::BAD_REQUEST);
        };
        let Some(mut request) = asking(&parts, &path) else {
            return answer::failure(StatusCode::BAD_REQUEST);
        };
        if let Some(wanted) = request.headers_mut().remove(IF_RANGE)
            && request.headers().contains_key(RANGE)
        {
            let mut head = request.clone();
            *head.method_mut() = Method::HEAD;
            head.headers_mut().remove(RANGE);
            let whole = self.ask(head).await;
            if !whole.is_ok_and(|whole| is_that(whole.headers(), &wanted)) {
                request.headers_mut().remove(RANGE);
            }
        }
        let again = self.fallback.as_ref().filter(|_| names_a_page(&path)).map(|name| {
            let mut again = request.clone();
            *again.uri_mut() = Uri::from(name.clone());
            again
        });
        let mut response = self.ask(request).await;
        if let (Ok(first), Some(again)) = (&response, again)
            && first.status() == StatusCode::NOT_FOUND
        {
            response = self.ask(again).await;
        }
        let response = response.unwrap_or_else(|error| {
            tracing::warn!(%error, "a file cannot be read");
            Response::builder()
                .status(StatusCode::INTERNAL_SERVER_ERROR)
                .body(ServeFileSystemResponseBody::default())
                .unwrap_or_default()
        });
        dress(response, shown.unwrap_or(&path), parts.uri.query())
    }

    /// Where there is nothing, that is an answer.
    async fn ask(&self, request: Request<()>) -> io::Result<Response<ServeFileSystemResponseBody>> {
        match self.service.clone().try_call(request).await {
            Err(error) if is_absent(&error) => {
                let mut response = Response::new(ServeFileSystemResponseBody::default());
                *response.status_mut() = StatusCode::NOT_FOUND;
                Ok(response)
            }
            other => other,
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
    )
}

fn asking(parts: &Parts, path: &str) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = path.parse().ok()?;
    *request.headers_mut() = parts.headers.clone();
    Some(request)
}

/// Whether `wanted` is the validator of what is there (RFC 9110, section 13.1.5). A date counts
/// only if it is the very one.
fn is_that(headers: &HeaderMap, wanted: &HeaderValue) -> bool {
    let same = |name| headers.get(name).is_some_and(|value| value == wanted);
    same(ETAG) && !wanted.as_bytes().starts_with(b"W/") || same(LAST_MODIFIED)
}

/// Whether what is missing may be a page; a picture or a program that is missing is told as such.
fn names_a_page(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| !last.contains('.'))
}

/// The answer as the client sees it.
fn dress(
    response: Response<ServeFileSystemResponseBody>,
    path: &str,
    query: Option<&str>,
) -> Response<AnswerBody> {
    let status = response.status();
    if status == StatusCode::TEMPORARY_REDIRECT {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        return answer::moved(status, &format!("{path}/{query}"));
    }
    let (mut parts, body) = response.into_parts();
    let body = if status.is_client_error() || status.is_server_error() {
        let told = match status {
            StatusCode::NOT_FOUND => answer::text(status, "There is nothing of this name here.\n"),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                answer::text(status, "The file has no such part.\n")
            }
            StatusCode::PRECONDITION_FAILED => answer::text(status, "The file is not as it was.\n"),
            _ => answer::failure(status),
        };
        let (told, body) = told.into_parts();
        let (allow, range) = (http::header::ALLOW, http::header::CONTENT_RANGE);
        let kept =
            [allow, range].map(|name| parts.headers.remove(&name).map(|value| (name, value)));
        parts.headers = told.headers;
        parts.headers.extend(kept.into_iter().flatten().map(|(name, value)| (Some(name), value)));
        body
    } else {
        typed(&mut parts.headers);
        AnswerBody::made(body.map_err(BodyError::File))
    };
    Response::from_parts(parts, body)
}

/// Says in which letters a text is written, and that the type is meant.
fn typed(headers: &mut HeaderMap) {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if kind.starts_with("text/")
        && !kind.contains("charset")
        && let Ok(kind) = HeaderValue::from_str(&format!("{kind}; charset=utf-8"))
    {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
