//! Which way a request of a site goes that has routes.
//!
//! A route is chosen by the path in its one form, and that form is what the origin is asked for. A
//! path that an origin might read in another way, which would lead to another route, goes nowhere.

use std::sync::Arc;

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use super::files::Files;
use super::path;
use super::policy::Policy;
use super::route::Refused;
use super::target::Upstream;
use super::trusting::Trusting;
use crate::config;
use crate::config::RouteTo;

/// The routes of a site, in the order in which they are tried.
#[derive(Debug, Default)]
pub(super) struct Routes(Box<[Arc<ServedRoute>]>);

/// A route as it is served.
#[derive(Debug)]
pub(super) struct ServedRoute {
    pub(super) route: config::Route,
    /// The servers it leads to, if it has some of its own.
    pub(super) upstream: Option<Upstream>,
    /// The files it has instead.
    pub(super) files: Option<Files>,
    /// What is asked of its requests, if anything is.
    pub(super) policy: Option<Arc<Policy>>,
}

/// The way of a request that a route was found for.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) route: Arc<ServedRoute>,
    /// Where a client is sent that is to go elsewhere.
    pub(super) location: Option<Box<str>>,
    /// The path in its one form, if the route makes another of it.
    pub(super) shown: Option<Box<str>>,
}

impl Routes {
    pub(super) fn new(
        site: &config::Site,
        policy: Option<&Arc<Policy>>,
        trusting: &mut Trusting<'_>,
    ) -> Self {
        let served = |route: &config::Route| {
            let name = site.name().to_string();
            let (upstream, files) = match &route.to {
                RouteTo::Origin(origin) => {
                    (Upstream::of(origin, trusting), Files::of(origin, &name))
                }
                RouteTo::Site | RouteTo::Redirect(..) => (None, None),
            };
            let policy =
                Policy::of(&route.policy, &name, policy.map(|shared| (&site.policy, shared)));
            Arc::new(ServedRoute { route: route.clone(), upstream, files, policy })
        };
        Self(site.routes.iter().map(served).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The servers of routes that have their own.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.0.iter().filter_map(|served| served.upstream.as_ref())
    }

    /// The way of a request to `host`, if it is another than the site's. Its path is in its one form
    /// then, or what the route makes of it.
    pub(super) fn lead(&self, parts: &mut Parts, host: &str) -> Result<Option<Way>, Refused> {
        let raw = match parts.uri.path() {
            // OPTIONS of the server as a whole.
            "*" => return Ok(None),
            "" => "/",
            raw => raw,
        };
        let path = path::normal(raw).ok_or(Refused::Bad)?;
        let loose = path::loose(&path).ok_or(Refused::Bad)?;
        let found = self.find(&path, parts);
        if loose != path && self.find(&loose, parts).map(|(n, _)| n) != found.map(|(n, _)| n) {
            return Err(Refused::Bad);
        }
        let query = parts.uri.query();
        let Some((number, rest)) = found else {
            if path != raw {
                parts.uri = uri(&path, query)?;
            }
            return Ok(None);
        };
        let route = self.0.get(number).ok_or(Refused::Bad)?;
        let location = match &route.route.to {
            RouteTo::Redirect(_, target) => {
                let mut text = target.fill(host, rest);
                if let Some(query) = query.filter(|_| !text.contains('?')) {
                    text.push('?');
                    text.push_str(query);
                }
                Some(text.into_boxed_str())
            }
            RouteTo::Site | RouteTo::Origin(_) => None,
        };
        let rewritten = route.route.rewrite.as_ref().map(|rewrite| rewrite.fill(host, rest));
        let shown = rewritten.is_some().then(|| (&*path).into());
        let asked = rewritten.as_deref().unwrap_or(&path);
        if asked != raw {
            parts.uri = uri(asked, query)?;
        }
        Ok(Some(Way { route: Arc::clone(route), location, shown }))
    }

    /// The first route that fits, and what its star stands for.
    fn find<'a>(&self, path: &'a str, parts: &Parts) -> Option<(usize, &'a str)> {
        self.0.iter().enumerate().find_map(|(number, served)| {
            let rest = served.route.path.rest(path)?;
            served.route.takes(&parts.method, &parts.headers).then_some((number, rest))
        })
    }
}

fn uri(path: &str, query: Option<&str>) -> Result<Uri, Refused> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let target = PathAndQuery::try_from(text).map_err(|_| Refused::Bad)?;
    Ok(Uri::from(target))
}
