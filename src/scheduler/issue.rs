//! Certificates that clients ask for, to be used elsewhere: each is reserved, ordered and kept as any other,
//! and shown to nobody at the front door.
//!
//! Who may ask, and how the certificate is handed out, is decided where the client calls.

use std::sync::Arc;

use super::handle::SchedulerHandle;
use super::issuing;
use super::job::Workshop;
use super::transition::Change;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::allowance::Class;
use crate::cert::allowance::Overdrawn;
use crate::cert::care::Reason;
use crate::cert::challenge::ChallengeType;
use crate::cert::client::ClientName;
use crate::cert::identifier::Identifier;
use crate::cert::issue::Claim;
use crate::cert::issue::Issue;
use crate::cert::key::KeyAlgorithm;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Lot;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::config::Config;
use crate::store::StoreError;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct IssueOrder {
    /// Who asks, and whose it is.
    pub client: ClientName,
    /// The names, in any order.
    pub names: Vec<Identifier>,
    /// The kind of key; of one that the client has, its kind.
    pub key: KeyAlgorithm,
    /// Whether the key may be handed out.
    pub exportable: bool,
    /// Whether it is renewed from the first day on.
    pub hosted: bool,
    /// The request that the client signed with a key of its own, DER; checked already.
    pub csr: Option<Vec<u8>>,
    /// What makes this the same order as an earlier one, if the client says so.
    pub idempotency: Option<String>,
    /// Who asks, in words for the journal and the ledger.
    pub who: String,
}

/// A certificate that is being ordered, or was.
#[derive(Clone, Debug)]
pub struct Issuing {
    /// Its name.
    pub certificate: CertificateId,
    /// What it counts as.
    pub class: Class,
    /// Whether this call began it; it is the one of an earlier call where not.
    pub fresh: bool,
}

/// What became of a certificate that its client wants no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Withdrawn {
    /// Its order is gone, and what was reserved for it is given back.
    Cancelled,
    /// Its CA is told that it is revoked. It stays consumed.
    Revoking,
}

/// Why no certificate is ordered. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// None, or more than a certificate has.
    #[error("a certificate is for 1 to {most} names, not for {count}")]
    Names {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// No CA that issues for clients can be shown that a name is theirs.
    #[error("{name} cannot be proven to {issuer}: {reason}")]
    Unprovable {
        /// The name.
        name: Identifier,
        /// Who would issue.
        issuer: IssuerName,
        /// Why, and what to try.
        reason: &'static str,
    },
    /// Whoever issues must be told first that its terms are accepted.
    #[error(
        "the terms of {0} are not accepted: accept_terms = true in the file, once they are read"
    )]
    Terms(IssuerName),
    /// An earlier order with the same key of idempotency was for something else.
    #[error(
        "certificate {certificate} was ordered with the same key of idempotency and is for something \
         else: use a key of its own for each order"
    )]
    Taken {
        /// What it was for.
        certificate: CertificateId,
    },
    /// The client may not have another one.
    #[error("{0}")]
    Overdrawn(Box<Overdrawn>),
    /// The store refuses.
    #[error(transparent)]
    Store(StoreError),
}

/// Why a certificate is not withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// There is no such certificate that a client asked for.
    #[error("there is no certificate {0} that a client asked for")]
    NotFound(CertificateId),
    /// That was done before.
    #[error("serial {serial} is revoked already, or about to be")]
    Revoked {
        /// Its serial number.
        serial: String,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StoreError> for IssueError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overdrawn(refusal) => Self::Overdrawn(refusal),
            other => Self::Store(other),
        }
    }
}

/// How often what comes and goes meanwhile is tried again.
const TRIES: usize = 4;

impl SchedulerHandle {
    /// Orders a certificate for a client. That it is reserved and wanted is durable when this returns;
    /// its end stands in the journal. The same order again is the same certificate, and begins anew
    /// where it had come to nothing.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn issue(&self, config: &Config, order: IssueOrder) -> Result<Issuing, IssueError> {
        let count = order.names.len();
        let most = bounds::NAMES_PER_CERTIFICATE;
        if count == 0 || count > most {
            return Err(IssueError::Names { count, most });
        }
        let shop = &self.shop;
        // What is free counts from the first call on, whatever the driver has come to.
        shop.records.store().set_free(config.allowance.free, shop.now()).await?;
        let mut last = CertificateId([0; 8]);
        for _ in 0..TRIES {
            let lot = match &order.idempotency {
                Some(key) => Lot::of(&order.client, key),
                None => self.any_lot(),
            };
            let spec = specification(config, &order, lot);
            let (id, class) = (spec.id(), Class::of(spec.names()));
            last = id;
            let now = shop.now();
            let issue = Issue {
                client: order.client.clone(),
                class,
                exportable: order.exportable,
                csr: order.csr.clone(),
                request: digest(&order, &spec),
                since: now,
                give_up: now.plus(config.allowance.give_up),
                by: order.who.clone(),
            };
            if let Some(known) = shop.records.find(id).await? {
                match self.known(&known, &issue, &order).await? {
                    Some(fresh) => return Ok(Issuing { certificate: id, class, fresh }),
                    // Withdrawn in this very moment, or the lot of somebody else was drawn.
                    None => continue,
                }
            }
            provable(config, &spec)?;
            let change = issuing::ordered(spec, issue, order.hosted, &order.who);
            match self.reserve(change).await {
                Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.wake();
                    return Ok(Issuing { certificate: id, class, fresh: true });
                }
            }
        }
        // It came and went each time.
        Err(IssueError::Store(StoreError::Exists { id: last }))
    }

    /// Ends what a client asked for: an order that came to nothing yet is cancelled, and what was issued
    /// is revoked. `who` wants that, in words for the journal.
    ///
    /// # Errors
    /// [`WithdrawError`].
    pub async fn withdraw(
        &self,
        id: CertificateId,
        reason: Reason,
        who: &str,
    ) -> Result<Withdrawn, WithdrawError> {
        let shop = &self.shop;
        for _ in 0..TRIES {
            let record = shop.records.find(id).await?.filter(|one| one.care.issue.is_some());
            let record = record.ok_or(WithdrawError::NotFound(id))?;
            let now = shop.now();
            if let Some(installed) = &record.installed {
                if record.care.revoking.is_some() || record.care.is_revoked(&installed.serial) {
                    return Err(WithdrawError::Revoked { serial: installed.serial.clone() });
                }
                let changed = shop
                    .records
                    .change(id, None, |record| issuing::put_out_of_use(record, reason, who, now));
                match changed.await {
                    Err(StoreError::NotFound { id }) => return Err(WithdrawError::NotFound(id)),
                    other => drop(other?),
                }
                crash::point("revocation-noted");
                shop.crew.dismiss(id);
                self.wake();
                return Ok(Withdrawn::Revoking);
            }
            let told = issuing::withdrawn(&record, who, now);
            match shop.records.remove_as(&record, told).await {
                // It was issued, or failed, in this very moment: that is looked at again.
                Err(StoreError::Conflict { .. }) => {}
                Err(StoreError::NotFound { id }) => return Err(WithdrawError::NotFound(id)),
                other => {
                    other?;
                    shop.crew.dismiss(id);
                    self.wake();
                    return Ok(Withdrawn::Cancelled);
                }
            }
        }
        let (expected, found) = (0, 0);
        Err(StoreError::Conflict { id, expected, found }.into())
    }

    /// Whether the order for what is there begins anew; `None` where it is not there any more.
    async fn known(
        &self,
        known: &Arc<Certificate>,
        issue: &Issue,
        order: &IssueOrder,
    ) -> Result<Option<bool>, IssueError> {
        let id = known.id();
        let same =
            known.care.issue.as_ref().is_some_and(|former| {
                former.client == issue.client && former.request == issue.request
            });
        if !same {
            // Drawn anew, where the client named none.
            let named = order.idempotency.is_some();
            return if named { Err(IssueError::Taken { certificate: id }) } else { Ok(None) };
        }
        if known.claim() != Some(Claim::Refunded) {
            return Ok(Some(false));
        }
        let begun =
            self.shop.records.change(id, None, |record| issuing::again(record, issue, &order.who));
        match begun.await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
            // Somebody else had it begin anew.
            Ok(None) => Ok(Some(false)),
            Ok(Some(_)) => {
                crash::point(crash::ISSUE_POINT);
                self.wake();
                Ok(Some(true))
            }
        }
    }

    async fn reserve(&self, change: Change) -> Result<(), StoreError> {
        self.shop.records.add(vec![change]).await?;
        crash::point(crash::ISSUE_POINT);
        Ok(())
    }

    fn any_lot(&self) -> Lot {
        let (head, tail) = (self.shop.jitter.draw(), self.shop.jitter.draw());
        Lot((u64::from(head) << 32 | u64::from(tail)).to_be_bytes())
    }
}

fn specification(config: &Config, order: &IssueOrder, lot: Lot) -> Specification {
    let first = config.allowance.issuers.first().cloned();
    let issuer = first.unwrap_or_else(|| config.acme.issuer());
    let profile = config.authority(&issuer).and_then(|ca| ca.profile.clone());
    Specification::new(order.names.clone(), issuer, order.key, profile, Role::Issued(lot))
}

/// Of everything that the client said, and of nothing that the configuration did.
fn digest(order: &IssueOrder, spec: &Specification) -> [u8; 32] {
    let mut text = format!(
        "v1\n{}\n{}\n{}\n{}\n",
        order.key.text(),
        order.exportable,
        order.hosted,
        order.csr.is_some(),
    );
    for name in spec.names() {
        text.push_str(&name.text());
        text.push('\n');
    }
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(text.as_bytes());
    context.update(order.csr.as_deref().unwrap_or_default());
    let mut request = [0; 32];
    for (to, from) in request.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    request
}

/// Whether the first of those who issue could be shown that each name is its client's, as far as the
/// configuration says: nothing is reserved for what can only fail.
fn provable(config: &Config, spec: &Specification) -> Result<(), IssueError> {
    let issuer = &spec.issuer;
    let Some(ca) = config.authority(issuer) else { return Ok(()) };
    if !ca.accept_terms {
        return Err(IssueError::Terms(issuer.clone()));
    }
    for name in spec.names() {
        let refused = |reason| {
            Err(IssueError::Unprovable { name: name.clone(), issuer: issuer.clone(), reason })
        };
        if name.is_internal() && ca.ca_root.is_none() {
            return refused(
                "no public CA signs it; an operator can have the CA of this machine issue, with \
                 issuer = \"internal\" in [allowance]",
            );
        }
        let by_hand = |challenge: &ChallengeType| *challenge != ChallengeType::Dns01;
        let plain = ca.challenges.iter().filter(|challenge| by_hand(challenge));
        // Where no zone of an account has it, an alias may lead into one, which only the DNS knows.
        let by_dns = ChallengeType::Dns01.can_prove(name) && !config.dns.is_empty();
        if !by_dns && !plain.into_iter().any(|challenge| challenge.can_prove(name)) {
            return refused(
                "a wildcard is proven by DNS alone, and no [[dns]] account is in the file; an operator \
                 can add one for its zone, or the names can be asked for one by one",
            );
        }
    }
    Ok(())
}

impl Workshop {
    /// Has the books be as the configuration and the clock say, and tells when the next pack is over.
    pub(super) async fn keep_books(
        &self,
        config: &Config,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let store = self.records.store();
        store.set_free(config.allowance.free, now).await?;
        store.expire_packs(now).await
    }
}
