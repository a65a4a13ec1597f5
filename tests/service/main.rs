//! The packaged service under a real systemd: installed, started, reloaded, hurt and restarted, the
//! way a machine at a provider does it. See `rig` for how.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

#[path = "../kit/pebble.rs"]
mod pebble;

mod clients;
mod deploy;
mod dns;
mod faults;
mod install;
mod life;
mod passphrase;
mod place;
mod ports;
mod rig;
mod upgrade;
