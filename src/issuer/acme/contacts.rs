//! The contacts of the account at the CA, brought into line with the configuration (RFC 8555, section
//! 7.3.2).
//!
//! Not here: when that is tried again. An account is never opened for it.

use std::sync::Arc;

use super::account::AccountDesk;
use super::account::Entry;
use super::classify;
use super::client::CaClient;
use super::client::Hint;
use super::directory::Directory;
use super::record::Record;
use super::record::Stored;
use crate::cert::failure::Failure;
use crate::cert::journal::Entry as Noted;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;

impl AccountDesk {
    /// Whether the CA has still to be told of contacts.
    pub(super) async fn owes_contacts(&self) -> Result<bool, Failure> {
        let stored = self.stored().await?;
        Ok(stored.is_some_and(|stored| *stored.contact() != *self.options.config.contact))
    }

    /// Tells the CA, where it has to be told; whether it was.
    pub(super) async fn bring_contacts(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
    ) -> Result<bool, Failure> {
        let _turn = self.turn().await?;
        let Some(stored) = self.stored().await? else { return Ok(false) };
        let record = self.present(client, directory, stored).await?;
        if record.contact == self.options.config.contact {
            return Ok(false);
        }
        let signatory = self.signatory(record.key.clone(), None)?;
        let entry = Entry { url: record.url.clone(), signatory, proven: true.into() };
        self.send_contacts(client, directory, &entry, record).await.map(|()| true)
    }

    /// Tells the CA, and stores that it knows.
    pub(super) async fn send_contacts(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        entry: &Entry,
        mut record: Record,
    ) -> Result<(), Failure> {
        let wanted = &self.options.config.contact;
        let account = entry.open(client, directory, &Hint::default()).await?;
        let contact: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let told = insist!(account.update_contacts(&contact).await);
        told.map_err(|error| classify::request(&error, self.options.clock.now()))?;
        // The key may have been sealed anew while the CA answered.
        if let Some(Stored::Now(now)) = self.stored().await? {
            record.key = now.key;
        }
        let words = |contact: &[String]| match contact {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        let text = format!(
            "the contacts of the account {} are {} now, and were {}",
            record.url,
            words(wanted),
            words(&record.contact)
        );
        record.contact.clone_from(wanted);
        let (kind, now) = (EntryKind::AccountContact, self.options.clock.now());
        self.keep_noting(&record, Noted::about_house(now, kind, Level::Info, text)).await
    }
}
