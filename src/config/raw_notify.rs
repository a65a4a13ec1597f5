//! `[[notify]]` and `[heartbeat]` as they are written; see `raw`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNotify {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) level: String,
    pub(super) events: Vec<String>,
    pub(super) about: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quiet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) webhook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) webhook_file: Option<String>,
    pub(super) format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chat: Option<String>,
    pub(super) mail: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) smtp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_root: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHeartbeat {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url_file: Option<String>,
    pub(super) every: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_root: Option<String>,
}

impl Default for RawNotify {
    fn default() -> Self {
        Self {
            name: None,
            level: "warning".to_owned(),
            events: Vec::new(),
            about: Vec::new(),
            quiet: None,
            digest: None,
            time_zone: None,
            webhook: None,
            webhook_file: None,
            format: "json".to_owned(),
            secret_file: None,
            chat: None,
            mail: Vec::new(),
            from: None,
            smtp: None,
            user: None,
            password_file: None,
            ca_root: None,
        }
    }
}

impl Default for RawHeartbeat {
    fn default() -> Self {
        Self { url: None, url_file: None, every: "5m".to_owned(), ca_root: None }
    }
}

impl RawNotify {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self {
            name: some("ops"),
            quiet: some("22:00-07:00"),
            digest: some("08:00"),
            time_zone: some("Europe/Berlin"),
            webhook: some("https://hooks.example.org/keyward"),
            webhook_file: some("/etc/keyward/hook.url"),
            secret_file: some("/etc/keyward/hook.secret"),
            chat: some("-1001234567890"),
            from: some("keyward@example.org"),
            smtp: some("smtp://mail.example.org"),
            user: some("keyward"),
            password_file: some("/etc/keyward/mail.password"),
            ca_root: some("/etc/keyward/hooks.pem"),
            ..Self::default()
        }
    }
}

impl RawHeartbeat {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self {
            url: Some("https://beats.example.org/3f2a".to_owned()),
            url_file: Some("/etc/keyward/beat.url".to_owned()),
            ca_root: Some("/etc/keyward/hooks.pem".to_owned()),
            ..Self::default()
        }
    }
}
