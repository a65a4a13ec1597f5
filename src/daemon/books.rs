//! What clients may have, between the socket and the store.

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Books;
use crate::admin::Caller;
use crate::admin::Granting;
use crate::admin::HouseError;
use crate::admin::wire::books::AllowanceView;
use crate::admin::wire::books::Allowances;
use crate::admin::wire::books::BalanceView;
use crate::admin::wire::books::Ledger;
use crate::admin::wire::books::LedgerView;
use crate::admin::wire::books::PackRevoked;
use crate::admin::wire::books::PackView;
use crate::admin::wire::books::Packs;
use crate::cert::allowance::Balance;
use crate::cert::allowance::Balances;
use crate::cert::allowance::Class;
use crate::cert::challenge::BoxFuture;
use crate::cert::client::ClientName;
use crate::cert::pack::LedgerEntry;
use crate::cert::pack::Pack;
use crate::cert::pack::PackId;
use crate::store::Grant;
use crate::store::StoreError;

impl Books for Residence {
    fn allowance(&self, client: ClientName) -> BoxFuture<'_, Result<AllowanceView, HouseError>> {
        Box::pin(async move {
            let balances = self.store()?.balances(client.clone()).await.map_err(failed)?;
            Ok(of_client(&client, &balances))
        })
    }

    fn allowances(
        &self,
        after: Option<ClientName>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Allowances, HouseError>> {
        Box::pin(async move {
            let page = self.store()?.clients(after, limit.saturating_add(1)).await;
            let page = page.map_err(failed)?;
            let more = page.len() > limit;
            let page = page.iter().take(limit);
            let clients: Vec<_> = page.map(|(client, of)| of_client(client, of)).collect();
            let next = clients.last().filter(|_| more).map(|last| last.client.clone());
            Ok(Allowances { clients, next })
        })
    }

    fn packs(
        &self,
        client: Option<ClientName>,
        after: Option<PackId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Packs, HouseError>> {
        Box::pin(async move {
            let page = self.store()?.packs(client, after, limit.saturating_add(1)).await;
            let page = page.map_err(failed)?;
            let more = page.len() > limit;
            let packs: Vec<_> = page.into_iter().take(limit).map(pack).collect();
            let next = packs.last().filter(|_| more).map(|last| last.id);
            Ok(Packs { packs, next })
        })
    }

    fn grant(&self, what: Granting, caller: Caller) -> BoxFuture<'_, Result<PackView, HouseError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let Granting { client, class, count, until, note } = what;
            if let Some(until) = until.filter(|until| *until <= now) {
                return Err(refused(format!("the pack would be over at once: {until} is past")));
            }
            let grant = Grant { client, class, count, until, note, by: caller.told };
            Ok(pack(self.store()?.grant_pack(grant, now).await.map_err(failed)?))
        })
    }

    fn revoke_pack(
        &self,
        id: PackId,
        caller: Caller,
    ) -> BoxFuture<'_, Result<PackRevoked, HouseError>> {
        Box::pin(async move {
            let revoked = self.store()?.revoke_pack(id, caller.told, self.clock.now()).await;
            let (known, taken) = revoked.map_err(failed)?;
            Ok(PackRevoked { pack: pack(known), taken })
        })
    }

    fn ledger(
        &self,
        client: Option<ClientName>,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Ledger, HouseError>> {
        Box::pin(async move {
            let page = self.store()?.ledger(client, after, limit.saturating_add(1)).await;
            let page = page.map_err(failed)?;
            let more = page.len() > limit;
            let entries: Vec<_> = page.into_iter().take(limit).map(entry).collect();
            let next = entries.last().filter(|_| more).map(|last| last.seq);
            Ok(Ledger { entries, next })
        })
    }
}

fn failed(error: StoreError) -> HouseError {
    match error {
        StoreError::NoPack { .. } => refused(error.to_string()),
        other => unavailable(&other),
    }
}

fn of_client(client: &ClientName, balances: &Balances) -> AllowanceView {
    let classes = balances.iter().map(|(class, of)| balance(*class, *of)).collect();
    AllowanceView { client: client.to_string(), classes }
}

fn balance(class: Class, balance: Balance) -> BalanceView {
    let Balance { granted, available, reserved, consumed } = balance;
    BalanceView { class: class.to_string(), granted, available, reserved, consumed }
}

fn pack(pack: Pack) -> PackView {
    PackView {
        id: pack.id.0,
        client: pack.client.to_string(),
        class: pack.class.to_string(),
        count: pack.count,
        left: pack.left,
        state: pack.state().to_owned(),
        until: pack.until.map(Into::into),
        note: pack.note,
        granted_at: pack.granted_at.into(),
        by: pack.by,
    }
}

fn entry(entry: LedgerEntry) -> LedgerView {
    LedgerView {
        seq: entry.seq,
        at: entry.at.into(),
        client: entry.client.to_string(),
        what: entry.what.to_string(),
        amount: entry.amount,
        pack: entry.pack.map(|id| id.0),
        certificate: entry.certificate.map(|id| id.to_string()),
        by: entry.by,
        note: entry.note,
        balance: balance(entry.class, entry.balance),
    }
}
