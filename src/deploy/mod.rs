//! Brings certificates with their keys to those who serve them, and sees that they are shown there.
//!
//! | part | what it is |
//! |---|---|
//! | `probe` | which certificate is shown at a place |

pub mod probe;
