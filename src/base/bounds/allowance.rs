//! Limits of what clients may have.

use std::time::Duration;

/// Packs that are noted as over in one transaction; the next one follows at once.
pub const EXPIRED_AT_ONCE: usize = 256;

/// The most certificates that one pack is for, and that are free: no CA issues more in a lifetime.
pub const COUNT_MOST: u64 = 1_000_000_000;

/// The longest note of a pack, in octets.
pub const NOTE_MOST: usize = 500;

/// The shortest time for which an order may go on: a CA may take as long.
pub const GIVE_UP_LEAST: Duration = Duration::from_secs(60);

/// The longest: whoever waits for longer has forgotten it.
pub const GIVE_UP_MOST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Certificates that are read at once because an attempt is to begin for them: several times as many as
/// there is room for.
pub const DUE_AT_ONCE: usize = 4 * super::ORDERS_AT_ONCE;

/// Clients among which turns are given; one that comes behind has its own when another has none left.
pub const CLIENTS_LOOKED_AT: usize = 4096;
