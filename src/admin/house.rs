//! The port behind the socket: what the daemon can show, and what it can be asked to do.
//!
//! The server turns requests into these calls and answers into JSON; it holds no state of its
//! own. Every call is bounded by the server's deadline: dropping a future half-way leaves the
//! house as it was, or the order it was given taken.

use std::os::fd::OwnedFd;

use tokio::sync::watch;

use super::books::Books;
use super::caller::Caller;
use super::deploying::Deploying;
use super::filter::Filter;
use super::issuing::Issuing;
use super::page::Place;
use super::select::Selector;
use super::telling::Telling;
use super::tokens::Keyring;
use super::wire::CertificateView;
use super::wire::Certificates;
use super::wire::EntryView;
use super::wire::Reloaded;
use super::wire::Renewal;
use super::wire::SiteView;
use super::wire::Status;
use super::wire::account::AccountAdopted;
use super::wire::account::Accounts;
use super::wire::account::AdoptOrder;
use super::wire::care::HostedAll;
use super::wire::care::Why;
use super::wire::doctor::Doctor;
use super::wire::guests::Guests;
use super::wire::guests::OnboardOrder;
use super::wire::persist::Persist;
use super::wire::rotate::AccountView;
use super::wire::rotate::MasterView;
use super::wire::rotate::RotateKeys;
use super::wire::rotate::RotatedKeys;
use super::wire::standby::SwitchedView;
use super::wire::tickets::TicketsView;
use super::wire::transfer::BackedUp;
use super::wire::transfer::Exported;
use super::wire::transfer::ImportKey;
use super::wire::transfer::ImportOrder;
use super::wire::transfer::Imported;
use super::wire::upgrade::Upgraded;
use crate::cert::care::Accept;
use crate::cert::care::Reason;
use crate::cert::challenge::BoxFuture;

/// What the admin socket shows and asks for. The daemon implements it.
pub trait House: Keyring + Send + Sync {
    /// How the daemon is.
    fn status(&self) -> BoxFuture<'_, Result<Status, HouseError>>;
    /// The configured sites, in the order of the configuration.
    fn sites(&self) -> BoxFuture<'_, Result<Vec<SiteView>, HouseError>>;
    /// Certificates behind the place in `at`, as many as its number says at most, that fit and that `caller` may see, in the order of
    /// [`Place`]. A page may have fewer, or none, and say where to go on.
    fn certificates(
        &self,
        at: (Option<Place>, usize),
        filter: Filter,
        caller: Caller,
    ) -> BoxFuture<'_, Result<Certificates, HouseError>>;
    /// One certificate; [`super::find`] chooses it, among those that `caller` may see.
    fn certificate<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>>;
    /// Takes the order to renew one certificate now, for `caller`; does not wait for the renewal.
    fn renew<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>>;
    /// Has one certificate hosted, for `caller`.
    fn host<'a>(
        &'a self,
        selector: &'a Selector,
        accept: Accept,
        caller: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>>;
    /// Has one certificate hosted no more, for `caller`.
    fn unhost<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>>;
    /// Has those certificates behind `after` hosted that qualify, for `caller`, as far as there is time.
    fn host_all(
        &self,
        accept: Accept,
        after: Option<Place>,
        caller: Caller,
    ) -> BoxFuture<'_, Result<HostedAll, HouseError>>;
    /// Takes the order to replace one certificate and to revoke it then, for `caller`; does not wait.
    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        reason: Reason,
        caller: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>>;
    /// Has the other one of two certificates served, or with `back` the one of the preferred CA, for
    /// `caller`.
    fn switch<'a>(
        &'a self,
        _selector: &'a Selector,
        _back: bool,
        _caller: Caller,
    ) -> BoxFuture<'a, Result<SwitchedView, HouseError>> {
        Box::pin(async { Err(HouseError::Refused { reason: "nothing stands by here".to_owned() }) })
    }
    /// Why one certificate is as it is, if `caller` may see it.
    fn why<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Why, HouseError>>;
    /// Looks at everything that an order for what `selector` means depends on; with `staging` also by an
    /// order there, or where it is empty, at the directory for trying that is known of its CA.
    fn doctor<'a>(
        &'a self,
        _selector: &'a Selector,
        _staging: Option<String>,
        _caller: Caller,
    ) -> BoxFuture<'a, Result<Doctor, HouseError>> {
        Box::pin(async {
            Err(HouseError::Refused { reason: "nothing is examined here".to_owned() })
        })
    }
    /// The records that prove the names of what `selector` means for good.
    fn dns_persist<'a>(
        &'a self,
        _selector: &'a Selector,
        _caller: Caller,
    ) -> BoxFuture<'a, Result<Persist, HouseError>> {
        Box::pin(async { Ok(Persist::default()) })
    }
    /// Reads the configuration again. A broken one changes nothing and is
    /// [`HouseError::Configuration`].
    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, HouseError>>;
    /// Has the program as it lies on the disk now take the place of this process.
    fn upgrade(&self) -> BoxFuture<'_, Result<Upgraded, HouseError>> {
        Box::pin(async {
            Err(HouseError::Refused { reason: "nobody can follow this daemon".to_owned() })
        })
    }
    /// At most `limit` entries with numbers above `after`, oldest first: those that `caller` may see.
    fn journal(
        &self,
        after: u64,
        limit: usize,
        caller: Caller,
    ) -> BoxFuture<'_, Result<Passage, HouseError>>;
    /// The number of the newest entry, followed as it grows.
    fn journal_head(&self) -> watch::Receiver<u64>;
    /// The root of the internal CA as PEM.
    fn internal_root(&self) -> BoxFuture<'_, Result<String, HouseError>>;
    /// The public key that private keys must be sealed to before they come in.
    fn import_key(&self) -> BoxFuture<'_, Result<ImportKey, HouseError>>;
    /// Takes in a certificate and its sealed key for `caller`.
    fn import(
        &self,
        order: ImportOrder,
        caller: Caller,
    ) -> BoxFuture<'_, Result<Imported, HouseError>>;
    /// Sees to it that certificates get new keys, for `caller`.
    fn rotate_keys(
        &self,
        order: RotateKeys,
        caller: Caller,
    ) -> BoxFuture<'_, Result<RotatedKeys, HouseError>>;
    /// Gives the master key a successor, for `caller`; does not wait until everything is sealed
    /// under it.
    fn rotate_master(&self, caller: Caller) -> BoxFuture<'_, Result<MasterView, HouseError>>;
    /// Gives the account at the CA of that name, else that of `[acme]`, another key, for `caller`, and
    /// waits for the CA.
    fn rotate_account(
        &self,
        ca: Option<String>,
        caller: Caller,
    ) -> BoxFuture<'_, Result<AccountView, HouseError>>;
    /// The accounts at CAs; with `ask` these are asked how they stand.
    fn accounts(&self, _ask: bool) -> BoxFuture<'_, Result<Accounts, HouseError>> {
        Box::pin(async { Ok(Accounts::default()) })
    }
    /// Takes in an account that was opened elsewhere, for `caller`, and waits for the CA.
    fn adopt_account(
        &self,
        _: AdoptOrder,
        _: Caller,
    ) -> BoxFuture<'_, Result<AccountAdopted, HouseError>> {
        Box::pin(async {
            Err(HouseError::Refused { reason: "no account is adopted here".to_owned() })
        })
    }
    /// Onboards a name for `caller`; does not wait for its certificate.
    fn onboard(&self, _: OnboardOrder, _: Caller) -> BoxFuture<'_, Result<Renewal, HouseError>> {
        Box::pin(async { Err(nobody_comes()) })
    }
    /// Offboards a name for `caller`, and bars it from coming back by itself.
    fn offboard<'a>(
        &'a self,
        _name: &'a str,
        _bar: bool,
        _: Caller,
    ) -> BoxFuture<'a, Result<(), HouseError>> {
        Box::pin(async { Err(nobody_comes()) })
    }
    /// At most `limit` onboarded names behind `after`.
    fn onboarded(
        &self,
        _after: Option<String>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Guests, HouseError>> {
        Box::pin(async { Err(nobody_comes()) })
    }
    /// Takes an imported certificate away again.
    fn forget<'a>(
        &'a self,
        selector: &'a Selector,
        caller: Caller,
    ) -> BoxFuture<'a, Result<CertificateView, HouseError>>;
    /// Replaces the keys of session tickets at once, for `caller`.
    fn rotate_tickets(&self, caller: Caller) -> BoxFuture<'_, Result<TicketsView, HouseError>>;
    /// Has the private key of a certificate written into `target`, which `caller` reads.
    fn export<'a>(
        &'a self,
        selector: &'a Selector,
        target: OwnedFd,
        caller: Caller,
    ) -> BoxFuture<'a, Result<Exported, HouseError>>;
    /// Where certificates are issued for clients and delivered; none where nothing is.
    fn issuing(&self) -> Option<&dyn Issuing> {
        None
    }
    /// What clients may have; nothing where no books are kept.
    fn books(&self) -> Option<&dyn Books> {
        None
    }
    /// Where certificates are brought to others; none where they cannot be.
    fn deploying(&self) -> Option<&dyn Deploying> {
        None
    }
    /// Where people are told of what happens; none where nobody can be.
    fn telling(&self) -> Option<&dyn Telling> {
        None
    }
    /// Copies the database into `target`, which `caller` reads.
    fn backup(
        &self,
        target: OwnedFd,
        caller: Caller,
    ) -> BoxFuture<'_, Result<BackedUp, HouseError>>;
}

/// A part of the journal.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Passage {
    /// Those that may be seen, oldest first.
    pub entries: Vec<EntryView>,
    /// Up to which number it was looked through; what follows is behind it.
    pub to: u64,
}

fn nobody_comes() -> HouseError {
    HouseError::Refused { reason: "this daemon onboards no names".to_owned() }
}

/// Why the house did not do as it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HouseError {
    /// No certificate matches.
    #[error("no certificate matches {selector:?}")]
    NotFound {
        /// What was asked for.
        selector: String,
    },
    /// Several certificates match.
    #[error("{selector:?} matches several certificates: {}", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        selector: String,
        /// The candidates.
        ids: Vec<String>,
    },
    /// The order makes no sense now.
    #[error("{reason}")]
    Refused {
        /// Why, in plain words.
        reason: String,
    },
    /// The changed configuration is broken; the former one stays in force.
    #[error("the configuration was refused and the former one stays in force\n{report}")]
    Configuration {
        /// Every problem with file and line, one below the other.
        report: String,
    },
    /// A part of the house is not there at the moment.
    #[error("{reason}")]
    Unavailable {
        /// Which and why, in plain words.
        reason: String,
    },
}
