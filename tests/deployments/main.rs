//! Certificates on their way to a server of its own right: the whole daemon, its hands and its eyes.
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
#[path = "../kit/origin.rs"]
mod origin;

mod serving;
