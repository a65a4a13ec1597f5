//! A house that never answers costs its deadline, whatever it is asked.

use std::future::pending;
use std::os::fd::OwnedFd;

use tower::ServiceExt as _;

use super::*;
use crate::admin::access::Peer;
use crate::admin::filter::Filter;
use crate::admin::house::Passage;
use crate::admin::tokens::Keyring;
use crate::admin::wire::SiteView;
use crate::admin::wire::care::HostedAll;
use crate::admin::wire::care::Why;
use crate::admin::wire::rotate::AccountView;
use crate::admin::wire::rotate::MasterView;
use crate::admin::wire::rotate::RotateKeys;
use crate::admin::wire::rotate::RotatedKeys;
use crate::admin::wire::tickets::TicketsView;
use crate::admin::wire::transfer::BackedUp;
use crate::admin::wire::transfer::Exported;
use crate::admin::wire::transfer::ImportKey;
use crate::admin::wire::transfer::ImportOrder;
use crate::admin::wire::transfer::Imported;
use crate::cert::care::Accept;
use crate::cert::care::Reason;
use crate::cert::challenge::BoxFuture;
use crate::config::Share;

/// A house that never answers.
struct Mute;

impl Keyring for Mute {}

impl House for Mute {
    fn status(&self) -> BoxFuture<'_, Result<Status, HouseError>> {
        Box::pin(pending())
    }
    fn sites(&self) -> BoxFuture<'_, Result<Vec<SiteView>, HouseError>> {
        Box::pin(pending())
    }
    fn certificates(
        &self,
        _: (Option<Place>, usize),
        _: Filter,
        _: Caller,
    ) -> BoxFuture<'_, Result<Certificates, HouseError>> {
        Box::pin(pending())
    }
    fn certificate<'a>(
        &'a self,
        _: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(pending())
    }
    fn renew<'a>(
        &'a self,
        _: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(pending())
    }
    fn host<'a>(
        &'a self,
        _: &'a Selector,
        _: Accept,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(pending())
    }
    fn unhost<'a>(
        &'a self,
        _: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(pending())
    }
    fn host_all(
        &self,
        _: Accept,
        _: Option<Place>,
        _: Caller,
    ) -> BoxFuture<'_, Result<HostedAll, HouseError>> {
        Box::pin(pending())
    }
    fn revoke<'a>(
        &'a self,
        _: &'a Selector,
        _: Reason,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(pending())
    }
    fn why<'a>(&'a self, _: &'a Selector, _: Caller) -> BoxFuture<'a, Result<Why, HouseError>> {
        Box::pin(pending())
    }
    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, HouseError>> {
        Box::pin(pending())
    }
    fn journal(&self, _: u64, _: usize, _: Caller) -> BoxFuture<'_, Result<Passage, HouseError>> {
        Box::pin(pending())
    }
    fn journal_head(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
    fn internal_root(&self) -> BoxFuture<'_, Result<String, HouseError>> {
        Box::pin(pending())
    }
    fn import_key(&self) -> BoxFuture<'_, Result<ImportKey, HouseError>> {
        Box::pin(pending())
    }
    fn import(&self, _: ImportOrder, _: Caller) -> BoxFuture<'_, Result<Imported, HouseError>> {
        Box::pin(pending())
    }
    fn rotate_keys(
        &self,
        _: RotateKeys,
        _: Caller,
    ) -> BoxFuture<'_, Result<RotatedKeys, HouseError>> {
        Box::pin(pending())
    }
    fn rotate_account(
        &self,
        _: Option<String>,
        _: Caller,
    ) -> BoxFuture<'_, Result<AccountView, HouseError>> {
        Box::pin(pending())
    }
    fn rotate_master(&self, _: Caller) -> BoxFuture<'_, Result<MasterView, HouseError>> {
        Box::pin(pending())
    }
    fn forget<'a>(
        &'a self,
        _: &'a Selector,
        _: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>> {
        Box::pin(pending())
    }
    fn rotate_tickets(&self, _: Caller) -> BoxFuture<'_, Result<TicketsView, HouseError>> {
        Box::pin(pending())
    }
    fn export<'a>(
        &'a self,
        _: &'a Selector,
        _: OwnedFd,
        _: Caller,
    ) -> BoxFuture<'a, Result<Exported, HouseError>> {
        Box::pin(pending())
    }
    fn backup(&self, _: OwnedFd, _: Caller) -> BoxFuture<'_, Result<BackedUp, HouseError>> {
        Box::pin(pending())
    }
}

#[tokio::test]
async fn a_house_that_never_answers_costs_its_deadline_on_every_path() {
    let (tasks, _watch) = TaskSet::new();
    let share = Share { connections: 1, requests: 1, per_minute: 60, body: 1 << 20 };
    let shares = Shares::new(share);
    let mut desk = Desk::new(Arc::new(Mute), shares, tasks, CancellationToken::new());
    desk.deadline = Duration::from_millis(20);
    let caller = Caller::operator(Peer { uid: 0, gid: 0, pid: None });
    let router = router(desk).layer(Extension(caller));
    let paths = [
        ("GET", "/v1/status"),
        ("GET", "/v1/sites"),
        ("GET", "/v1/certificates"),
        ("GET", "/v1/certificates/a.example"),
        ("POST", "/v1/certificates/a.example/renew"),
        ("POST", "/v1/certificates/a.example/unhost"),
        ("GET", "/v1/certificates/a.example/why"),
        ("DELETE", "/v1/certificates/a.example"),
        ("GET", "/v1/import/key"),
        ("POST", "/v1/rotate/master"),
        ("POST", "/v1/rotate/account"),
        ("POST", "/v1/reload"),
        ("GET", "/v1/events"),
        ("GET", "/v1/trust/root"),
    ];
    for (method, path) in paths {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answered =
            tokio::time::timeout(Duration::from_secs(5), router.clone().oneshot(request));
        let response = answered.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.kind, "/problems/slow", "{method} {path}");
    }
}
