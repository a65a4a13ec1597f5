//! One redb file on one thread, behind a bounded handle; and a second copy of what is served, in a
//! file of its own.
//!
//! The file is never overwritten when it cannot be read: [`Store::open`] refuses, and the daemon
//! serves from the [`Catalog`] until a person has looked.

mod allowances;
mod books;
mod catalog;
mod claims;
mod codec;
mod custody;
mod disk;
mod error;
pub mod filling;
mod former;
mod guests;
mod handle;
mod incoming;
mod index;
mod inspect;
mod kinds;
mod lending;
mod many;
mod migrate;
mod mirror;
mod open;
mod outbox;
mod pack;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod reads;
pub mod scrub;
mod seals;
mod tables;
mod tokens;
mod turns;

pub use allowances::Grant;
pub use catalog::Catalog;
pub use error::{OpenError, StoreError};
pub use handle::Store;
pub use incoming::{Incoming, IncomingError, Sealed, Whole};
pub use lending::Loan;
pub use open::unfinished_restore;
pub use outbox::{ChannelState, Waiting};
pub use tables::SCHEMA;
