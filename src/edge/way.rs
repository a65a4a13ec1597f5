//! A request on the way of its route: to an origin, or back to the client with an address.
//!
//! Futures of it are made for such requests alone, apart from those of all others.

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Response, Version};
use hyper::body::Body;

use super::answer;
use super::body::AnswerBody;
use super::client_body::ClientBody;
use super::connection::Client;
use super::routes::ServedRoute;
use super::routes::Way;
use super::serving::Behind;
use super::serving::ServedSite;
use super::site;
use crate::config::RouteTo;

/// Answers a request for `asked` that a route was found for.
pub(super) async fn follow(
    client: &Rc<Client>,
    site: &ServedSite,
    way: Way,
    asked: &str,
    mut parts: Parts,
    body: ClientBody,
) -> Response<AnswerBody> {
    let Way { route, location, shown } = way;
    let mut response = match (&route.route.to, location) {
        (RouteTo::Redirect(status, _), Some(location)) => {
            let response = answer::moved(*status, &location);
            let unread = parts.version < Version::HTTP_2 && !body.is_end_stream();
            if unread { answer::last(response) } else { response }
        }
        _ => {
            if !route.route.request.is_empty() {
                parts.extensions.insert(Arc::clone(&route));
            }
            let behind = match &route.route.to {
                RouteTo::Origin(_) => Behind {
                    upstream: route.upstream.as_ref(),
                    files: route.files.as_ref(),
                    shown: None,
                },
                RouteTo::Site | RouteTo::Redirect(..) => site.behind(),
            };
            let behind = Behind { shown: shown.as_deref(), ..behind };
            site::reach(client, site, behind, asked, parts, body).await
        }
    };
    route.route.answer.apply(response.headers_mut());
    response
}

impl ServedRoute {
    /// Makes the fields of a request those of the route: when nothing that the client says can take
    /// them out any more.
    pub(super) fn dress(&self, headers: &mut HeaderMap) {
        self.route.request.apply(headers);
    }
}
