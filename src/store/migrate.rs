//! From an older schema to the present one, one version at a time, in one transaction.

use redb::WriteTransaction;

use super::books;
use super::error::StoreError;
use super::guests;
use super::index;
use super::kinds;
use super::tables::META;
use super::tables::META_SCHEMA;

/// One step: from schema `from` to `from + 1`.
pub(super) struct Migration {
    /// The schema it starts from.
    pub(super) from: u32,
    /// Changes tables and records; must not commit.
    pub(super) run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// Every step there is, oldest first.
pub(super) const MIGRATIONS: &[Migration] = &[
    // Schema 2 keeps in the file what used to be counted at every start.
    Migration { from: 1, run: |txn| kinds::rename(txn).and_then(|()| index::rebuild(txn)) },
    // Schema 3 says who refers to a key, where schema 2 counted.
    Migration { from: 2, run: |txn| kinds::rename(txn).and_then(|()| index::name_users(txn)) },
    // Schema 4 calls imported certificates by the kind of their key as well. Whoever reads a record
    // under its name, as the steps before do, needs the name of today.
    Migration { from: 3, run: kinds::rename },
    // Schema 5 knows onboarded names, whose certificates an earlier version could not read.
    Migration { from: 4, run: guests::make_table },
    // Schema 6 keeps the books of clients, whose certificates an earlier version could not read.
    Migration { from: 5, run: books::make_tables },
];

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

#[cfg(test)]
mod tests {
    use redb::Database;
    use redb::ReadableDatabase;
    use redb::ReadableTable;

    use super::*;
    use crate::store::open::begin;

    const STEPS: &[Migration] = &[
        Migration { from: 1, run: |txn| note(txn, "one", 1) },
        // Runs after the first and sees what it did.
        Migration {
            from: 2,
            run: |txn| {
                let seen = txn.open_table(META)?.get("one")?.map_or(0, |value| value.value());
                note(txn, "two", seen + 1)
            },
        },
    ];

    fn note(txn: &WriteTransaction, name: &str, value: u64) -> Result<(), StoreError> {
        txn.open_table(META)?.insert(name, value)?;
        Ok(())
    }

    fn value(db: &Database, name: &str) -> Option<u64> {
        let table = db.begin_read().unwrap().open_table(META).unwrap();
        table.get(name).unwrap().map(|value| value.value())
    }

    #[test]
    fn steps_run_in_order_and_the_version_is_recorded_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::create(dir.path().join("db")).unwrap();
        let txn = begin(&db, false).unwrap();
        migrate(&txn, STEPS, 1, 3).unwrap();
        txn.commit().unwrap();
        assert_eq!(
            [value(&db, "one"), value(&db, "two"), value(&db, META_SCHEMA)],
            [Some(1), Some(2), Some(3)]
        );
        let txn = begin(&db, false).unwrap();
        assert!(migrate(&txn, STEPS, 3, 5).is_err(), "no step leads on from 3");
        drop(txn);
        assert_eq!(value(&db, META_SCHEMA), Some(3));
    }

    #[test]
    fn the_steps_lead_from_the_first_schema_to_the_present_one() {
        let from: Vec<u32> = MIGRATIONS.iter().map(|step| step.from).collect();
        let expected: Vec<u32> = (1..super::super::tables::SCHEMA).collect();
        assert_eq!(from, expected);
    }
}
