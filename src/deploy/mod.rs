//! Brings certificates with their keys to those who serve them, and sees that they are shown there.
//!
//! | part | what it is |
//! |---|---|
//! | `desired` | what is to be where, pure |
//! | `reconcile` | the loop that brings about what is desired |
//! | `handle`, `orders` | what others may ask of it |
//! | `lanes` | whose turn it is, pure |
//! | `errand` | one pair is brought, looked for, and kept or put back |
//! | `verdict` | what is to become of a pair that was brought, pure |
//! | `telling` | what the journal is told, pure |
//! | `world` | what all this needs of the rest of the house |
//! | `hand` | the process that carries one pair to one target |
//! | `targets` | kinds of targets, on the side of that process |
//! | `pair` | a chain and its key, in that process alone |
//! | `probe` | which certificate is shown at a place |

mod desired;
mod errand;
pub mod hand;
mod handle;
mod lanes;
mod orders;
mod pair;
pub mod probe;
mod reconcile;
#[cfg(test)]
mod reconcile_tests;
mod targets;
mod telling;
mod verdict;
mod world;

pub use handle::DeployError;
pub use handle::Deployer;
pub use handle::Means;
pub use handle::Wish;
pub use world::AtTarget;
pub use world::Refused;
pub use world::Sought;
pub use world::World;
