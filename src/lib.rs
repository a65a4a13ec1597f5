//! keyward: one-click HTTPS for self-hosted servers.
//!
//! The map of the house, in the order in which rooms may import each other: a room imports only
//! from rooms above it in this list, and `tests/architecture.rs` holds it to that.
//!
//! | room | what it is |
//! |---|---|
//! | [`base`] | tools without domain knowledge: clock, draws, secrets, limits, tasks, files |
//! | [`os`] | what only the operating system can tell or do |
//! | [`cert`] | the nouns, the lifecycle and the ports between rooms, pure |
//! | [`config`] | text to a configuration that cannot be wrong |
//! | [`vault`] | the process where private keys live, and the way to it |
//! | [`store`] | one redb file, and a second copy of what is served |
//! | [`issuer`] | ACME and the internal CA |
//! | [`scheduler`] | decides what to do next for every certificate |
//! | [`deploy`] | brings certificates to those who serve them |
//! | [`edge`] | the front door: TLS, HTTP, origins |
//! | [`onboarding`] | names that are in no site and lead here |
//! | [`notify`] | what a person should know gets to that person |
//! | [`admin`] | the JSON interface on a local socket |
//! | [`cli`] | the command line |
//! | [`daemon`] | connects the rooms |

pub mod admin;
pub mod base;
pub mod cert;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod deploy;
pub mod edge;
pub mod issuer;
pub mod notify;
pub mod onboarding;
pub mod os;
pub mod scheduler;
pub mod store;
pub mod vault;
