//! Text to a configuration that cannot be wrong.

mod allowance;
mod ca;
mod check;
mod client;
mod demo;
mod diff;
pub mod dns;
mod dns_providers;
mod environment;
mod files;
mod finding;
mod keeping;
mod key_path;
mod keys;
mod load;
mod losses;
mod model;
mod network;
mod notify;
mod onboarding;
mod origin;
mod pattern;
mod policy;
mod private;
mod problem;
mod quantity;
mod raw;
mod raw_allowance;
mod raw_ca;
mod raw_client;
mod raw_dns;
mod raw_keeping;
mod raw_notify;
mod raw_onboarding;
mod raw_policy;
mod raw_route;
mod raw_target;
mod raw_tcp;
mod route;
mod shape;
mod suggest;
mod target;
mod tcp;
mod text;

pub use allowance::Allowance;
pub use ca::{Acme, Eab};
pub use client::{Client, Share};
pub use demo::embedded;
pub use diff::{Changes, Reload, diff, reload_class};
pub use dns::{DnsAccount, Setting};
pub use dns_providers::{ACME_DNS, EXEC, Field, PROVIDERS, RFC2136};
pub use files::Files;
pub use keeping::Keeping;
pub use key_path::{KeyPath, Step};
pub use keys::{Key, keys};
pub use load::{DnsPart, Loaded, TargetPart, dns_part, load, parse, target_part};
pub use model::{
    AccessFormat, AccessLog, AccessLogTo, Admin, Agreement, ClientCertificates, Config, Edge, Hsts,
    KernelTls, Listen, Log, LogFormat, MasterKey, Preset, RequestIds, Require, Site, State,
    TicketMode, Tls, TlsVersion, UnknownNames, Vault,
};
pub use network::IpNetwork;
pub use notify::{
    Channel, Digest, Form, Heartbeat, Mail, MailTls, Place, Quiet, TimeOfDay, Way, Webhook,
};
pub use onboarding::Onboarding;
pub use origin::{Address, Asking, Health, Origin, OriginHttp, OriginTls, Server, Servers};
pub use pattern::PathPattern;
pub use policy::{BasicAuth, Clients, ErrorPages, Maintenance, Policy, Rate, When};
pub use private::why_not_private;
pub use problem::{Problem, Problems, Provenance, Severity};
pub use route::{FieldEdits, FieldTest, Route, RouteTo, Template};
pub use target::Hook as TargetHook;
pub use target::Reload as TargetReload;
pub use target::{
    Deploying, ExecTarget, FileTarget, HaproxyTarget, NoProbe, Probe, ProbeProtocol, Signal,
    Target, TargetKind, TargetPreset, path_for,
};
pub use tcp::{ProxyVersion, StartTls, TcpService, TcpTls, TcpWay};
