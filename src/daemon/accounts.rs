//! Accounts at CAs: shown, and taken in from elsewhere. The key comes in a box that only the vault opens.
//!
//! Not here: another key for an account, which is in `rotate`, and its contacts, which are in `contacts`.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::not_taken;
use super::transfer::opened;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::wire::account::AccountAdopted;
use crate::admin::wire::account::AccountEntry;
use crate::admin::wire::account::Accounts;
use crate::admin::wire::account::AdoptOrder;
use crate::base::bounds::accounts::ASK;
use crate::base::crash;
use crate::cert::failure::Failure;
use crate::cert::key::KeyUsage;
use crate::config::Acme;
use crate::issuer::AccountLook;
use crate::issuer::AcmeIssuer;
use crate::issuer::Standing;

impl Residence {
    /// The CA that sites call so; that of `[acme]` without a name.
    pub(super) fn ca(&self, name: Option<&str>) -> Result<(Acme, Arc<AcmeIssuer>), HouseError> {
        let config = Arc::clone(&self.config.borrow());
        let mut all = config.authorities();
        let found = name.map_or(Some(&config.acme), |name| all.find(|ca| ca.name == name));
        let found = found.ok_or_else(|| {
            let names: Vec<_> = config.authorities().map(|ca| ca.name.as_str()).collect();
            let name = name.unwrap_or_default();
            refused(format!("no CA is called {name:?}: there is {}", names.join(", ")))
        })?;
        let issuer = self.orders()?.authorities.acme(&found.issuer());
        let issuer = issuer.ok_or_else(|| refused(format!("{} has just left", found.name)))?;
        Ok((found.clone(), issuer))
    }

    /// Every CA with the account there; with `ask` the CAs are asked, all at the same time.
    pub(super) async fn show_accounts(&self, ask: bool) -> Result<Accounts, HouseError> {
        let config = Arc::clone(&self.config.borrow());
        let authorities = &self.orders()?.authorities;
        let mut looks = JoinSet::new();
        for (place, ca) in config.authorities().enumerate() {
            let Some(issuer) = authorities.acme(&ca.issuer()) else { continue };
            let ca = ca.clone();
            looks.spawn(async move {
                let looked = match timeout(ASK, issuer.look_at_account(ask)).await {
                    Ok(looked) => looked,
                    // What is known without the CA is shown all the same.
                    Err(_) => issuer.look_at_account(false).await,
                };
                (place, shown(&ca, looked, ask))
            });
        }
        let mut accounts = Vec::new();
        while let Some(looked) = looks.join_next().await {
            accounts.push(looked.map_err(|error| unavailable(&error))?);
        }
        accounts.sort_by_key(|(place, _)| *place);
        Ok(Accounts { accounts: accounts.into_iter().map(|(_, entry)| entry).collect() })
    }

    /// Has the vault take the key in, and then the account of that key the place of the one here.
    pub(super) async fn take_account(
        &self,
        order: AdoptOrder,
        caller: Caller,
    ) -> Result<AccountAdopted, HouseError> {
        let (ca, issuer) = self.ca(order.ca.as_deref())?;
        let AdoptOrder { key, key_algorithm, encapsulated, sealed, force, .. } = order;
        let usage = KeyUsage::BroughtAccount;
        let made = opened(&key, (key_algorithm, usage), &encapsulated, &sealed)?;
        let key = self.with_vault(move |vault| vault.import(&made)).await?;
        let key = key.map_err(|error| not_taken(&error))?;
        crash::point("account-sealed");
        let adopted = issuer.adopt_account(key, force, &caller.told).await;
        let adopted = adopted.map_err(|error| refused(error.to_string()))?;
        if !adopted.already {
            tracing::warn!(
                account = adopted.account,
                key = %adopted.key,
                peer.uid = caller.peer.uid,
                "an account that was opened elsewhere is used from now on"
            );
        }
        Ok(AccountAdopted {
            ca: ca.name,
            account: adopted.account,
            key: adopted.key.to_hex(),
            contact: adopted.contact,
            former: adopted.former,
            already: adopted.already,
        })
    }
}

fn shown(ca: &Acme, looked: Result<Option<AccountLook>, Failure>, asked: bool) -> AccountEntry {
    let (name, directory) = (ca.name.clone(), ca.directory.clone());
    let entry = AccountEntry { ca: name, directory, ..AccountEntry::default() };
    let look = match looked {
        Ok(Some(look)) => look,
        Ok(None) => return entry,
        Err(failure) => return AccountEntry { trouble: Some(failure.to_string()), ..entry },
    };
    let late = || format!("the CA did not answer within {} s", ASK.as_secs());
    let (status, said, trouble) = match look.standing {
        None if asked && look.key.is_some() => (None, Vec::new(), Some(late())),
        None => (None, Vec::new(), None),
        Some(Err(failure)) => (None, Vec::new(), Some(failure.to_string())),
        Some(Ok(None)) => (Some("unknown".to_owned()), Vec::new(), None),
        Some(Ok(Some(Standing { status, contact, .. }))) => (status, contact, None),
    };
    AccountEntry {
        account: Some(look.url),
        contact: if said.is_empty() { look.contact } else { said },
        contact_wanted: look.owes_contact.then(|| ca.contact.clone()),
        key: look.key.as_ref().map(|key| key.id.to_hex()),
        key_algorithm: look.key.as_ref().map(|key| key.algorithm),
        brought: look.key.is_some_and(|key| key.usage == KeyUsage::BroughtAccount),
        since: look.since.map(Into::into),
        status,
        trouble,
        ..entry
    }
}
