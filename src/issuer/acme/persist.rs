//! Proofs that stay (dns-persist-01): the record for each name, and whether its zone's servers show it.
//!
//! The CA is told that a proof is ready only where it is, or where nobody could be asked.

use tokio::time::timeout;

use super::AcmeIssuer;
use super::directory::Directory;
use crate::base::bounds::dns::PREFLIGHT;
use crate::cert::challenge::ChallengeType;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::issuer::dns::Standing;
use crate::issuer::dns::World;
use crate::issuer::dns::persist;
use crate::issuer::dns::persist::Grant;

/// A record that is to be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersistRecord {
    /// The name that it proves.
    pub name: Identifier,
    /// Where it belongs.
    pub place: String,
    /// What it says.
    pub value: String,
    /// What is there; none where nobody could be asked, with the reason.
    pub standing: Result<Standing, String>,
}

impl AcmeIssuer {
    /// The records by which `names` are proven for good, and what is there. Opens an account where there
    /// is none, because its URL stands in them.
    ///
    /// # Errors
    /// When the CA does not answer, or there is no account.
    pub async fn persist_records(
        &self,
        names: &[Identifier],
    ) -> Result<Vec<PersistRecord>, Failure> {
        let directory = self.directory().await?;
        let entry = self.accounts.entry(self.client().await?, &directory).await?;
        let world = match &self.options.dns {
            Some(dns) => dns.world(),
            None => Err("there is nobody who asks the DNS".to_owned()),
        };
        let mut records = Vec::new();
        for name in names.iter().filter(|name| ChallengeType::DnsPersist01.can_prove(name)) {
            let standing = match &world {
                Ok(world) => self.standing(world, name, &directory, entry.url()).await,
                Err(reason) => Err(reason.clone()),
            };
            let issuers = directory.persist_issuers();
            let issuer = issuers.first().cloned().unwrap_or_else(|| host_of(&directory.url));
            records.push(PersistRecord {
                name: name.clone(),
                place: persist::place(&name.to_string()),
                value: persist::text(&issuer, entry.url(), name.is_wildcard()),
                standing,
            });
        }
        Ok(records)
    }

    /// What the servers of the zone show for `name`.
    pub(super) async fn standing(
        &self,
        world: &World,
        name: &Identifier,
        directory: &Directory,
        account: &str,
    ) -> Result<Standing, String> {
        let place = persist::place(&name.to_string());
        let texts = timeout(PREFLIGHT, world.texts(&place)).await;
        let texts = texts.unwrap_or_else(|_| Err("no answer in time".to_owned()))?;
        let issuers = directory.persist_issuers();
        let grant = Grant { issuers: &issuers, account, wildcard: name.is_wildcard() };
        Ok(persist::judge(&texts, &grant, self.options.clock.now()))
    }

    /// Whether the CA may look for the record of `name`.
    ///
    /// # Errors
    /// A failure with the record to set, where it is not there for certain.
    pub(super) async fn check_standing(
        &self,
        name: &Identifier,
        directory: &Directory,
        account: &str,
    ) -> Result<(), Failure> {
        let Some(world) = self.options.dns.as_ref().and_then(|dns| dns.world().ok()) else {
            return Ok(());
        };
        match self.standing(&world, name, directory, account).await {
            Ok(standing) => match standing.lacking() {
                None => Ok(()),
                Some(lacking) => {
                    let place = persist::place(&name.to_string());
                    Err(Failure::new(FailureKind::ProofLacks, format!("{place}: {lacking}")))
                }
            },
            Err(reason) => {
                tracing::warn!(%name, reason, "a proof cannot be seen from here, letting the CA look");
                Ok(())
            }
        }
    }
}

fn host_of(directory: &str) -> String {
    let url = url::Url::parse(directory).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}
