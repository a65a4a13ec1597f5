//! What happened, in words that an operator reads and a script can match.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::CertificateId;
use crate::base::Timestamp;

/// How much an entry matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The house changed its state as it should.
    Info,
    /// Something failed and is being worked around.
    Warning,
    /// Somebody must act.
    Error,
}

/// The kinds of entries. The words are part of the interface and never change their meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// The daemon started.
    Started,
    /// The daemon is ending.
    Stopping,
    /// A changed configuration was applied.
    Reloaded,
    /// A changed configuration was refused; the former one stays.
    ReloadRefused,
    /// A certificate is wanted that was not before.
    Added,
    /// No site wants it any more.
    Retired,
    /// Its material was deleted.
    Deleted,
    /// An attempt began.
    Ordering,
    /// The CA opened an order.
    OrderOpened,
    /// A stored order is being asked again.
    OrderResumed,
    /// A certificate was installed.
    Installed,
    /// An attempt failed.
    Failed,
    /// Attempts stopped until somebody acts.
    Halted,
    /// Somebody asked for a renewal.
    Requested,
    /// The CA moved the renewal window.
    WindowMoved,
    /// The vault ended and another was started.
    VaultRestarted,
    /// The database could not be read; the second copy is being served.
    Degraded,
    /// A certificate was brought from elsewhere, with its key.
    Imported,
    /// A private key was handed out.
    Exported,
    /// Somebody had the keys of session tickets replaced.
    TicketsReplaced,
    /// Clients are being turned away at the door.
    FloodBegan,
    /// They are no more.
    FloodEnded,
    /// A key signed far more than its handshakes.
    KeyAlarm,
    /// The database was copied.
    BackedUp,
    /// The master key has a successor, or the former one was deleted.
    MasterKey,
    /// A new process did not take over; the former one goes on.
    UpgradeFailed,
    /// The checks say that a server of a site is down.
    ServerDown,
    /// They say that it is up again.
    ServerUp,
    /// The owner of a certificate has it hosted.
    Hosted,
    /// The owner does not any more.
    Unhosted,
    /// Its successor would be another kind of certificate, so that it is not hosted any more.
    HostingEnded,
    /// A free certificate will take the place of one that was brought.
    TakeOver,
    /// Somebody wants a certificate revoked.
    RevocationWanted,
    /// A certificate is revoked.
    Revoked,
    /// The CA did not take a revocation; it is asked again.
    RevocationFailed,
    /// A list of revoked certificates cannot be had.
    ListFailed,
    /// It can again.
    ListFetched,
    /// A CA gave no certificate for reasons of its own; another one is asked.
    IssuerLeft,
    /// A name that no site has is served from now on.
    Onboarded,
    /// It is not any more.
    Offboarded,
    /// A name does not lead to this machine: its CA is not asked as long as that is so.
    Astray,
    /// The record that proves a name for good is not there, or not as it has to be.
    ProofLacks,
    /// It will end soon.
    ProofEnding,
    /// It is as it has to be again.
    ProofThere,
    /// An account at a CA that was opened elsewhere is used here from now on.
    AccountAdopted,
    /// The CA was told of other contacts of the account.
    AccountContact,
    /// It was not; it is tried again.
    AccountContactFailed,
    /// The other one of two certificates of a site is served from now on.
    Switched,
    /// Little is left of what a client may have.
    AllowanceLow,
    /// A client may have more.
    PackGranted,
    /// What was left of a pack was taken back.
    PackRevoked,
    /// It ran out.
    PackExpired,
    /// A client asked for a certificate.
    IssueOrdered,
    /// It does not want it any more.
    IssueWithdrawn,
    /// A certificate that is served will run out, and none that follows it is there.
    Expiring,
    /// It has run out.
    Expired,
    /// People are not told of what happens: a way by which they are does not take it.
    NewsFailed,
    /// It does again.
    NewsDelivered,
    /// Somebody wants a certificate brought to a target.
    DeploymentWanted,
    /// A certificate is being brought to a target, with its key.
    Deploying,
    /// It is there.
    Deployed,
    /// It could not be brought there, or is not shown.
    DeploymentFailed,
    /// The target did not bear it, and has the former pair again.
    RolledBack,
    /// Somebody else changed what a target shows.
    Drifted,
    /// A certificate is not brought to a target any more.
    Undeployed,
}

impl fmt::Display for EntryKind {
    /// The word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One entry of the journal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1 without gaps; 0 until it is stored.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EntryKind,
    /// How much it matters.
    pub level: Level,
    /// The certificate it is about.
    pub certificate: Option<CertificateId>,
    /// Its first name, so that an entry can be read alone.
    pub name: Option<String>,
    /// In plain words.
    pub message: String,
}

impl Entry {
    /// An entry about the house itself.
    pub fn about_house(at: Timestamp, kind: EntryKind, level: Level, message: String) -> Self {
        Self { seq: 0, at, kind, level, certificate: None, name: None, message }
    }
}
