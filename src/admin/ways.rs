//! The table of routes: what each needs of who asks, and who answers it.
//!
//! A route exists by standing here, so none is without its need. What a client may ask for is narrowed
//! once more by the house, which shows it nothing but its own; that is no business of this table.

use axum::extract::Request;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::routing::MethodRouter;
use axum::routing::delete;
use axum::routing::get;
use axum::routing::post;
use http::Method;
use http::StatusCode;

use super::accounts;
use super::books;
use super::caller::Caller;
use super::care;
use super::delivery;
use super::events;
use super::guests;
use super::orders;
use super::rotate;
use super::routes;
use super::routes::Desk;
use super::standby;
use super::tokens;
use super::transfer;
use super::whoami;
use super::wire::Problem;
use crate::cert::rights::Role;
use crate::cert::rights::Scope;

/// To whom a route is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Open {
    /// To operators.
    Operators,
    /// To operators and observers.
    Readers,
    /// To operators, and to clients for what is their own; observers may read.
    Owners,
}

/// What a route needs of who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Need {
    /// To whom it is open.
    pub open: Open,
    /// What kind of request it is.
    pub scope: Scope,
}

/// A route.
pub(super) struct Way {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) need: Need,
    handler: MethodRouter<Desk>,
}

impl Way {
    fn new(
        method: Method,
        path: &'static str,
        (open, scope): (Open, Scope),
        handler: MethodRouter<Desk>,
    ) -> Self {
        Self { method, path, need: Need { open, scope }, handler }
    }

    /// Who answers, once who asks was looked at.
    pub(super) fn guarded(self) -> (&'static str, MethodRouter<Desk>) {
        let need = self.need;
        let admit = move |request: Request, next: Next| admit(need, request, next);
        (self.path, self.handler.route_layer(from_fn(admit)))
    }
}

/// To be shown the house.
const SHOW: (Open, Scope) = (Open::Readers, Scope::Read);
/// To be shown one's own.
const SHOW_OWN: (Open, Scope) = (Open::Owners, Scope::Read);
/// To change one's own.
const CHANGE_OWN: (Open, Scope) = (Open::Owners, Scope::Issue);
/// To have a key of one's own.
const TAKE_OWN: (Open, Scope) = (Open::Owners, Scope::Deploy);
/// To change how the house runs, or what is its own.
const RUN: (Open, Scope) = (Open::Operators, Scope::Operate);

/// Every route there is.
pub(super) fn ways() -> Vec<Way> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const DELETE: Method = Method::DELETE;
    let way = Way::new;
    vec![
        way(GET, "/v1/whoami", SHOW_OWN, get(whoami::whoami)),
        way(GET, "/v1/status", SHOW, get(routes::status)),
        way(GET, "/v1/sites", SHOW, get(routes::sites)),
        way(GET, "/v1/certificates", SHOW_OWN, get(routes::certificates)),
        way(POST, "/v1/certificates", CHANGE_OWN, post(orders::order)),
        way(GET, "/v1/certificates/{selector}", SHOW_OWN, get(routes::certificate)),
        way(DELETE, "/v1/certificates/{selector}", CHANGE_OWN, delete(orders::remove)),
        way(GET, "/v1/certificates/{selector}/chain", SHOW_OWN, get(delivery::chain)),
        way(GET, "/v1/certificates/{selector}/key", TAKE_OWN, get(delivery::key)),
        way(POST, "/v1/certificates/{selector}/renew", CHANGE_OWN, post(routes::renew)),
        way(POST, "/v1/certificates/{selector}/host", CHANGE_OWN, post(care::host)),
        way(POST, "/v1/certificates/{selector}/unhost", CHANGE_OWN, post(care::unhost)),
        way(POST, "/v1/certificates/{selector}/revoke", CHANGE_OWN, post(care::revoke)),
        way(POST, "/v1/certificates/{selector}/switch", RUN, post(standby::switch)),
        way(GET, "/v1/certificates/{selector}/why", SHOW_OWN, get(care::why)),
        way(GET, "/v1/doctor/{selector}", SHOW, get(care::doctor)),
        way(GET, "/v1/dns-persist/{selector}", SHOW, get(care::persist)),
        way(POST, "/v1/host", RUN, post(care::host_all)),
        way(GET, "/v1/onboarded", SHOW, get(guests::list)),
        way(POST, "/v1/onboarded", RUN, post(guests::onboard)),
        way(DELETE, "/v1/onboarded/{name}", RUN, delete(guests::offboard)),
        way(GET, "/v1/allowances", SHOW_OWN, get(books::allowances)),
        way(GET, "/v1/allowances/{client}", SHOW_OWN, get(books::allowance)),
        way(GET, "/v1/packs", SHOW_OWN, get(books::packs)),
        way(POST, "/v1/packs", RUN, post(books::grant)),
        way(DELETE, "/v1/packs/{id}", RUN, delete(books::revoke)),
        way(GET, "/v1/ledger", SHOW_OWN, get(books::ledger)),
        way(GET, "/v1/accounts", SHOW, get(accounts::list)),
        way(POST, "/v1/accounts/adopt", RUN, post(accounts::adopt)),
        way(GET, "/v1/import/key", SHOW_OWN, get(transfer::key)),
        way(POST, "/v1/import", RUN, post(transfer::import)),
        way(POST, "/v1/rotate/master", RUN, post(rotate::master)),
        way(POST, "/v1/rotate/keys", RUN, post(rotate::keys)),
        way(POST, "/v1/rotate/account", RUN, post(rotate::account)),
        way(POST, "/v1/rotate/tickets", RUN, post(rotate::tickets)),
        way(POST, "/v1/reload", RUN, post(routes::reload)),
        way(POST, "/v1/upgrade", RUN, post(routes::upgrade)),
        way(GET, "/v1/events", SHOW_OWN, get(events::events)),
        way(GET, "/v1/tokens", SHOW_OWN, get(tokens::list)),
        way(POST, "/v1/tokens", RUN, post(tokens::make)),
        way(DELETE, "/v1/tokens/{id}", RUN, delete(tokens::revoke)),
        way(GET, "/v1/trust/root", SHOW_OWN, get(routes::root)),
    ]
}

/// Every route as others may know it: method, path, and what it needs.
pub fn table() -> Vec<(Method, &'static str, Need)> {
    ways().into_iter().map(|way| (way.method, way.path, way.need)).collect()
}

impl Need {
    /// Why `caller` is not let in, if it is not.
    ///
    /// # Errors
    /// The answer that it gets.
    pub(super) fn admits(self, caller: &Caller) -> Result<(), Problem> {
        let open = match (self.open, caller.role) {
            (_, Role::Operator) | (Open::Owners, Role::Client) => true,
            (Open::Readers | Open::Owners, Role::Observer) => self.scope == Scope::Read,
            (Open::Operators, _) | (Open::Readers, Role::Client) => false,
        };
        if !open {
            let told = match self.open {
                Open::Operators => "operators",
                Open::Readers => "operators and observers",
                Open::Owners => "operators and clients",
            };
            return Err(forbidden(format!("this is for {told}; you are {}", caller.told))
                .hint("the role is set by [[client]] in the configuration"));
        }
        if !caller.scopes.has(self.scope) {
            let (needed, held) = (self.scope.word(), caller.scopes);
            return Err(forbidden(format!("this needs the scope {needed}; you have {held}"))
                .hint("keyward token create makes a token with other scopes"));
        }
        Ok(())
    }
}

fn forbidden(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not-allowed", "you may not do this").detail(detail)
}

async fn admit(need: Need, request: Request, next: Next) -> Response {
    let refused = match request.extensions().get::<Caller>() {
        Some(caller) => need.admits(caller).err(),
        // Nobody has looked at who it is.
        None => Some(forbidden("it is not known who asks".to_owned())),
    };
    match refused {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::Peer;
    use super::*;
    use crate::cert::rights::Scopes;

    #[test]
    fn what_each_role_may_do_is_as_the_table_says() {
        let peer = Peer { uid: 1000, gid: 1000, pid: None };
        for (method, path, need) in table() {
            let may = |role| need.admits(&Caller::new(None, role, peer)).is_ok();
            assert!(may(Role::Operator), "{method} {path}");
            // An observer changes nothing, whatever else the table says.
            let reads = need.scope == Scope::Read;
            assert_eq!(may(Role::Observer), reads, "{method} {path}");
            assert_eq!(may(Role::Client), need.open == Open::Owners, "{method} {path}");
            let mut narrow = Caller::operator(peer);
            narrow.scopes = Scopes::of(&[Scope::Read]);
            assert_eq!(need.admits(&narrow).is_ok(), reads, "{method} {path}");
            // A private key is read as well, and is more than to be shown something.
            let taken = need.scope == Scope::Deploy;
            assert_eq!(reads || taken, method == Method::GET, "{method} {path}");
        }
    }
}
