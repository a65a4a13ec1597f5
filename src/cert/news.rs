//! Which entries of the journal a person should know of.
//!
//! Deliberately absent: who is told, when, and how.

use super::journal::Entry;
use super::journal::EntryKind;

/// The kinds of which people are told where they ask for everything. The others are steps on the way,
/// which stand in the journal.
pub const KINDS: [EntryKind; 50] = [
    EntryKind::Installed,
    EntryKind::Failed,
    EntryKind::Halted,
    EntryKind::Expiring,
    EntryKind::Expired,
    EntryKind::AllowanceLow,
    EntryKind::PackExpired,
    EntryKind::Imported,
    EntryKind::Exported,
    EntryKind::TakeOver,
    EntryKind::Hosted,
    EntryKind::Unhosted,
    EntryKind::HostingEnded,
    EntryKind::RevocationWanted,
    EntryKind::Revoked,
    EntryKind::RevocationFailed,
    EntryKind::IssuerLeft,
    EntryKind::Switched,
    EntryKind::Retired,
    EntryKind::Deleted,
    EntryKind::Onboarded,
    EntryKind::Offboarded,
    EntryKind::Astray,
    EntryKind::ProofLacks,
    EntryKind::ProofEnding,
    EntryKind::ProofThere,
    EntryKind::AccountAdopted,
    EntryKind::AccountContactFailed,
    EntryKind::Started,
    EntryKind::Stopping,
    EntryKind::Reloaded,
    EntryKind::ReloadRefused,
    EntryKind::UpgradeFailed,
    EntryKind::VaultRestarted,
    EntryKind::Degraded,
    EntryKind::KeyAlarm,
    EntryKind::MasterKey,
    EntryKind::BackedUp,
    EntryKind::FloodBegan,
    EntryKind::FloodEnded,
    EntryKind::ServerDown,
    EntryKind::ServerUp,
    EntryKind::ListFailed,
    EntryKind::ListFetched,
    EntryKind::NewsFailed,
    EntryKind::Deployed,
    EntryKind::DeploymentFailed,
    EntryKind::RolledBack,
    EntryKind::Drifted,
    EntryKind::Undeployed,
];

/// Whether a person should know of `entry`. Whatever matters is told, whichever kind it is of.
pub fn is_worth_telling(entry: &Entry) -> bool {
    entry.level > super::journal::Level::Info || KINDS.contains(&entry.kind)
}
