//! What bringing certificates needs of the rest of the house: records, a carrier, an eye, a memory.
//!
//! The daemon implements it; tests have a world of their own.

use std::sync::Arc;

use crate::cert::challenge::BoxFuture;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::Leaf;
use crate::cert::deployment::TargetName;
use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::key::KeyKind;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::config::Probe;
use crate::config::Target;

/// What of the house the loop needs. Errors are in the words of a person.
pub trait World: Send + Sync {
    /// The certificate that is meant by `called` now, as `keyward show` takes it.
    fn find<'a>(
        &'a self,
        called: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Certificate>>, String>>;
    /// A record.
    fn record(&self, id: CertificateId) -> BoxFuture<'_, Result<Option<Arc<Certificate>>, String>>;
    /// Brings what is installed for a certificate to a target, with its key, and has it taken up there.
    fn carry(
        &self,
        target: Arc<Target>,
        record: Arc<Certificate>,
    ) -> BoxFuture<'_, Result<Box<dyn AtTarget>, Refused>>;
    /// Which certificate is shown at a place; where some of its addresses show what is sought and others
    /// do not, what those others show.
    fn look<'a>(
        &'a self,
        place: &'a Probe,
        sought: &'a Sought,
    ) -> BoxFuture<'a, Result<Leaf, String>>;
    /// Every deployment that was kept.
    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>, String>>;
    /// Keeps deployments and forgets others, with what the journal is told.
    fn keep(
        &self,
        kept: Vec<Deployment>,
        gone: Vec<(TargetName, CertificateId)>,
        entries: Vec<Entry>,
    ) -> BoxFuture<'_, Result<(), String>>;
    /// Whether something was installed, or is gone, behind entry number `after` of the journal; and the
    /// number up to which was looked.
    fn changed(&self, after: u64) -> BoxFuture<'_, Result<(bool, u64), String>>;
}

/// What is looked for at a place.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The name that a client would ask for.
    pub name: Identifier,
    /// The kind of its key: a server may have one of each.
    pub kind: KeyKind,
    /// The certificate itself.
    pub leaf: Leaf,
}

/// A pair that is at its target and has been taken up, and waits to be judged.
pub trait AtTarget: Send {
    /// It stays.
    fn keep(self: Box<Self>) -> BoxFuture<'static, Result<(), String>>;
    /// What was there before is there again, and taken up.
    fn put_back(self: Box<Self>) -> BoxFuture<'static, Result<(), String>>;
}

/// Why a pair was not brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// In the words of a person.
    pub reason: String,
    /// Whether the target was touched, and has the former pair again.
    pub put_back: bool,
}
