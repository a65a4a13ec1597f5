//! Accounts at providers that the crate dns-update speaks to: one constructor for each.
//!
//! What each wants to know stands in `config::PROVIDERS`; a test holds the two against each other.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dns_update::DnsRecord;
use dns_update::DnsRecordType;
use dns_update::DnsUpdater;
use dns_update::Error;
use dns_update::TsigAlgorithm;
use dns_update::providers::azuredns::AzureDnsConfig;
use dns_update::providers::azuredns::AzureEnvironment;
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;

use super::secret::Known;
use crate::cert::zone::ZoneChange;
use crate::cert::zone::ZoneRecord;
use crate::config::DnsAccount;
use crate::config::RFC2136;

/// For one request; a change takes up to three.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// Characters of what a provider says that are repeated.
const WORDS: usize = 500;

pub(super) async fn change(
    account: &DnsAccount,
    known: &Known,
    what: ZoneChange,
    record: &ZoneRecord,
) -> Result<(), String> {
    let updater = open(account.provider, &account.zones, known)?;
    let (name, zone) = (record.record.as_str(), record.zone.as_str());
    let values = vec![DnsRecord::TXT(record.value.clone())];
    let (txt, ttl) = (DnsRecordType::TXT, account.ttl);
    match what {
        ZoneChange::Set => {
            updater.add_to_rrset(name, txt, ttl, values, zone).await.map_err(|e| words(&e))
        }
        ZoneChange::Remove => match updater.remove_from_rrset(name, txt, values, zone).await {
            // Gone is gone.
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(words(&error)),
        },
    }
}

/// What a provider says, on one line and not endless.
pub(super) fn words(error: &Error) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    error.to_string().chars().map(plain).take(WORDS).collect()
}

fn open(provider: &str, zones: &[String], known: &Known) -> Result<DnsUpdater, String> {
    let opened = if provider == RFC2136 {
        rfc2136(known)?
    } else if let Some(opened) = by_one_secret(provider, known) {
        opened?
    } else if let Some(opened) = by_a_pair(provider, known) {
        opened?
    } else {
        by_more(provider, zones, known)?
    };
    opened.map_err(|error| words(&error))
}

/// As dns-update answers, unless something that is needed is missing.
type Opened = Result<dns_update::Result<DnsUpdater>, String>;

fn rfc2136(known: &Known) -> Opened {
    let key = STANDARD.decode(known.need("key")?);
    let key = key.map_err(|error| format!("the key of TSIG is no base64: {error}"))?;
    let algorithm = match known.may("algorithm").unwrap_or("hmac-sha256") {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => return Err(format!("{other} is no algorithm of TSIG that is used")),
    };
    let server = format!("tcp://{}", known.need("server")?);
    Ok(DnsUpdater::new_rfc2136_tsig(server.as_str(), known.need("key_name")?, key, algorithm))
}

/// Providers that want one token or key.
fn by_one_secret(provider: &str, known: &Known) -> Option<Opened> {
    type Open = fn(&str) -> dns_update::Result<DnsUpdater>;
    let (field, open): (&str, Open) = match provider {
        "arvancloud" => ("api_key", |key| DnsUpdater::new_arvancloud(key, PATIENCE)),
        "bunny" => ("api_key", |key| DnsUpdater::new_bunny(key, PATIENCE)),
        "cloudflare" => ("token", |key| DnsUpdater::new_cloudflare(key, PATIENCE)),
        "ddnss" => ("key", |key| DnsUpdater::new_ddnss(key, PATIENCE)),
        "desec" => ("token", |key| DnsUpdater::new_desec(key, PATIENCE)),
        "digitalocean" => ("token", |key| DnsUpdater::new_digitalocean(key, PATIENCE)),
        "dreamhost" => ("api_key", |key| DnsUpdater::new_dreamhost(key, PATIENCE)),
        "duckdns" => ("token", |key| DnsUpdater::new_duckdns(key, PATIENCE)),
        "dynu" => ("api_key", |key| DnsUpdater::new_dynu(key, PATIENCE)),
        "freemyip" => ("token", |key| DnsUpdater::new_freemyip(key, PATIENCE)),
        "gandi" => ("token", |key| DnsUpdater::new_gandiv5(key, PATIENCE)),
        "gcore" => ("token", |key| DnsUpdater::new_gcore(key, PATIENCE)),
        "hetzner" => ("token", |key| DnsUpdater::new_hetzner(key, PATIENCE)),
        "hostingde" => ("api_key", |key| DnsUpdater::new_hostingde(key, PATIENCE)),
        "hostinger" => ("token", |key| DnsUpdater::new_hostinger(key, PATIENCE)),
        "infomaniak" => ("token", |key| DnsUpdater::new_infomaniak(key, PATIENCE)),
        "ionos" => ("api_key", |key| DnsUpdater::new_ionos(key, PATIENCE)),
        "ipv64" => ("api_key", |key| DnsUpdater::new_ipv64(key, PATIENCE)),
        "linode" => ("token", |key| DnsUpdater::new_linode(key, PATIENCE)),
        "namesilo" => ("api_key", |key| DnsUpdater::new_namesilo(key, PATIENCE)),
        "netlify" => ("token", |key| DnsUpdater::new_netlify(key, PATIENCE)),
        "ns1" => ("api_key", |key| DnsUpdater::new_ns1(key, PATIENCE)),
        "safedns" => ("token", |key| DnsUpdater::new_safedns(key, PATIENCE)),
        "scaleway" => ("token", |key| DnsUpdater::new_scaleway(key, PATIENCE)),
        "vultr" => ("api_key", |key| DnsUpdater::new_vultr(key, PATIENCE)),
        _ => return None,
    };
    Some(known.need(field).map(open))
}

/// Providers that want two values.
fn by_a_pair(provider: &str, known: &Known) -> Option<Opened> {
    type Open = fn(&str, &str) -> dns_update::Result<DnsUpdater>;
    let (one, two, open): (&str, &str, Open) = match provider {
        "baiducloud" => {
            ("access_key", "secret_key", |a, b| DnsUpdater::new_baiducloud(a, b, PATIENCE))
        }
        "constellix" => {
            ("api_key", "secret_key", |a, b| DnsUpdater::new_constellix(a, b, PATIENCE))
        }
        "dnsimple" => ("token", "account_id", |a, b| DnsUpdater::new_dnsimple(a, b, PATIENCE)),
        "dnsmadeeasy" => {
            ("api_key", "api_secret", |a, b| DnsUpdater::new_dnsmadeeasy(a, b, PATIENCE))
        }
        "domeneshop" => ("token", "secret", |a, b| DnsUpdater::new_domeneshop(a, b, PATIENCE)),
        "easydns" => ("token", "key", |a, b| DnsUpdater::new_easydns(a, b, PATIENCE)),
        "exoscale" => ("api_key", "api_secret", |a, b| DnsUpdater::new_exoscale(a, b, PATIENCE)),
        "glesys" => ("api_user", "api_key", |a, b| DnsUpdater::new_glesys(a, b, PATIENCE)),
        "godaddy" => ("api_key", "api_secret", |a, b| DnsUpdater::new_godaddy(a, b, PATIENCE)),
        "ibmcloud" => ("username", "api_key", |a, b| DnsUpdater::new_ibmcloud(a, b, PATIENCE)),
        "inwx" => ("username", "password", |a, b| DnsUpdater::new_inwx(a, b, false, PATIENCE)),
        "luadns" => ("username", "token", |a, b| DnsUpdater::new_luadns(a, b, PATIENCE)),
        "mythicbeasts" => {
            ("username", "password", |a, b| DnsUpdater::new_mythicbeasts(a, b, PATIENCE))
        }
        "namedotcom" => ("username", "token", |a, b| DnsUpdater::new_namedotcom(a, b, PATIENCE)),
        "nifcloud" => ("access_key", "secret_key", |a, b| DnsUpdater::new_nifcloud(a, b, PATIENCE)),
        "plesk" => ("base_url", "api_key", |a, b| DnsUpdater::new_plesk(a, b, PATIENCE)),
        "porkbun" => ("api_key", "secret_api_key", |a, b| DnsUpdater::new_porkbun(a, b, PATIENCE)),
        "simplycom" => ("account", "api_key", |a, b| DnsUpdater::new_simplycom(a, b, PATIENCE)),
        "spaceship" => ("api_key", "api_secret", |a, b| DnsUpdater::new_spaceship(a, b, PATIENCE)),
        "transip" => ("login", "private_key", |a, b| DnsUpdater::new_transip(a, b, true, PATIENCE)),
        "websupport" => ("api_key", "secret", |a, b| DnsUpdater::new_websupport(a, b, PATIENCE)),
        "zoneeu" => ("username", "api_key", |a, b| DnsUpdater::new_zoneeu(a, b, PATIENCE)),
        _ => return None,
    };
    Some(known.need(one).and_then(|a| Ok(open(a, known.need(two)?))))
}

#[expect(clippy::too_many_lines, reason = "a list of constructors, one after the other")]
fn by_more(provider: &str, zones: &[String], known: &Known) -> Opened {
    let need = |name: &str| known.need(name);
    let owned = |name: &str| known.need(name).map(str::to_owned);
    let may = |name: &str| known.may(name);
    let may_own = |name: &str| known.may(name).map(str::to_owned);
    Ok(match provider {
        "alidns" => DnsUpdater::new_alidns(
            need("access_key")?,
            need("secret_key")?,
            may("region"),
            may("security_token"),
            may("line"),
            PATIENCE,
        ),
        "autodns" => {
            let context = may("context").map(str::parse).transpose();
            let context = context.map_err(|_| "context is no number".to_owned())?;
            DnsUpdater::new_autodns(need("username")?, need("password")?, context, PATIENCE)
        }
        "azuredns" => DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: owned("tenant_id")?,
            client_id: owned("client_id")?,
            client_secret: owned("client_secret")?,
            subscription_id: owned("subscription_id")?,
            resource_group: owned("resource_group")?,
            environment: match may("environment") {
                None | Some("public") => AzureEnvironment::Public,
                Some("china") => AzureEnvironment::China,
                Some("us-government") => AzureEnvironment::UsGovernment,
                Some(_) => return Err("environment is public, china or us-government".to_owned()),
            },
            request_timeout: PATIENCE,
        }),
        "bluecat" => DnsUpdater::new_bluecatv2(BluecatV2Config {
            server_url: owned("server_url")?,
            username: owned("username")?,
            password: owned("password")?,
            config_name: owned("config_name")?,
            view_name: owned("view_name")?,
            skip_deploy: false,
            request_timeout: PATIENCE,
        }),
        "cloudns" => DnsUpdater::new_cloudns(
            may("auth_id"),
            may("sub_auth_id"),
            need("auth_password")?,
            PATIENCE,
        ),
        "cpanel" => {
            DnsUpdater::new_cpanel(need("base_url")?, need("username")?, need("token")?, PATIENCE)
        }
        "edgedns" => DnsUpdater::new_edgedns(EdgeDnsConfig {
            host: owned("host")?,
            client_token: owned("client_token")?,
            client_secret: owned("client_secret")?,
            access_token: owned("access_token")?,
            account_switch_key: may_own("account_switch_key"),
            request_timeout: PATIENCE,
        }),
        "googlecloud" => DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
            service_account_json: owned("service_account")?,
            project_id: owned("project")?,
            managed_zone: may_own("managed_zone"),
            private_zone: false,
            impersonate_service_account: may_own("impersonate"),
            request_timeout: PATIENCE,
        }),
        "huaweicloud" => DnsUpdater::new_huaweicloud(
            need("access_key")?,
            need("secret_key")?,
            need("region")?,
            PATIENCE,
        ),
        "hurricane" => {
            let key = need("key")?;
            let keys = zones.iter().map(|zone| (zone.clone(), key.to_owned()));
            DnsUpdater::new_hurricane(keys.collect(), PATIENCE)
        }
        "infoblox" => DnsUpdater::new_infoblox(InfobloxConfig {
            host: owned("host")?,
            port: may_own("port"),
            username: owned("username")?,
            password: owned("password")?,
            wapi_version: may_own("wapi_version"),
            dns_view: may_own("dns_view"),
            request_timeout: PATIENCE,
        }),
        "joker" => {
            let auth = match may("api_key") {
                Some(key) => JokerAuth::api_key(key),
                None => JokerAuth::username_password(need("username")?, need("password")?),
            };
            DnsUpdater::new_joker(auth, PATIENCE)
        }
        "lightsail" => DnsUpdater::new_lightsail(LightsailConfig {
            access_key_id: owned("access_key_id")?,
            secret_access_key: owned("secret_access_key")?,
            session_token: may_own("session_token"),
            region: may_own("region"),
            domain: may_own("domain"),
            request_timeout: PATIENCE,
        }),
        "namecheap" => DnsUpdater::new_namecheap(
            need("api_user")?,
            need("api_key")?,
            need("client_ip")?,
            may("username"),
            PATIENCE,
        ),
        "netcup" => DnsUpdater::new_netcup(
            need("customer_number")?,
            need("api_key")?,
            need("api_password")?,
            PATIENCE,
        ),
        "oraclecloud" => DnsUpdater::new_oraclecloud(OracleCloudConfig {
            tenancy_ocid: owned("tenancy")?,
            user_ocid: owned("user")?,
            fingerprint: owned("fingerprint")?,
            private_key_pem: owned("private_key")?,
            private_key_password: may_own("private_key_password"),
            region: owned("region")?,
            compartment_ocid: owned("compartment")?,
            request_timeout: PATIENCE,
        }),
        "ovh" => {
            let endpoint = need("endpoint")?.parse().map_err(|error: Error| words(&error))?;
            DnsUpdater::new_ovh(
                need("application_key")?,
                need("application_secret")?,
                need("consumer_key")?,
                endpoint,
                PATIENCE,
            )
        }
        "pdns" => {
            DnsUpdater::new_pdns(need("api_key")?, may("endpoint"), may("server_name"), PATIENCE)
        }
        "route53" => DnsUpdater::new_route53(Route53Config {
            access_key_id: owned("access_key_id")?,
            secret_access_key: owned("secret_access_key")?,
            session_token: may_own("session_token"),
            region: may_own("region"),
            hosted_zone_id: may_own("hosted_zone_id"),
            private_zone_only: None,
            endpoint: None,
        }),
        "selectel" => DnsUpdater::new_selectel(
            need("username")?,
            need("password")?,
            need("account_id")?,
            need("project_id")?,
            PATIENCE,
        ),
        "tencentcloud" => DnsUpdater::new_tencentcloud(
            need("secret_id")?,
            need("secret_key")?,
            may("region"),
            may("session_token"),
            PATIENCE,
        ),
        "ultradns" => DnsUpdater::new_ultradns(
            need("username")?,
            need("password")?,
            may_own("endpoint"),
            PATIENCE,
        ),
        "vercel" => DnsUpdater::new_vercel(need("token")?, may("team_id"), PATIENCE),
        "volcengine" => DnsUpdater::new_volcengine(VolcengineConfig {
            access_key: owned("access_key")?,
            secret_key: owned("secret_key")?,
            region: may_own("region"),
            host: None,
            scheme: None,
            request_timeout: PATIENCE,
        }),
        "yandexcloud" => DnsUpdater::new_yandexcloud(YandexCloudConfig {
            iam_token_b64: owned("iam_token")?,
            folder_id: owned("folder_id")?,
            request_timeout: PATIENCE,
        }),
        other => return Err(format!("nobody here speaks to {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ACME_DNS;
    use crate::config::EXEC;
    use crate::config::PROVIDERS;

    /// A value that the constructor of `provider` may look at already.
    fn value(provider: &str, field: &str) -> String {
        match (provider, field) {
            (RFC2136, "server") => "192.0.2.53:53",
            (RFC2136, "key") => "c2VjcmV0",
            ("ovh", "endpoint") => "ovh-eu",
            _ => "1234",
        }
        .to_owned()
    }

    #[tokio::test]
    async fn every_provider_of_the_configuration_is_opened_with_what_it_needs_and_not_with_less() {
        let _set_before = (*crate::base::tls::provider()).clone().install_default();
        let zones = ["example.org".to_owned()];
        for (provider, fields) in PROVIDERS {
            if [EXEC, ACME_DNS].contains(provider) {
                continue;
            }
            let needed: Vec<_> = fields.iter().filter(|field| field.needed).collect();
            let with = |left_out: Option<&str>| {
                let kept = needed.iter().filter(|field| Some(field.name) != left_out);
                open(
                    provider,
                    &zones,
                    &Known::from(kept.map(|f| (f.name, value(provider, f.name)))),
                )
            };
            for field in &needed {
                let refused = with(Some(field.name)).err().unwrap_or_default();
                assert_eq!(refused, format!("{} is missing", field.name), "{provider}");
            }
            // What its own library says of a made-up value is its business; that it was asked, ours.
            let refused = with(None).err().unwrap_or_default();
            assert!(!refused.contains("nobody here"), "{provider}: {refused}");
            assert!(
                *provider == "joker" || !refused.contains("is missing"),
                "{provider}: {refused}"
            );
        }
    }
}
