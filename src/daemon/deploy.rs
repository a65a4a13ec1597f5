//! Deployments, between the socket, the records, the vault, and the hands and eyes of `deploy`.
//!
//! What passes here of a private key is a descriptor that a hand reads and main cannot.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::delivery::shown;
use super::house::Residence;
use super::house::unavailable;
use super::orders::Orders;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::Deploying;
use crate::admin::HouseError;
use crate::admin::Overview;
use crate::admin::Selector;
use crate::admin::wire::deployments::DeploymentView;
use crate::admin::wire::deployments::Unmet;
use crate::base::Jitter;
use crate::base::Timestamp;
use crate::base::bounds::deployment::ENTRIES;
use crate::base::bounds::deployment::LOOK;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::challenge::BoxFuture;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::Leaf;
use crate::cert::deployment::Made;
use crate::cert::deployment::TargetName;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyUsage;
use crate::cert::record::Certificate;
use crate::cert::rights::Role;
use crate::cert::spec::CertificateId;
use crate::config::Config;
use crate::config::Probe;
use crate::config::Target;
use crate::deploy::AtTarget;
use crate::deploy::DeployError;
use crate::deploy::Deployer;
use crate::deploy::Means;
use crate::deploy::Refused;
use crate::deploy::Sought;
use crate::deploy::Wish;
use crate::deploy::World;
use crate::deploy::hand::Hand;
use crate::deploy::hand::HandError;
use crate::deploy::hand::Parcel;
use crate::deploy::hand::Placed;
use crate::deploy::hand::Stage;
use crate::deploy::probe::ProbeError;
use crate::deploy::probe::probe_for;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
use crate::vault::Vault;

/// Certificates whose ids begin alike that are looked at.
const ALIKE: usize = 2;

/// How long a deployment may fail while all is well.
const FAILS: Duration = Duration::from_secs(3600);

/// The house as those who deploy see it.
struct Ground {
    store: Store,
    scheduler: SchedulerHandle,
    vault: Vault,
    /// Nobody where there is no file to read targets from.
    hand: Option<Hand>,
    clock: SharedClock,
}

struct There(Placed);

/// Begins to bring what is wanted.
pub(super) fn begin(
    (clock, store, vault, orders): (&SharedClock, &Store, &Vault, &Orders),
    hand: Option<Hand>,
    configs: &watch::Receiver<Arc<Config>>,
    tasks: &TaskSet,
    stop: &CancellationToken,
) -> Deployer {
    let ground = Ground {
        store: store.clone(),
        scheduler: orders.scheduler.clone(),
        vault: vault.clone(),
        hand,
        clock: Arc::clone(clock),
    };
    let means = Means {
        world: Arc::new(ground),
        configs: configs.clone(),
        head: store.journal_head(),
        clock: Arc::clone(clock),
        jitter: Arc::new(Jitter::from_os()),
    };
    Deployer::begin(means, tasks, stop)
}

/// The certificate that has been without its deployment for too long, in words.
pub(super) fn ails(deployments: &[Deployment], now: Timestamp) -> Option<String> {
    let long = |one: &&Deployment| one.failing.is_some_and(|since| now.since(since) > FAILS);
    let one = deployments.iter().find(long)?;
    Some(format!("{} is not at target {}", one.called, one.target))
}

impl Ground {
    /// The key that goes with what is installed, if it may leave.
    async fn key(&self, record: &Certificate) -> Result<KeyHandle, String> {
        let name = record.spec.names().first().map(ToString::to_string).unwrap_or_default();
        if record.client_request().is_some() {
            return Err(format!("the key of {name} was never here: its client made it"));
        }
        let id = record.installed.as_ref().map(|installed| installed.key);
        let id = id.ok_or_else(|| format!("{name} has no certificate yet"))?;
        let key = self.store.key(id).await.map_err(|error| error.to_string())?;
        let key = key.ok_or_else(|| format!("{name} was just renewed"))?;
        if key.usage != KeyUsage::ExportableTls {
            return Err(format!(
                "the key of {name} is not exportable: with exportable = true for the site, the next \
                 one is; keyward rotate keys {name} --now"
            ));
        }
        Ok(key)
    }
}

impl World for Ground {
    fn find<'a>(
        &'a self,
        called: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Certificate>>, String>> {
        Box::pin(async move {
            let Ok(selector) = Selector::parse(called) else { return Ok(None) };
            let found = match (&selector, selector.ids()) {
                (Selector::Name(name, _), _) => self.scheduler.covering(name).await,
                (Selector::Id(_), None) => Ok(Vec::new()),
                (Selector::Id(_), Some((first, last))) => {
                    let found = self.store.between(first, last, ALIKE).await;
                    found.map(|found| found.into_iter().map(Arc::new).collect())
                }
            };
            let mut found = found.map_err(|error| error.to_string())?;
            found.retain(|record| !record.stands_back());
            // Of several nobody guesses which one is meant.
            let id = shown(&found, &selector, self.clock.now()).ok().map(Certificate::id);
            Ok(found.into_iter().find(|record| Some(record.id()) == id))
        })
    }

    fn record(&self, id: CertificateId) -> BoxFuture<'_, Result<Option<Arc<Certificate>>, String>> {
        Box::pin(
            async move { self.scheduler.certificate(id).await.map_err(|error| error.to_string()) },
        )
    }

    fn carry(
        &self,
        target: Arc<Target>,
        record: Arc<Certificate>,
    ) -> BoxFuture<'_, Result<Box<dyn AtTarget>, Refused>> {
        Box::pin(async move {
            let untouched = |reason: String| Refused { reason, put_back: false };
            let hand = self.hand.clone();
            let hand =
                hand.ok_or_else(|| untouched("there is no configuration file".to_owned()))?;
            let key = self.key(&record).await.map_err(untouched)?;
            let vault = self.vault.clone();
            let carried = tokio::task::spawn_blocking(move || {
                let (Some(name), Some(installed)) =
                    (record.spec.names().first(), record.installed.as_ref())
                else {
                    return Err(untouched("there is no certificate yet".to_owned()));
                };
                let (target, deadline) = (&target.name, target.deadline);
                let parcel = Parcel { target, name, chain: &installed.chain, key: &key };
                hand.carry(parcel, &vault, deadline).map_err(|error| told(&error))
            });
            let placed = carried.await.map_err(|error| untouched(error.to_string()))??;
            Ok(Box::new(There(placed)) as Box<dyn AtTarget>)
        })
    }

    fn look<'a>(
        &'a self,
        place: &'a Probe,
        sought: &'a Sought,
    ) -> BoxFuture<'a, Result<Leaf, String>> {
        Box::pin(async move {
            let name = ServerName::try_from(sought.name.text().into_owned());
            let name = name.map_err(|error| error.to_string())?;
            let mut seen = probe_for(place, &name, Some(sought.kind), LOOK).await;
            // Where there is none of that kind, what there is tells more than that.
            if matches!(seen, Err(ProbeError::Handshake { .. })) {
                seen = probe_for(place, &name, None, LOOK).await.or(seen);
            }
            match seen {
                Ok(seen) => Ok(Leaf(seen.leaf)),
                Err(error) => match error.shown_beside(&sought.leaf.0) {
                    Some(other) => Ok(Leaf(other)),
                    None => Err(error.to_string()),
                },
            }
        })
    }

    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>, String>> {
        Box::pin(async { self.store.deployments().await.map_err(|error| error.to_string()) })
    }

    fn keep(
        &self,
        kept: Vec<Deployment>,
        gone: Vec<(TargetName, CertificateId)>,
        entries: Vec<Entry>,
    ) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let kept = self.store.keep_deployments(kept, gone, entries).await;
            kept.map_err(|error| error.to_string())
        })
    }

    fn changed(&self, after: u64) -> BoxFuture<'_, Result<(bool, u64), String>> {
        Box::pin(async move {
            let found = self.store.journal(after, ENTRIES).await;
            let found = found.map_err(|error| error.to_string())?;
            let to = found.last().map_or(after, |last| last.seq);
            // More than that is not read: it will have told of something.
            let changed = found.len() >= ENTRIES || found.iter().any(is_of_others);
            let head = *self.store.journal_head().borrow();
            Ok((changed, if found.len() >= ENTRIES { head } else { to }))
        })
    }
}

/// Whether an entry may tell that something else is to be somewhere.
fn is_of_others(entry: &Entry) -> bool {
    let own = matches!(
        entry.kind,
        EntryKind::DeploymentWanted
            | EntryKind::Deploying
            | EntryKind::Deployed
            | EntryKind::DeploymentFailed
            | EntryKind::RolledBack
            | EntryKind::Drifted
            | EntryKind::Undeployed
    );
    entry.certificate.is_some() && !own
}

fn told(error: &HandError) -> Refused {
    let touched = matches!(error.stage, Stage::TakeUp);
    let mut reason = error.to_string();
    if !error.as_it_was {
        reason.push_str("; the target is not as it was");
    }
    Refused { reason, put_back: touched && error.as_it_was }
}

impl AtTarget for There {
    fn keep(self: Box<Self>) -> BoxFuture<'static, Result<(), String>> {
        judged(move || self.0.keep())
    }

    fn put_back(self: Box<Self>) -> BoxFuture<'static, Result<(), String>> {
        judged(move || self.0.put_back())
    }
}

fn judged(
    judge: impl FnOnce() -> Result<(), HandError> + Send + 'static,
) -> BoxFuture<'static, Result<(), String>> {
    Box::pin(async move {
        let judged = tokio::task::spawn_blocking(judge).await.map_err(|error| error.to_string())?;
        judged.map_err(|error| error.to_string())
    })
}

impl Residence {
    fn deployer(&self) -> Result<&Deployer, HouseError> {
        self.deployer.as_ref().ok_or_else(|| HouseError::Unavailable {
            reason: "nothing is deployed while the store is not readable".to_owned(),
        })
    }

    /// The deployment to `target` of what `selector` means, if `caller` may see it.
    async fn deployed(
        &self,
        selector: &Selector,
        target: &TargetName,
        caller: &Caller,
    ) -> Result<Deployment, HouseError> {
        let records = self.candidates(selector, caller).await?;
        let all = self.deployer()?.all();
        let mut found = all.into_iter().filter(|one| {
            one.target == *target && records.iter().any(|record| record.id() == one.certificate)
        });
        let told = || match selector {
            Selector::Id(text) => text.clone(),
            Selector::Name(name, _) => name.to_string(),
        };
        let first = found.next().ok_or_else(|| HouseError::NotFound { selector: told() })?;
        match found.next() {
            None => Ok(first),
            Some(second) => Err(HouseError::Ambiguous {
                selector: told(),
                ids: vec![first.certificate.to_string(), second.certificate.to_string()],
            }),
        }
    }
}

/// Whether `caller` may change what is at `target`.
fn allowed(config: &Config, target: &TargetName, caller: &Caller) -> Result<(), HouseError> {
    let known = config.target(target);
    let open = known.is_some_and(|known| {
        caller.role != Role::Client
            || caller.name.as_ref().is_some_and(|name| known.clients.contains(name))
    });
    if open {
        return Ok(());
    }
    // A client does not learn which targets there are beside its own.
    Err(refused(if caller.role == Role::Client {
        format!("there is no target {target} that you may have something brought to")
    } else {
        format!("no [[target]] of the configuration is called {target}")
    }))
}

fn not_done(error: DeployError) -> HouseError {
    match error {
        DeployError::Refused(reason) => HouseError::Refused { reason },
        DeployError::Unavailable(reason) => HouseError::Unavailable { reason },
    }
}

impl Deploying for Residence {
    fn deployments(&self, caller: Caller) -> BoxFuture<'_, Result<Overview, HouseError>> {
        Box::pin(async move {
            let (deployer, config) = (self.deployer()?, Arc::clone(&self.config.borrow()));
            let seen = deployer.all().into_iter().filter(|one| caller.sees(one.owner.as_ref()));
            let all = seen.map(|one| view(&one, &config)).collect();
            if caller.role == Role::Client {
                return Ok((all, Vec::new()));
            }
            let unmet = deployer.unmet().into_iter();
            let unmet = unmet.map(|(target, name)| Unmet { target: target.to_string(), name });
            Ok((all, unmet.collect()))
        })
    }

    fn deploy<'a>(
        &'a self,
        selector: &'a Selector,
        called: String,
        target: TargetName,
        caller: Caller,
    ) -> BoxFuture<'a, Result<DeploymentView, HouseError>> {
        Box::pin(async move {
            let config = Arc::clone(&self.config.borrow());
            allowed(&config, &target, &caller)?;
            let candidates = self.candidates(selector, &caller).await?;
            let record = shown(&candidates, selector, self.clock.now())?;
            if record.client_request().is_some() {
                return Err(refused(
                    "its key was never here: its client made it, and the request with it"
                        .to_owned(),
                ));
            }
            if let Some(id) = record.installed.as_ref().map(|installed| installed.key) {
                let key = self.store()?.key(id).await.map_err(|error| unavailable(&error))?;
                if key.is_some_and(|key| key.usage != KeyUsage::ExportableTls) {
                    return Err(refused(
                        "its key is not exportable: it never leaves the vault; with exportable = true \
                         for the site the next one may: reload, and keyward rotate keys NAME --now"
                            .to_owned(),
                    ));
                }
            }
            let first = record.spec.names().first().map(ToString::to_string);
            let called = match selector {
                Selector::Name(..) => called.trim().to_owned(),
                Selector::Id(_) => first.unwrap_or_default(),
            };
            let record = Arc::new(record.clone());
            let wish = Wish { target, record, called, told: caller.told };
            let one = self.deployer()?.deploy(wish).await.map_err(not_done)?;
            Ok(view(&one, &config))
        })
    }

    fn undeploy<'a>(
        &'a self,
        selector: &'a Selector,
        target: TargetName,
        caller: Caller,
    ) -> BoxFuture<'a, Result<DeploymentView, HouseError>> {
        Box::pin(async move {
            let one = self.deployed(selector, &target, &caller).await?;
            let deployer = self.deployer()?;
            let gone = deployer.undeploy(target, one.certificate, caller.told).await;
            Ok(view(&gone.map_err(not_done)?, &self.config.borrow()))
        })
    }

    fn deployment<'a>(
        &'a self,
        selector: &'a Selector,
        target: TargetName,
        now: bool,
        caller: Caller,
    ) -> BoxFuture<'a, Result<DeploymentView, HouseError>> {
        Box::pin(async move {
            let mut one = self.deployed(selector, &target, &caller).await?;
            if now {
                one = self.deployer()?.look(target, one.certificate).await.map_err(not_done)?;
            }
            Ok(view(&one, &self.config.borrow()))
        })
    }
}

/// A deployment as it travels.
fn view(one: &Deployment, config: &Config) -> DeploymentView {
    let target = config.target(&one.target);
    let leaf = |leaf: Option<Leaf>| leaf.map(|leaf| leaf.to_string());
    DeploymentView {
        target: one.target.to_string(),
        kind: target.map(|target| target.word().to_owned()),
        certificate: one.certificate.to_string(),
        name: one.called.clone(),
        client: one.owner.as_ref().map(ToString::to_string),
        made: match one.made {
            Made::File => "file".to_owned(),
            Made::Asked => "asked".to_owned(),
        },
        state: one.state.to_string(),
        since: one.since.into(),
        next: one.next.into(),
        wanted: leaf(one.wanted),
        placed: leaf(one.placed),
        seen: leaf(one.seen),
        probe: target.and_then(|target| target.probe.as_ref()).map(ToString::to_string),
        failures: one.failures,
        failing_since: one.failing.map(Into::into),
        drifts: one.drifts,
        reason: one.reason.clone(),
    }
}
