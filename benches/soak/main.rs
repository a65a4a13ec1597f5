//! Ten minutes of everything at once, with a reload, a renewal, a killed vault and an upgrade in each of
//! them: no request may fail, and memory and descriptors must not grow.
//!
//! `cargo bench --bench soak`, `-- --minutes 60` for longer; `cargo test --bench soak -- --minutes 10`
//! does the same with an unoptimized program, and `tests/check` does so for a minute. It takes a Pebble (`scripts/install-pebble`).
//!
//! Clients speak HTTP/1.1 and HTTP/2, with full and with resumed handshakes; they download, upload,
//! talk over WebSockets, and take their time. Memory is the share of what is resident (Pss) of main and
//! vault, and of all processes, those included that finish what they began before an upgrade.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "a benchmark ends at its first surprise, measures time, and has a runtime of its own"
)]

mod clients;
#[path = "../../tests/kit/daemon.rs"]
mod daemon;
#[path = "../../tests/kit/load.rs"]
mod load;
#[path = "../../tests/kit/origin.rs"]
mod origin;
#[path = "../../tests/kit/pebble.rs"]
mod pebble;
#[path = "../../tests/appliance/scene.rs"]
#[allow(dead_code, reason = "a soak uses a part of it")]
mod scene;
mod work;

/// Minutes from which on memory and descriptors say something.
const FLAT: u64 = 4;

fn main() {
    let mut arguments = std::env::args().skip_while(|one| one != "--minutes").skip(1);
    let minutes = arguments.next().map_or(10, |one| one.parse().unwrap());
    let report = work::soak(minutes);
    report.print();
    assert!(report.failures.is_empty(), "{} failures", report.failures.len());
    // What has a bound is filled in the first minutes.
    assert!(minutes < FLAT || report.is_flat(), "memory or descriptors grow");
}
