//! What a CA says of itself, of our account, and of names, for somebody who asks: nothing is ordered and
//! no account is opened.

use std::time::Duration;

use super::AcmeIssuer;
use super::directory::Directory;
use super::preflight::CaaView;
use super::preflight::skew;
use super::standing::Standing;
use crate::base::Timestamp;
use crate::cert::challenge::ChallengeType;
use crate::cert::failure::Failure;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyHandle;
use crate::issuer::dns::World;

/// A CA, as it is now.
#[derive(Debug)]
pub struct Examined {
    /// How far its clock is from ours, and whether ours is behind; none where it does not say.
    pub skew: Option<(Duration, bool)>,
    /// The names by which it goes in CAA records.
    pub identities: Vec<String>,
    /// The URL of our account, if there is one.
    pub account: Option<String>,
    /// Why an account cannot be opened, where there is none.
    pub terms: Option<String>,
    directory: Directory,
}

/// The account at a CA, as it is stored and as the CA sees it.
#[derive(Debug)]
pub struct AccountLook {
    /// Its URL.
    pub url: String,
    /// The contacts that the CA was told.
    pub contact: Vec<String>,
    /// Whether the configuration has others, which the CA has still to be told.
    pub owes_contact: bool,
    /// Its key, if it is one that stays in the vault.
    pub key: Option<KeyHandle>,
    /// When it was opened here, or adopted.
    pub since: Option<Timestamp>,
    /// What the CA says, if it was asked; none in it where it knows no such key.
    pub standing: Option<Result<Option<Standing>, Failure>>,
}

impl AcmeIssuer {
    /// The account, if there is one; with `ask`, the CA is asked how it stands.
    ///
    /// # Errors
    /// When it cannot be read. That the CA does not answer is told with the rest.
    pub async fn look_at_account(&self, ask: bool) -> Result<Option<AccountLook>, Failure> {
        let Some(stored) = self.accounts.stored().await? else { return Ok(None) };
        let key = stored.key().cloned();
        let standing = match &key {
            Some(key) if ask => Some(self.ask_about(key).await),
            _ => None,
        };
        let contact = stored.contact().to_vec();
        Ok(Some(AccountLook {
            url: stored.url().to_owned(),
            owes_contact: contact != self.options.config.contact,
            contact,
            key,
            since: stored.since(),
            standing,
        }))
    }

    async fn ask_about(&self, key: &KeyHandle) -> Result<Option<Standing>, Failure> {
        let (client, directory) = (self.client().await?, self.directory().await?);
        self.accounts.standing(client, &directory, key).await
    }

    /// Asks the CA.
    ///
    /// # Errors
    /// When it does not answer, or the account cannot be read.
    pub async fn examine(&self) -> Result<Examined, Failure> {
        let url = &self.options.config.directory;
        let asked: Timestamp = self.options.clock.now();
        let directory = Directory::fetch(self.client().await?, url, asked).await?;
        let took = self.options.clock.now().since(asked);
        // Its second is somewhere between the question and the answer.
        let skew = skew(directory.date, asked.plus(took / 2));
        let account = self.accounts.known().await?;
        let terms = directory.terms.clone().filter(|_| !self.options.config.accept_terms);
        let identities = directory.caa_identities.clone();
        Ok(Examined { skew, identities, account, terms, directory })
    }

    /// What the CAA records that count for `name` say of this CA; `only` is the one challenge that is
    /// tried.
    pub async fn examine_caa(
        &self,
        examined: &Examined,
        world: &World,
        name: &Identifier,
        only: Option<ChallengeType>,
    ) -> CaaView {
        self.caa(world, name, &examined.directory, examined.account.as_deref(), only).await
    }

    /// The challenges by which `name` may be proven, best first.
    pub fn ways(&self, name: &Identifier, only: Option<ChallengeType>) -> Vec<ChallengeType> {
        self.challenges(only).into_iter().filter(|challenge| challenge.can_prove(name)).collect()
    }
}
