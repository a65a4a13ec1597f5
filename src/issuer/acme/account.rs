//! Who we are at the CA: one account for each directory and external binding, kept over restarts.
//!
//! The account's key is in the vault, which signs what the account asks. An earlier version had
//! the vault seal it as a secret and open it again for this process: such a one the vault takes
//! over. Contacts are no part of the account's identity and may change.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::Account;
use instant_acme::AccountBuilder;
use instant_acme::Key;
use instant_acme::NewAccount;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use zeroize::Zeroize as _;

use super::AcmeOptions;
use super::classify;
use super::client::CaClient;
use super::client::Hint;
use super::client::JobClient;
use super::directory::Directory;
use super::jws::Binding;
use super::jws::Signatory;
use super::record::Changing;
use super::record::Record;
use super::record::Stored;
use crate::base::Secret;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::journal::Entry as Noted;
use crate::cert::key::KeyHandle;
use crate::cert::ports::Shelf;

/// Finds the account, or opens one.
#[derive(Debug)]
pub(super) struct AccountDesk {
    pub(super) options: AcmeOptions,
    current: ArcSwapOption<Entry>,
    /// How often somebody else has changed what the book has.
    rereads: AtomicU64,
    /// URL of the account that the CA has forgotten: it is not read from the book again.
    forgotten: ArcSwapOption<String>,
    /// One at a time reads or opens an account.
    turn: Semaphore,
}

/// An account that is ready for use.
pub(super) struct Entry {
    pub(super) url: String,
    pub(super) signatory: Arc<Signatory>,
    /// Whether the CA ever took it. If it refuses a fresh one, another would fare no better.
    pub(super) proven: AtomicBool,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.url)
    }
}

impl Entry {
    /// The account as instant-acme wants it, for one job.
    pub(super) async fn open(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        hint: &Hint,
    ) -> Result<Account, Failure> {
        self.open_through(builder(client, &self.signatory, directory, hint), directory).await
    }

    /// The same, over a client that the caller has chosen.
    pub(super) async fn open_through(
        &self,
        builder: AccountBuilder,
        directory: &Directory,
    ) -> Result<Account, Failure> {
        let (_, nobody) = Key::generate_pkcs8().map_err(|error| damaged(&error.to_string()))?;
        builder
            .from_parts(self.url.clone(), nobody, directory.url.clone())
            .await
            .map_err(|error| damaged(&error.to_string()))
    }

    /// Who signs what it asks.
    pub(super) const fn signatory(&self) -> &Arc<Signatory> {
        &self.signatory
    }

    /// URL of the account.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The CA opened an order for it.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Whether the CA ever opened an order for it, as far as is known. If not, another account
    /// would fare no better, and there are no orders of an earlier attempt.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
}

pub(super) fn builder(
    client: &CaClient,
    signatory: &Arc<Signatory>,
    directory: &Arc<Directory>,
    hint: &Hint,
) -> AccountBuilder {
    let signatory = Arc::clone(signatory);
    let job = JobClient::new(client.clone(), signatory, Arc::clone(directory), Arc::clone(hint));
    Account::builder_with_http(Box::new(job))
}

pub(super) fn damaged(what: &str) -> Failure {
    Failure::new(FailureKind::Account, format!("the stored account is damaged: {what}"))
}

impl AccountDesk {
    pub(super) fn new(options: &AcmeOptions) -> Self {
        Self {
            options: options.clone(),
            current: ArcSwapOption::empty(),
            rereads: AtomicU64::new(0),
            forgotten: ArcSwapOption::empty(),
            turn: Semaphore::new(1),
        }
    }

    /// Under this name the account is kept, and this label its key is sealed with.
    fn name(&self) -> String {
        let config = &self.options.config;
        match &config.eab {
            Some(eab) => format!("{}#{}", config.directory, eab.kid),
            None => config.directory.clone(),
        }
    }

    /// The account, from memory, from the book, or opened now.
    ///
    /// A crash between the CA's answer and the book leaves an account that nobody uses.
    pub(super) async fn entry(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
    ) -> Result<Arc<Entry>, Failure> {
        if let Some(entry) = self.current.load_full() {
            return Ok(entry);
        }
        let _turn = self.turn().await?;
        if let Some(entry) = self.current.load_full() {
            return Ok(entry);
        }
        let rereads = self.rereads.load(Ordering::SeqCst);
        let stored = self.stored().await?;
        let forgotten = self.forgotten.load_full();
        let entry = match stored {
            Some(stored) if forgotten.as_deref().map(String::as_str) != Some(stored.url()) => {
                let record = self.present(client, directory, stored).await?;
                self.reuse(client, directory, record).await?
            }
            _ => self.create(client, directory).await?,
        };
        let entry = Arc::new(entry);
        self.current.store(Some(Arc::clone(&entry)));
        if self.rereads.load(Ordering::SeqCst) != rereads {
            // What was read may be older than what was stored since.
            self.current.store(None);
        }
        Ok(entry)
    }

    /// The next call of [`Self::entry`] reads the book.
    pub(super) fn reread(&self) {
        self.rereads.fetch_add(1, Ordering::SeqCst);
        self.current.store(None);
    }

    /// Another account lies in the book, and the CA knows it, whatever it said before.
    pub(super) fn welcome(&self) {
        self.forgotten.store(None);
        self.reread();
    }

    /// The CA does not know `entry`: the next call of [`Self::entry`] opens another.
    pub(super) fn forget(&self, entry: &Arc<Entry>) {
        let held = self.current.load_full();
        if held.is_some_and(|held| held.url == entry.url) {
            self.forgotten.store(Some(Arc::new(entry.url.clone())));
            self.current.store(None);
        }
    }

    /// From then on nobody else reads, opens or changes the account, until the permit goes.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let turn = self.turn.acquire().await;
        turn.map_err(|_| Failure::new(FailureKind::Lapsed, "the account desk is closed"))
    }

    /// What the book has.
    pub(super) async fn stored(&self) -> Result<Option<Stored>, Failure> {
        let stored = self.options.book.get(Shelf::Accounts, &self.name()).await?;
        stored.map(|bytes| Stored::from_bytes(&bytes)).transpose()
    }

    /// The URL of the account that the book has; nothing is opened.
    pub(super) async fn known(&self) -> Result<Option<String>, Failure> {
        Ok(self.stored().await?.map(|stored| stored.url().to_owned()))
    }

    /// A record as it is today: a key that main could have opened is the vault's from now on, and
    /// of two keys the one that the CA knows is the account's.
    pub(super) async fn present(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        stored: Stored,
    ) -> Result<Record, Failure> {
        let before = match stored {
            Stored::Now(record) => return Ok(record),
            Stored::Changing(changing) => return self.settle(client, directory, changing).await,
            Stored::Before(before) => before,
        };
        let name = self.name();
        let key = self.options.accounts.take_over(&name, &before.sealed_key).await?;
        let record = Record { url: before.url, contact: before.contact, key, since: None };
        self.keep(&record).await?;
        tracing::info!("the key of the ACME account does not leave the vault any more");
        Ok(record)
    }

    pub(super) fn signatory(
        &self,
        key: KeyHandle,
        binding: Option<Binding>,
    ) -> Result<Arc<Signatory>, Failure> {
        Signatory::new(key, Arc::clone(&self.options.signing), binding).map(Arc::new)
    }

    async fn reuse(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        record: Record,
    ) -> Result<Entry, Failure> {
        let signatory = self.signatory(record.key.clone(), None)?;
        let entry = Entry { url: record.url.clone(), signatory, proven: true.into() };
        // A certificate matters more than a contact. If the account itself is the trouble, the order
        // says so next.
        if record.contact != self.options.config.contact
            && let Err(reason) = self.send_contacts(client, directory, &entry, record).await
        {
            tracing::warn!(
                %reason,
                "the CA does not take the new contacts, keeping the old ones"
            );
        }
        Ok(entry)
    }

    async fn create(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
    ) -> Result<Entry, Failure> {
        let config = &self.options.config;
        if let Some(terms) = directory.terms.as_ref().filter(|_| !config.accept_terms) {
            let detail = format!("the CA's terms of service are not accepted: {terms}");
            return Err(Failure::new(FailureKind::Terms, classify::clean(&detail)));
        }
        let binding = match &config.eab {
            Some(eab) => {
                let key = read_hmac_key(&eab.hmac_key_file).await?;
                Some(Binding { kid: eab.kid.clone(), key })
            }
            None if directory.binding_required => {
                let detail = "the CA wants an external account binding; set [acme.eab]";
                return Err(Failure::new(FailureKind::Account, detail));
            }
            None => None,
        };
        let contact: Vec<&str> = config.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: config.accept_terms,
            only_return_existing: false,
        };
        let key = self.options.accounts.make().await?;
        let signatory = self.signatory(key.clone(), binding)?;
        let hint = Hint::default();
        let created = insist!(
            builder(client, &signatory, directory, &hint)
                .create(&wanted, directory.url.clone(), None)
                .await
        );
        let (account, _nobodys) = created.map_err(|error| {
            let mut failure = classify::request(&error, self.options.clock.now());
            if failure.kind == FailureKind::Refused {
                // Whatever is malformed about a new account is a matter of the account's settings.
                failure.kind = FailureKind::Account;
            }
            failure
        })?;
        let url = account.id().to_owned();
        let since = Some(self.options.clock.now());
        let record = Record { url: url.clone(), contact: config.contact.clone(), key, since };
        self.keep(&record).await?;
        Ok(Entry { url, signatory, proven: false.into() })
    }

    pub(super) async fn keep(&self, record: &Record) -> Result<(), Failure> {
        self.options.book.put(Shelf::Accounts, &self.name(), record.to_bytes()?).await
    }

    /// The same together with an entry of the journal.
    pub(super) async fn keep_noting(&self, record: &Record, noted: Noted) -> Result<(), Failure> {
        let bytes = record.to_bytes()?;
        self.options.book.put_noting(Shelf::Accounts, &self.name(), bytes, noted).await
    }

    pub(super) async fn keep_changing(&self, changing: &Changing) -> Result<(), Failure> {
        self.options.book.put(Shelf::Accounts, &self.name(), changing.to_bytes()?).await
    }
}

/// Reads the base64url key of an external binding, with or without padding.
async fn read_hmac_key(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    let bad = |reason: &str| {
        let detail = format!("[acme.eab] hmac_key_file {}: {reason}", path.display());
        Failure::new(FailureKind::Account, detail).with_remedy(Remedy::Intervene)
    };
    let mut text = tokio::fs::read_to_string(path).await.map_err(|e| bad(&e.to_string()))?;
    let decoded = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    text.zeroize();
    match decoded {
        Ok(key) if !key.is_empty() => Ok(Secret::new(key)),
        // The decoder's own words would quote the key.
        _ => Err(bad("not a base64url key")),
    }
}
