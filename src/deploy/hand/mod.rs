//! The process that carries a pair to its target, and the way to it.
//!
//! | file | what it is |
//! |---|---|
//! | `wire` | what main and a hand say to each other |
//! | `errand` | main's side: a pair is carried, judged, and kept or put back |
//! | `work` | the hand's side |
//! | `mailbox` | the socket over which the key comes, which main cannot read |
//! | `porter` | a process beside main that starts a hand for each errand |
//! | `door` | where hands come from: the porter, or the service manager |
//! | `deadline` | until when |

pub(super) mod deadline;
mod door;
mod errand;
mod mailbox;
mod porter;
mod wire;
mod work;

pub use door::Hand;
pub use errand::HandError;
pub use errand::Parcel;
pub use errand::Placed;
pub use porter::serve_porter;
pub use wire::Stage;
pub(super) use wire::one_line;
#[cfg(any(test, fuzzing))]
pub use wire::properties;
pub use work::serve_hand;
