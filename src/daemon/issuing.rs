//! What clients ask for by the call, as the house does it.

use std::sync::Arc;

use nix::unistd::Uid;
use nix::unistd::User;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Asked;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Issuing;
use crate::admin::OrderError;
use crate::admin::Placed;

use crate::admin::Selector;
use crate::admin::view;
use crate::admin::wire::CertificateView;
use crate::cert::care::Reason;
use crate::cert::chain::Chain;
use crate::cert::challenge::BoxFuture;
use crate::cert::client::ClientName;
use crate::cert::rights::Role as CallerRole;
use crate::cert::spec::Role;
use crate::scheduler::IssueError;
use crate::scheduler::IssueOrder;
use crate::scheduler::WithdrawError;
use crate::scheduler::Withdrawn;
use crate::vault::age::Recipient;

impl Issuing for Residence {
    fn issue(&self, asked: Asked, caller: Caller) -> BoxFuture<'_, Result<Placed, OrderError>> {
        Box::pin(self.take_order(asked, caller))
    }

    fn withdraw<'a>(
        &'a self,
        selector: &'a Selector,
        reason: Reason,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Option<(CertificateView, bool)>, HouseError>> {
        Box::pin(self.end_order(selector, reason, caller))
    }

    fn chain<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Chain, HouseError>> {
        Box::pin(self.show_chain(selector, caller))
    }

    fn deliver<'a>(
        &'a self,
        selector: &'a Selector,
        recipient: Recipient,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Vec<u8>, HouseError>> {
        Box::pin(self.send_key(selector, recipient, caller))
    }
}

impl Residence {
    /// Orders a certificate for a client.
    async fn take_order(&self, asked: Asked, caller: Caller) -> Result<Placed, OrderError> {
        let client = whose(&caller, asked.client).await?;
        let config = Arc::clone(&self.config.borrow());
        let order = IssueOrder {
            client,
            names: asked.names,
            key: asked.key,
            exportable: asked.exportable,
            hosted: asked.hosted,
            csr: asked.csr.map(|request| request.der().to_vec()),
            idempotency: asked.idempotency,
            who: caller.told,
        };
        let issued = self.orders()?.scheduler.issue(&config, order).await;
        let issuing = issued.map_err(|error| {
            let reason = error.to_string();
            match error {
                IssueError::Overdrawn(_) => OrderError::Overdrawn { reason },
                IssueError::Taken { .. } => OrderError::Taken { reason },
                IssueError::Names { .. } | IssueError::Unprovable { .. } | IssueError::Terms(_) => {
                    OrderError::Unprovable { reason }
                }
                IssueError::Store(error) => OrderError::House(unavailable(&error)),
            }
        })?;
        Ok(Placed { certificate: issuing.certificate, fresh: issuing.fresh })
    }

    /// Ends what a client ordered.
    async fn end_order(
        &self,
        selector: &Selector,
        reason: Reason,
        caller: Caller,
    ) -> Result<Option<(CertificateView, bool)>, HouseError> {
        let record = self.chosen(selector, &caller).await?;
        if !matches!(record.spec.role, Role::Issued(_)) {
            return Ok(None);
        }
        let scheduler = &self.orders()?.scheduler;
        let withdrawn = scheduler.withdraw(record.id(), reason, &caller.told).await;
        let withdrawn = withdrawn.map_err(|error| match error {
            WithdrawError::NotFound(id) => HouseError::NotFound { selector: id.to_string() },
            WithdrawError::Revoked { .. } => refused(error.to_string()),
            WithdrawError::Store(error) => unavailable(&error),
        })?;
        let now = scheduler.certificate(record.id()).await.map_err(|error| unavailable(&error))?;
        let shown = now.as_deref().unwrap_or(&record);
        let view = view::certificate(shown, self.clock.now());
        Ok(Some((view, withdrawn == Withdrawn::Cancelled)))
    }
}

/// Out of whose allowance it is taken. Whoever may use the socket without being a client of the file has
/// the name of its local user.
async fn whose(caller: &Caller, wanted: Option<ClientName>) -> Result<ClientName, OrderError> {
    match (wanted, &caller.name) {
        (Some(wanted), Some(own)) if wanted == *own => Ok(wanted),
        (Some(wanted), _) if caller.role == CallerRole::Operator => Ok(wanted),
        (Some(wanted), _) => Err(OrderError::NotYours { client: wanted.to_string() }),
        (None, Some(own)) => Ok(own.clone()),
        (None, None) => {
            let uid = caller.peer.uid;
            // A user database may be asked over the network.
            let name = tokio::task::spawn_blocking(move || user(uid)).await;
            let name = name.map_err(|error| OrderError::House(unavailable(&error)))?;
            name.ok_or_else(|| {
                let reason = format!("user {uid} has no name: say for which client it is");
                OrderError::House(refused(reason))
            })
        }
    }
}

/// The name of a local user, if a client can be called so.
fn user(uid: u32) -> Option<ClientName> {
    let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    found.and_then(|user| ClientName::parse(&user.name).ok())
}
