//! The limits of whoever asks for a master key, compares it, and replaces it.

use std::time::Duration;

/// KiB of memory that deriving a master key from a passphrase takes, passes over it, and lanes: the
/// second recommendation of RFC 9106, section 4, for where two GiB are too many.
pub const PASSPHRASE_COST: [u32; 3] = [64 * 1024, 3, 4];

/// Octets of its salt (RFC 9106, section 3.1).
pub const PASSPHRASE_SALT: usize = 16;

/// The most memory and passes that a file beside a passphrase may ask for: sixteen and five times
/// of what is written here, and less than a small server has. It may come from a backup.
pub const PASSPHRASE_COST_MOST: [u32; 2] = [1024 * 1024, 16];

/// Longest file beside a passphrase; ours has some two hundred octets.
pub const PASSPHRASE_FILE: u64 = 4096;

/// Shortest passphrase that is taken for a new one, in octets. Argon2id makes each guess dear, not
/// a word of a dictionary safe.
pub const PASSPHRASE_LEAST: usize = 12;

/// Longest passphrase, in octets.
pub const PASSPHRASE_MOST: usize = 1024;

/// How often a passphrase is asked for.
pub const PASSPHRASE_TRIES: u32 = 3;

/// How long somebody may take to type it, all tries together.
pub const PASSPHRASE_PATIENCE: Duration = Duration::from_secs(300);

/// Keys that are sealed anew in one transaction: some milliseconds of the vault's control channel,
/// so that whoever needs a new key does not wait long.
pub const RESEAL_BATCH: usize = 256;

/// Between two looks for what is sealed under the former master key.
pub const RESEAL_PAUSE: Duration = Duration::from_secs(1);

/// When records that the store or the vault did not let through are tried again.
pub const RESEAL_RETRY: Duration = Duration::from_secs(10);

/// Sealed keys from either end of their table that are looked at before anything is served, to
/// tell a wrong master key: nothing else is sealed under several but a change that is under way.
pub const SEALS_LOOKED_AT: usize = 16;
