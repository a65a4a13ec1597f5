//! `[[tcp]]` as it is written.

use serde::{Deserialize, Serialize};

use super::raw::{RawKeys, RawOrigin, RawSiteTls};
use super::raw_ca::RawIssuers;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTcp {
    pub(super) names: Vec<String>,
    pub(super) listen: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<RawOrigin>,
    pub(super) passthrough: bool,
    pub(super) starttls: String,
    pub(super) alpn: Vec<String>,
    pub(super) proxy: String,
    pub(super) connect_timeout: String,
    pub(super) idle_timeout: String,
    pub(super) max_connections: u64,
    pub(super) access_log: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<RawIssuers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) standby: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preferred_chain: Option<String>,
    pub(super) key: RawKeys,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<RawSiteTls>,
}

impl Default for RawTcp {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            listen: Vec::new(),
            to: None,
            passthrough: false,
            starttls: "off".to_owned(),
            alpn: Vec::new(),
            proxy: "off".to_owned(),
            connect_timeout: "5s".to_owned(),
            // Mail clients wait for half an hour (RFC 2177).
            idle_timeout: "1h".to_owned(),
            max_connections: 0,
            access_log: true,
            issuer: None,
            standby: None,
            preferred_chain: None,
            key: RawKeys::One("p256".to_owned()),
            profile: None,
            tls: None,
        }
    }
}

impl RawTcp {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self {
            names: vec!["mail.example.org".to_owned()],
            listen: vec!["[::]:993".to_owned()],
            to: Some(RawOrigin::One("127.0.0.1:143".to_owned())),
            issuer: Some(RawIssuers::One("acme".to_owned())),
            standby: Some("zerossl".to_owned()),
            preferred_chain: Some("ISRG Root X1".to_owned()),
            profile: Some("tlsserver".to_owned()),
            tls: Some(RawSiteTls {
                preset: Some("modern".to_owned()),
                min_version: Some("1.3".to_owned()),
                client_certificates: Some("required".to_owned()),
                client_ca: Some("/etc/keyward/clients.pem".to_owned()),
                client_crl: Some("/etc/keyward/clients.crl".to_owned()),
            }),
            ..Self::default()
        }
    }
}
