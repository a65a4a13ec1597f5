//! Which DNS providers there are, and what each wants to know of an account.
//!
//! One line for each. How a provider is spoken to is not known here: `issuer::dns::updater` does.

/// Something a provider wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    /// As it is called below `with`; a secret with `_file` or `_credential` behind it.
    pub name: &'static str,
    /// Whether it is kept in a file.
    pub secret: bool,
    /// Whether the provider cannot do without.
    pub needed: bool,
}

const fn text(name: &'static str) -> Field {
    Field { name, secret: false, needed: true }
}

const fn secret(name: &'static str) -> Field {
    Field { name, secret: true, needed: true }
}

const fn may(field: Field) -> Field {
    Field { needed: false, ..field }
}

/// The provider that runs a program of the operator's.
pub const EXEC: &str = "exec";

/// The provider that speaks the HTTP API of acme-dns.
pub const ACME_DNS: &str = "acme-dns";

/// The provider that updates any name server by RFC 2136 with TSIG (RFC 8945).
pub const RFC2136: &str = "rfc2136";

/// Every provider with its fields, sorted.
pub const PROVIDERS: &[(&str, &[Field])] = &[
    (ACME_DNS, &[text("server"), text("username"), secret("password"), text("subdomain")]),
    (
        "alidns",
        &[
            text("access_key"),
            secret("secret_key"),
            may(text("region")),
            may(secret("security_token")),
            may(text("line")),
        ],
    ),
    ("arvancloud", &[secret("api_key")]),
    ("autodns", &[text("username"), secret("password"), may(text("context"))]),
    (
        "azuredns",
        &[
            text("tenant_id"),
            text("client_id"),
            secret("client_secret"),
            text("subscription_id"),
            text("resource_group"),
            may(text("environment")),
        ],
    ),
    ("baiducloud", &[text("access_key"), secret("secret_key")]),
    (
        "bluecat",
        &[
            text("server_url"),
            text("username"),
            secret("password"),
            text("config_name"),
            text("view_name"),
        ],
    ),
    ("bunny", &[secret("api_key")]),
    ("cloudflare", &[secret("token")]),
    ("cloudns", &[may(text("auth_id")), may(text("sub_auth_id")), secret("auth_password")]),
    ("constellix", &[text("api_key"), secret("secret_key")]),
    ("cpanel", &[text("base_url"), text("username"), secret("token")]),
    ("ddnss", &[secret("key")]),
    ("desec", &[secret("token")]),
    ("digitalocean", &[secret("token")]),
    ("dnsimple", &[secret("token"), text("account_id")]),
    ("dnsmadeeasy", &[text("api_key"), secret("api_secret")]),
    ("domeneshop", &[text("token"), secret("secret")]),
    ("dreamhost", &[secret("api_key")]),
    ("duckdns", &[secret("token")]),
    ("dynu", &[secret("api_key")]),
    ("easydns", &[text("token"), secret("key")]),
    (
        "edgedns",
        &[
            text("host"),
            secret("client_token"),
            secret("client_secret"),
            secret("access_token"),
            may(text("account_switch_key")),
        ],
    ),
    (EXEC, &[text("program"), may(text("mode"))]),
    ("exoscale", &[text("api_key"), secret("api_secret")]),
    ("freemyip", &[secret("token")]),
    ("gandi", &[secret("token")]),
    ("gcore", &[secret("token")]),
    ("glesys", &[text("api_user"), secret("api_key")]),
    ("godaddy", &[text("api_key"), secret("api_secret")]),
    (
        "googlecloud",
        &[
            secret("service_account"),
            text("project"),
            may(text("managed_zone")),
            may(text("impersonate")),
        ],
    ),
    ("hetzner", &[secret("token")]),
    ("hostingde", &[secret("api_key")]),
    ("hostinger", &[secret("token")]),
    ("huaweicloud", &[text("access_key"), secret("secret_key"), text("region")]),
    ("hurricane", &[secret("key")]),
    ("ibmcloud", &[text("username"), secret("api_key")]),
    (
        "infoblox",
        &[
            text("host"),
            may(text("port")),
            text("username"),
            secret("password"),
            may(text("wapi_version")),
            may(text("dns_view")),
        ],
    ),
    ("infomaniak", &[secret("token")]),
    ("inwx", &[text("username"), secret("password")]),
    ("ionos", &[secret("api_key")]),
    ("ipv64", &[secret("api_key")]),
    ("joker", &[may(secret("api_key")), may(text("username")), may(secret("password"))]),
    (
        "lightsail",
        &[
            text("access_key_id"),
            secret("secret_access_key"),
            may(secret("session_token")),
            may(text("region")),
            may(text("domain")),
        ],
    ),
    ("linode", &[secret("token")]),
    ("luadns", &[text("username"), secret("token")]),
    ("mythicbeasts", &[text("username"), secret("password")]),
    ("namecheap", &[text("api_user"), secret("api_key"), text("client_ip"), may(text("username"))]),
    ("namedotcom", &[text("username"), secret("token")]),
    ("namesilo", &[secret("api_key")]),
    ("netcup", &[text("customer_number"), secret("api_key"), secret("api_password")]),
    ("netlify", &[secret("token")]),
    ("nifcloud", &[text("access_key"), secret("secret_key")]),
    ("ns1", &[secret("api_key")]),
    (
        "oraclecloud",
        &[
            text("tenancy"),
            text("user"),
            text("fingerprint"),
            secret("private_key"),
            may(secret("private_key_password")),
            text("region"),
            text("compartment"),
        ],
    ),
    (
        "ovh",
        &[
            text("application_key"),
            secret("application_secret"),
            secret("consumer_key"),
            text("endpoint"),
        ],
    ),
    ("pdns", &[secret("api_key"), may(text("endpoint")), may(text("server_name"))]),
    ("plesk", &[text("base_url"), secret("api_key")]),
    ("porkbun", &[secret("api_key"), secret("secret_api_key")]),
    (RFC2136, &[text("server"), text("key_name"), secret("key"), may(text("algorithm"))]),
    (
        "route53",
        &[
            text("access_key_id"),
            secret("secret_access_key"),
            may(secret("session_token")),
            may(text("region")),
            may(text("hosted_zone_id")),
        ],
    ),
    ("safedns", &[secret("token")]),
    ("scaleway", &[secret("token")]),
    ("selectel", &[text("username"), secret("password"), text("account_id"), text("project_id")]),
    ("simplycom", &[text("account"), secret("api_key")]),
    ("spaceship", &[text("api_key"), secret("api_secret")]),
    (
        "tencentcloud",
        &[
            text("secret_id"),
            secret("secret_key"),
            may(text("region")),
            may(secret("session_token")),
        ],
    ),
    ("transip", &[text("login"), secret("private_key")]),
    ("ultradns", &[text("username"), secret("password"), may(text("endpoint"))]),
    ("vercel", &[secret("token"), may(text("team_id"))]),
    ("volcengine", &[text("access_key"), secret("secret_key"), may(text("region"))]),
    ("vultr", &[secret("api_key")]),
    ("websupport", &[text("api_key"), secret("secret")]),
    ("yandexcloud", &[secret("iam_token"), text("folder_id")]),
    ("zoneeu", &[text("username"), secret("api_key")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_stands_once_and_has_its_fields_once() {
        assert!(PROVIDERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (provider, fields) in PROVIDERS {
            let mut names: Vec<_> = fields.iter().map(|field| field.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), fields.len(), "{provider}");
            assert!(!fields.is_empty(), "{provider}");
        }
    }
}
