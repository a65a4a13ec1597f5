//! One order from opening, or from wherever an earlier attempt left it, to the certificate.
//!
//! Dropping the future anywhere withdraws the challenges and leaves the order open at the CA,
//! under the URL that [`Progress`] has stored.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::Account;
use instant_acme::AuthorizationStatus;
use instant_acme::CertificateIdentifier;
use instant_acme::ChallengeStatus;
use instant_acme::NewOrder;
use instant_acme::Order;
use instant_acme::OrderStatus;
use tokio::time::Instant;

use super::AcmeOptions;
use super::account::Entry;
use super::classify;
use super::classify::During;
use super::client::Hint;
use super::client::take_hint;
use super::directory::Directory;
use super::prove;
use super::prove::Offer;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::chain::Chain;
use crate::cert::challenge::ChallengeType;
use crate::cert::challenge::Presented;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Job;
use crate::cert::ports::Progress;
use crate::issuer::csr;

mod check;

/// First pause between two questions about an order; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause, unless the CA wants a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Changes of status of one order that are followed: pending, ready, processing, valid, and some
/// room for a CA that hesitates.
const STEPS: u32 = 8;

/// One attempt at one job.
pub(super) struct Drive<'a> {
    pub(super) options: &'a AcmeOptions,
    pub(super) entry: &'a Entry,
    /// `entry` as instant-acme wants it.
    pub(super) account: Account,
    /// What the CA last said about when to ask again.
    pub(super) hint: Hint,
    pub(super) directory: &'a Directory,
    pub(super) job: &'a Job,
    /// Challenges that are configured and have a listener, best first.
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
    /// Goes on with the stored order, or opens one, and follows it to its end.
    pub(super) async fn run(&self) -> Result<Chain, Trouble> {
        if let Some(url) = &self.job.order {
            let gone = match self.resume(url).await {
                Ok(mut order) => match self.follow(&mut order).await {
                    Err(Trouble::Gone(failure)) => failure,
                    other => return self.settle(other).await,
                },
                Err(Trouble::Gone(failure)) => failure,
                Err(other) => return Err(other),
            };
            tracing::debug!(reason = %gone, "the stored order is of no use, opening another");
            self.progress.order_lost().await?;
        }
        let mut order = self.open().await?;
        let end = self.follow(&mut order).await;
        self.settle(end).await
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
        let profile = self.job.spec.profile.as_ref().or(self.options.config.profile.as_ref());
        if let Some(profile) = profile.filter(|name| !self.directory.profiles.contains(name)) {
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
            None => insist!(self.account.new_order(&order).await),
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
    /// rate or for a fault of its own.
    fn is_about_replaces(&self, error: &instant_acme::Error) -> bool {
        match classify::document(error) {
            Some(("accountDoesNotExist" | "unauthorized" | "rateLimited", _)) => false,
            Some((_, Some(status))) => status.is_client_error() && status.as_u16() != 429,
            Some((_, None)) => true,
            // The answer does not repeat the field, against RFC 9773, section 5.
            None => {
                let failure = classify::request(error, self.options.clock.now());
                failure.kind == FailureKind::CaFault
            }
        }
    }

    async fn follow(&self, order: &mut Order) -> Result<Chain, Trouble> {
        let mut worked = false;
        for _ in 0..STEPS {
            match order.state().status {
                OrderStatus::Pending => self.prove(order).await?,
                OrderStatus::Ready => self.finalise(order).await?,
                OrderStatus::Processing => {
                    self.wait(order, OrderStatus::Processing, bounds::CA_SIGNING).await?;
                }
                OrderStatus::Valid => return self.collect(order).await,
                OrderStatus::Invalid => {
                    let failure = self.why_invalid(order).await;
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

    /// Presents a challenge for each name that is not proven yet, and waits for the CA's checks.
    async fn prove(&self, order: &mut Order) -> Result<(), Trouble> {
        self.read_authorizations(order).await?;
        let mut presented: Vec<Presented> = Vec::new();
        let mut named = Vec::new();
        let mut authorizations = order.authorizations();
        // Read above: this loop asks the CA nothing but to check.
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.trouble(&error))?;
            let name = from_acme(&authorization.identifier())?;
            named.push(name.clone());
            if authorization.status != AuthorizationStatus::Pending {
                // Valid already, or the order is invalid, which is seen below.
                continue;
            }
            let offers: Vec<Offer> = authorization.challenges.iter().filter_map(offer).collect();
            let offer = prove::choose(&name, self.challenges, &offers, self.job.attempt)?;
            let kind = offer.challenge;
            let Some(mut challenge) = authorization.challenge(acme_type(kind)) else {
                return Err(prove::no_challenge(&name, self.challenges).into());
            };
            let task = prove::task(kind, &name, &challenge.token, &challenge.key_authorization())?;
            let guard = self.options.solver.present(task).await.map_err(|error| {
                Failure::new(FailureKind::NoChallenge, error.to_string())
                    .about(name.clone())
                    .while_trying(kind)
            })?;
            presented.push(guard);
            crash::point("challenge-presented");
            if !offer.begun {
                insist!(challenge.set_ready().await).map_err(|error| self.trouble(&error))?;
            }
        }
        named.sort();
        if named != self.job.spec.names() {
            let detail = "the order is for other names than the ones wanted";
            return Err(Trouble::Gone(Failure::new(FailureKind::OrderLost, detail)));
        }
        self.wait(order, OrderStatus::Pending, bounds::CA_VALIDATION).await?;
        if order.state().status != OrderStatus::Invalid {
            crash::point("challenge-valid");
        }
        drop(presented);
        Ok(())
    }

    /// Reads every authorization that was not read yet.
    async fn read_authorizations(&self, order: &mut Order) -> Result<(), Trouble> {
        insist!(read_all(order, false).await).map_err(|error| self.trouble(&error))
    }

    async fn finalise(&self, order: &mut Order) -> Result<(), Trouble> {
        let names = self.job.spec.names().to_vec();
        let signing = Arc::clone(&self.options.signing);
        let csr = csr::request(self.job.key.clone(), names, signing).await?;
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

    /// Why the order is invalid, from the authorization that failed or the order itself.
    async fn why_invalid(&self, order: &mut Order) -> Failure {
        if insist!(read_all(order, true).await).is_ok() {
            let mut authorizations = order.authorizations();
            while let Some(Ok(authorization)) = authorizations.next().await {
                let tried = authorization
                    .challenges
                    .iter()
                    .find_map(|c| Some((offer(c).map(|offer| offer.challenge), c.error.as_ref()?)));
                let Some((kind, problem)) = tried else { continue };
                let mut failure = classify::problem(problem, During::Challenge);
                failure.challenge = kind;
                if let Ok(name) = from_acme(&authorization.identifier()) {
                    failure.subject = Some(name);
                }
                return failure;
            }
        }
        match &order.state().error {
            Some(problem) => classify::problem(problem, During::Challenge),
            None => Failure::new(FailureKind::OrderLost, "the order is invalid or expired"),
        }
    }

    async fn collect(&self, order: &mut Order) -> Result<Chain, Trouble> {
        let pem = insist!(order.certificate().await).map_err(|error| self.trouble(&error))?;
        let pem = pem.ok_or_else(|| {
            Failure::new(FailureKind::CaFault, "a valid order without a certificate")
        })?;
        let now = self.options.clock.now();
        check::chain(&pem, self.job.spec.names(), self.job.key.id, now).map_err(Trouble::Gone)
    }
}

/// Reads the authorizations of `order`: all of them, or those that were not read yet.
///
/// May be repeated after an error: what was read stays read.
async fn read_all(order: &mut Order, again: bool) -> Result<(), instant_acme::Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if again {
            authorization.refresh().await?;
        }
    }
    Ok(())
}

fn to_acme(name: &Identifier) -> instant_acme::Identifier {
    match name {
        Identifier::Ip(address) => instant_acme::Identifier::Ip(*address),
        other => instant_acme::Identifier::Dns(other.to_string()),
    }
}

fn from_acme(name: &instant_acme::AuthorizedIdentifier<'_>) -> Result<Identifier, Failure> {
    Identifier::parse(&name.to_string()).map_err(|error| {
        let detail = format!("the CA asks for the proof of no name of ours: {error}");
        Failure::new(FailureKind::CaFault, classify::clean(&detail))
    })
}

const fn acme_type(challenge: ChallengeType) -> instant_acme::ChallengeType {
    match challenge {
        ChallengeType::Http01 => instant_acme::ChallengeType::Http01,
        ChallengeType::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
    }
}

fn offer(challenge: &instant_acme::Challenge) -> Option<Offer> {
    let kind = match challenge.r#type {
        instant_acme::ChallengeType::Http01 => ChallengeType::Http01,
        instant_acme::ChallengeType::TlsAlpn01 => ChallengeType::TlsAlpn01,
        _ => return None,
    };
    let begun = challenge.status == ChallengeStatus::Processing;
    Some(Offer { challenge: kind, begun })
}
