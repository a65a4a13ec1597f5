//! From an older schema to the present one, one version at a time, in one transaction.

use redb::WriteTransaction;

use super::error::StoreError;
use super::tables::META;
use super::tables::META_SCHEMA;

/// One step: from schema `from` to `from + 1`.
pub(super) struct Migration {
    /// The schema it starts from.
    pub(super) from: u32,
    /// Changes tables and records; must not commit.
    pub(super) run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// Every step there is, oldest first. Schema 1 is the first, so there is none yet.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// Runs the steps of `migrations` that lead from schema `found` to schema `target`, and records
/// the new version in the same transaction.
///
/// # Errors
/// When a step is missing or fails; `txn` must then be dropped.
pub(super) fn migrate(
    txn: &WriteTransaction,
    migrations: &[Migration],
    found: u32,
    target: u32,
) -> Result<(), StoreError> {
    for version in found..target {
        let step = migrations.iter().find(|step| step.from == version).ok_or_else(|| {
            StoreError::Damaged { reason: format!("no way leads on from schema {version}") }
        })?;
        (step.run)(txn)?;
    }
    txn.open_table(META)?.insert(META_SCHEMA, u64::from(target))?;
    Ok(())
}
