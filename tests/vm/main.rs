//! keyward on a kernel that has everything: booted in an emulated machine, once for all scenes.
//!
//! A scene is a function that runs in there (`inside`), and the test of the same name asks how it
//! went. What is shown here cannot be shown by the kernel that happens to run the other tests: it
//! may lack a module, or a limit that nobody can raise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

mod bulk;
#[path = "../kit/daemon.rs"]
mod daemon;
mod strict;
#[path = "../kit/vm.rs"]
mod vm;

use std::sync::OnceLock;

/// What there is to see, in order.
const SCENES: [(&str, fn()); 7] = [
    ("strict_accepted", strict::accepted),
    ("strict_refused", strict::refused),
    ("downloads", bulk::downloads),
    ("conversation", bulk::conversation),
    ("change_of_keys", bulk::change_of_keys),
    ("broken_clients", bulk::broken_clients),
    ("turned_off", bulk::turned_off),
];

/// Does nothing unless it runs in the machine: all scenes, each to its end.
#[test]
fn inside() {
    if std::env::var_os(vm::INSIDE).is_none() {
        return;
    }
    for (name, scene) in SCENES {
        println!("\nscene {name} begins");
        let ended = std::panic::catch_unwind(scene);
        println!("\nscene {name} {}", if ended.is_ok() { "passed" } else { "failed" });
    }
}

/// Whether a scene passed in the machine, which the first to ask boots.
fn passed(name: &str) {
    static SAID: OnceLock<(String, bool)> = OnceLock::new();
    let (said, ended) = SAID.get_or_init(|| vm::boot("inside"));
    assert!(ended, "the machine did not come to an end:\n{said}");
    let lines: Vec<_> = said.lines().map(str::trim_end).collect();
    assert!(lines.contains(&format!("scene {name} passed").as_str()), "{said}");
}

#[test]
fn a_strict_house_starts_and_serves_where_every_wall_stands() {
    passed("strict_accepted");
}

#[test]
fn a_strict_house_is_refused_on_the_same_machine_without_memory_to_lock() {
    passed("strict_refused");
}

#[test]
fn the_kernel_seals_what_is_bulk_and_clients_get_what_the_origin_has() {
    passed("downloads");
}

#[test]
fn a_connection_that_went_over_to_the_kernel_goes_on_and_ends_properly() {
    passed("conversation");
}

#[test]
fn a_client_that_changes_its_keys_in_the_kernel_is_told_goodbye() {
    passed("change_of_keys");
}

#[test]
fn records_that_the_kernel_cannot_open_cost_their_own_connection() {
    passed("broken_clients");
}

#[test]
fn nothing_goes_over_to_the_kernel_where_that_is_turned_off() {
    passed("turned_off");
}
