//! What one room needs of another, said as traits that live with the nouns.
//!
//! The scheduler drives a [`CertificateAuthority`] and a [`KeySource`], the issuer keeps its
//! accounts in a [`Book`], the edge signs through [`Signers`]: so each can be tested alone, and
//! none imports a room it must outlive. The port for challenges is
//! [`super::challenge::Solver`].

use std::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::care::Reason;
use super::chain::Chain;
use super::challenge::{BoxFuture, ChallengeType};
use super::failure::Failure;
use super::identifier::Identifier;
use super::journal::Entry;
use super::key::{KeyAlgorithm, KeyHandle, KeyId, KeyUsage};
use super::record::Installed;
use super::request::ClientRequest;
use super::served::Served;
use super::spec::Specification;
use super::validity::RenewalWindow;
use crate::base::Timestamp;

/// One certificate to be obtained.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is wanted.
    pub spec: Specification,
    /// The key it is for.
    pub key: JobKey,
    /// URL of an order for this very key that an earlier attempt opened.
    pub order: Option<String>,
    /// Whether an earlier attempt began with this key: without an order here, the CA may still
    /// have opened one, whose URL was lost in a crash or with a connection.
    pub resumed: bool,
    /// URLs of orders that other records have in flight; only filled to go with `resumed`.
    pub taken: Vec<String>,
    /// Renewal identifier of the certificate it replaces (RFC 9773, section 5).
    pub replaces: Option<String>,
    /// Failures in a row before this attempt; varies the choice of challenge.
    pub attempt: u32,
    /// Why the attempt before was in vain, where nobody asked for this one: a name that led elsewhere
    /// is looked up again before the CA is asked.
    pub before: Option<Failure>,
    /// The one challenge to prove by; any where there is none.
    pub challenge: Option<ChallengeType>,
    /// Common name of the root up to which the chain is to lead; `None` for the one that stands with the
    /// CA.
    pub preferred_chain: Option<String>,
}

/// The key that a certificate is for.
#[derive(Clone, Debug)]
pub enum JobKey {
    /// One of the vault's; sealed and durable already (invariant 3).
    Here(KeyHandle),
    /// One of a client's, which signed this request and never comes here.
    Elsewhere(ClientRequest),
}

impl JobKey {
    /// Its name.
    pub const fn id(&self) -> KeyId {
        match self {
            Self::Here(key) => key.id,
            Self::Elsewhere(request) => request.key(),
        }
    }

    /// Its kind.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::Here(key) => key.algorithm,
            Self::Elsewhere(request) => request.algorithm(),
        }
    }

    /// DER subject public key info.
    pub fn spki(&self) -> &[u8] {
        match self {
            Self::Here(key) => &key.spki,
            Self::Elsewhere(request) => request.spki(),
        }
    }

    /// As the vault has it, if it does.
    pub const fn handle(&self) -> Option<&KeyHandle> {
        match self {
            Self::Here(key) => Some(key),
            Self::Elsewhere(_) => None,
        }
    }
}

impl From<KeyHandle> for JobKey {
    fn from(key: KeyHandle) -> Self {
        Self::Here(key)
    }
}

/// A certificate that was obtained.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Leaf first; checked to be for the job's names and key.
    pub chain: Chain,
    /// What the CA says about renewal, if it says something.
    pub renewal: Option<RenewalAdvice>,
}

/// What a CA says about the renewal of a certificate (RFC 9773, section 4.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RenewalAdvice {
    /// When it would like the renewal; `None` if this answer did not say.
    pub window: Option<RenewalWindow>,
    /// When to ask again, already within reasonable bounds.
    pub recheck_at: Timestamp,
}

/// Steps of a job that must be durable before it goes on.
pub trait Progress: Send + Sync {
    /// The CA opened an order at `url`. When this returns it is stored.
    fn order_opened<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), Failure>>;
    /// The order that is about to be opened cannot name what it replaces, so that the CA counts it.
    /// There is leave to open it when this returns without a failure.
    fn counted(&self) -> BoxFuture<'_, Result<(), Failure>>;
    /// The stored order is of no use any more.
    fn order_lost(&self) -> BoxFuture<'_, Result<(), Failure>>;
    /// The CA refused these proofs and the stored order with them; the attempt goes on by other
    /// challenges and a fresh order. Counted where the CA counts failures.
    fn challenge_failed<'a>(
        &'a self,
        failures: &'a [Failure],
    ) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Who signs certificates: an ACME CA or the internal one.
pub trait CertificateAuthority: Send + Sync + fmt::Debug {
    /// Obtains a certificate, going on with `job.order` where that is still possible.
    ///
    /// Dropping the future withdraws the challenges; the order stays open at the CA.
    fn obtain<'a>(
        &'a self,
        job: Job,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Issued, Failure>>;

    /// Asks for the renewal window; `None` when the CA offers none at all.
    fn renewal_advice<'a>(
        &'a self,
        spec: &'a Specification,
        installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<RenewalAdvice>, Failure>>;

    /// Whether the CA says of what is installed that it is revoked; `None` where nobody says anything.
    fn is_revoked<'a>(
        &'a self,
        _installed: &'a Installed,
    ) -> BoxFuture<'a, Result<Option<bool>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    /// Revokes a certificate that it issued, DER (RFC 8555, section 7.6). One that is revoked already
    /// is no failure.
    fn revoke<'a>(
        &'a self,
        leaf: &'a [u8],
        reason: Reason,
    ) -> BoxFuture<'a, Result<Revocation, Failure>>;
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// The CA tells whoever asks.
    Told,
    /// It was the CA's word before.
    Already,
    /// There is nobody who would be told: the certificate is not used any more, and its time ends.
    Untold,
}

/// Who makes keys: the vault.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// A new sealed key.
    fn generate(
        &self,
        algorithm: KeyAlgorithm,
        usage: KeyUsage,
    ) -> BoxFuture<'_, Result<KeyHandle, Failure>>;
}

/// What kind of document is to be signed; the vault checks that the bytes are one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum ToBeSigned {
    /// `CertificationRequestInfo` (RFC 2986, section 4.1) for that very key.
    Csr,
    /// `TBSCertificate` (RFC 5280, section 4.1), by a key of the internal CA.
    Certificate,
    /// What an account asks a CA: header and payload of a JWS with a dot between them (RFC 7515,
    /// section 5.1), by the account's key.
    AccountRequest,
}

/// Who signs requests and certificates: the vault.
pub trait RemoteSigning: Send + Sync + fmt::Debug {
    /// Signs the document `message` with `key`: ECDSA with SHA-256 for P-256 and SHA-384 for
    /// P-384 (the signature in DER), PKCS #1 v1.5 with SHA-256 for RSA.
    ///
    /// Blocks for some milliseconds: callers on a runtime use its blocking threads.
    ///
    /// # Errors
    /// In plain words, when the vault does not answer or refuses.
    fn sign_der(
        &self,
        key: &KeyHandle,
        what: ToBeSigned,
        message: &[u8],
    ) -> Result<Vec<u8>, String>;

    /// Signs with `key` one half of the change of an account's key from or to `other` (RFC 8555,
    /// section 7.3.5): header and payload of a JWS as above. Blocks as that does.
    ///
    /// # Errors
    /// In plain words, when the vault does not answer or refuses.
    fn sign_key_change(
        &self,
        key: &KeyHandle,
        other: &KeyHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, String>;
}

/// Who keeps the keys of accounts at CAs: the vault.
pub trait AccountKeys: Send + Sync + fmt::Debug {
    /// A new sealed key.
    fn make(&self) -> BoxFuture<'_, Result<KeyHandle, Failure>>;
    /// The key that an earlier version sealed under `label`, for main to open, sealed as one that
    /// never leaves.
    fn take_over<'a>(
        &'a self,
        label: &'a str,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyHandle, Failure>>;
}

/// Who knows what the present master key seals, and has the rest sealed anew: the vault.
pub trait Seals: Send + Sync + fmt::Debug {
    /// Whether `sealed` is of another master key than the present one or a later one, or of none.
    fn is_former(&self, sealed: &[u8]) -> bool;

    /// The same key or secret under the present master key; `None` when it is sealed so already.
    /// Blocks for some milliseconds.
    ///
    /// # Errors
    /// When it does not open, or the vault does not answer.
    fn anew(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, Failure>;

    /// The same for each sealed record in a value that lies on a `shelf`.
    ///
    /// # Errors
    /// As [`Self::anew`]; also when the value cannot be read.
    fn anew_on(&self, shelf: Shelf, value: &[u8]) -> Result<Option<Vec<u8>>, Failure>;
}

/// Who seals session tickets where main may not hold their keys: the vault.
pub trait TicketSeal: Send + Sync + fmt::Debug {
    /// A ticket for `session`, bound to `context`; `None` when there is none to be had.
    fn seal(&self, context: &[u8; 32], session: &[u8]) -> Option<Vec<u8>>;
    /// The session in a `ticket` of ours that is bound to `context`.
    fn open(&self, context: &[u8; 32], ticket: &[u8]) -> Option<Vec<u8>>;
}

/// Who signs handshakes: the vault.
pub trait Signers: Send + Sync + fmt::Debug {
    /// What rustls needs to serve `chain` with `key`. Asks nobody and does not block: the vault
    /// is asked when a handshake is signed.
    ///
    /// # Errors
    /// In plain words, when key and chain cannot belong together.
    fn certified_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String>;

    /// The same for an origin that asks keyward itself who it is.
    ///
    /// # Errors
    /// As [`Self::certified_key`].
    fn client_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String>;

    /// Called once on each worker thread before it serves, so that it gets its own way to the
    /// vault. `index` counts the workers from 0; worker and vault thread share core `core`.
    fn bind_worker(&self, index: usize, core: Option<usize>);
}

/// Where installed certificates are found by name: the copy of what is served.
///
/// Asked by the edge's workers for names they do not have at hand, so it reads one or two records
/// and nothing else, however many there are; it may block for some microseconds.
pub trait Catalog: Send + Sync + fmt::Debug {
    /// Every certificate that is to be shown, with its sealed key, that covers `host`: by that
    /// very name, and by the wildcard one label up. In no order; none for a name that has none.
    ///
    /// # Errors
    /// In plain words, when what is stored under the name cannot be read.
    fn candidates(&self, host: &Identifier) -> Result<Vec<Arc<Served>>, String>;
}

/// A place for small durable values: the store.
pub trait Book: Send + Sync + fmt::Debug {
    /// The value under `shelf` and `name`.
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>>;
    /// Stores it; durable on return.
    fn put<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
        value: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), Failure>>;
    /// The same together with an entry of the journal, where there is one: both or neither.
    fn put_noting<'a>(
        &'a self,
        shelf: Shelf,
        name: &'a str,
        value: Vec<u8>,
        _entry: Entry,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.put(shelf, name, value)
    }
}

/// The kinds of values in a [`Book`]; each is a table of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Shelf {
    /// ACME accounts by directory URL; credentials are sealed.
    Accounts,
    /// The internal CA: certificates, and sealed keys.
    InternalCa,
    /// Proofs that are in the DNS. Nothing there is sealed.
    Proofs,
}
