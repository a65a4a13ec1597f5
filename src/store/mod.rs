//! One redb file on one thread, behind a bounded handle; and a second copy of what is served.
//!
//! The file is never overwritten when it cannot be read: [`Store::open`] refuses, and the daemon
//! serves from [`copy`] until a person has looked.

mod codec;
pub mod copy;
mod disk;
mod error;
mod handle;
mod index;
mod inspect;
mod migrate;
mod open;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod reads;
pub mod scrub;
mod tables;

pub use error::{OpenError, StoreError};
pub use handle::Store;
pub use tables::SCHEMA;
