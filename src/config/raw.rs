//! The configuration as it is written: names of keys, their defaults, nothing checked.
//!
//! [`RawConfig::default`] is where every default stands. [`RawConfig::example`] has a value for
//! every key there is; [`super::shape`] takes the names and kinds of keys from it, so a key that
//! is added here is known everywhere, and the compiler asks for its example.

use serde::{Deserialize, Serialize};

use super::check::hsts::TWO_YEARS;
use super::raw_allowance::RawAllowance;
use super::raw_ca::{RawAcme, RawBeside, RawCa, RawIssuers};
use super::raw_client::{RawClient, RawShare};
use super::raw_dns::RawDns;
use super::raw_keeping::RawKeeping;
use super::raw_notify::{RawHeartbeat, RawNotify};
use super::raw_onboarding::RawOnboarding;
use super::raw_policy::{RawFiles, RawPolicy};
use super::raw_route::RawRoute;
use super::raw_target::{RawDeployment, RawTarget};
use super::raw_tcp::RawTcp;

/// The whole file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) acme: RawAcme,
    pub(super) ca: Vec<RawCa>,
    pub(super) client: Vec<RawClient>,
    pub(super) listen: RawListen,
    pub(super) state: RawState,
    pub(super) admin: RawAdmin,
    pub(super) vault: RawVault,
    pub(super) tls: RawTls,
    pub(super) edge: RawEdge,
    pub(super) log: RawLog,
    pub(super) access_log: RawAccessLog,
    pub(super) dns: Vec<RawDns>,
    pub(super) onboarding: RawOnboarding,
    pub(super) allowance: RawAllowance,
    pub(super) notify: Vec<RawNotify>,
    pub(super) heartbeat: RawHeartbeat,
    pub(super) deployment: RawDeployment,
    pub(super) target: Vec<RawTarget>,
    pub(super) site: Vec<RawSite>,
    pub(super) tcp: Vec<RawTcp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListen {
    pub(super) https: Vec<String>,
    pub(super) http: Vec<String>,
    pub(super) proxy_from: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawState {
    pub(super) dir: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAdmin {
    pub(super) socket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    #[serde(flatten)]
    pub(super) share: RawShare,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawVault {
    pub(super) master_key: String,
    pub(super) cache: String,
    pub(super) require: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) tickets: String,
    pub(super) ticket_rotation: String,
    pub(super) ktls: String,
    pub(super) preset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_version: Option<String>,
    pub(super) unknown_names: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hsts: Option<RawHsts>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEdge {
    pub(super) workers: u64,
    pub(super) handshake_timeout: String,
    pub(super) header_timeout: String,
    pub(super) idle_timeout: String,
    pub(super) connect_timeout: String,
    pub(super) response_timeout: String,
    pub(super) body_timeout: String,
    pub(super) origin_idle: u64,
    pub(super) max_connections: u64,
    pub(super) network_share: u64,
    pub(super) handshake_share: u64,
    pub(super) drain_timeout: String,
    pub(super) linger_timeout: String,
    pub(super) request_ids: String,
    pub(super) http3: bool,
    pub(super) name_servers: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) level: String,
    pub(super) format: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAccessLog {
    pub(super) to: String,
    pub(super) format: String,
    pub(super) queries: String,
    pub(super) tls: bool,
    pub(super) sample: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawSite {
    pub(super) names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<RawOrigin>,
    #[serde(flatten)]
    pub(super) files: RawFiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<RawIssuers>,
    #[serde(flatten)]
    pub(super) beside: RawBeside,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) challenge: Option<String>,
    pub(super) key: RawKeys,
    pub(super) reuse_key: bool,
    pub(super) exportable: bool,
    #[serde(flatten)]
    pub(super) keeping: RawKeeping,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hsts: Option<RawHsts>,
    pub(super) redirect: bool,
    pub(super) default: bool,
    pub(super) preserve_host: bool,
    pub(super) early_data: bool,
    pub(super) access_log: bool,
    pub(super) tls_headers: bool,
    pub(super) origins: RawOrigins,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<RawSiteTls>,
    #[serde(flatten)]
    pub(super) policy: RawPolicy,
    pub(super) route: Vec<RawRoute>,
}

/// `origin = "..."`, or a list of such.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawOrigin {
    One(String),
    Several(Vec<String>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOrigins {
    pub(super) max_requests: u64,
    pub(super) retries: u64,
    pub(super) eject_after: u64,
    pub(super) eject_for: String,
    pub(super) eject_on_errors: bool,
    pub(super) http: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slow_start: Option<String>,
    pub(super) proxy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sticky: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<RawHealth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_name: Option<String>,
    pub(super) tls_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_certificate: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHealth {
    pub(super) path: String,
    pub(super) interval: String,
    pub(super) timeout: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    pub(super) rise: u64,
    pub(super) fall: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSiteTls {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_certificates: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_crl: Option<String>,
}

/// `key = "p256"`, or a list of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawKeys {
    One(String),
    Several(Vec<String>),
}

/// `hsts = true`, `hsts = false`, or a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawHsts {
    Switch(bool),
    Table(RawHstsTable),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHstsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) include_subdomains: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preload: Option<bool>,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            https: vec!["[::]:443".to_owned()],
            http: vec!["[::]:80".to_owned()],
            proxy_from: Vec::new(),
        }
    }
}

impl Default for RawState {
    fn default() -> Self {
        Self { dir: "/var/lib/keyward".to_owned() }
    }
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            socket: "/run/keyward/admin.sock".to_owned(),
            group: None,
            share: RawShare::default(),
        }
    }
}

impl Default for RawVault {
    fn default() -> Self {
        Self {
            master_key: "auto".to_owned(),
            cache: "64MiB".to_owned(),
            require: "available".to_owned(),
        }
    }
}

impl Default for RawTls {
    fn default() -> Self {
        Self {
            tickets: "fast".to_owned(),
            ticket_rotation: "1h".to_owned(),
            ktls: "auto".to_owned(),
            preset: "default".to_owned(),
            min_version: None,
            unknown_names: "default-site".to_owned(),
            hsts: None,
        }
    }
}

impl Default for RawEdge {
    fn default() -> Self {
        Self {
            workers: 0,
            handshake_timeout: "10s".to_owned(),
            header_timeout: "10s".to_owned(),
            idle_timeout: "60s".to_owned(),
            connect_timeout: "5s".to_owned(),
            response_timeout: "60s".to_owned(),
            body_timeout: "60s".to_owned(),
            origin_idle: 32,
            max_connections: 10_000,
            network_share: 75,
            handshake_share: 80,
            drain_timeout: "30s".to_owned(),
            linger_timeout: "1h".to_owned(),
            request_ids: "off".to_owned(),
            http3: true,
            name_servers: Vec::new(),
        }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "auto".to_owned() }
    }
}

impl Default for RawAccessLog {
    fn default() -> Self {
        Self {
            to: "off".to_owned(),
            format: "json".to_owned(),
            queries: "hide".to_owned(),
            tls: false,
            sample: 1,
        }
    }
}

impl Default for RawSite {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            origin: None,
            files: RawFiles::default(),
            issuer: None,
            beside: RawBeside::default(),
            challenge: None,
            key: RawKeys::One("p256".to_owned()),
            reuse_key: false,
            exportable: false,
            keeping: RawKeeping::default(),
            profile: None,
            hsts: None,
            redirect: true,
            default: false,
            preserve_host: true,
            early_data: false,
            access_log: true,
            tls_headers: false,
            origins: RawOrigins::default(),
            tls: None,
            policy: RawPolicy::default(),
            route: Vec::new(),
        }
    }
}

impl Default for RawOrigins {
    fn default() -> Self {
        Self {
            max_requests: 0,
            retries: 20,
            eject_after: 3,
            eject_for: "10s".to_owned(),
            eject_on_errors: false,
            http: "auto".to_owned(),
            slow_start: None,
            proxy: "off".to_owned(),
            sticky: None,
            health: None,
            tls_ca: None,
            tls_name: None,
            tls_verify: true,
            tls_certificate: None,
        }
    }
}

impl Default for RawHealth {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            interval: "5s".to_owned(),
            timeout: "2s".to_owned(),
            status: "200-399".to_owned(),
            host: None,
            rise: 2,
            fall: 3,
        }
    }
}

impl RawHstsTable {
    /// What holds where nothing is said.
    pub(super) const fn complete() -> Self {
        Self { max_age: Some(TWO_YEARS), include_subdomains: Some(false), preload: Some(false) }
    }
}

impl RawConfig {
    /// A value for every key, the default where there is one.
    pub(super) fn example() -> Self {
        Self {
            acme: RawAcme::example(),
            ca: vec![RawCa::example()],
            client: vec![RawClient::example()],
            admin: RawAdmin { group: Some("keyward".to_owned()), ..RawAdmin::default() },
            tls: RawTls {
                min_version: Some("1.2".to_owned()),
                hsts: Some(RawHsts::Table(RawHstsTable::complete())),
                ..RawTls::default()
            },
            site: vec![RawSite {
                names: vec!["example.org".to_owned(), "www.example.org".to_owned()],
                origin: Some(RawOrigin::One("http://127.0.0.1:8080".to_owned())),
                files: RawFiles::example(),
                keeping: RawKeeping::example(),
                issuer: Some(RawIssuers::One("acme".to_owned())),
                beside: RawBeside::example(),
                challenge: Some("dns-01".to_owned()),
                profile: Some("tlsserver".to_owned()),
                hsts: Some(RawHsts::Table(RawHstsTable::complete())),
                origins: RawOrigins {
                    slow_start: Some("30s".to_owned()),
                    sticky: Some("server".to_owned()),
                    health: Some(RawHealth {
                        host: Some("www.example.org".to_owned()),
                        ..RawHealth::default()
                    }),
                    tls_ca: Some("/etc/keyward/origins.pem".to_owned()),
                    tls_name: Some("backend.example".to_owned()),
                    tls_certificate: Some("proxy.example".to_owned()),
                    ..RawOrigins::default()
                },
                tls: Some(RawSiteTls {
                    preset: Some("modern".to_owned()),
                    min_version: Some("1.3".to_owned()),
                    client_certificates: Some("required".to_owned()),
                    client_ca: Some("/etc/keyward/clients.pem".to_owned()),
                    client_crl: Some("/etc/keyward/clients.crl".to_owned()),
                }),
                policy: RawPolicy::example(),
                route: vec![RawRoute::example()],
                ..RawSite::default()
            }],
            dns: vec![RawDns::example()],
            onboarding: RawOnboarding::example(),
            allowance: RawAllowance::example(),
            notify: vec![RawNotify::example()],
            heartbeat: RawHeartbeat::example(),
            tcp: vec![RawTcp::example()],
            target: vec![RawTarget::example()],
            ..Self::default()
        }
    }
}
