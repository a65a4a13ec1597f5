//! The nouns and the lifecycle of certificates: pure, without input, output or clock.

pub mod allowance;
pub mod brought;
pub mod care;
pub mod chain;
pub mod challenge;
pub mod choice;
pub mod client;
pub mod deployment;
pub mod expiry;
pub mod failure;
pub mod guest;
pub mod identifier;
pub mod issue;
pub mod journal;
pub mod key;
pub mod ladder;
pub mod lifecycle;
pub mod likeness;
pub mod limits;
pub mod news;
pub mod pack;
pub mod ports;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod record;
pub mod request;
pub mod rights;
mod rsa;
pub mod served;
pub mod spec;
pub mod standby;
pub mod token;
pub mod validity;
pub mod zone;
