//! What a site or a route asks of requests before they go on: by whom, how many, how large, and
//! with which password.
//!
//! One hook of `site` leads here, and only for sites and routes that ask for something. What is
//! asked first costs least: the address, then the rate, then the password, then the length.

mod auth;
mod closed;
mod compress;
mod pages;
mod throttle;

use std::hash::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Body;
use tokio::time::Instant;

use self::auth::Denied;
use self::auth::Desk;
use self::auth::Realm;
use self::closed::Closed;
use self::compress::Asked;
use self::compress::Presses;
use self::pages::Pages;
pub(super) use self::pages::names as page_names;
use self::throttle::Pace;
use self::throttle::Throttle;
use super::answer;
use super::body::AnswerBody;
use super::client_body::ClientBody;
use super::connection::Client;
use super::network::Network;
use super::routes::Way;
use super::serving::ServedSite;
use super::site;
use super::way;
use crate::config;

/// What all workers share for it. Only requests of which something is asked touch it: were there
/// one for each worker, a client would have a rate once for each.
#[derive(Debug, Default)]
pub(super) struct Guards {
    throttle: Throttle,
    desk: Desk,
    presses: Presses,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Policy {
    clients: config::Clients,
    rate: Option<(u64, Pace)>,
    realm: Option<Arc<Realm>>,
    max_body: Option<u64>,
    max_answer: Option<u64>,
    pages: Option<Arc<Pages>>,
    closed: Option<Closed>,
    compress: bool,
}

/// The longest body that a request may have, on its way to whoever reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongestBody(pub(super) u64);

/// Why a request goes no further.
#[derive(Debug)]
enum Refusal {
    Address,
    Closed,
    Rate(Duration),
    Denied(Denied),
    Length,
}

impl Policy {
    /// What `policy` asks for at the site `name`; nothing, mostly. What a route has of its `site` is
    /// shared with it, files that were read included.
    pub(super) fn of(
        policy: &config::Policy,
        name: &str,
        site: Option<(&config::Policy, &Arc<Self>)>,
    ) -> Option<Arc<Self>> {
        if policy.is_empty() {
            return None;
        }
        if let Some((_, shared)) = site.filter(|(asked, _)| *asked == policy) {
            return Some(Arc::clone(shared));
        }
        let pages = match site.filter(|(asked, _)| asked.pages == policy.pages) {
            Some((_, shared)) => shared.pages.clone(),
            None => policy.pages.as_ref().map(|pages| Arc::new(Pages::read(pages, name))),
        };
        let rule = |what: &str, route: Option<usize>| {
            let mut hasher = DefaultHasher::new();
            (name, what, route).hash(&mut hasher);
            hasher.finish()
        };
        let rate = policy.rate.map(|rate| {
            let what = format!("rate {:?} {}", rate.interval, rate.burst);
            (rule(&what, rate.route), Pace::new(rate.interval, rate.burst))
        });
        Some(Arc::new(Self {
            clients: policy.clients.clone(),
            rate,
            realm: match site.filter(|(asked, _)| asked.auth == policy.auth) {
                Some((_, shared)) => shared.realm.clone(),
                None => policy
                    .auth
                    .as_ref()
                    .map(|auth| Arc::new(Realm::new(auth, name, rule("tries", None)))),
            },
            max_body: policy.max_body,
            max_answer: policy.max_answer,
            pages,
            closed: policy.maintenance.as_ref().map(Closed::new),
            compress: policy.compress,
        }))
    }

    /// Answers a request on its `way`, if everything that is asked of it is there.
    pub(super) async fn keep(
        &self,
        client: &Rc<Client>,
        site: &ServedSite,
        way: Option<Way>,
        asked: &str,
        (mut parts, body): (Parts, ClientBody),
        h1: bool,
    ) -> Response<AnswerBody> {
        if let Err(refusal) = self.admit(client, site, &mut parts, &body).await {
            let response = refusal.answer(client, self.realm.as_deref());
            let response = match (&self.pages, refusal) {
                (Some(pages), Refusal::Closed) => pages.maintenance(response),
                _ => self.show(response),
            };
            // Its body is for nobody.
            if h1 && !body.is_end_stream() {
                return answer::last(response);
            }
            return response;
        }
        if let Some(most) = self.max_body {
            parts.extensions.insert(LongestBody(most));
        }
        let asked_for = self.compress.then(|| Asked::of(&parts.method, &parts.headers)).flatten();
        let response = match way {
            Some(way) => way::follow(client, site, way, asked, parts, body).await,
            None => site::reach(client, site, site.behind(), asked, parts, body).await,
        };
        let response = self.show(self.limit(client, site, response));
        match asked_for {
            Some(asked) => {
                compress::press(&client.worker.shared.guards.presses, asked, response).await
            }
            None => response,
        }
    }

    /// Shows the operator's page for an error.
    pub(super) fn show(&self, response: Response<AnswerBody>) -> Response<AnswerBody> {
        match &self.pages {
            Some(pages) => pages.show(response),
            None => response,
        }
    }

    async fn admit(
        &self,
        client: &Client,
        site: &ServedSite,
        parts: &mut Parts,
        body: &ClientBody,
    ) -> Result<(), Refusal> {
        let address = client.peer_address.ip();
        if !self.clients.admit(address) {
            return Err(Refusal::Address);
        }
        if self.closed.as_ref().is_some_and(|closed| closed.is_for(address)) {
            return Err(Refusal::Closed);
        }
        let (guards, network) = (&client.worker.shared.guards, Network::of(address));
        if let Some((rule, pace)) = self.rate {
            let taken = guards.throttle.take(rule, network, pace, Instant::now());
            taken.map_err(Refusal::Rate)?;
        }
        if let Some(realm) = &self.realm {
            let _waiting = client.wait();
            let said = realm.check(guards, network, &mut parts.headers).await;
            if let Err(denied) = said {
                tracing::debug!(site = %site.name, %network, reason = %denied, "not let in");
                return Err(Refusal::Denied(denied));
            }
        }
        if self.max_body.is_some_and(|most| body.size_hint().lower() > most) {
            return Err(Refusal::Length);
        }
        Ok(())
    }

    /// Sees to it that an origin's answer is no longer than it may be.
    fn limit(
        &self,
        client: &Client,
        site: &ServedSite,
        response: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        let Some(most) = self.max_answer else { return response };
        let said = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if said.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > most) {
            client.worker.counters.answers_too_long.up();
            tracing::warn!(site = %site.name, "an answer is longer than max_answer");
            return answer::failure(StatusCode::BAD_GATEWAY);
        }
        response.map(|body| body.at_most(most))
    }
}

impl Refusal {
    fn answer(&self, client: &Client, realm: Option<&Realm>) -> Response<AnswerBody> {
        let counters = &client.worker.counters;
        let (status, counter) = match self {
            Self::Address => (StatusCode::FORBIDDEN, &counters.forbidden),
            Self::Closed => (StatusCode::SERVICE_UNAVAILABLE, &counters.closed_sites),
            Self::Rate(_) => (StatusCode::TOO_MANY_REQUESTS, &counters.over_rate),
            Self::Denied(Denied::Unknown) => (StatusCode::UNAUTHORIZED, &counters.unauthorized),
            Self::Denied(Denied::Tries(_)) => (StatusCode::TOO_MANY_REQUESTS, &counters.guessing),
            Self::Denied(Denied::Busy) => (StatusCode::SERVICE_UNAVAILABLE, &counters.guessing),
            Self::Length => (StatusCode::PAYLOAD_TOO_LARGE, &counters.bodies_too_long),
        };
        counter.up();
        let mut response = match self {
            Self::Closed => {
                answer::text(status, "This site is being worked on. Come back later.\n")
            }
            _ => answer::failure(status),
        };
        let headers = response.headers_mut();
        match self {
            Self::Closed => {
                headers.insert(RETRY_AFTER, HeaderValue::from(Closed::until().as_secs()));
            }
            Self::Rate(wait) | Self::Denied(Denied::Tries(wait)) => {
                // Rounded up: who comes back then is not too early.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            Self::Denied(Denied::Busy) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Denied(Denied::Unknown) => {
                if let Some(realm) = realm {
                    headers.insert(WWW_AUTHENTICATE, realm.challenge().clone());
                }
            }
            Self::Address | Self::Length => {}
        }
        response
    }
}
