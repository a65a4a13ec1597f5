//! The routes of what clients may have: allowances, packs and the ledger, and the port behind them.
//!
//! Deliberately absent: ordering certificates.

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::rejection::QueryRejection;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::house::HouseError;
use super::routes::Desk;
use super::routes::bad_question;
use super::wire::LIST_DEFAULT;
use super::wire::LIST_MOST;
use super::wire::Problem;
use super::wire::books::AllowanceView;
use super::wire::books::Allowances;
use super::wire::books::Ledger;
use super::wire::books::NOTE_MOST;
use super::wire::books::PackOrder;
use super::wire::books::PackRevoked;
use super::wire::books::PackView;
use super::wire::books::Packs;
use crate::base::Timestamp;
use crate::base::bounds::allowance::COUNT_MOST;
use crate::cert::allowance::Class;
use crate::cert::challenge::BoxFuture;
use crate::cert::client::ClientName;
use crate::cert::pack::PackId;
use crate::cert::rights::Role;

/// A pack that is to be granted, as far as it can be checked without the store.
#[derive(Clone, Debug)]
pub struct Granting {
    /// To whom.
    pub client: ClientName,
    /// Of what.
    pub class: Class,
    /// How many.
    pub count: u64,
    /// From when on nothing may be had for it any more.
    pub until: Option<Timestamp>,
    /// Why.
    pub note: String,
}

/// The books, as the daemon keeps them: a part of the house.
pub trait Books: Send + Sync {
    /// What a client may have.
    fn allowance(&self, client: ClientName) -> BoxFuture<'_, Result<AllowanceView, HouseError>>;
    /// At most `limit` clients behind `after`.
    fn allowances(
        &self,
        after: Option<ClientName>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Allowances, HouseError>>;
    /// At most `limit` packs behind `after`, of one client or of all.
    fn packs(
        &self,
        client: Option<ClientName>,
        after: Option<PackId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Packs, HouseError>>;
    /// Grants a pack.
    fn grant(&self, what: Granting, caller: Caller) -> BoxFuture<'_, Result<PackView, HouseError>>;
    /// Takes back what is left of a pack.
    fn revoke_pack(
        &self,
        id: PackId,
        caller: Caller,
    ) -> BoxFuture<'_, Result<PackRevoked, HouseError>>;
    /// At most `limit` entries of the ledger behind `after`, of one client or of all.
    fn ledger(
        &self,
        client: Option<ClientName>,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Ledger, HouseError>>;
}

/// Which part of the clients is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Clients {
    after: Option<String>,
    limit: Option<usize>,
}

/// Which part of packs or entries is wanted, and whose.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    client: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// `GET /v1/allowances`
pub(super) async fn allowances(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    page: Result<Query<Clients>, QueryRejection>,
) -> Result<Json<Allowances>, Problem> {
    let Query(page) = page.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let (limit, books) = (limit(page.limit)?, books(&desk)?);
    let after = page.after.as_deref().map(name).transpose()?;
    if caller.role == Role::Client {
        // Its own, whether it ever asked for something or not.
        let own = own(&caller)?;
        let behind = after.is_some_and(|after| after >= own);
        let clients = if behind { Vec::new() } else { vec![books.allowance(own).await?] };
        return Ok(Json(Allowances { clients, next: None }));
    }
    Ok(Json(books.allowances(after, limit).await?))
}

/// `GET /v1/allowances/{client}`
pub(super) async fn allowance(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    client: Result<Path<String>, PathRejection>,
) -> Result<Json<AllowanceView>, Problem> {
    let Path(client) = client.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let client = theirs(&caller, Some(name(&client)?))?;
    let client = client.ok_or_else(|| bad_question("no client is named"))?;
    Ok(Json(books(&desk)?.allowance(client).await?))
}

/// `GET /v1/packs`
pub(super) async fn packs(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Packs>, Problem> {
    let Query(page) = page.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let client = theirs(&caller, page.client.as_deref().map(name).transpose()?)?;
    let limit = limit(page.limit)?;
    Ok(Json(books(&desk)?.packs(client, page.after.map(PackId), limit).await?))
}

/// `POST /v1/packs`
pub(super) async fn grant(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    order: Result<Json<PackOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<PackView>), Problem> {
    let Json(order) = order.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body is no order for a pack")
            .detail(rejection.body_text())
    })?;
    let PackOrder { client, class, count, until, note } = order;
    let (client, class) = (name(&client)?, kind(&class)?);
    if !(1..=COUNT_MOST).contains(&count) {
        return Err(bad_question(&format!("count={count} is not between 1 and {COUNT_MOST}")));
    }
    if note.len() > NOTE_MOST || note.chars().any(char::is_control) {
        return Err(bad_question(&format!("a note is one line of at most {NOTE_MOST} octets")));
    }
    let what = Granting { client, class, count, until: until.map(|until| until.0), note };
    Ok((StatusCode::CREATED, Json(books(&desk)?.grant(what, caller).await?)))
}

/// `DELETE /v1/packs/{id}`
pub(super) async fn revoke(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<PackRevoked>, Problem> {
    let Path(id) = id.map_err(|rejection| bad_question(&rejection.body_text()))?;
    Ok(Json(books(&desk)?.revoke_pack(PackId(id), caller).await?))
}

/// `GET /v1/ledger`
pub(super) async fn ledger(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Ledger>, Problem> {
    let Query(page) = page.map_err(|rejection| bad_question(&rejection.body_text()))?;
    let client = theirs(&caller, page.client.as_deref().map(name).transpose()?)?;
    let limit = limit(page.limit)?;
    Ok(Json(books(&desk)?.ledger(client, page.after.unwrap_or(0), limit).await?))
}

fn books(desk: &Desk) -> Result<&dyn Books, Problem> {
    desk.house.books().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a part is not there")
            .detail("no books are kept here")
    })
}

/// Whose books `caller` is shown who asked for those of `asked`, or of everybody: a client its own, and
/// none else; of others it does not even learn whether there are any.
fn theirs(caller: &Caller, asked: Option<ClientName>) -> Result<Option<ClientName>, Problem> {
    if caller.role != Role::Client {
        return Ok(asked);
    }
    let own = own(caller)?;
    match asked {
        Some(asked) if asked != own => {
            Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", "these books are not yours")
                .detail(format!("you are client {own}"))
                .hint("leave the client out"))
        }
        _ => Ok(Some(own)),
    }
}

fn own(caller: &Caller) -> Result<ClientName, Problem> {
    caller.name.clone().ok_or_else(|| {
        Problem::new(StatusCode::FORBIDDEN, "not-allowed", "you are no client, and have no books")
            .detail(caller.told.clone())
    })
}

fn limit(said: Option<usize>) -> Result<usize, Problem> {
    let limit = said.unwrap_or(LIST_DEFAULT);
    if (1..=LIST_MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(bad_question(&format!("limit={limit} is not between 1 and {LIST_MOST}")))
}

fn name(text: &str) -> Result<ClientName, Problem> {
    ClientName::parse(text).map_err(|error| bad_question(&error.to_string()))
}

fn kind(text: &str) -> Result<Class, Problem> {
    Class::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        bad_question(&format!("{shown:?} is no class: single, wildcard or multi"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::access::Peer;
    use super::*;

    #[test]
    fn a_client_is_shown_its_own_books_and_nobody_elses() {
        let peer = Peer { uid: 1000, gid: 1000, pid: None };
        let (ann, bob) = (ClientName::parse("ann").unwrap(), ClientName::parse("bob").unwrap());
        let client = Caller::new(Some(ann.clone()), Role::Client, peer);
        assert_eq!(theirs(&client, None).unwrap(), Some(ann.clone()));
        assert_eq!(theirs(&client, Some(ann.clone())).unwrap(), Some(ann.clone()));
        assert!(theirs(&client, Some(bob.clone())).is_err());
        assert!(theirs(&Caller::new(None, Role::Client, peer), None).is_err());
        for role in [Role::Observer, Role::Operator] {
            let caller = Caller::new(Some(ann.clone()), role, peer);
            assert_eq!(theirs(&caller, Some(bob.clone())).unwrap(), Some(bob.clone()));
            assert_eq!(theirs(&caller, None).unwrap(), None, "everybody's");
        }
    }
}
