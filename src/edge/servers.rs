//! How the servers of sites are, for whoever asks.
//!
//! Nothing is decided here; see `standing` for who knows it, and from where.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::serving::ServedSite;
use super::serving::ServingSet;
use super::target::Target;

/// A server, as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerView {
    /// The first name of a site that has it.
    pub site: String,
    /// As it stands in the file, with the port.
    pub address: String,
    /// Its share beside the others of its site.
    pub weight: u32,
    /// How it is.
    pub state: ServerState,
    /// For how long, where it is checked.
    pub since: Option<Duration>,
}

/// How a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerState {
    /// Nobody has anything to say against it.
    Good,
    /// It came back and gets this many hundredths of its share.
    Rising(u32),
    /// Requests that it failed have some worker leave it out.
    LeftOut,
    /// The checks say why it is down.
    Down(String),
}

/// Those of the site that has `host`.
pub(super) fn of_site(set: &ServingSet, host: &str) -> Vec<ServerView> {
    let now = Instant::now();
    set.by_host(host).map(|site| views(site, now)).unwrap_or_default()
}

/// Those of all sites that are down or left out, each once.
pub(super) fn unwell(set: &ServingSet) -> Vec<ServerView> {
    let now = Instant::now();
    let mut found = BTreeMap::new();
    for site in set.sites() {
        for view in views(site, now) {
            if matches!(view.state, ServerState::LeftOut | ServerState::Down(_)) {
                found.entry((view.address.clone(), view.site.clone())).or_insert(view);
            }
        }
    }
    found.into_values().collect()
}

fn views(site: &ServedSite, now: Instant) -> Vec<ServerView> {
    let upstreams = site.upstream.iter().chain(site.routes.upstreams());
    let mut views = Vec::new();
    for upstream in upstreams {
        for target in &upstream.targets {
            let view = view(&site.name, target, upstream.asking.slow_start, now);
            // A route may have a server of the site's.
            if !views.contains(&view) {
                views.push(view);
            }
        }
    }
    views
}

fn view(site: &str, target: &Target, slow_start: Duration, now: Instant) -> ServerView {
    let standing = &target.standing;
    let last = standing.last();
    let share = standing.share(slow_start, || now);
    let state = match last.reason {
        Some(reason) if standing.is_down() => ServerState::Down(reason),
        _ if standing.is_left_out(now) => ServerState::LeftOut,
        _ if share < 100 => ServerState::Rising(share),
        _ => ServerState::Good,
    };
    ServerView {
        site: site.to_owned(),
        address: target.reach.address.to_string(),
        weight: target.weight,
        state,
        since: last.since.map(|since| now.saturating_duration_since(since)),
    }
}
