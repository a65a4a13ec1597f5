//! The issuer against a real ACME server (Pebble), and the internal CA against two verifiers that
//! are not ours. The vault, the store and the edge are doubles: each has tests of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, as it should"
)]

#[path = "../kit/pebble.rs"]
mod pebble;

mod account;
mod between;
mod chains;
mod doubles;
mod internal;
mod issue;
mod refusals;
mod renewal;
mod resume;
mod rig;
mod rude;
mod search;
mod solver;
