//! What is seen of real servers, over the protocols that they speak.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report"
)]

#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/servers.rs"]
mod servers;

mod command;
mod hostile;
mod seeing;
