//! The routes of tokens, and the port behind which they are kept. Who made or revoked one stands in the
//! journal.

use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use http::StatusCode;

use super::caller::Caller;
use super::care::bad_body;
use super::house::HouseError;
use super::routes::Desk;
use super::routes::bad_question;
use super::wire::Problem;
use super::wire::tokens::TokenMade;
use super::wire::tokens::TokenOrder;
use super::wire::tokens::TokenRevoked;
use super::wire::tokens::TokenView;
use super::wire::tokens::Tokens;
use crate::cert::challenge::BoxFuture;
use crate::cert::client::ClientName;
use crate::cert::rights::Scopes;
use crate::cert::token::TokenHash;

/// What a token gives its bearer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Granted {
    /// Which token it is.
    pub hash: TokenHash,
    /// What it is called.
    pub name: String,
    /// As whom it lets act.
    pub client: ClientName,
    /// What may be asked for with it, as far as the client may.
    pub scopes: Scopes,
    /// For how long it is still good; none for ever.
    pub left: Option<Duration>,
}

/// Where tokens are kept: a part of the house. What is not kept lets nobody in.
pub trait Keyring: Send + Sync {
    /// What the token with this hash gives now, if it is one; notes that it was used.
    fn granted(&self, _hash: &TokenHash) -> Option<Granted> {
        None
    }
    /// Those that `caller` may see.
    fn tokens(&self, _caller: Caller) -> BoxFuture<'_, Result<Vec<TokenView>, HouseError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Makes one for `caller`.
    fn make(&self, _: TokenOrder, _: Caller) -> BoxFuture<'_, Result<TokenMade, HouseError>> {
        Box::pin(async {
            Err(HouseError::Refused { reason: "no tokens are kept here".to_owned() })
        })
    }
    /// Takes one away for `caller`, named by the first digits of its id.
    fn revoke_token<'a>(
        &'a self,
        id: &'a str,
        _: Caller,
    ) -> BoxFuture<'a, Result<TokenView, HouseError>> {
        Box::pin(async { Err(HouseError::NotFound { selector: id.to_owned() }) })
    }
}

/// `GET /v1/tokens`
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Tokens>, Problem> {
    Ok(Json(Tokens { tokens: desk.house.tokens(caller).await? }))
}

/// `POST /v1/tokens`
pub(super) async fn make(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<TokenOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<TokenMade>), Problem> {
    let Json(order) = order.map_err(|rejection| bad_body(&rejection))?;
    Ok((StatusCode::CREATED, Json(desk.house.make(order, caller).await?)))
}

/// `DELETE /v1/tokens/{id}`
pub(super) async fn revoke(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<TokenRevoked>, Problem> {
    let Path(id) = id.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let revoked = desk.house.revoke_token(&id, caller).await.map_err(|error| match error {
        HouseError::NotFound { selector } => {
            Problem::new(StatusCode::NOT_FOUND, "no-such-token", "there is no such token")
                .detail(format!("no token has an id that begins with {selector:?}"))
                .hint("keyward token list")
        }
        other => other.into(),
    });
    // Even if it could not be deleted for good, it is none from now on.
    desk.rights_changed();
    Ok(Json(TokenRevoked { token: revoked? }))
}
