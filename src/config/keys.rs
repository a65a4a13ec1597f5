//! Every key there is, with its default: what `config/reference.toml` is held against.

use figment::value::{Dict, Value};

use super::raw::{RawConfig, RawHealth, RawHsts, RawHstsTable, RawOrigins, RawSite, RawTls};
use super::raw_ca::RawCa;
use super::raw_client::RawClient;
use super::raw_dns::RawDns;
use super::raw_notify::RawNotify;
use super::raw_route::RawRoute;
use super::raw_target::RawTarget;
use super::raw_tcp::RawTcp;
use super::shape::{self, Kind};

/// A key of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Its dotted path; keys of a site begin with `site.`.
    pub path: String,
    /// The default as TOML; `None` when there is none or it depends on other keys.
    pub default: Option<String>,
    /// A value it may have, as TOML; the default where there is one.
    pub example: String,
}

/// Every key, sorted by path.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    collect(&shape::shape(), Some(&defaults()), "", &mut keys);
    keys
}

/// The defaults, those of a site included.
#[expect(clippy::expect_used, reason = "a constant value of the program, read by every test")]
fn defaults() -> Dict {
    let hsts = Some(RawHsts::Table(RawHstsTable::complete()));
    let tls = RawTls { hsts, ..RawTls::default() };
    let origins = RawOrigins { health: Some(RawHealth::default()), ..RawOrigins::default() };
    let site = RawSite { origins, route: vec![RawRoute::default()], ..RawSite::default() };
    let (dns, tcp) = (vec![RawDns::default()], vec![RawTcp::default()]);
    let (ca, client) = (vec![RawCa::default()], vec![RawClient::default()]);
    let (notify, site) = (vec![RawNotify::default()], vec![site]);
    let target = vec![RawTarget::default()];
    let raw = RawConfig { ca, client, notify, tls, dns, site, target, tcp, ..RawConfig::default() };
    let value = Value::serialize(raw).expect("the defaults are plain data");
    let mut defaults = value.into_dict().expect("the defaults are a struct");
    for list in ["ca", "dns", "notify", "site", "tcp"] {
        if let Some(Value::Array(_, sites)) = defaults.get_mut(list)
            && let Some(Value::Dict(_, site)) = sites.first_mut()
        {
            // The empty list is no default: a site must have names, and an account zones.
            site.remove("names");
            site.remove("zones");
        }
    }
    defaults
}

fn collect(shape: &Dict, defaults: Option<&Dict>, prefix: &str, keys: &mut Vec<Key>) {
    for (name, example) in shape {
        let path = format!("{prefix}{name}");
        let default = defaults.and_then(|defaults| defaults.get(name));
        let (inner, inner_default) = match Kind::of(example) {
            Kind::Table => (example.as_dict(), default.and_then(Value::as_dict)),
            Kind::Tables => (first(example), default.and_then(first)),
            Kind::Text | Kind::Flag | Kind::Count | Kind::Texts => {
                let default = default.map(toml);
                let example = default.clone().unwrap_or_else(|| toml(example));
                keys.push(Key { path, default, example });
                continue;
            }
        };
        if let Some(inner) = inner {
            collect(inner, inner_default, &format!("{path}."), keys);
        }
    }
}

fn first(list: &Value) -> Option<&Dict> {
    list.as_array()?.first()?.as_dict()
}

/// A value as it stands in a file.
fn toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => toml_edit::Value::from(text.as_str()).to_string(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => {
            shape::count(*number).map_or_else(String::new, |number| number.to_string())
        }
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) => String::new(),
    }
}
