//! The front door from outside: real sockets, real clients, origins of the kit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/house.rs"]
mod house;
#[path = "../kit/load.rs"]
mod load;
#[path = "../kit/memory.rs"]
mod memory;
#[path = "../kit/origin.rs"]
mod origin;
#[path = "../kit/http3.rs"]
mod quic;

mod access;
mod algorithms;
mod badges;
mod catalog;
mod challenges;
mod changes;
mod chromium;
mod clients;
mod compression;
mod continuing;
mod crowd;
mod deadlines;
mod differential;
mod early;
mod files;
mod floods;
mod frames;
mod framing;
mod groups;
mod grpc;
mod handshakes;
mod health;
mod http3;
mod introduced;
mod leaving;
mod leftover;
mod names;
mod origins;
mod pages;
mod policies;
mod presets;
mod proxied;
mod proxying;
mod rests;
mod routes;
mod scripted;
mod second;
mod secure;
mod several;
mod sockets;
mod starttls;
mod sticky;
mod tcp;
mod translation;
mod unix;
mod upgrades;
mod visitors;
