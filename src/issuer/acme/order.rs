//! One order from opening, or from wherever an earlier attempt left it, to the certificate.
//!
//! Dropping the future anywhere withdraws the challenges and leaves the order open at the CA,
//! under the URL that [`Progress`] has stored.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::Account;
use instant_acme::CertificateIdentifier;
use instant_acme::NewOrder;
use instant_acme::Order;
use instant_acme::OrderStatus;
use tokio::time::Instant;

use super::AcmeIssuer;
use super::AcmeOptions;
use super::account::Entry;
use super::alternates;
use super::classify;
use super::client::CaClient;
use super::client::Hint;
use super::client::take_hint;
use super::directory::Directory;
use super::prove::Tried;
use super::search;
use super::search::Reader;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::chain::Chain;
use crate::cert::challenge::ChallengeType;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Job;
use crate::cert::ports::JobKey;
use crate::cert::ports::Progress;
use crate::issuer::csr;

mod check;
mod proofs;

/// First pause between two questions about an order; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause, unless the CA wants a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Changes of status of one order that are followed: pending, ready, processing, valid, and some
/// room for a CA that hesitates.
const STEPS: u32 = 8;

/// One attempt at one job.
pub(super) struct Drive<'a> {
    pub(super) issuer: &'a AcmeIssuer,
    pub(super) options: &'a AcmeOptions,
    pub(super) entry: &'a Entry,
    /// `entry` as instant-acme wants it.
    pub(super) account: Account,
    /// What the CA last said about when to ask again.
    pub(super) hint: Hint,
    pub(super) client: &'a CaClient,
    pub(super) directory: &'a Arc<Directory>,
    pub(super) job: &'a Job,
    /// Challenges that can be answered, best first.
    pub(super) challenges: &'a [ChallengeType],
    pub(super) progress: &'a dyn Progress,
}

/// How an attempt ended without a certificate.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The CA does not know the account, or has closed it.
    Account(Failure),
    /// The stored order was of no use from the start: a fresh one may be opened at once.
    Gone(Failure),
    /// The order came to its end in this attempt: the next attempt opens a fresh one.
    Spent(Failure),
    /// The order, if there is one, can be gone on with later.
    Failed(Failure),
}

impl Trouble {
    /// The failure, whatever it means for the order.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Account(failure)
            | Self::Gone(failure)
            | Self::Spent(failure)
            | Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Drive<'_> {
    /// Goes on with an order of an earlier attempt, or opens one, and follows it to its end. When
    /// a proof fails that another challenge may give, one more order is opened.
    pub(super) async fn run(&self) -> Result<Chain, Trouble> {
        let mut tried = Tried::default();
        let end = match self.earlier_order().await? {
            Some(url) => match self.go_on(&url, &mut tried).await {
                Err(Trouble::Gone(reason)) => {
                    tracing::debug!(%reason, "the stored order is of no use, opening another");
                    self.progress.order_lost().await?;
                    self.begin(&mut tried).await
                }
                other => other,
            },
            None => self.begin(&mut tried).await,
        };
        let end = match end {
            Err(Trouble::Spent(first)) if first.challenge.is_some() && tried.has_another_way() => {
                self.progress.challenge_failed(tried.failures()).await?;
                match self.begin(&mut tried).await {
                    Err(Trouble::Spent(mut last)) => {
                        let detail = format!("{}; before that, {first}", last.detail);
                        last.detail = classify::clean(&detail);
                        Err(Trouble::Spent(last))
                    }
                    other => other,
                }
            }
            other => other,
        };
        self.settle(end).await
    }

    /// The stored order, or the one whose URL was lost, which is then stored.
    async fn earlier_order(&self) -> Result<Option<String>, Failure> {
        if self.job.order.is_some() || !self.job.resumed || !self.entry.is_proven() {
            return Ok(self.job.order.clone());
        }
        let reader = Reader::open(self.entry, self.client, self.directory).await?;
        let wanted = search::Wanted { job: self.job, profile: self.profile() };
        let found = reader.find(&wanted).await;
        if let Some(url) = &found {
            tracing::info!("the CA still has the order that an earlier attempt opened");
            self.progress.order_opened(url).await?;
        }
        Ok(found)
    }

    async fn go_on(&self, url: &str, tried: &mut Tried) -> Result<Chain, Trouble> {
        let mut order = self.resume(url).await?;
        self.follow(&mut order, tried).await
    }

    async fn begin(&self, tried: &mut Tried) -> Result<Chain, Trouble> {
        let mut order = self.open().await?;
        self.follow(&mut order, tried).await
    }

    /// The profile to ask for.
    fn profile(&self) -> Option<&str> {
        self.job.spec.profile.as_deref().or(self.options.config.profile.as_deref())
    }

    /// Tells the progress about an order that came to its end.
    async fn settle(&self, end: Result<Chain, Trouble>) -> Result<Chain, Trouble> {
        match end {
            Err(Trouble::Gone(failure) | Trouble::Spent(failure)) => {
                // If the store refuses, the next attempt finds out about the order by itself:
                // the failure at hand is the one worth reporting.
                let _ignored = self.progress.order_lost().await;
                Err(Trouble::Failed(failure))
            }
            other => other,
        }
    }

    fn trouble(&self, error: &instant_acme::Error) -> Trouble {
        let failure = classify::request(error, self.options.clock.now());
        match classify::document(error) {
            Some(("accountDoesNotExist", _)) => Trouble::Account(failure),
            _ => Trouble::Failed(failure),
        }
    }

    async fn resume(&self, url: &str) -> Result<Order, Trouble> {
        insist!(self.account.order(url.to_owned()).await).map_err(|error| {
            let trouble = self.trouble(&error);
            match (trouble, classify::document(&error)) {
                // Unknown, expired, or another account's.
                (Trouble::Failed(mut failure), Some((_, Some(status))))
                    if matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410) =>
                {
                    failure.kind = FailureKind::OrderLost;
                    failure.remedy = failure.kind.usual_remedy();
                    Trouble::Gone(failure)
                }
                (trouble, _) => trouble,
            }
        })
    }

    /// Opens a fresh order and has its URL stored before anything else happens.
    async fn open(&self) -> Result<Order, Trouble> {
        let profile = self.profile();
        let is_unknown = |name: &&str| !self.directory.profiles.iter().any(|known| known == name);
        if let Some(profile) = profile.filter(is_unknown) {
            let offered = self.directory.profiles.join(", ");
            let offered = if offered.is_empty() { "none" } else { &offered };
            let detail = format!("the CA has no profile {profile:?}; it offers: {offered}");
            return Err(Failure::new(FailureKind::Refused, classify::clean(&detail)).into());
        }
        let identifiers: Vec<_> = self.job.spec.names().iter().map(to_acme).collect();
        let mut order = NewOrder::new(&identifiers);
        if let Some(profile) = profile {
            order = order.profile(profile);
        }
        let replaces =
            self.job.replaces.as_deref().and_then(|id| id.split_once('.')).filter(|_| {
                self.options.config.renewal_info && self.directory.renewal_info.is_some()
            });
        let opened = match replaces {
            None => {
                if self.job.replaces.is_some() {
                    self.progress.counted().await?;
                }
                insist!(self.account.new_order(&order).await)
            }
            Some((aki, serial)) => {
                let id = CertificateIdentifier {
                    authority_key_identifier: aki.into(),
                    serial: serial.into(),
                };
                let named = NewOrder::new(&identifiers).replaces(id);
                let named = match profile {
                    Some(profile) => named.profile(profile),
                    None => named,
                };
                match insist!(self.account.new_order(&named).await) {
                    Err(error) if self.is_about_replaces(&error) => {
                        tracing::debug!("the CA refuses to count the order as a replacement");
                        self.progress.counted().await?;
                        insist!(self.account.new_order(&order).await)
                    }
                    other => other,
                }
            }
        };
        let order = opened.map_err(|error| match classify::document(&error) {
            // RFC 8555, section 7.3.6: so answers a CA whose account was deactivated.
            Some(("unauthorized", Some(status))) if matches!(status.as_u16(), 401 | 403) => {
                Trouble::Account(classify::request(&error, self.options.clock.now()))
            }
            _ => self.trouble(&error),
        })?;
        crash::point("order-opened");
        self.entry.prove();
        self.progress.order_opened(order.url()).await?;
        Ok(order)
    }

    /// Whether an order without `replaces` may fare better: the CA refused it, and not for its
    /// rate or for a fault of its own. One that was ordered by another account, which this one took the
    /// place of, is refused as `unauthorized`, as everything is of an account that has ended.
    fn is_about_replaces(&self, error: &instant_acme::Error) -> bool {
        match classify::document(error) {
            Some(("accountDoesNotExist" | "rateLimited" | "badNonce", _)) => false,
            Some((_, Some(status))) => status.is_client_error() && status.as_u16() != 429,
            Some((_, None)) => true,
            // The answer does not repeat the field, against RFC 9773, section 5.
            None => {
                let failure = classify::request(error, self.options.clock.now());
                failure.kind == FailureKind::CaFault
            }
        }
    }

    async fn follow(&self, order: &mut Order, tried: &mut Tried) -> Result<Chain, Trouble> {
        let mut worked = false;
        for _ in 0..STEPS {
            match order.state().status {
                OrderStatus::Pending => self.prove(order, tried).await?,
                OrderStatus::Ready => self.finalise(order).await?,
                OrderStatus::Processing => {
                    self.wait(order, OrderStatus::Processing, bounds::CA_SIGNING).await?;
                }
                OrderStatus::Valid => return self.collect(order).await,
                OrderStatus::Invalid => {
                    let failure = self.why_invalid(order, tried).await;
                    return Err(if worked {
                        Trouble::Spent(failure)
                    } else {
                        Trouble::Gone(failure)
                    });
                }
            }
            worked = true;
        }
        Err(Failure::new(FailureKind::CaFault, "the order changes its status without end").into())
    }

    async fn finalise(&self, order: &mut Order) -> Result<(), Trouble> {
        let csr = match &self.job.key {
            JobKey::Here(key) => {
                let names = self.job.spec.names().to_vec();
                csr::request(key.clone(), names, Arc::clone(&self.options.signing)).await?
            }
            JobKey::Elsewhere(request) => request.der().to_vec(),
        };
        let Err(error) = insist!(order.finalize_csr(&csr).await) else {
            crash::point("finalised");
            return Ok(());
        };
        let trouble = self.trouble(&error);
        // The request may have been taken although its answer was lost: then the order has moved.
        if insist!(order.refresh().await.map(|_| ())).is_ok()
            && !matches!(order.state().status, OrderStatus::Ready | OrderStatus::Pending)
        {
            return Ok(());
        }
        Err(match trouble {
            Trouble::Failed(failure) if failure.kind == FailureKind::Refused => {
                Trouble::Spent(failure)
            }
            other => other,
        })
    }

    /// Asks for the order's status until it is not `status` any more.
    async fn wait(
        &self,
        order: &mut Order,
        status: OrderStatus,
        limit: Duration,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        let _before = take_hint(&self.hint);
        loop {
            insist!(order.refresh().await.map(|_| ())).map_err(|error| self.trouble(&error))?;
            if order.state().status != status {
                return Ok(());
            }
            let wanted = take_hint(&self.hint)
                .map(|hint| hint.delay(self.options.clock.now()).min(classify::LONGEST_WAIT));
            // At least our own pause, whatever the CA allows.
            let now_pause = wanted.unwrap_or(pause).max(pause);
            if Instant::now() + now_pause > deadline {
                let detail = format!("the CA did not finish within {} seconds", limit.as_secs());
                let failure = Failure::new(FailureKind::Lapsed, detail);
                return Err(match wanted {
                    // The CA itself said that it takes longer.
                    Some(wanted) => {
                        let until = self.options.clock.now().plus(wanted);
                        failure.with_remedy(Remedy::RetryAfter(until)).into()
                    }
                    None => failure.into(),
                });
            }
            tokio::time::sleep(now_pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn collect(&self, order: &mut Order) -> Result<Chain, Trouble> {
        let pem = insist!(order.certificate().await).map_err(|error| self.trouble(&error))?;
        let pem = pem.ok_or_else(|| {
            Failure::new(FailureKind::CaFault, "a valid order without a certificate")
        })?;
        let now = self.options.clock.now();
        let check = |pem: &str| check::chain(pem, self.job.spec.names(), self.job.key.id(), now);
        let chain = check(&pem).map_err(Trouble::Gone)?;
        let preferred = self.job.preferred_chain.as_ref();
        let preferred = preferred.or(self.options.config.preferred_chain.as_ref());
        let Some(preferred) = preferred.filter(|name| !alternates::leads_to(&chain, name)) else {
            return Ok(chain);
        };
        let other = self.other_chain(order, preferred, |pem| check(pem).ok()).await;
        if other.is_none() {
            tracing::warn!(
                preferred,
                issuer = %self.job.spec.issuer,
                "the CA offers no chain up to the preferred root, using its default"
            );
        }
        Ok(other.unwrap_or(chain))
    }

    /// The chain up to `preferred`, if it can be had within bounds: a certificate matters more.
    async fn other_chain(
        &self,
        order: &mut Order,
        preferred: &str,
        check: impl Fn(&str) -> Option<Chain>,
    ) -> Option<Chain> {
        let url = order.state().certificate.clone()?;
        let search = async {
            let reader = Reader::open(self.entry, self.client, self.directory).await.ok()?;
            alternates::find(&reader, &url, preferred, check).await
        };
        tokio::time::timeout(bounds::ORDER_SEARCH, search).await.ok().flatten()
    }
}

fn to_acme(name: &Identifier) -> instant_acme::Identifier {
    match name {
        Identifier::Ip(address) => instant_acme::Identifier::Ip(*address),
        other => instant_acme::Identifier::Dns(other.to_string()),
    }
}
