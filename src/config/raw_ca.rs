//! `[acme]` and `[[ca]]`, the CAs that speak ACME, and what sites say of them, as they are written; see
//! `raw`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAcme {
    pub(super) directory: String,
    pub(super) contact: Vec<String>,
    pub(super) accept_terms: bool,
    pub(super) challenges: Vec<String>,
    pub(super) name_servers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred_chain: Option<String>,
    pub(super) renewal_info: bool,
    pub(super) take_over_left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<RawLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eab: Option<RawEab>,
}

/// A CA beside that one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCa {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<String>,
    pub(super) contact: Vec<String>,
    pub(super) accept_terms: bool,
    pub(super) challenges: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred_chain: Option<String>,
    pub(super) renewal_info: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<RawLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eab: Option<RawEab>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEab {
    pub(super) kid: Option<String>,
    pub(super) hmac_key_file: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orders: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) same_names: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failures: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failures_in_a_row: Option<u64>,
}

/// `issuer = "..."`, or a list of such.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawIssuers {
    One(String),
    Several(Vec<String>),
}

/// What a site says besides of who issues for it: keys that stand in `[[site]]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawBeside {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) standby: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred_chain: Option<String>,
}

impl RawBeside {
    /// A value for every key.
    pub(super) fn example() -> Self {
        Self {
            standby: Some("zerossl".to_owned()),
            preferred_chain: Some("ISRG Root X1".to_owned()),
        }
    }
}

impl Default for RawAcme {
    fn default() -> Self {
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            contact: Vec::new(),
            accept_terms: false,
            challenges: vec!["tls-alpn-01".to_owned(), "http-01".to_owned()],
            name_servers: Vec::new(),
            ca_root: None,
            profile: None,
            preferred_chain: None,
            renewal_info: true,
            take_over_left: 25,
            limits: None,
            eab: None,
        }
    }
}

impl Default for RawCa {
    fn default() -> Self {
        Self {
            name: None,
            directory: None,
            contact: Vec::new(),
            accept_terms: false,
            challenges: Vec::new(),
            ca_root: None,
            profile: None,
            preferred_chain: None,
            renewal_info: true,
            limits: None,
            eab: None,
        }
    }
}

impl RawAcme {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self {
            ca_root: Some("/etc/keyward/directory-root.pem".to_owned()),
            profile: Some("tlsserver".to_owned()),
            preferred_chain: Some("ISRG Root X1".to_owned()),
            limits: Some(RawLimits::example()),
            eab: Some(RawEab::example()),
            ..Self::default()
        }
    }
}

impl RawCa {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self {
            name: Some("zerossl".to_owned()),
            directory: Some("https://acme.zerossl.com/v2/DV90".to_owned()),
            ca_root: Some("/etc/keyward/directory-root.pem".to_owned()),
            profile: Some("tlsserver".to_owned()),
            preferred_chain: Some("ISRG Root X1".to_owned()),
            limits: Some(RawLimits::example()),
            eab: Some(RawEab::example()),
            ..Self::default()
        }
    }
}

impl RawEab {
    fn example() -> Self {
        Self {
            kid: Some("kid-1".to_owned()),
            hmac_key_file: Some("/etc/keyward/eab.key".to_owned()),
        }
    }
}

impl RawLimits {
    fn example() -> Self {
        Self {
            orders: Some("300/3h".to_owned()),
            per_domain: Some("50/168h".to_owned()),
            same_names: Some("5/168h".to_owned()),
            failures: Some("5/1h".to_owned()),
            failures_in_a_row: Some(1152),
        }
    }
}
