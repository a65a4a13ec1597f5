//! The limits of backups: their archive, and the files of age in it.

use super::CONFIG_BYTES;

/// Files in an archive that is read: a backup has five.
pub const ARCHIVE_FILES: usize = 16;

/// Octets of the list of their digests: a line of some hundred for each.
pub const ARCHIVE_SUMS: u64 = 4 * 1024;

/// Octets before the payload of a file of age: a recipient takes some hundred and fifty.
pub const AGE_HEADER: usize = 16 * 1024;

/// Largest payload of such a file: a master key has 32 octets.
pub const AGE_PAYLOAD: usize = 4 * 1024;

/// Largest of the small files in a backup, and of a file with identities.
pub const BACKUP_SMALL: u64 = CONFIG_BYTES;

/// What deriving a key from the passphrase of such a file takes, as a power of two in KiB of memory
/// and the time to fill it: 256 MiB and about a second, as age itself does.
pub const AGE_WORK: u8 = 18;

/// The most of it that a file to be read may ask for: a GiB. What other programs measure out for
/// machines of today is below it; the next step would be more than a small server has.
pub const AGE_WORK_MOST: u8 = 20;
