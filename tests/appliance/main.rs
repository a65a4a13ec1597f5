//! The whole way, end to end, on real parts: the real binary, Pebble as the CA, real origins, and
//! clients that are not ours. One behaviour for each file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

#[path = "../kit/faults.rs"]
mod between;
#[path = "../kit/daemon.rs"]
mod daemon;
#[path = "../kit/load.rs"]
mod load;
#[path = "../kit/origin.rs"]
mod origin;
#[path = "../kit/pebble.rs"]
mod pebble;
#[path = "../kit/http3.rs"]
mod quic;
#[path = "../kit/scan.rs"]
mod scan;
#[path = "../kit/users.rs"]
mod users;

mod access;
mod account;
mod accounts;
mod adopt;
mod adopt_accounts;
mod allowance;
mod authority;
mod backup;
mod badge;
mod budget;
mod chain;
mod clock;
mod conformance;
mod crash;
mod damage;
mod demo;
mod disk;
mod doubles;
mod events;
mod exportable;
mod faults;
mod floods;
mod heirs;
mod host;
mod http3;
mod hundred;
mod import;
mod internal;
mod issue;
mod issue_api;
mod issue_bulk;
mod listeners;
mod lists;
mod master;
mod news;
mod oracle;
mod outside;
mod passphrase;
mod policies;
mod profile;
mod reload;
mod renew;
mod restart;
mod restore;
mod revoke;
mod rotate;
mod scene;
mod seals;
mod secrets;
mod servers;
mod sites;
mod standby;
mod start;
mod status;
mod strangers;
mod tcp;
mod terminal;
mod terms;
mod tickets;
mod tokens;
mod trial;
mod unix;
mod upgrade;
mod vault;
mod walls;
mod why;
mod window;
