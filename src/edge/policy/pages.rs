//! Pages of the operator's own for errors, read when a set of sites is made.
//!
//! A page takes the place of the text alone: status and all that goes with it stay. Deliberately
//! absent: anything that changes with the request.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, EXPIRES, LAST_MODIFIED,
};
use http::{HeaderValue, Response, StatusCode};

use super::super::body::AnswerBody;
use crate::base::bounds::policy::PAGE_BYTES;
use crate::config;

/// The pages of one directory.
#[derive(Debug)]
pub(super) struct Pages {
    pages: HashMap<Box<str>, Bytes>,
    /// Whether answers of origins are replaced as well.
    origins: bool,
}

/// The names that are looked for: a status, a class of them, and what is shown while a site is
/// being worked on.
pub(in crate::edge) fn names() -> impl Iterator<Item = String> {
    let statuses = (400..=599).map(|status| format!("{status}.html"));
    statuses.chain(["4xx.html", "5xx.html", "maintenance.html"].map(str::to_owned))
}

impl Pages {
    /// Those that are there; one that cannot be read, or is too long, is told and left out.
    pub(super) fn read(from: &config::ErrorPages, site: &str) -> Self {
        let mut pages = HashMap::new();
        if let Err(error) = std::fs::read_dir(&from.dir) {
            let dir = from.dir.display();
            tracing::error!(site, %dir, %error, "pages for errors cannot be read");
            return Self { pages, origins: false };
        }
        for name in names() {
            let path = from.dir.join(&name);
            match page(&path) {
                Ok(Some(page)) => {
                    pages.insert(name.trim_end_matches(".html").into(), page);
                }
                Ok(None) => {}
                Err(error) => {
                    let path = path.display();
                    tracing::error!(site, %path, %error, "a page for errors is left out");
                }
            }
        }
        Self { pages, origins: from.origins }
    }

    /// Shows the page for the status of an error of our own, or of an origin's if that is wanted.
    pub(super) fn show(&self, response: Response<AnswerBody>) -> Response<AnswerBody> {
        let status = response.status();
        let error = status.is_client_error() || status.is_server_error();
        if !error || !self.origins && !response.body().is_ours() {
            return response;
        }
        let class = if status.is_client_error() { "4xx" } else { "5xx" };
        match self.pages.get(status.as_str()).or_else(|| self.pages.get(class)) {
            Some(page) => put(response, page),
            None => response,
        }
    }

    /// Shows that a site is being worked on.
    pub(super) fn maintenance(&self, response: Response<AnswerBody>) -> Response<AnswerBody> {
        match self.pages.get("maintenance") {
            Some(page) => put(response, page),
            None => self.show(response),
        }
    }
}

fn put(response: Response<AnswerBody>, page: &Bytes) -> Response<AnswerBody> {
    let mut response = response.map(|_| AnswerBody::ready(page.clone()));
    let status = response.status();
    let headers = response.headers_mut();
    // What spoke of the other text. A refused range says how long the whole is, and keeps that.
    let mut gone = vec![CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_LANGUAGE, ETAG, LAST_MODIFIED];
    if status != StatusCode::RANGE_NOT_SATISFIABLE {
        gone.extend([ACCEPT_RANGES, EXPIRES]);
    }
    for name in gone {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is in the file at `path`, if there is one.
fn page(path: &Path) -> std::io::Result<Option<Bytes>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(PAGE_BYTES + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= PAGE_BYTES) {
        return Ok(Some(text.into()));
    }
    Err(std::io::Error::other(format!("it is longer than {PAGE_BYTES} bytes")))
}
