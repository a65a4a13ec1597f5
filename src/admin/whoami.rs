//! The route that tells who asks what they are taken for.

use axum::Extension;
use axum::Json;

use super::caller::Caller;
use super::wire::whoami::WhoAmI;

/// `GET /v1/whoami`
pub(super) async fn whoami(Extension(caller): Extension<Caller>) -> Json<WhoAmI> {
    Json(WhoAmI {
        client: caller.name.as_ref().map(ToString::to_string),
        role: caller.role.word().to_owned(),
        scopes: caller.scopes.each().map(|scope| scope.word().to_owned()).collect(),
        user: caller.peer.uid,
    })
}
