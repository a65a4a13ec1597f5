//! Which authority issues for which name of an issuer, under the configuration in force.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::watch;

use super::open::Doors;
use crate::base::tasks::SharedClock;
use crate::cert::challenge::Solver;
use crate::cert::ports::AccountKeys;
use crate::cert::ports::Book;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::RemoteSigning;
use crate::cert::spec::IssuerName;
use crate::config::Acme;
use crate::config::Config;
use crate::config::Listen;
use crate::issuer::AcmeIssuer;
use crate::issuer::AcmeOptions;
use crate::issuer::InternalCa;
use crate::issuer::dns::DnsDesk;

/// What an ACME client needs of the house, whatever the configuration says.
pub(super) struct Means {
    pub(super) clock: SharedClock,
    pub(super) book: Arc<dyn Book>,
    pub(super) accounts: Arc<dyn AccountKeys>,
    pub(super) signing: Arc<dyn RemoteSigning>,
    pub(super) solver: Arc<dyn Solver>,
    pub(super) dns: DnsDesk,
    /// Which doors the service manager opened; without one it is as the file says.
    pub(super) inherited: Option<Doorways>,
}

/// Which kinds of listeners there are, and so which challenges can be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Doorways {
    pub(super) http: bool,
    pub(super) tls: bool,
}

impl Doorways {
    /// Those that the service manager opened, if it opened any.
    pub(super) fn inherited(doors: &Doors) -> Option<Self> {
        let of = Self { http: !doors.http.is_empty(), tls: !doors.https.is_empty() };
        doors.inherited.then_some(of)
    }
}

/// The authorities. One that speaks ACME is made again when its part of the configuration or the doors
/// changed; jobs under way end with the one they began with.
pub(super) struct Authorities {
    means: Means,
    config: watch::Receiver<Arc<Config>>,
    internal: Arc<InternalCa>,
    /// Those that were asked for, each with what it was made of.
    acme: Mutex<Vec<(Acme, Doorways, Arc<AcmeIssuer>)>>,
}

impl Authorities {
    pub(super) fn new(
        means: Means,
        config: watch::Receiver<Arc<Config>>,
        internal: Arc<InternalCa>,
    ) -> Self {
        Self { means, config, internal, acme: Mutex::new(Vec::new()) }
    }

    /// Has every authority read what it keeps again before it is used next: the keys in it were
    /// sealed anew.
    pub(super) fn reread(&self) {
        self.internal.reread();
        let known = self.acme.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().for_each(|(_, _, issuer)| issuer.reread());
    }

    /// Who proves by DNS, and knows whom to ask there.
    pub(super) const fn dns(&self) -> &DnsDesk {
        &self.means.dns
    }

    /// Who answers challenges.
    pub(super) fn solver(&self) -> &dyn Solver {
        self.means.solver.as_ref()
    }

    /// The authority called `name`; `None` when the configuration no longer knows it.
    pub(super) fn of(&self, name: &IssuerName) -> Option<Arc<dyn CertificateAuthority>> {
        match name {
            IssuerName::Internal => Some(Arc::<InternalCa>::clone(&self.internal) as _),
            IssuerName::Acme(_) => self.acme(name).map(|issuer| issuer as _),
            // Who brought the certificate brings its successor.
            IssuerName::Imported => None,
        }
    }

    /// One like that of `name` at another directory, which keeps what it has in `book` and nowhere else.
    pub(super) fn trial(
        &self,
        name: &IssuerName,
        directory: &str,
        book: Arc<dyn Book>,
    ) -> Option<AcmeIssuer> {
        let (known, listen) = {
            let config = self.config.borrow();
            (config.authority(name)?.clone(), config.listen.clone())
        };
        let doorways = self.doorways(&listen);
        // A binding of the one is not known to the other.
        let config = Acme { directory: directory.to_owned(), eab: None, ..known };
        Some(AcmeIssuer::new(self.options(config, doorways, book)))
    }

    fn doorways(&self, listen: &Listen) -> Doorways {
        let own = Doorways { http: !listen.http.is_empty(), tls: !listen.https.is_empty() };
        self.means.inherited.unwrap_or(own)
    }

    fn options(&self, config: Acme, doorways: Doorways, book: Arc<dyn Book>) -> AcmeOptions {
        let means = &self.means;
        AcmeOptions {
            config,
            clock: Arc::clone(&means.clock),
            book,
            accounts: Arc::clone(&means.accounts),
            signing: Arc::clone(&means.signing),
            solver: Arc::clone(&means.solver),
            dns: Some(means.dns.clone()),
            has_http: doorways.http,
            has_tls: doorways.tls,
        }
    }

    /// The CA that issues under this name, by ACME.
    pub(super) fn acme(&self, name: &IssuerName) -> Option<Arc<AcmeIssuer>> {
        let (all, config, listen) = {
            let config = self.config.borrow();
            let all: Vec<_> = config.authorities().map(|ca| ca.directory.clone()).collect();
            (all, config.authority(name)?.clone(), config.listen.clone())
        };
        let doorways = self.doorways(&listen);
        let mut known = self.acme.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, issuer)) =
            known.iter().find(|(of, doors, _)| *of == config && *doors == doorways)
        {
            return Some(Arc::<AcmeIssuer>::clone(issuer));
        }
        let options = self.options(config.clone(), doorways, Arc::clone(&self.means.book));
        let issuer = Arc::new(AcmeIssuer::new(options));
        // What the configuration has no more, and what this one was before.
        known.retain(|(of, _, _)| of.directory != config.directory && all.contains(&of.directory));
        known.push((config, doorways, Arc::clone(&issuer)));
        Some(issuer)
    }
}
