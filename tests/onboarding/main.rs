//! Names that are in no site, end to end: the real binary with a configuration as README has it, Pebble
//! as the CA, and a BIND that both ask where names lead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

#[path = "../kit/bind.rs"]
mod bind;
#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/origin.rs"]
mod origin;
#[path = "../kit/pebble.rs"]
mod pebble;

mod attacks;
mod hands;
mod lasting;
mod scale;
mod scene;
mod visits;
