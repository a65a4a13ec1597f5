//! What the admin socket sees of the daemon: reads of the store, and orders handed on.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;

use super::floods::Told;
use super::lists::Lists;
use super::lookout::Lookout;
use super::news::NewsDesk;
use super::notices::Grounds;
use super::open::Memory;
use super::orders::Orders;
use super::reseal::ResealHandle;
use super::servers;
use super::takeover::elders::Elders;
use super::takeover::giving::UpgradeRequest;
use super::terms;
use super::tickets::Order;
use super::tickets::TicketDesk;
use super::tokens::TokenBook;
use crate::admin::Books;
use crate::admin::Caller;
use crate::admin::Deploying;
use crate::admin::Filter;
use crate::admin::House;
use crate::admin::HouseError;
use crate::admin::Issuing;
use crate::admin::Passage;
use crate::admin::Place;
use crate::admin::Selector;
use crate::admin::Telling;
use crate::admin::view;
use crate::admin::wire;
use crate::admin::wire::account::AccountAdopted;
use crate::admin::wire::account::Accounts;
use crate::admin::wire::account::AdoptOrder;
use crate::admin::wire::care::HostedAll;
use crate::admin::wire::care::Why;
use crate::admin::wire::doctor::Doctor;
use crate::admin::wire::guests::Guests;
use crate::admin::wire::guests::OnboardOrder;
use crate::admin::wire::persist::Persist;
use crate::admin::wire::rotate::AccountView;
use crate::admin::wire::rotate::MasterView;
use crate::admin::wire::rotate::RotateKeys;
use crate::admin::wire::rotate::RotatedKeys;
use crate::admin::wire::standby::SwitchedView;
use crate::admin::wire::tickets::TicketsView;
use crate::admin::wire::transfer::BackedUp;
use crate::admin::wire::transfer::Exported;
use crate::admin::wire::transfer::ImportKey;
use crate::admin::wire::transfer::ImportOrder;
use crate::admin::wire::transfer::Imported;
use crate::admin::wire::upgrade::Upgraded;
use crate::base::Clock;
use crate::base::Timestamp;
use crate::cert::care::Accept;
use crate::cert::care::Reason;
use crate::cert::challenge::BoxFuture;
use crate::config::Config;
use crate::deploy::Deployer;
use crate::edge::Edge;
use crate::store::Catalog;
use crate::store::Store;
use crate::vault::Vault;

/// A reload that somebody asked for over the socket, and where the answer goes.
pub(super) type ReloadRequest = oneshot::Sender<Result<wire::Reloaded, HouseError>>;

/// The daemon behind the admin socket.
pub(super) struct Residence {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started_at: Timestamp,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) applied: watch::Receiver<Timestamp>,
    /// Why the newest change of the file was refused.
    pub(super) refused: Arc<ArcSwapOption<String>>,
    pub(super) flood: Told,
    pub(super) memory: Memory,
    pub(super) catalog: Arc<Catalog>,
    pub(super) orders: Option<Orders>,
    /// Who seals everything anew after a change of the master key.
    pub(super) resealing: Option<ResealHandle>,
    pub(super) edge: Arc<Edge>,
    pub(super) vault: Vault,
    pub(super) grounds: Grounds,
    pub(super) lookout: Arc<Lookout>,
    pub(super) lists: Arc<Lists>,
    pub(super) news: Option<NewsDesk>,
    pub(super) deployer: Option<Deployer>,
    pub(super) listeners: watch::Receiver<Vec<wire::ListenerView>>,
    pub(super) tickets: TicketDesk,
    pub(super) tokens: TokenBook,
    pub(super) reload: mpsc::Sender<ReloadRequest>,
    pub(super) upgrade: mpsc::Sender<UpgradeRequest>,
    pub(super) elders: Elders,
    /// Followed when there is no store whose journal grows.
    pub(super) silent_head: watch::Receiver<u64>,
}

impl Residence {
    pub(super) fn store(&self) -> Result<&Store, HouseError> {
        match &self.memory {
            Memory::Whole(store) => Ok(store),
            Memory::Copy { reason, .. } => Err(HouseError::Unavailable {
                reason: format!("the store is not readable, so only status is known: {reason}"),
            }),
        }
    }

    pub(super) fn orders(&self) -> Result<&Orders, HouseError> {
        self.orders.as_ref().ok_or_else(|| HouseError::Unavailable {
            reason: "nothing is signed or ordered while the store is not readable".to_owned(),
        })
    }
}

impl House for Residence {
    fn status(&self) -> BoxFuture<'_, Result<wire::Status, HouseError>> {
        Box::pin(self.describe())
    }

    fn sites(&self) -> BoxFuture<'_, Result<Vec<wire::SiteView>, HouseError>> {
        Box::pin(self.views_of_sites())
    }

    fn certificates(
        &self,
        (after, limit): (Option<Place>, usize),
        filter: Filter,
        caller: Caller,
    ) -> BoxFuture<'_, Result<wire::Certificates, HouseError>> {
        Box::pin(async move {
            let (page, next) = self.page((after, limit), &filter, &caller).await?;
            let now = self.clock.now();
            let certificates = page.iter().map(|record| view::certificate(record, now)).collect();
            Ok(wire::Certificates { certificates, next: next.map(|next| next.to_string()) })
        })
    }

    fn certificate<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<wire::CertificateView, HouseError>> {
        Box::pin(async move {
            let (found, now) = (self.chosen(selector, &caller).await?, self.clock.now());
            let key = found.installed.as_ref().map(|installed| installed.key);
            let signing = key.and_then(|key| self.lookout.of(&key, now));
            let config = Arc::clone(&self.config.borrow());
            let about = found.clone();
            let terms =
                tokio::task::spawn_blocking(move || terms::of_site(&config, &about, now)).await;
            let mut terms = terms.map_err(|error| unavailable(&error))?;
            if let Some(terms) = &mut terms {
                terms.servers = servers::views(self.edge.servers(&terms.site));
            }
            Ok(wire::CertificateView { signing, terms, ..self.with_other(&found) })
        })
    }

    fn renew<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<wire::CertificateView, HouseError>> {
        Box::pin(async move {
            let id = self.chosen(selector, &caller).await?.id();
            let scheduler = &self.orders()?.scheduler;
            let refused = |reason: String| HouseError::Refused { reason };
            scheduler.renew(id).await.map_err(|error| refused(error.to_string()))?;
            let record = scheduler
                .certificate(id)
                .await
                .map_err(|error| unavailable(&error))?
                .ok_or_else(|| refused(format!("certificate {id} was just deleted")))?;
            Ok(view::certificate(&record, self.clock.now()))
        })
    }

    fn host<'a>(
        &'a self,
        selector: &'a Selector,
        accept: Accept,
        caller: Caller,
    ) -> BoxFuture<'a, Result<wire::CertificateView, HouseError>> {
        Box::pin(self.take_care(selector, accept, caller))
    }

    fn unhost<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<wire::CertificateView, HouseError>> {
        Box::pin(self.leave_alone(selector, caller))
    }

    fn host_all(
        &self,
        accept: Accept,
        after: Option<Place>,
        caller: Caller,
    ) -> BoxFuture<'_, Result<HostedAll, HouseError>> {
        Box::pin(self.take_care_of_all(accept, after, caller))
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        reason: Reason,
        caller: Caller,
    ) -> BoxFuture<'a, Result<wire::CertificateView, HouseError>> {
        Box::pin(self.take_back(selector, reason, caller))
    }

    fn switch<'a>(
        &'a self,
        selector: &'a Selector,
        back: bool,
        caller: Caller,
    ) -> BoxFuture<'a, Result<SwitchedView, HouseError>> {
        Box::pin(self.serve_other(selector, back, caller))
    }

    fn why<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Why, HouseError>> {
        Box::pin(self.explain(selector, caller))
    }

    fn doctor<'a>(
        &'a self,
        selector: &'a Selector,
        staging: Option<String>,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Doctor, HouseError>> {
        Box::pin(self.examine(selector, staging, caller))
    }

    fn dns_persist<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Persist, HouseError>> {
        Box::pin(self.persistence(selector, caller))
    }

    fn reload(&self) -> BoxFuture<'_, Result<wire::Reloaded, HouseError>> {
        Box::pin(async {
            let ending = || HouseError::Unavailable { reason: "the daemon is ending".to_owned() };
            let (answer, outcome) = oneshot::channel();
            self.reload.send(answer).await.map_err(|_| ending())?;
            outcome.await.map_err(|_| ending())?
        })
    }

    fn upgrade(&self) -> BoxFuture<'_, Result<Upgraded, HouseError>> {
        Box::pin(async {
            let ending = || HouseError::Unavailable { reason: "the daemon is ending".to_owned() };
            let (answer, outcome) = oneshot::channel();
            self.upgrade.send(answer).await.map_err(|_| ending())?;
            outcome.await.map_err(|_| ending())?
        })
    }

    fn journal(
        &self,
        after: u64,
        limit: usize,
        caller: Caller,
    ) -> BoxFuture<'_, Result<Passage, HouseError>> {
        Box::pin(self.passage(after, limit, caller))
    }

    fn journal_head(&self) -> watch::Receiver<u64> {
        self.store().map_or_else(|_| self.silent_head.clone(), Store::journal_head)
    }

    fn internal_root(&self) -> BoxFuture<'_, Result<String, HouseError>> {
        Box::pin(async {
            let root = self.orders()?.internal.root().await;
            root.map(|chain| chain.to_pem()).map_err(|error| unavailable(&error))
        })
    }

    fn import_key(&self) -> BoxFuture<'_, Result<ImportKey, HouseError>> {
        Box::pin(self.show_import_key())
    }

    fn import(
        &self,
        order: ImportOrder,
        caller: Caller,
    ) -> BoxFuture<'_, Result<Imported, HouseError>> {
        Box::pin(self.take_in(order, caller))
    }

    fn rotate_keys(
        &self,
        order: RotateKeys,
        caller: Caller,
    ) -> BoxFuture<'_, Result<RotatedKeys, HouseError>> {
        Box::pin(self.replace_keys(order, caller))
    }

    fn rotate_account(
        &self,
        ca: Option<String>,
        caller: Caller,
    ) -> BoxFuture<'_, Result<AccountView, HouseError>> {
        Box::pin(self.replace_account_key(ca, caller))
    }

    fn accounts(&self, ask: bool) -> BoxFuture<'_, Result<Accounts, HouseError>> {
        Box::pin(self.show_accounts(ask))
    }

    fn adopt_account(
        &self,
        order: AdoptOrder,
        caller: Caller,
    ) -> BoxFuture<'_, Result<AccountAdopted, HouseError>> {
        Box::pin(self.take_account(order, caller))
    }

    fn rotate_master(&self, caller: Caller) -> BoxFuture<'_, Result<MasterView, HouseError>> {
        Box::pin(self.replace_master(caller))
    }

    fn forget<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<wire::CertificateView, HouseError>> {
        Box::pin(self.take_away(selector, caller))
    }

    fn onboard(
        &self,
        order: OnboardOrder,
        caller: Caller,
    ) -> BoxFuture<'_, Result<wire::Renewal, HouseError>> {
        Box::pin(self.take_guest(order, caller))
    }

    fn offboard<'a>(
        &'a self,
        name: &'a str,
        bar: bool,
        caller: Caller,
    ) -> BoxFuture<'a, Result<(), HouseError>> {
        Box::pin(self.turn_guest_out(name, bar, caller))
    }

    fn deploying(&self) -> Option<&dyn Deploying> {
        Some(self)
    }

    fn telling(&self) -> Option<&dyn Telling> {
        self.news.as_ref().map(|news| news as &dyn Telling)
    }

    fn onboarded(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Guests, HouseError>> {
        Box::pin(self.guests(after, limit))
    }

    fn rotate_tickets(&self, caller: Caller) -> BoxFuture<'_, Result<TicketsView, HouseError>> {
        Box::pin(async move {
            let ending = || HouseError::Unavailable { reason: "the daemon is ending".to_owned() };
            let (answer, outcome) = oneshot::channel();
            let order = Order::Replace(answer);
            self.tickets.orders.send(order).await.map_err(|_| ending())?;
            let view = outcome.await.map_err(|_| ending())??;
            self.note_replaced_tickets(caller).await;
            Ok(view)
        })
    }

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }

    fn books(&self) -> Option<&dyn Books> {
        Some(self)
    }

    fn export<'a>(
        &'a self,
        selector: &'a Selector,
        target: OwnedFd,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Exported, HouseError>> {
        Box::pin(self.hand_out(selector, target, caller))
    }

    fn backup(
        &self,
        target: OwnedFd,
        caller: Caller,
    ) -> BoxFuture<'_, Result<BackedUp, HouseError>> {
        Box::pin(self.copy_out(target, caller))
    }
}

pub(super) fn unavailable(error: &impl ToString) -> HouseError {
    HouseError::Unavailable { reason: error.to_string() }
}
