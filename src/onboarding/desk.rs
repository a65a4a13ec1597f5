//! Takes names in: those that clients ask for, as policy, DNS, budgets and whoever else is asked
//! allow, and those that people name.
//!
//! A name is looked at once at a time, however many ask for it. What was refused is remembered for a
//! while, and how often anything is looked up is bounded, whoever asks and however they vary the name.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::ask;
use super::policy;
use super::policy::Refusal;
use super::survey::Survey;
use super::tally::Tally;
use crate::base::Timestamp;
use crate::base::bounds::onboarding::DOMAIN_WINDOW;
use crate::base::bounds::onboarding::ELSEWHERE_KEPT;
use crate::base::bounds::onboarding::IN_FLIGHT;
use crate::base::bounds::onboarding::LOOKUPS_AT_ONCE;
use crate::base::bounds::onboarding::LOOKUPS_PER_DOMAIN;
use crate::base::bounds::onboarding::LOOKUPS_PER_NETWORK;
use crate::base::bounds::onboarding::LOOKUPS_PER_SECOND;
use crate::base::bounds::onboarding::LOOKUPS_WINDOW;
use crate::base::bounds::onboarding::NETWORK_WINDOW;
use crate::base::bounds::onboarding::READ_AT_ONCE;
use crate::base::bounds::onboarding::REFUSED_KEPT;
use crate::base::bounds::onboarding::UNWANTED_KEPT;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::guest::Guest;
use crate::cert::identifier::DnsName;
use crate::cert::lifecycle::Phase;
use crate::cert::spec::CertificateId;
use crate::config::Config;
use crate::config::Onboarding;
use crate::edge::Edge;
use crate::edge::Knock;
use crate::edge::Network;
use crate::scheduler::OffboardError;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
use crate::store::StoreError;

/// What the desk works with.
#[derive(Clone)]
pub struct Means {
    /// The wall clock.
    pub clock: SharedClock,
    /// Where names are kept.
    pub store: Store,
    /// Who orders.
    pub scheduler: SchedulerHandle,
    /// Who serves them.
    pub edge: Arc<Edge>,
    /// What names are held to.
    pub survey: Arc<Survey>,
    /// Where work is done.
    pub tasks: TaskSet,
}

/// The desk.
pub struct Desk {
    means: Means,
    state: Mutex<State>,
    /// Names that were refused, until when.
    refused: Cache<Box<str>, Timestamp>,
    lookups: Semaphore,
}

struct State {
    /// Names that are looked at, or whose certificate is ordered, and who waits for that.
    flights: HashMap<Box<str>, Flight>,
    /// Look-ups.
    all: Tally<()>,
    networks: Tally<Network>,
    domains: Tally<Box<str>>,
    /// New names.
    new_networks: Tally<Network>,
    new_domains: Tally<Box<str>>,
}

#[derive(Default)]
struct Flight {
    /// Once it is taken in.
    certificate: Option<CertificateId>,
    waiting: Vec<oneshot::Sender<bool>>,
}

impl Desk {
    /// Has those served that were onboarded before, and begins to hear clients.
    pub fn begin(means: Means, stop: &CancellationToken) -> Arc<Self> {
        let (tasks, stop) = (means.tasks.clone(), stop.clone());
        let knocks = means.edge.knocks();
        let state = State {
            flights: HashMap::new(),
            all: Tally::new(Duration::from_secs(1)),
            networks: Tally::new(LOOKUPS_WINDOW),
            domains: Tally::new(LOOKUPS_WINDOW),
            new_networks: Tally::new(NETWORK_WINDOW),
            new_domains: Tally::new(DOMAIN_WINDOW),
        };
        let desk = Arc::new(Self {
            means,
            state: Mutex::new(state),
            refused: Cache::new(REFUSED_KEPT),
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
        });
        if let Some(knocks) = knocks {
            let desk = Arc::clone(&desk);
            desk.means.edge.expect_guests(true);
            tasks.service("onboarding", async move {
                let work = async {
                    if let Err(error) = desk.load().await {
                        tracing::error!(%error, "onboarded names cannot be read, going on without");
                    }
                    desk.means.edge.expect_guests(false);
                    desk.hear(knocks).await;
                };
                tokio::select! {
                    () = work => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        desk
    }

    /// Has the edge serve those that were onboarded before.
    async fn load(&self) -> Result<(), StoreError> {
        let now = self.means.clock.now();
        let mut of_late: Vec<(Timestamp, Box<str>)> = Vec::new();
        let mut after = None;
        loop {
            let page = self.means.store.guests(after.take(), READ_AT_ONCE).await?;
            let served = page.iter().filter(|(_, guest)| !guest.barred);
            let served = served.map(|(name, guest)| (name.as_str(), guest.origin.as_deref()));
            self.means.edge.welcome(served);
            // What was counted before a restart is counted after it, from the first of them on.
            let counted = |guest: &Guest| !guest.by_hand && now.since(guest.since) < DOMAIN_WINDOW;
            for (name, guest) in page.iter().filter(|(_, guest)| counted(guest)) {
                of_late.extend(psl::domain_str(name).map(|domain| (guest.since, domain.into())));
            }
            match page.into_iter().last() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        of_late.sort();
        let mut state = self.state();
        for (since, domain) in of_late {
            state.new_domains.note(domain, since);
        }
        Ok(())
    }

    async fn hear(self: &Arc<Self>, mut knocks: mpsc::Receiver<Knock>) {
        let mut journal = self.means.store.journal_head();
        let mut published = self.means.scheduler.published();
        loop {
            tokio::select! {
                knock = knocks.recv() => match knock {
                    Some(knock) => self.take(knock),
                    // The edge has ended.
                    None => std::future::pending().await,
                },
                Ok(()) = journal.changed() => self.look().await,
                Ok(()) = published.changed() => self.look().await,
            }
        }
    }

    /// Looks at what costs nothing, and has the rest looked at. Whoever waits is told no when the
    /// knock is dropped.
    fn take(self: &Arc<Self>, knock: Knock) {
        let Knock { name, network, told } = knock;
        match self.first_look(&name, network, told) {
            Ok(None) => {}
            Ok(Some(name)) => {
                let desk = Arc::clone(self);
                self.means.tasks.job("onboarding-look", async move {
                    match desk.consider(&name, network).await {
                        Ok(Some(certificate)) => desk.ordered(&name, certificate).await,
                        Ok(None) => desk.settle(name.as_str(), true),
                        Err(refusal) => desk.refuse(&name, network, &refusal),
                    }
                });
            }
            Err(refusal) => {
                tracing::debug!(name, %network, reason = %refusal, "a name is not onboarded");
            }
        }
    }

    /// The name, if it is to be looked at; `None` where it is already.
    fn first_look(
        &self,
        text: &str,
        network: Network,
        told: Option<oneshot::Sender<bool>>,
    ) -> Result<Option<DnsName>, Refusal> {
        let (config, taken) = self.means.survey.present();
        let plan = config.onboarding.as_ref().ok_or(Refusal::Off)?;
        let name = policy::read(text)?;
        policy::admits(&config, plan, &taken, &name, false)?;
        let mut state = self.state();
        if let Some(flight) = state.flights.get_mut(name.as_str()) {
            // No more of them than the edge lets wait.
            flight.waiting.extend(told);
            return Ok(None);
        }
        let now = self.means.clock.now();
        if self.refused.get(name.as_str()).is_some_and(|until| now < until) {
            return Err(Refusal::Known);
        }
        if state.flights.len() >= IN_FLIGHT {
            return Err(Refusal::TooMany("names at once"));
        }
        let domain: Box<str> = policy::domain(&name).ok_or(Refusal::PublicSuffix)?.into();
        let room = [
            (state.networks.has_room(&network, LOOKUPS_PER_NETWORK, now), "this network"),
            (state.domains.has_room(&domain, LOOKUPS_PER_DOMAIN, now), "this domain"),
            (state.all.has_room(&(), LOOKUPS_PER_SECOND, now), "everybody"),
        ];
        if let Some((_, of)) = room.into_iter().find(|(room, _)| !room) {
            return Err(Refusal::TooMany(of));
        }
        state.networks.note(network, now);
        state.domains.note(domain, now);
        state.all.note((), now);
        let flight = Flight { certificate: None, waiting: told.into_iter().collect() };
        state.flights.insert(name.as_str().into(), flight);
        Ok(Some(name))
    }

    /// Everything else that a name is held to, and takes it in. The certificate that is ordered, or
    /// `None` where it is there.
    async fn consider(
        &self,
        name: &DnsName,
        network: Network,
    ) -> Result<Option<CertificateId>, Refusal> {
        let (config, _) = self.means.survey.present();
        let plan = config.onboarding.as_ref().ok_or(Refusal::Off)?;
        let stored = |error: StoreError| Refusal::Store(error.to_string());
        if let Some(guest) = self.means.store.guest(name).await.map_err(stored)? {
            if guest.barred {
                return Err(Refusal::Barred);
            }
            self.means.edge.welcome([(name.as_str(), guest.origin.as_deref())]);
            return Ok(Some(guest.certificate));
        }
        self.has_room(plan, name, network).await?;
        {
            let permit = self.lookups.try_acquire();
            let _permit = permit.map_err(|_| Refusal::TooMany("everybody"))?;
            self.means.survey.leads(plan, name).await?;
        }
        if let Some(url) = &plan.ask {
            ask::ask(url, name.as_str()).await?;
        }
        let origin = plan.origin_of(name.as_str(), None);
        plan.site_with(&origin).map_err(Refusal::Origin)?;
        self.spend(plan, name, network)?;
        let who = format!("a client of {network}");
        self.admit((&config, plan), name, None, (&who, false)).await.map(Some)
    }

    /// Whether there is room for one more, before anybody is asked.
    async fn has_room(
        &self,
        plan: &Onboarding,
        name: &DnsName,
        network: Network,
    ) -> Result<(), Refusal> {
        let count = self.means.store.count_guests().await;
        if count.map_err(|error| Refusal::Store(error.to_string()))? >= plan.names {
            return Err(Refusal::Full(plan.names));
        }
        let now = self.means.clock.now();
        let mut state = self.state();
        let domain = policy::domain(name).ok_or(Refusal::PublicSuffix)?;
        if !state.new_networks.has_room(&network, plan.per_network, now) {
            return Err(Refusal::TooMany("new names of this network"));
        }
        if !state.new_domains.has_room(domain, plan.per_domain, now) {
            return Err(Refusal::TooMany("new names of this domain"));
        }
        Ok(())
    }

    /// Counts one more, if there is still room: others were looked at meanwhile.
    fn spend(&self, plan: &Onboarding, name: &DnsName, network: Network) -> Result<(), Refusal> {
        let now = self.means.clock.now();
        let domain = policy::domain(name).ok_or(Refusal::PublicSuffix)?;
        let mut state = self.state();
        if !state.new_networks.has_room(&network, plan.per_network, now) {
            return Err(Refusal::TooMany("new names of this network"));
        }
        if !state.new_domains.has_room(domain, plan.per_domain, now) {
            return Err(Refusal::TooMany("new names of this domain"));
        }
        state.new_networks.note(network, now);
        state.new_domains.note(domain.into(), now);
        Ok(())
    }

    async fn admit(
        &self,
        (config, plan): (&Config, &Onboarding),
        name: &DnsName,
        origin: Option<String>,
        who: (&str, bool),
    ) -> Result<CertificateId, Refusal> {
        let means = &self.means;
        let own = origin.clone();
        let taken = means.scheduler.onboard(config, plan, name, origin, who).await;
        let (certificate, fresh) = taken.map_err(|error| Refusal::Store(error.to_string()))?;
        means.edge.welcome([(name.as_str(), own.as_deref())]);
        if fresh {
            tracing::info!(name = name.as_str(), cert = %certificate, who = who.0, "a name is onboarded");
        }
        Ok(certificate)
    }

    /// Onboards a name for `who`, a person, with its own origin if it is to have one; one that is
    /// there gets that origin. The DNS decides, and no budget counts it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn onboard(
        &self,
        text: &str,
        origin: Option<String>,
        who: &str,
    ) -> Result<(DnsName, CertificateId), Refusal> {
        let (config, taken) = self.means.survey.present();
        let plan = config.onboarding.as_ref().ok_or(Refusal::Off)?;
        let name = policy::read(text)?;
        policy::admits(&config, plan, &taken, &name, true)?;
        let own = plan.origin_of(name.as_str(), origin.as_deref());
        plan.site_with(&own).map_err(Refusal::Origin)?;
        let stored = |error: StoreError| Refusal::Store(error.to_string());
        let known = self.means.store.guest(&name).await.map_err(stored)?;
        if let Some(known) = known.filter(|known| !known.barred) {
            if origin.is_some() && origin != known.origin {
                let guest = Guest { origin: origin.clone(), ..known.clone() };
                self.means.store.amend(&name, guest, Vec::new()).await.map_err(stored)?;
                self.means.edge.welcome([(name.as_str(), origin.as_deref())]);
            }
            return Ok((name, known.certificate));
        }
        let count = self.means.store.count_guests().await.map_err(stored)?;
        if count >= plan.names {
            return Err(Refusal::Full(plan.names));
        }
        self.means.survey.leads(plan, &name).await?;
        self.refused.remove(name.as_str());
        let certificate = self.admit((&config, plan), &name, origin, (who, true)).await?;
        Ok((name, certificate))
    }

    /// Serves a name no more, and never again by itself if it is to be barred.
    ///
    /// # Errors
    /// [`OffboardError`].
    pub async fn offboard(&self, text: &str, bar: bool, who: &str) -> Result<(), OffboardError> {
        let name = policy::read(text).map_err(|_| OffboardError::NotFound(text.to_owned()))?;
        self.means.edge.dismiss(name.as_str());
        self.means.scheduler.offboard(&name, bar, who).await?;
        self.settle(name.as_str(), false);
        Ok(())
    }

    /// A name was taken in; whoever waits for it waits for its certificate.
    async fn ordered(&self, name: &DnsName, certificate: CertificateId) {
        if let Some(flight) = self.state().flights.get_mut(name.as_str()) {
            flight.certificate = Some(certificate);
        }
        // It may be there already.
        self.look().await;
    }

    /// Tells those who wait what has become of certificates.
    async fn look(&self) {
        let ordered: Vec<_> = {
            let state = self.state();
            let all = state.flights.iter();
            all.filter_map(|(name, flight)| Some((name.clone(), flight.certificate?))).collect()
        };
        for (name, id) in ordered {
            if self.means.scheduler.shows(id) {
                self.settle(&name, true);
                continue;
            }
            let record = self.means.scheduler.certificate(id).await;
            let over = match record {
                Ok(Some(record)) => match record.phase {
                    Phase::Waiting { .. } | Phase::Halted { .. } | Phase::Retiring { .. } => true,
                    Phase::Due { attempt, .. } => attempt > 0,
                    Phase::Ordering { .. } | Phase::Holding { .. } => false,
                },
                Ok(None) | Err(_) => true,
            };
            if over {
                self.settle(&name, false);
            }
        }
    }

    fn refuse(&self, name: &DnsName, network: Network, refusal: &Refusal) {
        let name = name.as_str();
        tracing::debug!(name, %network, reason = %refusal, "a name is not onboarded");
        let kept = match refusal {
            Refusal::Unwanted(_) | Refusal::Barred => Some(UNWANTED_KEPT),
            Refusal::Astray(_) | Refusal::Unasked(_) | Refusal::Origin(_) | Refusal::Full(_) => {
                Some(ELSEWHERE_KEPT)
            }
            _ => None,
        };
        if let Some(kept) = kept {
            self.refused.insert(name.into(), self.means.clock.now().plus(kept));
        }
        self.settle(name, false);
    }

    /// Ends the flight of a name.
    fn settle(&self, name: &str, there: bool) {
        let flight = self.state().flights.remove(name);
        for told in flight.into_iter().flat_map(|flight| flight.waiting) {
            // Whoever waited may be gone.
            let _gone = told.send(there);
        }
    }

    /// What is behind the lock is whole at every moment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
