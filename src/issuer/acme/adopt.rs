//! An account that was opened elsewhere takes the place of the one here: its key comes sealed, the CA is
//! asked whose it is (RFC 8555, section 7.3.1), and only then it is stored.
//!
//! Nothing at the CA changes, so that whoever used the account before may go on using it.

use std::sync::Arc;

use super::account::AccountDesk;
use super::client::CaClient;
use super::directory::Directory;
use super::record::Record;
use crate::base::crash;
use crate::cert::failure::Failure;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;

/// An account that was adopted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adopted {
    /// Its URL.
    pub account: String,
    /// Its key.
    pub key: KeyId,
    /// The contacts that the CA says it has.
    pub contact: Vec<String>,
    /// The URL of the account whose place it took.
    pub former: Option<String>,
    /// It was here before, with this very key: nothing was done.
    pub already: bool,
}

/// Why an account is not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// There is one, and nobody said that it may go.
    #[error(
        "the account {url} is in the way, with the key {key}: --force has the other one take its \
         place; at the CA it stays, and its key is deleted here"
    )]
    InTheWay {
        /// Its URL.
        url: String,
        /// The beginning of its key's name.
        key: String,
    },
    /// The CA has no account with this key.
    #[error(
        "the CA at {0} knows no account with this key: it may be an account at another CA, or have \
         another key by now"
    )]
    Unknown(String),
    /// It has one that is of no use.
    #[error("the account {0} is {1}, and such a one orders nothing any more")]
    Ended(String, String),
    /// It could not be asked, or refused.
    #[error("the CA was asked for the account of this key: {0}")]
    Failed(Failure),
}

impl AccountDesk {
    /// Has the account of `key` take the place of the one in the book, if there is one and `force`.
    pub(super) async fn adopt(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        key: KeyHandle,
        force: bool,
        by: &str,
    ) -> Result<Adopted, AdoptError> {
        let _turn = self.turn().await?;
        let former = self.stored().await?;
        if let Some(former) = &former {
            let known = former.key().map(|key| key.id);
            if known == Some(key.id) {
                return Ok(Adopted {
                    account: former.url().to_owned(),
                    key: key.id,
                    contact: former.contact().to_vec(),
                    former: None,
                    already: true,
                });
            }
            if !force {
                return Err(AdoptError::InTheWay {
                    url: former.url().to_owned(),
                    key: known.map_or_else(|| "unknown".to_owned(), |key| key.to_string()),
                });
            }
        }
        let standing = self.standing(client, directory, &key).await?;
        let standing = standing.ok_or_else(|| AdoptError::Unknown(directory.url.clone()))?;
        match standing.status.as_deref() {
            None | Some("valid") => {}
            Some(ended) => return Err(AdoptError::Ended(standing.url, ended.to_owned())),
        }
        crash::point("account-known");
        let wanted = &self.options.config.contact;
        let record = Record {
            url: standing.url.clone(),
            // Without any in the configuration it keeps those that it has.
            contact: if wanted.is_empty() { Vec::new() } else { standing.contact.clone() },
            key,
            since: Some(self.options.clock.now()),
        };
        let former = former.map(|former| former.url().to_owned());
        let instead = former.as_ref().map(|former| format!(", in the place of {former}"));
        let text = format!(
            "{by} brought the account {} with its key {}{}",
            record.url,
            record.key.id,
            instead.unwrap_or_default()
        );
        let (kind, now) = (EntryKind::AccountAdopted, self.options.clock.now());
        let entry = Entry::about_house(now, kind, Level::Warning, text);
        self.keep_noting(&record, entry).await?;
        self.welcome();
        crash::point("account-adopted");
        Ok(Adopted {
            account: record.url,
            key: record.key.id,
            contact: standing.contact,
            former,
            already: false,
        })
    }
}

impl From<Failure> for AdoptError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
