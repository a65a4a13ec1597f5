//! Brings certificates with their keys to those who serve them, and sees that they are shown there.
//!
//! | part | what it is |
//! |---|---|
//! | `hand` | the process that carries one pair to one target |
//! | `targets` | kinds of targets, on the side of that process |
//! | `pair` | a chain and its key, in that process alone |
//! | `probe` | which certificate is shown at a place |

pub mod hand;
mod pair;
pub mod probe;
mod targets;
