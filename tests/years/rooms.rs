//! The rooms that decide, compiled once more: the same sources as in the house, but optimized.
//!
//! Hundreds of seeds of ten years are millions of decisions, which takes hours as the rest of the
//! tests is compiled, and the whole house optimized takes longer to compile than all of its tests
//! take to run. What is here is pure, or nearly: what it imports shows that nothing else decides.
#![expect(dead_code, reason = "other rooms use it, which are not here")]

#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/cert/mod.rs"]
pub mod cert;
#[path = "../../src/config/mod.rs"]
pub mod config;
pub mod scheduler;
