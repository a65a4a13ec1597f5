//! Decides what to do next for every certificate, and has it done.
//!
//! [`plan`], [`transition`], [`caring`], [`standby`], [`take_over`], `giving_way` and [`budget`] are pure,
//! and run through ten years by the package in `tests/years`, which names each of them; `driver` looks at
//! them, at the clock and at the configuration, and runs a `job` for each attempt, which tells of its `steps`.

mod bring;
pub mod budget;
pub mod caring;
mod check;
mod crew;
mod driver;
mod elsewhere;
mod giving_way;
mod guests;
mod handle;
mod host;
mod issue;
mod issuing;
mod job;
mod manner;
pub mod plan;
mod publish;
mod records;
mod revoke;
mod rotate;
pub mod standby;
mod standing;
mod steps;
mod succession;
mod supersede;
pub mod take_over;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod transition;
mod woken;

pub use bring::ForgetError;
pub use guests::OffboardError;
pub use handle::Authorities;
pub use handle::Parts;
pub use handle::RenewError;
pub use handle::Scheduler;
pub use handle::SchedulerHandle;
pub use host::HostError;
pub use issue::IssueError;
pub use issue::IssueOrder;
pub use issue::Issuing;
pub use issue::WithdrawError;
pub use issue::Withdrawn;
pub use publish::Audience;
pub use revoke::RevokeError;
pub use rotate::Turn;
pub use standing::Pair;
pub use standing::SwitchError;
pub use standing::Switched;
pub use take_over::source;
