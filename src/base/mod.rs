//! Tools without domain knowledge: time, draws, secrets, limits, tasks, files.

pub mod archive;
pub mod bounds;
pub mod causes;
pub mod clock;
pub mod crash;
pub mod disk;
pub mod exchange;
pub mod jitter;
#[cfg(any(test, fuzzing))]
pub mod property;
pub mod revoked;
pub mod secret;
pub mod tasks;
pub mod tls;
pub mod trust;
pub mod users;
pub mod visitors;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use jitter::Jitter;
pub use secret::Secret;
