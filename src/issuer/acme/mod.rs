//! A CA that speaks ACME (RFC 8555), through instant-acme.
//!
//! | file | what it is |
//! |---|---|
//! | `client` | one bounded HTTPS exchange |
//! | `contacts` | whom the CA writes to |
//! | `directory` | what the CA offers |
//! | `account` | who we are at the CA, kept over restarts |
//! | `adopt` | an account that was opened elsewhere |
//! | `change` | another key for the account |
//! | `examine` | what a CA says, for somebody who asks |
//! | `jws` | what the account asks, signed by the vault |
//! | `order` | one order from opening to certificate |
//! | `persist` | proofs that stay |
//! | `preflight` | the look at the DNS before an order |
//! | `prove` | the challenges of an order |
//! | `record` | an account as it is stored |
//! | `search` | the order whose URL was lost |
//! | `alternates` | other chains for the same certificate |
//! | `crl` | whether the CA has revoked something |
//! | `ari` | when the CA would like a renewal (RFC 9773) |
//! | `standing` | what a CA says of an account |
//! | `revoke` | certificates that are to count no more |
//! | `classify` | what a refusal means |

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwapOption;
use tokio::sync::OnceCell;

use super::csr::on_blocking_thread;
use super::dns::DnsDesk;
use crate::base::tasks::SharedClock;
use crate::cert::care::Reason;
use crate::cert::challenge::BoxFuture;
use crate::cert::challenge::ChallengeType;
use crate::cert::challenge::Solver;
use crate::cert::failure::Failure;
use crate::cert::key::KeyHandle;
use crate::cert::ports::AccountKeys;
use crate::cert::ports::Book;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::Issued;
use crate::cert::ports::Job;
use crate::cert::ports::Progress;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::RenewalAdvice;
use crate::cert::ports::Revocation;
use crate::cert::record::Installed;
use crate::cert::spec::Specification;
use crate::config::Acme;

/// Evaluates a request again and again while the CA refuses its nonce.
///
/// A request with a bad nonce was not processed (RFC 8555, section 6.5), so that repeating it is
/// safe for every request, a new order and a finalisation included. instant-acme tries three
/// times by itself. A macro, because the expression borrows an order mutably each time.
macro_rules! insist {
    ($request:expr) => {{
        let mut left = $crate::base::bounds::NONCE_TRIES;
        loop {
            match $request {
                Err(error) if left > 1 && $crate::issuer::acme::classify::is_bad_nonce(&error) => {
                    left -= 1;
                }
                other => break other,
            }
        }
    }};
}

mod account;
mod adopt;
mod alternates;
mod ari;
mod change;
mod classify;
mod client;
mod contacts;
mod crl;
mod directory;
mod examine;
mod jws;
mod order;
mod persist;
mod preflight;
mod prove;
mod record;
mod retry_after;
mod revoke;
mod search;
mod standing;

pub use adopt::AdoptError;
pub use adopt::Adopted;
pub use change::Changed;
pub use examine::AccountLook;
pub use examine::Examined;
pub use persist::PersistRecord;
pub use preflight::CaaView;
pub use standing::Standing;

use account::AccountDesk;
use account::Entry;
use client::CaClient;
use directory::Directory;
use order::Drive;
use order::Trouble;
pub(super) use record::reseal_account;

/// What the ACME issuer works with.
#[derive(Clone, Debug)]
pub struct AcmeOptions {
    /// `[acme]` of the configuration.
    pub config: Acme,
    /// What time it is.
    pub clock: SharedClock,
    /// Where the account is kept.
    pub book: Arc<dyn Book>,
    /// Who keeps the account's key.
    pub accounts: Arc<dyn AccountKeys>,
    /// Who signs what the account asks, and the requests for certificates.
    pub signing: Arc<dyn RemoteSigning>,
    /// Who answers challenges.
    pub solver: Arc<dyn Solver>,
    /// Who proves by DNS, if anybody does.
    pub dns: Option<DnsDesk>,
    /// Whether there is a plain HTTP listener, as HTTP-01 needs.
    pub has_http: bool,
    /// Whether there is a TLS listener, as TLS-ALPN-01 needs.
    pub has_tls: bool,
}

/// An ACME CA. Nothing is read, connected or asked before it is first used.
pub struct AcmeIssuer {
    options: AcmeOptions,
    client: OnceCell<CaClient>,
    directory: ArcSwapOption<Directory>,
    accounts: AccountDesk,
    /// Unix time of the first failure of renewal information in a row; 0 while it works.
    silent_since: AtomicU64,
    /// Unix time until which the DNS is not looked at before an order.
    blind_until: AtomicU64,
}

impl fmt::Debug for AcmeIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeIssuer")
            .field("directory", &self.options.config.directory)
            .finish_non_exhaustive()
    }
}

impl AcmeIssuer {
    /// The CA of the configuration.
    pub fn new(options: AcmeOptions) -> Self {
        let accounts = AccountDesk::new(&options);
        Self {
            options,
            client: OnceCell::new(),
            directory: ArcSwapOption::empty(),
            accounts,
            silent_since: AtomicU64::new(0),
            blind_until: AtomicU64::new(0),
        }
    }

    /// Reads the account from the book again before it is used next: its key was sealed anew.
    pub fn reread(&self) {
        self.accounts.reread();
    }

    /// Gives the account another key, made in the vault.
    ///
    /// # Errors
    /// When the CA does not take it; which of both keys it knows is found out at the next use.
    pub async fn change_account_key(&self) -> Result<Changed, Failure> {
        let (client, directory) = (self.client().await?, self.directory().await?);
        self.accounts.change_key(client, &directory).await
    }

    /// Has the account of `key`, which was opened elsewhere, take the place of the one here; one that is
    /// there only goes by `force`. `by` says who wants it.
    ///
    /// # Errors
    /// [`AdoptError`]; nothing has changed then.
    pub async fn adopt_account(
        &self,
        key: KeyHandle,
        force: bool,
        by: &str,
    ) -> Result<Adopted, AdoptError> {
        let (client, directory) = (self.client().await?, self.directory().await?);
        self.accounts.adopt(client, &directory, key, force, by).await
    }

    /// Tells the CA of the contacts in the configuration, where there is an account that has others;
    /// whether it had to be told. Asks nobody where there is nothing to tell.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses them.
    pub async fn bring_contacts(&self) -> Result<bool, Failure> {
        if !self.accounts.owes_contacts().await? {
            return Ok(false);
        }
        let (client, directory) = (self.client().await?, self.directory().await?);
        self.accounts.bring_contacts(client, &directory).await
    }

    /// The challenges that can be answered, best first: those of the configuration, and the one by
    /// DNS last where there is an account for it; or the `only` one.
    fn challenges(&self, only: Option<ChallengeType>) -> Vec<ChallengeType> {
        let can = |challenge: &ChallengeType| match challenge {
            ChallengeType::Http01 => self.options.has_http,
            ChallengeType::TlsAlpn01 => self.options.has_tls,
            ChallengeType::DnsPersist01 => self.options.dns.is_some(),
            ChallengeType::Dns01 => self.options.dns.as_ref().is_some_and(DnsDesk::has_accounts),
        };
        let mut listed = only.map_or_else(|| self.options.config.challenges.clone(), |c| vec![c]);
        if only.is_none() && !listed.contains(&ChallengeType::Dns01) {
            listed.push(ChallengeType::Dns01);
        }
        listed.into_iter().filter(can).collect()
    }

    /// The client; a file of roots that cannot be read is tried again at the next use.
    async fn client(&self) -> Result<&CaClient, Failure> {
        self.client
            .get_or_try_init(|| {
                let ca_root = self.options.config.ca_root.clone();
                on_blocking_thread(move || CaClient::open(ca_root.as_deref()))
            })
            .await
    }

    async fn directory(&self) -> Result<Arc<Directory>, Failure> {
        let now = self.options.clock.now();
        if let Some(directory) = self.directory.load_full().filter(|d| d.is_fresh(now)) {
            return Ok(directory);
        }
        let url = &self.options.config.directory;
        let directory = Arc::new(Directory::fetch(self.client().await?, url, now).await?);
        self.directory.store(Some(Arc::clone(&directory)));
        Ok(directory)
    }

    async fn run(&self, job: Job, progress: &dyn Progress) -> Result<Issued, Failure> {
        let challenges = self.challenges(job.challenge);
        prove::all_provable(job.spec.names(), &challenges)?;
        let client = self.client().await?;
        let directory = self.directory().await?;
        let mut job = job;
        let mut replaced = false;
        let mut entry = self.accounts.entry(client, &directory).await?;
        if job.order.is_none() {
            self.preflight(&job, &directory, entry.url()).await?;
        }
        let chain = loop {
            let drive = self.drive(&entry, client, &directory, &job, &challenges, progress).await?;
            match drive.run().await {
                Ok(chain) => break chain,
                Err(Trouble::Account(_)) if !replaced && entry.is_proven() => {
                    // The CA does not know us any more: once, become somebody new.
                    replaced = true;
                    self.accounts.forget(&entry);
                    entry = self.accounts.entry(client, &directory).await?;
                    if job.order.take().is_some() {
                        progress.order_lost().await?;
                    }
                }
                Err(trouble) => {
                    self.directory.store(None);
                    return Err(self.astray(&job, trouble.into_failure()).await);
                }
            }
        };
        crate::base::crash::point("issued");
        let renewal = self.first_advice(&directory, &chain).await;
        Ok(Issued { chain, renewal })
    }

    async fn drive<'a>(
        &'a self,
        entry: &'a Entry,
        client: &'a CaClient,
        directory: &'a Arc<Directory>,
        job: &'a Job,
        challenges: &'a [ChallengeType],
        progress: &'a dyn Progress,
    ) -> Result<Drive<'a>, Failure> {
        let hint = client::Hint::default();
        let account = entry.open(client, directory, &hint).await?;
        Ok(Drive {
            issuer: self,
            options: &self.options,
            entry,
            account,
            hint,
            client,
            directory,
            job,
            challenges,
            progress,
        })
    }
}

impl CertificateAuthority for AcmeIssuer {
    fn obtain<'a>(
        &'a self,
        job: Job,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Issued, Failure>> {
        Box::pin(self.run(job, progress))
    }

    fn renewal_advice<'a>(
        &'a self,
        _spec: &'a Specification,
        installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<RenewalAdvice>, Failure>> {
        Box::pin(self.advice(installed))
    }

    fn is_revoked<'a>(
        &'a self,
        installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<bool>, Failure>> {
        let ca = self.options.config.ca_root.as_deref();
        Box::pin(crl::is_revoked(&installed.chain, ca, self.options.clock.now()))
    }

    fn revoke<'a>(
        &'a self,
        leaf: &'a [u8],
        reason: Reason,
    ) -> BoxFuture<'a, Result<Revocation, Failure>> {
        Box::pin(self.take_back(leaf, reason))
    }
}
