//! News: what a person should know gets to that person, at least once.
//!
//! `sorter` follows the journal and puts a copy of each entry that concerns a channel into the store's
//! outbox; `courier` takes what is due there, has it told by `hook` or `mail`, and takes it out when it
//! was taken. `concern` and `due` decide, purely, whether and when; `letter` finds the words. `expiry`
//! looks for what time alone brings, and `heartbeat` calls a URL while all is well.
//!
//! The outbox is filled from the journal and not by whoever writes an entry: a change of state stays one
//! transaction that knows nothing of channels, and what the journal has got is in the outbox after any
//! crash, because the place up to which it was sorted is stored together with what was found.
//!
//! Deliberately absent: what is news. That stands in `cert::news`.

mod concern;
mod courier;
mod due;
mod expiry;
mod heartbeat;
mod hook;
mod letter;
mod mail;
mod secret;
mod sorter;

pub use courier::{News, Tried};
pub use expiry::watch;
pub use heartbeat::{Pulse, beat};
