//! Another key for the account (RFC 8555, section 7.3.5), from the vault and for the vault.
//!
//! The new key is stored beside the present one before the CA hears of it. From then on, until one of
//! them is stored alone, the CA is asked which of both it knows: a kill, or an answer that is lost,
//! at any moment costs one question.

use std::sync::Arc;

use super::account::AccountDesk;
use super::account::Entry;
use super::classify;
use super::client::CaClient;
use super::client::Hint;
use super::directory::Directory;
use super::jws::Signatory;
use super::record::Changing;
use super::record::Record;
use crate::base::crash;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyId;

/// An account whose key was changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Changed {
    /// Its URL, which stays.
    pub account: String,
    /// The key that it had.
    pub former: KeyId,
    /// The key that it has.
    pub present: KeyId,
}

impl AccountDesk {
    /// Gives the account another key.
    pub(super) async fn change_key(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
    ) -> Result<Changed, Failure> {
        let _turn = self.turn().await?;
        let stored = self.stored().await?.ok_or_else(|| {
            let told = "there is no account yet: the first order opens one, with a new key";
            Failure::new(FailureKind::Account, told)
        })?;
        let record = self.present(client, directory, stored).await?;
        let (former, account) = (record.key.id, record.url.clone());
        let next = self.options.accounts.make().await?;
        let present = next.id;
        let changing = Changing { record, next };
        self.keep_changing(&changing).await?;
        // Whoever asks for the account from now on has to wait, and finds what is stored.
        self.reread();
        crash::point("account-key-stored");
        let asked = self.ask(client, directory, &changing).await;
        crash::point("account-key-changed");
        if let Err(failure) = &asked {
            tracing::warn!(reason = %failure, "the CA did not confirm the account's new key");
        }
        // Also after a refusal: an answer that says no may be the second to the same question.
        let settled = self.settle(client, directory, changing).await?;
        if settled.key.id == present {
            return Ok(Changed { account, former, present });
        }
        asked?;
        Err(Failure::new(FailureKind::Account, "the CA says that it took the key, and did not"))
    }

    async fn ask(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        Changing { record, next }: &Changing,
    ) -> Result<(), Failure> {
        let signing = Arc::clone(&self.options.signing);
        let signatory = Signatory::new(record.key.clone(), signing, None)?;
        let signatory = Arc::new(signatory.followed_by(next.clone())?);
        let entry = Entry { url: record.url.clone(), signatory, proven: true.into() };
        let mut account = entry.open(client, directory, &Hint::default()).await?;
        let asked = insist!(account.update_key().await);
        asked
            .map(|_nobodys| ())
            .map_err(|error| classify::request(&error, self.options.clock.now()))
    }

    /// Finds out which of both keys the CA knows, and keeps that.
    pub(super) async fn settle(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        Changing { record, next }: Changing,
    ) -> Result<Record, Failure> {
        let next = Record { key: next, ..record.clone() };
        for candidate in [next, record] {
            let standing = self.standing(client, directory, &candidate.key).await?;
            if standing.is_some_and(|standing| standing.url == candidate.url) {
                self.keep(&candidate).await?;
                tracing::info!(key = %candidate.key.id, "the CA knows this key of the account");
                return Ok(candidate);
            }
        }
        let told = "the CA knows neither the account's key nor the one that was to follow it";
        Err(Failure::new(FailureKind::Account, told))
    }
}
