//! Proofs by DNS, end to end: the real binary, Pebble as the CA, and a real BIND that is updated,
//! asked by keyward, and asked by the CA.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

#[path = "../kit/bind.rs"]
mod bind;
#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/pebble.rs"]
mod pebble;

mod alias;
mod astray;
mod crash;
mod doctor;
mod hooks;
mod mistakes;
mod persist;
mod scene;
mod second;
mod secrets;
mod wildcard;
