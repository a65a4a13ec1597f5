//! What travels about channels, by which people hear of what happened.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::Moment;

/// `GET /v1/notify`
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Channels {
    /// In the order of the configuration.
    pub channels: Vec<ChannelView>,
}

/// A channel, and how it fares.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// `mail`, or the form of what is posted.
    pub way: String,
    /// News that wait.
    pub waiting: u64,
    /// News that were told.
    pub told: u64,
    /// News that were given up since a message was taken.
    pub lost: u64,
    /// When a message was taken last.
    #[serde(default)]
    pub told_at: Option<Moment>,
    /// Since when none was.
    #[serde(default)]
    pub failing_since: Option<Moment>,
    /// Messages in a row that were not.
    #[serde(default)]
    pub failures: u32,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it is tried again.
    #[serde(default)]
    pub next: Option<Moment>,
}

/// Answer to `POST /v1/notify/{channel}/test`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TriedOut {
    /// The channel that took the word.
    pub channel: String,
}
