//! Every table of the database on one page.
//!
//! Values are packed by [`super::codec`]: a version octet, a checksum, a body. A change of a
//! record's shape raises its version; a change of what is here raises [`SCHEMA`] and adds a step
//! to [`super::migrate`].

use redb::TableDefinition;

/// The version of this page. Recorded in the file; a file of a newer version is refused.
pub const SCHEMA: u32 = 6;

/// Numbers about the file itself, by the names below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`]: the schema version of the file.
pub(super) const META_SCHEMA: &str = "schema";

/// In [`META`]: counts the probes for writability.
pub(super) const META_PROBE: &str = "probe";

/// In [`META`]: names the second copy that was made from this file.
pub(super) const META_LINEAGE: &str = "lineage";

/// In [`META`]: when it was last looked for certificates that run out, in seconds of Unix time.
pub(super) const META_EXPIRY: &str = "expiry";

/// Certificates whose change the second copy may lack, with the revision of the record.
pub(super) const PENDING: TableDefinition<'_, &[u8; 8], u64> = TableDefinition::new("pending");

/// `CertificateId` to `Certificate`.
pub(super) const CERTIFICATES: TableDefinition<'_, &[u8; 8], &[u8]> =
    TableDefinition::new("certificates");

/// `KeyId` to `KeyHandle`; the private half is sealed.
pub(super) const KEYS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("keys");

/// Keys that no certificate is to be ordered for again, each as long as it is in [`KEYS`]. Not
/// there before the first mark is made.
pub(super) const WORN_KEYS: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("worn_keys");

/// Directory URL to the issuer's account; credentials are sealed.
pub(super) const ACCOUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("accounts");

/// What the internal CA keeps, by names of its own choice.
pub(super) const INTERNAL_CA: TableDefinition<'_, &str, &[u8]> =
    TableDefinition::new("internal_ca");

/// Records that prove names in the DNS and are to be removed.
pub(super) const PROOFS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("proofs");

/// Onboarded names, in normal form, to `Guest`. The certificate of each is a record like others.
pub(super) const GUESTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("guests");

/// What each client has of a class for nothing, by the number of the class.
pub(super) const FREE: TableDefinition<'_, u8, u64> = TableDefinition::new("free");

/// Client and class to what it has of it.
pub(super) const ALLOWANCES: TableDefinition<'_, (&str, u8), &[u8]> =
    TableDefinition::new("allowances");

/// `PackId` to `Pack`.
pub(super) const PACKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("packs");

/// The packs of each client.
pub(super) const PACKS_OF: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("packs_of");

/// The packs of which something is left, by client and class and in the order in which they are used
/// up: end, in seconds of Unix time, and `PackId`.
pub(super) const OPEN_PACKS: TableDefinition<'_, (&str, u8, u64, u64), ()> =
    TableDefinition::new("open_packs");

/// When packs end that are not over yet, in seconds of Unix time.
pub(super) const EXPIRIES: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("expiries");

/// Sequence number to `LedgerEntry`, all of them.
pub(super) const LEDGER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");

/// The entries of the ledger of each client.
pub(super) const LEDGER_OF: TableDefinition<'_, (&str, u64), ()> =
    TableDefinition::new("ledger_of");

/// The claim of each certificate that a client asked for.
pub(super) const CLAIMS: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("claims");

/// The certificates that clients asked for and that are to be ordered: client, since when, in seconds of
/// Unix time, and which.
pub(super) const TURNS: TableDefinition<'_, (&str, u64, &[u8; 8]), ()> =
    TableDefinition::new("turns");

/// The certificates that each client asked for.
pub(super) const ISSUED: TableDefinition<'_, (&str, &[u8; 8]), ()> = TableDefinition::new("issued");

/// Sequence number to `Entry`, the newest ones only.
pub(super) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");

/// Which certificates refer to a key: `KeyId` and `CertificateId`. A key that none refers to is not
/// kept.
pub(super) const KEY_USERS: TableDefinition<'_, (&[u8; 32], &[u8; 8]), ()> =
    TableDefinition::new("key_users");

/// Up to schema 2: `KeyId` to the number of records that refer to it.
pub(super) const KEY_USES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("key_uses");

/// The certificates that the scheduler drives: all but the imported ones.
pub(super) const DRIVEN: TableDefinition<'_, &[u8; 8], ()> = TableDefinition::new("driven");

/// When the imported certificates want to be looked at, in seconds of Unix time.
pub(super) const WAKES: TableDefinition<'_, (u64, &[u8; 8]), ()> = TableDefinition::new("wakes");

/// How many imported certificates are in which phase, by the phase's word; and how many of those that
/// clients asked for have which claim, by the claim's word.
pub(super) const IMPORTED: TableDefinition<'_, &str, u64> = TableDefinition::new("imported");

/// What a token is recognised by to `Token`. Not there before the first token is.
pub(super) const TOKENS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("tokens");

/// News that a channel is still to tell: its name and the number of the journal entry, to `Entry`. Not
/// there before the first of them, as is [`CHANNELS`].
pub(super) const OUTBOX: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("outbox");

/// How each channel fares, by its name; under the empty one the number of the last journal entry that
/// was looked at.
pub(super) const CHANNELS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("channels");

/// Whose the certificates were that clients asked for and that are not there any more. Not there before
/// the first of them.
pub(super) const FORMER: TableDefinition<'_, &[u8; 8], &str> = TableDefinition::new("former");
