//! Limits of the process that carries a pair to its target.

use std::time::Duration;

/// Octets of a frame between main and a hand: a chain of ten certificates with large keys is a fourth
/// of it.
pub const FRAME: usize = 128 * 1024;

/// Certificates of a chain.
pub const CHAIN: usize = 16;

/// Octets of a private key as PEM: that of an RSA key of 4096 bits has some 3300.
pub const KEY: usize = 16 * 1024;

/// Octets of a reason that a hand gives.
pub const REASON: usize = 2048;

/// Octets kept of what a program says that a hand runs, for that reason.
pub const SAID: usize = 1024;

/// How long a hand waits to be told what to do, and main to hear that there is a hand.
pub const GREETING: Duration = Duration::from_secs(20);

/// How long a hand waits for main's verdict, in which main looks at the target. After that it leaves
/// the target as it is.
pub const VERDICT: Duration = Duration::from_secs(300);

/// Beyond the deadline of a target, for the start and the end of a hand.
pub const GRACE: Duration = Duration::from_secs(10);

/// Hands that are at work at a time: no more are asked for ([`super::deployment::TOGETHER_MOST`]), and some
/// of before may still be ending.
pub const HANDS: usize = 128;

/// Between two looks for hands that have ended, while there are any.
pub const LOOK: Duration = Duration::from_secs(1);

/// Octets of a file that was there before and is kept to be put back.
pub const FORMER: u64 = 1024 * 1024;

/// Symbolic links on the way to a directory.
pub const LINKS: usize = 16;

/// Octets of the record of what is being done to a target.
pub const ERRAND: u64 = 256 * 1024;

/// Memory that a hand may take.
pub const MEMORY: u64 = 1 << 30;
