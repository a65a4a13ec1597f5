//! What is remembered of a request until its line is written.
//!
//! Values are kept as they came, which costs a count each; they are cut and escaped in the line.

use std::sync::Arc;

use http::header::{REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::Terms;
use crate::edge::serving::ServedSite;
use crate::edge::trace::Ids;

/// A request, and what became of it so far.
#[derive(Debug)]
pub(in crate::edge) struct Entry {
    pub(super) terms: Terms,
    /// It is one of the sample.
    drawn: bool,
    /// When it began: milliseconds since the epoch, and by the clock that never jumps.
    pub(super) millis: u64,
    pub(super) started: Instant,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) referer: Option<HeaderValue>,
    pub(super) agent: Option<HeaderValue>,
    pub(super) site: Option<Arc<ServedSite>>,
    pub(super) host: Option<Box<str>>,
    pub(super) ids: Option<Ids>,
    status: Option<StatusCode>,
    /// Octets of the body that were taken for the client.
    pub(super) octets: u64,
}

/// What nginx made of it, and many readers know: the client went away before there was an answer.
const GONE: u16 = 499;

impl Entry {
    pub(super) fn new(terms: Terms, drawn: bool, millis: u64, parts: &Parts) -> Self {
        Self {
            terms,
            drawn,
            millis,
            started: Instant::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            referer: parts.headers.get(REFERER).cloned(),
            agent: parts.headers.get(USER_AGENT).cloned(),
            site: None,
            host: None,
            ids: None,
            status: None,
            octets: 0,
        }
    }

    /// The site was found that the request is for, under this host.
    pub(in crate::edge) fn led(&mut self, site: &Arc<ServedSite>, host: &str) {
        self.site = Some(Arc::clone(site));
        self.host = Some(host.into());
    }

    /// It got these ids.
    pub(in crate::edge) fn identified(&mut self, ids: Ids) {
        self.ids = Some(ids);
    }

    /// The head of the answer is there.
    pub(in crate::edge) const fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// A part of the body was taken.
    pub(in crate::edge) const fn took(&mut self, octets: u64) {
        self.octets = self.octets.saturating_add(octets);
    }

    pub(super) fn status(&self) -> u16 {
        self.status.map_or(GONE, |status| status.as_u16())
    }

    /// Whether there is a line of it: the site wants lines, and it is one of the sample, or a
    /// failure of the server's side, which is never left out.
    pub(super) fn is_wanted(&self) -> bool {
        let failed = self.status.is_some_and(|status| status.is_server_error());
        self.site.as_ref().is_none_or(|site| site.access_log) && (self.drawn || failed)
    }
}
