//! `kind = "haproxy"`: the socket of HAProxy's runtime API, and the file that it reads when it starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A certificate of HAProxy's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HaproxyTarget {
    /// Its socket, which has to be one of level `admin`.
    pub socket: PathBuf,
    /// The PEM file as its configuration names it (`crt`); may hold `{name}`.
    pub file: PathBuf,
    /// Whose that is, by name or number.
    pub owner: Option<String>,
    /// Which group's, by name or number.
    pub group: Option<String>,
    /// Its permissions.
    pub mode: Option<u32>,
}

/// The keys as they are written; see `raw`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct RawHaproxyTarget {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) socket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) file: Option<String>,
}

impl RawHaproxyTarget {
    /// A value for every key.
    pub(in super::super) fn example() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self { socket: some("/run/haproxy/admin.sock"), file: some("/etc/haproxy/{name}.pem") }
    }
}
