//! What a site or one of its routes asks of requests, as it is written; see `raw`.

use serde::{Deserialize, Serialize};

/// Keys that stand in `[[site]]` as well as in `[[site.route]]`. What a route leaves out is the
/// site's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allow: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deny: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) basic_auth: Option<RawBasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_pages: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_pages_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maintenance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maintenance_allow: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compress: Option<bool>,
}

/// `basic_auth = false`, or a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawBasicAuth {
    Switch(bool),
    Table(RawBasicAuthTable),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBasicAuthTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) realm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) users: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) users_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forward: Option<bool>,
}

impl RawPolicy {
    /// A value for every key.
    pub(super) fn example() -> Self {
        let user = "ann:$argon2id$v=19$m=19456,t=2,p=1$YXBpbmNob2ZzYWx0\
                    $EFq43gfnY0TLSMr3Xyl8LBgb79kppnqBTMtIQCkKhbw";
        Self {
            allow: Some(vec!["10.0.0.0/8".to_owned()]),
            deny: Some(vec!["10.0.0.66".to_owned()]),
            basic_auth: Some(RawBasicAuth::Table(RawBasicAuthTable {
                realm: Some("staff only".to_owned()),
                users: Some(vec![user.to_owned()]),
                users_file: Some("/etc/keyward/users".to_owned()),
                forward: Some(false),
            })),
            rate: Some("10/s".to_owned()),
            burst: Some(20),
            max_body: Some("10MiB".to_owned()),
            max_answer: Some("1GiB".to_owned()),
            error_pages: Some("/etc/keyward/pages".to_owned()),
            error_pages_for: Some("own".to_owned()),
            maintenance: Some("/etc/keyward/maintenance".to_owned()),
            maintenance_allow: Some(vec!["192.0.2.7".to_owned()]),
            compress: Some(true),
        }
    }
}

/// Files that are served instead of asking an origin.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawFiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fallback: Option<String>,
}

impl RawFiles {
    /// A value for every key.
    pub(super) fn example() -> Self {
        let (root, fallback) = ("/srv/www".to_owned(), "index.html".to_owned());
        Self { root: Some(root), fallback: Some(fallback) }
    }
}
