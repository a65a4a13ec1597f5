//! What is seen of real servers, over the protocols that they speak.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/pebble.rs"]
mod pebble;
#[path = "../kit/servers.rs"]
mod servers;

mod command;
mod deploying;
mod hostile;
mod seeing;
