//! One attempt to obtain one certificate, each step durable before the next begins.
//!
//! The future may be dropped at any await: challenges are then withdrawn by their guards, and
//! the record stays as the last step left it, to be taken up by the next attempt.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use super::budget::Budget;
use super::budget::Novelty;
use super::caring;
use super::check::Looks;
use super::crew::Crew;
use super::elsewhere;
use super::handle::Authorities;
use super::issuing;
use super::manner::Manner;
use super::publish::Publisher;
use super::records::Records;
use super::steps::Steps;
use super::succession;
use super::transition;
use crate::base::Jitter;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::crash;
use crate::base::tasks::SharedClock;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::ports::CertificateAuthority;
use crate::cert::ports::Issued;
use crate::cert::ports::Job;
use crate::cert::ports::JobKey;
use crate::cert::ports::KeySource;
use crate::cert::ports::RenewalAdvice;
use crate::cert::record::Certificate;
use crate::cert::record::Installed;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::store::StoreError;

/// What every attempt works with.
pub(super) struct Workshop {
    pub(super) records: Records,
    pub(super) publisher: Publisher,
    pub(super) budget: Mutex<Budget>,
    pub(super) clock: SharedClock,
    pub(super) jitter: Arc<Jitter>,
    pub(super) authorities: Authorities,
    pub(super) keys: Arc<dyn KeySource>,
    /// Set when a person asked for a renewal: the clock is then believed.
    pub(super) trusted: AtomicBool,
    /// The newest moment in the store, while the clock is too far behind it to be believed.
    pub(super) behind: Mutex<Option<Timestamp>>,
    /// When lists of revoked certificates were looked at.
    pub(super) looks: Looks,
    /// Held while what is shown of a certificate follows its record.
    pub(super) showing: tokio::sync::Mutex<()>,
    /// Who is at work.
    pub(super) crew: Arc<Crew>,
}

impl Workshop {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether there is a permit for an order of `spec`.
    pub(super) fn admits(&self, spec: &Specification, novelty: Novelty) -> Result<(), Failure> {
        self.with_budget(|budget| {
            let permit = budget.permit(spec, novelty, self.now())?;
            budget.give_back(permit);
            Ok(())
        })
    }

    pub(super) fn with_budget<T>(&self, use_it: impl FnOnce(&mut Budget) -> T) -> T {
        // Buckets are replaced whole: a panic in between leaves none half changed.
        use_it(&mut self.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Leases the certificate, makes one attempt, and stores how it ended.
///
/// # Errors
/// Only when the store refuses; how the attempt itself ended stands in the record.
pub(super) async fn run(
    shop: &Workshop,
    id: CertificateId,
    manner: Manner,
) -> Result<(), StoreError> {
    let (mut failures, mut before) = (0, None);
    let leased = shop.records.change(id, None, |record| {
        let mut record = record.clone();
        let brought = record.spec.role == Role::Imported && record.care.is_succeeded_here();
        if let Some(source) = &manner.source
            && (brought || matches!(record.spec.role, Role::Onboarded | Role::Issued(_)))
        {
            record.care.source = Some(source.clone());
        }
        if record.care.choice.asked.as_ref().is_some_and(|asked| manner.offer(asked).is_none()) {
            // It is not in the list any more, and neither is what was begun there of use.
            record = transition::changed(&record, shop.now()).record;
        }
        let (change, found) = transition::lease(&record, shop.now())?;
        failures = found;
        before = record.phase.failure().filter(|failure| failure.kind.is_watched()).cloned();
        Some(change)
    });
    let Some(record) = leased.await? else { return Ok(()) };
    step(record.spec.role, "leased");
    let work = attempt(shop, &record, (failures, before.clone()), &manner);
    let ended = tokio::time::timeout(bounds::ORDER_LEASE, work).await.unwrap_or_else(|_elapsed| {
        Err(Failure::new(FailureKind::Lapsed, "the work did not end in time"))
    });
    let Err(failure) = ended else { return Ok(()) };
    let asked = record.order(manner.profile(record.issuer()));
    let list: Vec<_> = manner.offers.iter().map(|offer| offer.issuer.clone()).collect();
    shop.with_budget(|budget| budget.failed(&asked, &failure, shop.now()));
    let draw = shop.jitter.draw();
    let again = before.is_some_and(|b| b.kind == failure.kind && b.detail == failure.detail);
    let fail = if again { transition::fail_again } else { transition::fail };
    let stored = shop.records.change(id, None, |record| {
        let now = shop.now();
        Some(issuing::judged(fail(record, &failure, &list, draw, now), now))
    });
    let stored = stored.await?;
    if let Some(phase) = stored.map(|record| record.phase.word()) {
        tracing::warn!(cert = %id, phase, reason = %failure, "an attempt failed");
    }
    Ok(())
}

async fn attempt(
    shop: &Workshop,
    record: &Certificate,
    (failures, before): (u32, Option<Failure>),
    manner: &Manner,
) -> Result<(), Failure> {
    let (id, spec) = (record.id(), &record.order(manner.profile(record.issuer())));
    let renewal_info = manner.offer(&spec.issuer).is_some_and(|offer| offer.renewal_info);
    let present = succession::like(shop, record, &spec.issuer)?;
    let authority = (shop.authorities)(&spec.issuer).ok_or_else(|| {
        Failure::new(FailureKind::Account, format!("{} is not configured", spec.issuer))
    })?;
    let record = &without_worn_key(shop, record).await?;
    let key = match record.client_request() {
        None => JobKey::Here(key(shop, record, manner).await?),
        Some(request) => elsewhere::key(shop, record, request).await?,
    };
    // Nobody is asked for a certificate that could not be kept (invariant 12).
    shop.records.store().check_writable().await.map_err(|error| {
        shop.records.note(&error);
        error.failure()
    })?;
    let order = record.phase.in_flight().and_then(|in_flight| in_flight.order.clone());
    let replaces = match (&spec.issuer, &record.installed) {
        // The CA knows nothing of what was brought from elsewhere.
        // And nothing of what another one issued.
        (IssuerName::Acme(_), Some(old))
            if renewal_info
                && record.spec.role != Role::Imported
                && record.issued_by() == &spec.issuer =>
        {
            old.ari_id.clone()
        }
        _ => None,
    };
    let otherwise = Novelty::of(record, &spec.issuer);
    let steps = Steps::new(shop, (id, spec), replaces.is_some(), otherwise);
    if order.is_none() {
        steps.take_permit()?;
    }
    // By a key that is kept, the order of the present certificate would be found again.
    let kept = record.installed.as_ref().is_some_and(|installed| installed.key == key.id());
    let resumed = record.phase.in_flight().is_some() && !kept;
    let taken = if resumed && order.is_none() { others_orders(shop, id) } else { Vec::new() };
    let job = Job {
        spec: spec.clone(),
        key: key.clone(),
        order,
        resumed,
        taken,
        replaces,
        attempt: failures,
        before,
        challenge: manner.challenge,
        preferred_chain: manner.offer(&spec.issuer).and_then(|offer| offer.chain.clone()),
    };
    let obtained = obtain(authority.as_ref(), job, &steps).await;
    steps.give_back();
    let Issued { chain, renewal } = obtained?;
    let installed = Installed::read(chain, shop.now())
        .map_err(|error| Failure::new(FailureKind::BadCertificate, error.to_string()))?;
    verify(spec, key.id(), &installed, shop.now())?;
    if let Some(difference) = succession::difference(record, present.as_ref(), &installed.chain) {
        succession::end(shop, record, &difference).await?;
    }
    // Where the CA says nothing of renewals, its list of revoked ones is looked at all the same.
    let list = || {
        let recheck_at = shop.now().plus(bounds::brought::REVOCATION_LOOK);
        let list = installed.chain.revocation_list();
        list.map(|_| RenewalAdvice { window: None, recheck_at })
    };
    let renewal = renewal.filter(|_| renewal_info).or_else(list);
    let renewal = renewal.filter(|_| issuing::is_followed(record));
    install(shop, record, key, installed, renewal).await
}

/// The orders that records other than `id` have in flight.
fn others_orders(shop: &Workshop, id: CertificateId) -> Vec<String> {
    let records = shop.records.driven();
    let others = records.iter().filter(|record| record.id() != id);
    others.filter_map(|record| record.phase.in_flight()?.order.clone()).collect()
}

/// The future of the authority, boxed, so that ours stays small.
fn obtain<'a>(
    authority: &'a dyn CertificateAuthority,
    job: Job,
    steps: &'a Steps<'a>,
) -> BoxFuture<'a, Result<Issued, Failure>> {
    authority.obtain(job, steps)
}

/// The record without the key that an earlier attempt left behind, if somebody wants another
/// since.
async fn without_worn_key(shop: &Workshop, record: &Certificate) -> Result<Certificate, Failure> {
    let Some(in_flight) = record.phase.in_flight() else { return Ok(record.clone()) };
    let worn = shop.records.store().is_worn(in_flight.key).await;
    if !worn.map_err(|error| refused(shop, &error))? {
        return Ok(record.clone());
    }
    let now = shop.now();
    let dropped = |record: &_| Some(transition::key_dropped(record, now));
    let changed = shop.records.change(record.id(), None, dropped).await;
    let changed = changed.map_err(|error| refused(shop, &error))?;
    Ok(changed.map_or_else(|| record.clone(), |changed| changed.as_ref().clone()))
}

/// The key of the certificate that is to be renewed, unless somebody wants another.
async fn present_key(
    shop: &Workshop,
    record: &Certificate,
) -> Result<Option<KeyHandle>, StoreError> {
    let Some(installed) = &record.installed else { return Ok(None) };
    let store = shop.records.store();
    if store.is_worn(installed.key).await? { Ok(None) } else { store.key(installed.key).await }
}

fn refused(shop: &Workshop, error: &StoreError) -> Failure {
    shop.records.note(error);
    error.failure()
}

/// How often a key is made anew because the master key was replaced before it was stored.
const KEY_TRIES: usize = 3;

/// The key an earlier attempt left behind, the present one where it is to be kept, or a new one:
/// sealed and durable on return (invariant 3).
async fn key(shop: &Workshop, record: &Certificate, manner: &Manner) -> Result<KeyHandle, Failure> {
    let refused = |error: StoreError| refused(shop, &error);
    if let Some(in_flight) = record.phase.in_flight() {
        let found = shop.records.store().key(in_flight.key).await.map_err(refused)?;
        // The store refuses records whose keys it does not have, so this is damage.
        return found.ok_or_else(|| {
            let detail = format!("key {} is not in the store", in_flight.key);
            Failure::new(FailureKind::Store, detail)
        });
    }
    let kept =
        if manner.reuse_key { present_key(shop, record).await.map_err(refused)? } else { None };
    let mut usage = if manner.exportable { KeyUsage::ExportableTls } else { KeyUsage::Tls };
    // Whoever brought one that may be handed out needs the next one, too.
    if let (Role::Imported, Some(installed)) = (record.spec.role, &record.installed)
        && let Some(present) = shop.records.store().key(installed.key).await.map_err(refused)?
    {
        usage = present.usage;
    }
    for _ in 0..KEY_TRIES {
        let key = match &kept {
            Some(key) => key.clone(),
            None => {
                let made = shop.keys.generate(record.spec.key, usage).await?;
                step(record.spec.role, "key-generated");
                crash::hold("key-generated").await;
                made
            }
        };
        let stored = shop.records.change(record.id(), Some(&key), |record| {
            let change = transition::key_stored(record, key.id, shop.now());
            // A record that left `Ordering` has no place for the key.
            change.record.phase.in_flight().is_some_and(|f| f.key == key.id).then_some(change)
        });
        match stored.await {
            Err(StoreError::FormerSeal { .. }) if kept.is_none() => {
                tracing::info!(key = %key.id, "a key was sealed under a master key that is gone, making another");
            }
            Err(error) => return Err(refused(error)),
            Ok(None) => {
                let told = "the certificate is not wanted any more";
                return Err(Failure::new(FailureKind::Lapsed, told));
            }
            Ok(Some(_)) => {
                step(record.spec.role, "key-stored");
                crash::hold("key-stored").await;
                return Ok(key);
            }
        }
    }
    Err(Failure::new(FailureKind::Vault, "the master key is replaced faster than keys are made"))
}

/// Whether what arrived is what was asked for. The issuer has looked already; a mistake here
/// would be served to the world, so it is looked at twice.
fn verify(
    spec: &Specification,
    key: KeyId,
    installed: &Installed,
    now: Timestamp,
) -> Result<(), Failure> {
    let bad = |detail: String| Err(Failure::new(FailureKind::BadCertificate, detail));
    let leaf = installed
        .chain
        .leaf()
        .map_err(|error| Failure::new(FailureKind::BadCertificate, error.to_string()))?;
    if leaf.key != key {
        return bad(format!("the certificate is for key {}, not {key}", leaf.key));
    }
    if leaf.names != spec.names() {
        let names: Vec<_> = leaf.names.iter().map(ToString::to_string).collect();
        return bad(format!("the certificate is for other names: {}", names.join(", ")));
    }
    if leaf.validity.not_after <= now {
        return bad(format!("the certificate ran out at {}", leaf.validity.not_after));
    }
    Ok(())
}

async fn install(
    shop: &Workshop,
    record: &Certificate,
    key: JobKey,
    installed: Installed,
    renewal: Option<RenewalAdvice>,
) -> Result<(), Failure> {
    let (id, spec) = (record.id(), record.spec.clone());
    let draw = shop.jitter.draw();
    let stored = shop.records.change(id, key.handle(), |record| {
        transition::install(record, installed.clone(), renewal, draw, shop.now())
    });
    let stored = stored.await.map_err(|error| {
        shop.records.note(&error);
        error.failure()
    })?;
    let Some(stored) = stored else {
        let now = shop.records.find(id).await.map_err(|error| refused(shop, &error))?;
        if now.is_some_and(|record| caring::forbids(&record, installed.key)) {
            let told = "its key was put out of use while the CA was at work";
            return Err(Failure::new(FailureKind::OrderLost, told));
        }
        // The site left while the CA was at work; the record says so already.
        return Ok(());
    };
    shop.with_budget(|budget| budget.succeeded(&spec));
    step(spec.role, "installed");
    tracing::info!(
        cert = %id,
        site = stored.spec.names().first().map(tracing::field::display),
        issuer = %stored.issued_by(),
        serial = installed.serial,
        not_after = %installed.validity.not_after,
        "a certificate is installed"
    );
    let role = spec.role;
    // What is for use elsewhere, or with a key elsewhere, is not served here.
    let JobKey::Here(key) = key else {
        step(role, "published");
        return Ok(());
    };
    let served = Served { id, spec, installed, key };
    let turn = shop.showing.lock().await;
    // Since it was stored, the other one of two may have taken its place; and what is for use elsewhere
    // is never shown here.
    let current = shop.records.get(id).unwrap_or(stored);
    let publication = if current.shown().is_none() {
        None
    } else {
        let put = shop.publisher.put(served, current.revision).await;
        Some(put.map_err(|error| refused(shop, &error))?)
    };
    drop(turn);
    if let Some(publication) = publication {
        shop.publisher.copied(publication).await;
    }
    step(role, "published");
    Ok(())
}

/// A moment at which a test may kill the process.
fn step(role: Role, name: &'static str) {
    match role {
        Role::Primary | Role::Imported | Role::Onboarded | Role::Issued(_) => crash::point(name),
        Role::Bridge => crash::point_of("bridge", name),
    }
}
