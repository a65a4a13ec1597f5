//! A certificate as the store remembers it: what is wanted, what is installed, what is being done.

use serde::{Deserialize, Serialize};

use super::care::Care;
use super::chain::{Chain, ChainError};
use super::identifier::Identifier;
use super::issue::Claim;
use super::key::{KeyAlgorithm, KeyId};
use super::lifecycle::{FIRST, Phase};
use super::spec::{CertificateId, IssuerName, Role, Specification};
use super::validity::Validity;
use crate::base::Timestamp;
use crate::base::bounds;

/// One certificate. `installed` and `phase` are two fields on purpose: a renewal that fails for
/// a month touches `phase` only.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// What is wanted.
    pub spec: Specification,
    /// What is served.
    pub installed: Option<Installed>,
    /// What is being done.
    pub phase: Phase,
    /// Counts the changes of this record; a writer names the one it read.
    pub revision: u64,
    /// What is to become of it besides. The store keeps it behind the rest, where there is any.
    #[serde(skip)]
    pub care: Care,
}

/// What is served for a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Installed {
    /// Leaf first.
    pub chain: Chain,
    /// The key of the leaf.
    pub key: KeyId,
    /// When the leaf is good.
    pub validity: Validity,
    /// The leaf's serial number, lower-case hexadecimal.
    pub serial: String,
    /// Its identifier for renewal information (RFC 9773, section 4.1).
    pub ari_id: Option<String>,
    /// When it was installed.
    pub at: Timestamp,
}

impl Certificate {
    /// A certificate that is wanted and nothing else yet.
    pub fn wanted(spec: Specification) -> Self {
        Self { spec, installed: None, phase: FIRST, revision: 0, care: Care::default() }
    }

    /// Its name.
    pub fn id(&self) -> CertificateId {
        self.spec.id()
    }

    /// Who is asked for what follows the present one.
    pub fn issuer(&self) -> &IssuerName {
        self.care.choice.asked.as_ref().unwrap_or_else(|| self.first_issuer())
    }

    /// Who is asked first for what follows the present one.
    pub fn first_issuer(&self) -> &IssuerName {
        self.care.source.as_ref().unwrap_or(&self.spec.issuer)
    }

    /// Who issued what is installed, and so knows of it.
    pub fn issued_by(&self) -> &IssuerName {
        self.care.choice.issued.as_ref().unwrap_or_else(|| self.first_issuer())
    }

    /// Who is told of what is to be revoked.
    pub fn revoked_by(&self) -> &IssuerName {
        self.care.choice.revoker.as_ref().unwrap_or_else(|| self.first_issuer())
    }

    /// When the CA is to be told of a revocation; `None` while what is to be revoked is served, or where
    /// there is nothing to revoke.
    pub fn revocation_due(&self) -> Option<Timestamp> {
        let revoking = self.care.revoking.as_ref()?;
        let elsewhere = self.installed.as_ref().filter(|_| self.care.issue.is_some());
        let served = self.shown().or(elsewhere).is_some_and(|one| one.serial == revoking.serial);
        let wanted = !matches!(self.phase, Phase::Retiring { .. });
        (!(served && wanted)).then_some(revoking.next)
    }

    /// What is asked for when the next one is ordered. One that was brought keeps its identity, and is
    /// ordered from whoever has taken it over, under that one's `profile`; so does any that is ordered
    /// from another CA than its first.
    pub fn order(&self, profile: Option<&str>) -> Specification {
        let mut spec = self.spec.clone();
        let taken_over = !self.spec.role.is_driven() && self.care.source.is_some();
        if taken_over || self.care.choice.asked.is_some() {
            spec.issuer = self.issuer().clone();
            spec.profile = profile.map(str::to_owned);
        }
        spec
    }

    /// The request that a client signed with a key of its own, DER: for that key the certificate is, and
    /// what follows it.
    pub fn client_request(&self) -> Option<&[u8]> {
        self.care.issue.as_ref()?.csr.as_deref()
    }

    /// Whether it is kept ready beside another one and not shown.
    pub fn stands_back(&self) -> bool {
        self.care.standby.as_ref().is_some_and(|standby| standby.back)
    }

    /// What clients of the front door are shown of it: of one that was issued for use elsewhere, nothing.
    pub fn shown(&self) -> Option<&Installed> {
        let elsewhere = matches!(self.spec.role, Role::Issued(_));
        self.installed.as_ref().filter(|_| !elsewhere && !self.stands_back())
    }

    /// How it stands in the ledger, if a client asked for it. It follows from what the record says, so
    /// that no change of a record can leave the ledger behind.
    pub fn claim(&self) -> Option<Claim> {
        self.care.issue.as_ref()?;
        Some(match self.phase {
            _ if self.installed.is_some() => Claim::Consumed,
            Phase::Halted { .. } | Phase::Retiring { .. } => Claim::Refunded,
            Phase::Due { .. }
            | Phase::Ordering { .. }
            | Phase::Holding { .. }
            | Phase::Waiting { .. } => Claim::Reserved,
        })
    }

    /// Whether what is installed is good for clients at `now`: in its time, and neither revoked nor about
    /// to be.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.installed.as_ref().is_some_and(|installed| {
            let revoking = self.care.revoking.as_ref();
            installed.validity.contains(now)
                && !self.care.is_revoked(&installed.serial)
                && revoking.is_none_or(|revoking| revoking.serial != installed.serial)
        })
    }

    /// When the order of a client that came to nothing is forgotten; `None` while it goes on, or where it
    /// came to something.
    pub fn order_ended(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Halted { since, .. } if self.claim() == Some(Claim::Refunded) => {
                Some(since.plus(bounds::RETIREMENT))
            }
            _ => None,
        }
    }

    /// Whether the house orders what it lacks or what follows it: one that was brought, or issued for
    /// use elsewhere, has a successor only where somebody said so.
    pub fn is_renewed_here(&self) -> bool {
        match self.spec.role {
            Role::Primary | Role::Bridge | Role::Onboarded => true,
            Role::Imported => self.care.is_succeeded_here(),
            Role::Issued(_) => self.installed.is_none() || self.care.hosting.accept().is_some(),
        }
    }
}

impl Installed {
    /// Orders what is installed by how good it is for `host` at `now`; `spec` is what it was
    /// ordered by.
    pub fn rank(
        &self,
        spec: &Specification,
        host: &Identifier,
        now: Timestamp,
    ) -> impl Ord + use<> {
        (
            self.validity.contains(now),
            spec.role != Role::Bridge,
            spec.issuer != IssuerName::Internal,
            // The signature costs a fifth of RSA's; who cannot check it is given the next best.
            spec.key != KeyAlgorithm::Rsa2048,
            spec.names().contains(host),
            self.validity.not_after,
        )
    }

    /// Reads what matters from the leaf of `chain`.
    ///
    /// # Errors
    /// When the leaf cannot be read.
    pub fn read(chain: Chain, at: Timestamp) -> Result<Self, ChainError> {
        let leaf = chain.leaf()?;
        Ok(Self {
            chain,
            key: leaf.key,
            validity: leaf.validity,
            serial: leaf.serial,
            ari_id: leaf.ari_id,
            at,
        })
    }
}
