//! Pairs carried to targets by the real program, with this process in the place of main. One behaviour
//! for each file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/scan.rs"]
mod scan;
mod scene;
#[path = "../vault_common/mod.rs"]
mod vault_common;

mod back;
mod crash;
mod exec;
mod files;
mod haproxy;
mod refusals;
mod reload;
mod secret;
