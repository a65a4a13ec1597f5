//! The table of routes: what each needs of who asks, and who answers it.
//!
//! A route exists by standing here, so none is without its need. What a client may ask for is narrowed
//! once more by the house, which shows it nothing but its own; that is no business of this table.

use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::routing::MethodFilter;
use axum::routing::MethodRouter;
use axum::routing::on;
use http::Method;
use http::StatusCode;
use utoipa::ToSchema;

use super::accounts;
use super::books;
use super::caller::Caller;
use super::care;
use super::delivery;
use super::deploying;
use super::document;
use super::events;
use super::guests;
use super::orders;
use super::rotate;
use super::routes;
use super::routes::Desk;
use super::sketch::Handles;
use super::sketch::Sketch;
use super::standby;
use super::telling;
use super::tokens;
use super::transfer;
use super::whoami;
use super::wire::Problem;
use super::wire::issue::Issuance;
use super::wire::issue::Withdrawn;
use super::wire::transfer::Forgotten;
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
    /// What it is for, in a few words.
    pub(super) about: &'static str,
    /// What its handler takes and gives.
    pub(super) sketch: Sketch,
    /// The statuses with which it answers what it was asked for.
    pub(super) good: Vec<StatusCode>,
    /// Forms of the answer that its type does not tell.
    pub(super) media: &'static [&'static str],
    /// Statuses of refusals that are not those of every route.
    pub(super) refusals: &'static [u16],
    handler: MethodRouter<Desk>,
}

/// A route, what it needs, what it is for, and who answers.
fn way<H, T, A>(
    method: Method,
    path: &'static str,
    (open, scope): (Open, Scope),
    about: &'static str,
    handler: H,
) -> Way
where
    H: Handler<T, Desk> + Handles<A>,
    T: 'static,
{
    let filter = match method.as_str() {
        "POST" => MethodFilter::POST,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    Way {
        method,
        path,
        need: Need { open, scope },
        about,
        sketch: H::sketch(),
        good: vec![StatusCode::OK],
        media: &[],
        refusals: &[],
        handler: on(filter, handler),
    }
}

impl Way {
    /// Answers with this status, and not with 200.
    fn status(mut self, status: StatusCode) -> Self {
        self.good = vec![status];
        self
    }

    /// Answers with this status as well.
    fn or(mut self, status: StatusCode) -> Self {
        self.good.push(status);
        self
    }

    /// Answers in this form, if not in another one.
    fn answers<T: ToSchema>(mut self) -> Self {
        self.sketch.also_gives::<T>();
        self
    }

    /// Answers in these forms.
    fn media(self, media: &'static [&'static str]) -> Self {
        Self { media, ..self }
    }

    /// Refuses with these statuses as well.
    fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    /// Who answers, once who asks was looked at.
    pub(super) fn guarded(self) -> (&'static str, MethodRouter<Desk>) {
        let need = self.need;
        let admit = move |request: Request, next: Next| admit(need, request, next);
        (self.path, self.handler.route_layer(from_fn(admit)))
    }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;
const CREATED: StatusCode = StatusCode::CREATED;
const ACCEPTED: StatusCode = StatusCode::ACCEPTED;
const NOT_MODIFIED: StatusCode = StatusCode::NOT_MODIFIED;

/// To be shown the house.
const SHOW: (Open, Scope) = (Open::Readers, Scope::Read);
/// To be shown one's own.
const SHOW_OWN: (Open, Scope) = (Open::Owners, Scope::Read);
/// To change one's own.
const CHANGE_OWN: (Open, Scope) = (Open::Owners, Scope::Issue);
/// To have a key of one's own, or have it brought somewhere.
const TAKE_OWN: (Open, Scope) = (Open::Owners, Scope::Deploy);
/// To change how the house runs, or what is its own.
const RUN: (Open, Scope) = (Open::Operators, Scope::Operate);

/// Every route there is.
pub(super) fn ways() -> Vec<Way> {
    let all = [of_certificates(), of_care(), of_deployments(), of_clients(), of_the_house()];
    all.into_iter().flatten().collect()
}

/// About certificates.
fn of_certificates() -> Vec<Way> {
    vec![
        way(
            GET,
            "/v1/certificates",
            SHOW_OWN,
            "Certificates, a page at a time",
            routes::certificates,
        ),
        way(GET, "/v1/certificates/{selector}", SHOW_OWN, "One certificate", routes::certificate)
            .or(NOT_MODIFIED),
        way(
            DELETE,
            "/v1/certificates/{selector}",
            CHANGE_OWN,
            "End an order, revoke what was issued for a client, or delete an imported one",
            orders::remove,
        )
        .or(ACCEPTED)
        .answers::<Withdrawn>()
        .answers::<Forgotten>()
        .refuses(&[412, 422]),
        way(
            POST,
            "/v1/certificates",
            CHANGE_OWN,
            "Issue a certificate for a client",
            orders::order,
        )
        .or(CREATED)
        .or(ACCEPTED)
        .answers::<Issuance>()
        .refuses(&[404, 409, 422]),
        way(
            GET,
            "/v1/certificates/{selector}/chain",
            SHOW_OWN,
            "The chain of a certificate",
            delivery::chain,
        )
        .media(&["application/pem-certificate-chain", "application/pkix-cert"])
        .refuses(&[406]),
        way(
            GET,
            "/v1/certificates/{selector}/key",
            TAKE_OWN,
            "An exportable private key, encrypted to a recipient of age",
            delivery::key,
        )
        .media(&["application/octet-stream"]),
    ]
}

/// About what is to become of certificates.
fn of_care() -> Vec<Way> {
    vec![
        way(
            POST,
            "/v1/certificates/{selector}/renew",
            CHANGE_OWN,
            "Renew a certificate now",
            routes::renew,
        )
        .status(ACCEPTED)
        .refuses(&[412]),
        way(
            POST,
            "/v1/certificates/{selector}/host",
            CHANGE_OWN,
            "Have it renewed with the same names, type, level and issuer, or not at all",
            care::host,
        )
        .refuses(&[412]),
        way(
            POST,
            "/v1/certificates/{selector}/unhost",
            CHANGE_OWN,
            "Have it hosted no more",
            care::unhost,
        )
        .refuses(&[412]),
        way(
            POST,
            "/v1/certificates/{selector}/revoke",
            CHANGE_OWN,
            "Replace it and have the former one revoked",
            care::revoke,
        )
        .status(ACCEPTED)
        .refuses(&[412]),
        way(
            POST,
            "/v1/certificates/{selector}/switch",
            RUN,
            "Serve the one that stands by",
            standby::switch,
        )
        .refuses(&[412]),
        way(GET, "/v1/certificates/{selector}/why", SHOW_OWN, "Why it is as it is", care::why),
        way(POST, "/v1/host", RUN, "Host all that qualify, in portions", care::host_all),
        way(
            GET,
            "/v1/import/key",
            SHOW_OWN,
            "The key that private keys are sealed to before they come in",
            transfer::key,
        ),
        way(POST, "/v1/import", RUN, "Take in a certificate with its sealed key", transfer::import),
    ]
}

/// About certificates that are brought to those who serve them.
fn of_deployments() -> Vec<Way> {
    vec![
        way(GET, "/v1/deployments", SHOW_OWN, "Deployments, a page at a time", deploying::list),
        way(
            POST,
            "/v1/deployments",
            TAKE_OWN,
            "Bring a certificate with its key to a target, now and at every renewal",
            deploying::deploy,
        )
        .status(ACCEPTED)
        .refuses(&[404, 409]),
        way(GET, "/v1/deployments/{target}/{selector}", SHOW_OWN, "One deployment", deploying::one),
        way(
            DELETE,
            "/v1/deployments/{target}/{selector}",
            TAKE_OWN,
            "Bring it there no more; what is there stays",
            deploying::undeploy,
        ),
        way(
            POST,
            "/v1/deployments/{target}/{selector}/probe",
            TAKE_OWN,
            "Look now what is shown there",
            deploying::probe,
        ),
    ]
}

/// About who asks, and what each may have.
fn of_clients() -> Vec<Way> {
    vec![
        way(GET, "/v1/whoami", SHOW_OWN, "What the caller is taken for", whoami::whoami),
        way(GET, "/v1/allowances", SHOW_OWN, "What each client may have", books::allowances),
        way(GET, "/v1/allowances/{client}", SHOW_OWN, "What one client may have", books::allowance),
        way(GET, "/v1/packs", SHOW_OWN, "Packs, a page at a time", books::packs),
        way(POST, "/v1/packs", RUN, "Grant a pack", books::grant).status(CREATED),
        way(DELETE, "/v1/packs/{id}", RUN, "Take back what is left of a pack", books::revoke),
        way(GET, "/v1/ledger", SHOW_OWN, "The ledger, a page at a time", books::ledger),
        way(GET, "/v1/tokens", SHOW_OWN, "The tokens, without their texts", tokens::list),
        way(POST, "/v1/tokens", RUN, "Make a token", tokens::make).status(CREATED),
        way(DELETE, "/v1/tokens/{id}", RUN, "Take a token back", tokens::revoke),
    ]
}

/// About all else.
fn of_the_house() -> Vec<Way> {
    vec![
        way(GET, "/v1/status", SHOW, "How the daemon is", routes::status),
        way(GET, "/v1/sites", SHOW, "The configured sites", routes::sites),
        way(GET, "/v1/doctor/{selector}", SHOW, "Examine a name", care::doctor),
        way(
            GET,
            "/v1/dns-persist/{selector}",
            SHOW,
            "The DNS records that prove its names for good",
            care::persist,
        ),
        way(GET, "/v1/onboarded", SHOW, "Onboarded names, a page at a time", guests::list),
        way(POST, "/v1/onboarded", RUN, "Serve a name that is in no site", guests::onboard)
            .status(ACCEPTED),
        way(
            DELETE,
            "/v1/onboarded/{name}",
            RUN,
            "Serve an onboarded name no more",
            guests::offboard,
        ),
        way(GET, "/v1/accounts", SHOW, "The accounts at CAs", accounts::list),
        way(
            POST,
            "/v1/accounts/adopt",
            RUN,
            "Take in an account that was opened elsewhere",
            accounts::adopt,
        ),
        way(POST, "/v1/rotate/master", RUN, "Give the master key a successor", rotate::master)
            .status(ACCEPTED),
        way(POST, "/v1/rotate/keys", RUN, "Give certificates new keys", rotate::keys)
            .status(ACCEPTED),
        way(
            POST,
            "/v1/rotate/account",
            RUN,
            "Give the account at a CA another key",
            rotate::account,
        ),
        way(
            POST,
            "/v1/rotate/tickets",
            RUN,
            "Replace the keys of session tickets",
            rotate::tickets,
        ),
        way(POST, "/v1/reload", RUN, "Apply the changed configuration", routes::reload)
            .refuses(&[422]),
        way(
            POST,
            "/v1/upgrade",
            RUN,
            "Have the program as it lies on the disk take over",
            routes::upgrade,
        ),
        way(GET, "/v1/notify", SHOW, "The channels by which people are told", telling::list),
        way(
            POST,
            "/v1/notify/{channel}/test",
            RUN,
            "Has a channel tell a word now, and waits until it is taken",
            telling::test,
        ),
        way(
            GET,
            "/v1/events",
            SHOW_OWN,
            "The journal, as a list or followed as server-sent events",
            events::events,
        )
        .media(&["application/json", "text/event-stream"]),
        way(GET, "/v1/openapi.json", SHOW_OWN, "This document", document::openapi)
            .media(&["application/json"]),
        way(GET, "/v1/trust/root", SHOW_OWN, "The root of the internal CA", routes::root)
            .media(&["application/pem-certificate-chain"]),
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
            let taken = need.scope == Scope::Deploy && path.ends_with("/key");
            assert_eq!(reads || taken, method == Method::GET, "{method} {path}");
        }
    }
}
