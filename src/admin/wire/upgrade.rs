//! What travels about a process that took the place of another.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// `POST /v1/upgrade`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The one that finishes what it began.
    pub former: u32,
    /// The version that serves now.
    pub version: String,
    /// Milliseconds from the moment at which the new process was ready until it served.
    pub millis: u64,
    /// Of these, those in which new connections waited in the queue.
    pub waited: u64,
}
