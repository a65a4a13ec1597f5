//! Orders for new keys, handed on to the scheduler, and for a new master key, to the vault.

use std::collections::BTreeSet;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Selector;
use crate::admin::view;
use crate::admin::wire::rotate::AccountView;
use crate::admin::wire::rotate::MasterView;
use crate::admin::wire::rotate::RotateKeys;
use crate::admin::wire::rotate::RotatedKey;
use crate::admin::wire::rotate::RotatedKeys;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;
use crate::scheduler::RenewError;
use crate::scheduler::Turn;
use crate::vault::succession::Step;

impl Residence {
    /// Has the next renewals make new keys, and renews at once if that is asked for.
    pub(super) async fn replace_keys(
        &self,
        order: RotateKeys,
        caller: Caller,
    ) -> Result<RotatedKeys, HouseError> {
        let ids: Vec<CertificateId> = if order.all {
            let driven = self.orders()?.scheduler.driven();
            let ours = driven.iter().filter(|record| is_renewed_here(record));
            ours.map(|record| record.id()).collect()
        } else {
            let mut chosen = BTreeSet::new();
            for name in &order.certificates {
                chosen.insert(self.chosen(&Selector::parse(name)?, &caller).await?.id());
            }
            chosen.into_iter().collect()
        };
        let scheduler = &self.orders()?.scheduler;
        let turns = scheduler.rotate_keys(&ids, order.now, &caller.told).await;
        let turns = turns.map_err(|error| match error {
            RenewError::Store(error) => unavailable(&error),
            other => refused(other.to_string()),
        })?;
        let now = self.clock.now();
        let mut certificates = Vec::with_capacity(ids.len());
        for (id, turn) in ids.iter().zip(turns) {
            let record = scheduler.certificate(*id).await.map_err(|error| unavailable(&error))?;
            let Some(record) = record else { continue };
            let certificate = view::certificate(&record, now);
            let when = match turn {
                Turn::NextRenewal => "next-renewal",
                Turn::Now => "now",
                Turn::AtWork => "at-work",
            };
            certificates.push(RotatedKey { certificate, when: when.to_owned() });
        }
        Ok(RotatedKeys { certificates })
    }
}

impl Residence {
    /// Gives the account at the CA called `ca`, else that of `[acme]`, another key.
    pub(super) async fn replace_account_key(
        &self,
        ca: Option<String>,
        caller: Caller,
    ) -> Result<AccountView, HouseError> {
        let (ca, issuer) = self.ca(ca.as_deref())?;
        let directory = ca.directory;
        let now = self.clock.now();
        let told = |level, what: String| {
            Entry::about_house(now, EntryKind::Requested, level, format!("{} {what}", caller.told))
        };
        let wanted = told(Level::Info, format!("wants another key for the account at {directory}"));
        self.store()?.append(vec![wanted]).await.map_err(|error| unavailable(&error))?;
        let changed = issuer.change_account_key().await.map_err(|failure| {
            refused(format!("the key of the account was not changed: {failure}"))
        })?;
        let text = format!("has the key {} in the place of {}", changed.present, changed.former);
        let done = format!("wanted it: the account {} {text}", changed.account);
        if let Err(error) = self.store()?.append(vec![told(Level::Warning, done)]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
        tracing::info!(account = changed.account, "the account {text}");
        Ok(AccountView {
            directory,
            account: changed.account,
            former: changed.former.to_hex(),
            present: changed.present.to_hex(),
        })
    }

    /// Gives the master key a successor; what the former one sealed is sealed anew from then on.
    pub(super) async fn replace_master(&self, caller: Caller) -> Result<MasterView, HouseError> {
        if let Some(how) = self.grounds.master.not_ours() {
            return Err(refused(how));
        }
        let resealing = self.resealing.as_ref().ok_or_else(|| {
            refused("nothing can be sealed anew while the store is not readable".to_owned())
        })?;
        // Noted first: a master key that cannot be told of is not replaced.
        let kind = EntryKind::MasterKey;
        let told = format!("{} wants a new master key", caller.told);
        let entry = Entry::about_house(self.clock.now(), kind, Level::Warning, told);
        self.store()?.append(vec![entry]).await.map_err(|error| unavailable(&error))?;
        let changed = self.with_vault(|vault| vault.change_master(Step::Begin)).await?;
        changed.map_err(|error| unavailable(&error))?;
        resealing.wake();
        self.master().ok_or_else(|| refused("no vault serves".to_owned()))
    }

    /// Which master key there is, and how far the change to it is.
    pub(super) fn master(&self) -> Option<MasterView> {
        let masters = self.vault.masters();
        let present = masters.first()?;
        let progress = self.resealing.as_ref().map(|handle| handle.progress.borrow().clone());
        let progress = progress.unwrap_or_default();
        Some(MasterView {
            epoch: present.epoch,
            mark: present.to_string(),
            former: masters.get(1).map(ToString::to_string),
            former_needed: masters.len() > 1 && !progress.idle_former,
            resealed: progress.resealed,
            foreign: progress.foreign,
            trouble: progress.trouble,
        })
    }
}

/// What was imported gets its new key where it comes from, and what retires gets none.
fn is_renewed_here(record: &Certificate) -> bool {
    record.spec.role != Role::Imported && !matches!(record.phase, Phase::Retiring { .. })
}
