//! Limits of deployments: certificates that are brought to those who serve them.

pub mod probe;

use std::time::Duration;

/// The shortest time that bringing one may take.
pub const DEADLINE_LEAST: Duration = Duration::from_secs(1);

/// The longest: whatever takes longer is stuck.
pub const DEADLINE_MOST: Duration = Duration::from_secs(30 * 60);

/// The shortest time between two looks at a target that shows what it should.
pub const WATCH_LEAST: Duration = Duration::from_secs(1);

/// The longest: drift is noticed within a week.
pub const WATCH_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most that are brought at a time: each is a process.
pub const TOGETHER_MOST: u64 = 64;

/// The first wait after a failure in a row; it doubles each time.
pub const RETRY_FIRST: Duration = Duration::from_secs(10);

/// The longest: a target that was away for a day has its certificate within the hour.
pub const RETRY_MOST: Duration = Duration::from_secs(3600);

/// Characters of a reason that are kept.
pub const REASON: usize = 600;

/// Drifts in a row that are put right at once; beyond, somebody fights for the place, and it is put
/// right only as often as failures are.
pub const DRIFTS: u32 = 3;

/// How long nobody else may have changed anything until that is forgotten.
pub const DRIFTS_FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Looks in a row that nobody answers, after which a deployment has failed: servers are restarted.
pub const SILENCES: u32 = 3;

/// How long a deployment may fail before somebody must act.
pub const URGENT: Duration = Duration::from_secs(3600);

/// Deployments at most; those beyond are told of and not made.
pub const MOST: usize = 4096;

/// Orders that wait for the loop.
pub const ORDERS: usize = 64;

/// What takes longer makes room for others, in a lane of its own.
pub const QUICK: Duration = Duration::from_secs(2);

/// So many times as many as are brought at a time may be under way to targets that are slow or failed.
pub const SLOW_LANE: usize = 4;

/// How long it may take until a target shows what it took up.
pub const SHOWN_WITHIN: Duration = Duration::from_secs(20);

/// How long one look may take.
pub const LOOK: Duration = Duration::from_secs(10);

/// The first pause between two looks; it doubles.
pub const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The longest.
pub const LOOK_PAUSE_MOST: Duration = Duration::from_secs(2);

/// The shortest time between two comparisons of what is wanted with what is installed.
pub const COMPARE_LEAST: Duration = Duration::from_secs(1);

/// The longest: what no entry of the journal tells is found within so long.
pub const COMPARE_MOST: Duration = Duration::from_secs(10 * 60);

/// Entries of the journal that are looked through at once.
pub const ENTRIES: usize = 500;
