//! The admin interface over a real socket: the real program as its client, and raw bytes where
//! the program is too well-behaved.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

#[path = "admin/cli.rs"]
mod cli;
#[path = "admin/clients.rs"]
mod clients;
#[path = "admin/hash.rs"]
mod hash;
#[path = "admin/house.rs"]
mod house;
#[path = "admin/list.rs"]
mod list;
#[path = "admin/openapi.rs"]
mod openapi;
#[path = "admin/rotate.rs"]
mod rotate;
#[path = "admin/socket.rs"]
mod socket;
#[path = "admin/tags.rs"]
mod tags;
#[path = "appliance/terminal.rs"]
mod terminal;
#[path = "kit/users.rs"]
mod users;
